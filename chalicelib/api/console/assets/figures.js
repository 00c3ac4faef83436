// Tables of the overview. why: the name of a figure → why it is not known.
import { segment, withQuery } from "./api.js";
import { sum } from "./attention.js";
import { empty } from "./dialog.js";
import { h, table } from "./dom.js";
import { filterOfCause } from "./filters.js";
import { ago, brief, count, duration, isKnown, number, unknown } from "./format.js";

export function resources({ resources: all }, why) {
  const lag = (name) => ({
    heading: `Lag ${name}`,
    class: "figure",
    cell: (each) => lagOf(each, name, why(`resources.${each.name}.lag`)),
  });
  const figure = (heading, name) => ({
    heading,
    class: "figure",
    cell: (each) => count(each[name], why(`resources.${each.name}.${name}`)),
  });
  const columns = [
    { heading: "Resource", cell: (each) => each.name },
    { heading: "Way", cell: way },
    figure("Writes a minute", "writes_per_minute"),
    lag("p50"),
    lag("p95"),
    lag("p99"),
    figure("Rejected in the last hour", "rejected_last_hour"),
    figure("Waiting", "waiting"),
  ];
  return table("Resources", columns, all, (each) => each.name);
}

function way({ front, ordered }) {
  if (front === "closed") return "closed";
  if (front === "dynamodb") return "front table";
  return ordered ? "ordered" : "unordered";
}

// Where nothing was poured, there is no lag.
function lagOf({ lag }, name, why) {
  if (lag || why) return duration(lag?.[name], why);
  return h("span", { class: "unknown" }, "none poured");
}

export function causes({ rejections: all }) {
  if (!all.length) return empty("Nothing was rejected.");
  const link = (each) => withQuery("#/rejections", filterOfCause(each));
  const named = (each) => [each.type, each.constraint].filter(isKnown).join(": ");
  const columns = [
    { heading: "Cause", cell: (each) => h("a", { href: link(each) }, named(each)) },
    {
      heading: "Resource",
      cell: (each) => each.resource ?? unknown("the message could not be read"),
    },
    { heading: "Writes", class: "figure", cell: (each) => number(each.writes) },
  ];
  return table("Rejections by cause", columns, all, link);
}

export function waiting({ waiting: all }) {
  if (!all.length) return empty("None waits.");
  const columns = [
    { heading: "Reason", class: "long", cell: (each) => brief(each.reason, 300) },
    { heading: "Writes", class: "figure", cell: (each) => number(each.writes) },
    { heading: "Since", cell: (each) => ago(each.since) },
  ];
  return table("Writes that wait", columns, all, (each) => each.reason);
}

// found: of GET /ops/lanes, or {error}, or null before the first answer.
export function lanes(found) {
  if (!found) return null;
  if (found.error)
    return h("p", { class: "note" }, "Lanes: ", unknown(), `: ${found.error.message}`);
  const basis = h("p", { class: "note" }, `Lanes: ${found.basis}.`);
  const busy = found.lanes.filter((each) => each.waiting || each.blocking);
  if (!busy.length) return basis;
  const columns = [
    { heading: "Lane", cell: (each) => each.lane },
    { heading: "Waiting", class: "figure", cell: (each) => count(each.waiting) },
    { heading: "Blocked by", class: "long", cell: (each) => blocking(each.blocking) },
  ];
  return [table("Lanes in which writes wait", columns, busy, (each) => each.lane), basis];
}

function blocking(found) {
  if (!found) return "nothing";
  const link = h("a", { href: `#/find/${segment(found.id)}` }, `a write to ${found.resource}`);
  return [link, ", ", ago(found.since), `: ${brief(found.reason, 300)}`];
}

export function connections({ connections: all, budget }, why) {
  const used = sum(all, (each) => each.in_use);
  const columns = [
    { heading: "Role", cell: (each) => each.role },
    { heading: "In use", class: "figure", cell: (each) => count(each.in_use, why("connections")) },
    { heading: "At most", class: "figure", cell: (each) => count(each.most, why("budget")) },
  ];
  return [
    h(
      "p",
      {},
      "In use: ",
      count(used, why("connections")),
      " of a budget of ",
      count(budget, why("budget")),
      ".",
    ),
    all.length > 0 && table("Connections by role", columns, all, (each) => each.role),
  ];
}

export function score({ scored, median_error_seconds: error, within_factor_2: share, basis }) {
  const note = h("p", { class: "note" }, `Compared: ${basis}.`);
  if (!scored) return [empty("No estimate could be compared with what happened yet."), note];
  const good = isKnown(share) ? `${number(share * 100)} %` : unknown();
  return [
    h(
      "p",
      {},
      `Of ${number(scored)} estimates, half were wrong by less than `,
      duration(error),
      "; ",
      good,
      " were neither twice nor half of the truth.",
    ),
    note,
  ];
}
