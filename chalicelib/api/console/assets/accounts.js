// Whether what was accepted in an hour is accounted for.
import { read } from "./api.js";
import { empty, failed, loading, unknowns } from "./dialog.js";
import { h, render, table } from "./dom.js";
import { ago, number, writes } from "./format.js";

const SUMS = ["accepted", "applied", "rejected", "waiting", "missing"];

// Adds up the parts in which the API answers, and shows the sums so far.
export async function accounts(area, hour, signal) {
  const found = { sums: new Map(), missing: [], unknown: [], isComplete: false, error: null };
  render(area, loading("the log of that hour"));
  try {
    for (let cursor; !found.isComplete && !signal.aborted;) {
      const part = await read("audit", { hour, cursor }, { signal });
      add(found, part);
      cursor = part.next;
      render(area, shown(found));
    }
  } catch (error) {
    if (error.name === "AbortError") return;
    const again = () => accounts(area, hour, signal);
    render(area, failed(error, again), found.sums.size > 0 && shown(found));
  }
}

function add(found, part) {
  for (const each of part.resources) {
    const before = found.sums.get(each.resource) ?? Object.fromEntries(SUMS.map((sum) => [sum, 0]));
    const after = SUMS.map((sum) => [sum, before[sum] + each[sum]]);
    found.sums.set(each.resource, Object.fromEntries(after));
  }
  found.missing.push(...part.missing);
  found.unknown = part.unknown;
  found.isComplete = part.is_complete;
}

function shown(found) {
  const rows = [...found.sums].map(([resource, sums]) => ({ resource, ...sums }));
  const figure = (name) => ({
    heading: name[0].toUpperCase() + name.slice(1),
    class: "figure",
    cell: (each) => number(each[name]),
  });
  const columns = [{ heading: "Resource", cell: (each) => each.resource }, ...SUMS.map(figure)];
  return [
    h("h2", {}, "Accounts of the hour"),
    !found.isComplete && loading("more of the log of that hour"),
    verdict(found, rows),
    rows.length > 0 && table("Accounts", columns, rows, (each) => each.resource),
    found.missing.length > 0 && missing(found.missing),
    unknowns(found.unknown),
  ];
}

function verdict({ isComplete, unknown }, rows) {
  const sum = (name) => rows.reduce((total, each) => total + each[name], 0);
  const [accepted, lost] = [sum("accepted"), sum("missing")];
  const far = isComplete ? "" : "So far: ";
  if (lost) {
    const gap = unknown.length ? "missing, or waiting where that is not known" : "missing";
    const text = `${far}${number(lost)} of ${writes(accepted)} ${lost === 1 ? "is" : "are"} ${gap}.`;
    return h("p", { class: "attention" }, text);
  }
  if (!accepted) return empty(`${far}Nothing was accepted.`);
  return h("p", {}, `${far}${writes(accepted)} accepted, and all are accounted for.`);
}

function missing(all) {
  const columns = [
    { heading: "Request", cell: ({ id }) => h("code", {}, id) },
    { heading: "Resource", cell: (each) => each.resource },
    { heading: "Writes", class: "figure", cell: (each) => number(each.writes) },
    { heading: "Accepted", cell: (each) => ago(each.accepted_at) },
  ];
  return table("Missing requests", columns, all, (each) => each.id);
}
