// What needs attention, in sentences.
import { h } from "./dom.js";
import { counted, isKnown, number, seconds, sentence, writes } from "./format.js";

// open: causes of rejections that are open, null if they are not known.
export function attention(seen, open) {
  const found = [...seen.buffers.flatMap(ofBuffer), ...ofWrites(seen, open)];
  if (found.length) {
    const rest = h("p", { class: "note" }, flow(seen));
    return h("div", { class: "message warn", key: "attention" }, h("ul", {}, found), rest);
  }
  const gaps = !open || hasGaps(seen) ? ", as far as it is known" : "";
  const text = `Nothing needs attention${gaps}. ${flow(seen)}`;
  return h("p", { class: "message calm", key: "attention" }, text);
}

// Whether something that could need attention is not known. A stream has no dead letters.
function hasGaps({ buffers, resources }) {
  const isHidden = ({ name, mapping, dead_letters: dead }) =>
    !mapping || (name !== "stream" && !isKnown(dead));
  return !resources || buffers.some(isHidden);
}

function ofBuffer({ name, mapping, queued, dead_letters: dead }) {
  const waits = isKnown(queued)
    ? `${number(queued)} of its messages wait`
    : "how much waits is not known";
  const strong = (text) => h("strong", {}, text);
  const link = h("a", { href: `#/dead-letters?buffer=${name}` }, counted(dead ?? 0, "dead letter"));
  const isStopped = mapping && !mapping.paused && mapping.state !== "Enabled";
  return [
    mapping?.paused && h("li", {}, strong(`${name} is paused`), `: ${waits}.`),
    isStopped &&
      h("li", {}, strong(`${name} is not drained`), `: its mapping is ${mapping.state}, ${waits}.`),
    dead > 0 && h("li", {}, link, ` of ${name}.`),
  ].filter(Boolean);
}

function ofWrites({ waiting, connections, budget, unknown }, open) {
  const rejected = sum(open, (each) => each.writes);
  const waits = sum(waiting, (each) => each.writes);
  const used = sum(connections, (each) => each.in_use);
  const database = unknown.find((each) => each.what === "database");
  const link = h("a", { href: "#/rejections" }, counted(rejected ?? 0, "rejected write"));
  return [
    database &&
      h("li", {}, h("strong", {}, "The database does not answer"), `: ${sentence(database.why)}`),
    rejected > 0 && h("li", {}, link, " of the last 24 hours to be put right."),
    waits > 0 &&
      h(
        "li",
        {},
        `${writes(waits)} ${waits === 1 ? "waits" : "wait"} in the database for another row.`,
      ),
    isKnown(used) &&
      isKnown(budget) &&
      used > budget &&
      h(
        "li",
        {},
        `${number(used)} connections are in use, more than the budget of ${number(budget)}.`,
      ),
  ].filter(Boolean);
}

// Without values that are not known; null if none is known.
export function sum(list, value) {
  const known = (list ?? []).map(value).filter(isKnown);
  return list && (known.length || !list.length)
    ? known.reduce((total, each) => total + each, 0)
    : null;
}

function flow({ resources }) {
  const rate = sum(resources, (each) => each.writes_per_minute);
  if (!isKnown(rate)) return "How much is poured is not known.";
  const lags = resources.map((each) => each.lag?.p95).filter(isKnown);
  const lag = lags.length
    ? `, 95 % of them within ${seconds(Math.max(...lags))} of being accepted`
    : "";
  return `${writes(rate)} poured in the last minute${lag}.`;
}
