// What happens now: live figures, charts, and what needs attention.
import { read } from "./api.js";
import { chart } from "./charts.js";
import { confirm, empty, failed, loading, note, unknowns } from "./dialog.js";
import { announce, h, render, repeat, table } from "./dom.js";
import { ago, clock, count, duration, isKnown, number, seconds, unknown, writes } from "./format.js";
import { begin, changes } from "./running.js";
import { sample, sampled, since } from "./samples.js";

const SECONDS = 5;
const LANES_EVERY = 3; // as often as the overview; they ask more of the database

export const title = "Overview";

export async function open(area, _, signal) {
  const state = { area, signal, seen: null, lanes: null, error: null, charts: charts(), turn: 0 };
  render(area, h("h1", { tabindex: -1 }, title), loading("the overview"));
  changes.addEventListener("change", () => refresh(state), { signal });
  await repeat(SECONDS, () => refresh(state), signal);
}

async function refresh(state) {
  try {
    const isTurn = state.turn % LANES_EVERY === 0;
    const [seen, lanes] = await Promise.all([
      read("overview", {}, state),
      isTurn ? read("lanes", {}, state).catch((error) => ({ error })) : state.lanes,
    ]);
    Object.assign(state, { seen, lanes, error: null, turn: state.turn + 1 });
    sample(seen);
  } catch (error) {
    if (error.name === "AbortError") return;
    state.error = error;
  }
  if (!state.signal.aborted) show(state);
}

function show(state) {
  const { area, seen, error } = state;
  const again = () => refresh(state);
  if (!seen) return render(area, h("h1", { tabindex: -1 }, title), failed(error, again));
  const why = (what) => reason(seen, what);
  render(area,
    h("div", { class: "title" }, h("h1", { tabindex: -1 }, title), freshness(seen, error)),
    error && failed(error, again),
    attention(seen),
    section("Buffers", "buffers", h("div", { class: "cards" }, seen.buffers.map((each) => buffer(each, why, state)))),
    section("Last hour", "charts", h("div", { class: "charts" }, Object.values(state.charts).map((each) => each.place()))),
    section("Resources", "resources", resources(seen, why)),
    section("Rejections of the last 24 hours", "causes", causes(seen)),
    section("Writes that wait in the database", "waiting", waiting(seen), lanes(state.lanes)),
    section("Connections", "connections", connections(seen, why)),
    section("How good the estimates are", "score", score(seen.estimate_score)),
    seen.unknown.length ? section("Not known at the moment", "unknown", unknowns(seen.unknown)) : null);
  draw(state.charts, seen);
}

function section(heading, id, ...content) {
  return h("section", { id, key: id, "aria-labelledby": `${id}-heading` }, h("h2", { id: `${id}-heading` }, heading), content);
}

function freshness(seen, error) {
  return h("p", { class: error ? "note attention" : "note" }, error ? "Not renewed since " : "As of ",
    h("span", { class: "figure" }, new Date(seen.at).toLocaleTimeString("en-GB")),
    error ? "" : `, renewed every ${SECONDS} s while this tab is shown`);
}

function reason(seen, what) {
  return seen.unknown.find((each) => what === each.what || what.startsWith(`${each.what}.`))?.why;
}

function attention(seen) {
  const found = [...seen.buffers.flatMap(ofBuffer), ...ofWrites(seen)];
  if (!found.length) {
    const gaps = seen.unknown.length ? ", as far as it is known" : "";
    return h("p", { class: "message calm", key: "attention" }, `Nothing needs attention${gaps}. ${flow(seen)}`);
  }
  return h("div", { class: "message warn", key: "attention" }, h("ul", {}, found), h("p", { class: "note" }, flow(seen)));
}

function ofBuffer({ name, mapping, queued, dead_letters: dead }) {
  const waiting = isKnown(queued) ? `${number(queued)} messages wait` : "how much waits is not known";
  return [
    mapping?.paused && h("li", {}, h("strong", {}, `${name} is paused`), `: ${waiting}.`),
    mapping && !mapping.paused && mapping.state !== "Enabled" &&
      h("li", {}, h("strong", {}, `${name} is not drained`), `: its mapping is ${mapping.state}, ${waiting}.`),
    dead > 0 && h("li", {}, h("a", { href: `#/dead-letters?buffer=${name}` }, `${number(dead)} dead letters`), ` of ${name}.`),
  ].filter(Boolean);
}

function ofWrites(seen) {
  const rejected = sum(seen.resources, (each) => each.rejected_last_hour);
  const waits = sum(seen.waiting, (each) => each.writes);
  const used = sum(seen.connections, (each) => each.in_use);
  return [
    rejected > 0 && h("li", {}, h("a", { href: "#/rejections" }, `${writes(rejected)} rejected`), " in the last hour."),
    waits > 0 && h("li", {}, `${writes(waits)} wait in the database for another row.`),
    isKnown(seen.budget) && used > seen.budget &&
      h("li", {}, `${number(used)} connections are in use, more than the budget of ${number(seen.budget)}.`),
  ].filter(Boolean);
}

// Without values that are not known; null if none is known.
function sum(list, value) {
  const known = list.map(value).filter(isKnown);
  return known.length ? known.reduce((total, each) => total + each, 0) : null;
}

function flow(seen) {
  const rate = sum(seen.resources, (each) => each.writes_per_minute);
  const slow = seen.resources.map((each) => each.lag?.p95).filter(isKnown);
  if (!isKnown(rate)) return "How many writes are poured is not known.";
  if (!slow.length) return `${writes(rate)} poured a minute.`;
  return `${writes(rate)} poured a minute, 95 % of them within ${seconds(Math.max(...slow))} of being accepted.`;
}

function buffer(each, why, state) {
  const of = (what) => why(`buffers.${each.name}.${what}`);
  const fact = (label, value) => h("div", {}, h("dt", {}, label), h("dd", {}, value));
  return h("article", { class: "card", key: each.name, "aria-label": `Buffer ${each.name}` },
    h("div", { class: "title" }, h("h3", {}, each.name), mapping(each, of)),
    h("dl", {},
      fact("Queued", count(each.queued, of("queued"))),
      fact("In flight", count(each.in_flight, of("in_flight"))),
      fact("Oldest", duration(each.oldest_seconds, of("oldest_seconds"))),
      fact("Connections", count(each.connections, of("connections"))),
      fact("Dead letters", count(each.dead_letters, of("dead_letters")))),
    estimate(each.estimate),
    each.mapping && h("button", { type: "button", onclick: () => change(each, state) }, each.mapping.paused ? "Resume" : "Pause", h("span", { class: "unseen" }, ` ${each.name}`)));
}

function mapping({ mapping: found }, of) {
  if (!found) return unknown(of("mapping"));
  const isWell = found.state === "Enabled" && !found.paused;
  return h("span", { class: isWell ? "state" : "state attention" }, found.paused ? "Paused" : isWell ? "Pouring" : found.state);
}

function estimate(given) {
  if (!given) return h("p", { class: "note" }, "Empty: ", unknown());
  const when = isKnown(given.seconds)
    ? given.seconds === 0 ? "Nothing waits. " : `Poured in about ${seconds(given.seconds)}${given.at ? `, at ${clock(given.at)}` : ""}. `
    : ["When it is poured: ", unknown(), ". "];
  return h("p", { class: "note" }, when, given.basis);
}

async function change({ name, mapping: found }, state) {
  const kind = found.paused ? "resume" : "pause";
  const text = found.paused
    ? `Writes that wait in ${name} are poured again.`
    : `Nothing of ${name} is poured until it is resumed. Writes go on being accepted, and wait.`;
  const action = found.paused ? "Resume" : "Pause";
  const entered = await confirm({ title: `${action} ${name}?`, text: [text], fields: [note()], action });
  if (!entered) return;
  try {
    await begin({ kind, buffer: name, note: entered.note });
    announce(`${action}: ${name}, begun.`);
  } catch (error) {
    state.error = error;
    show(state);
  }
}

function charts() {
  const opened = `Sampled since this page was opened, at ${clock(since)}.`;
  return {
    throughput: chart("throughput", "Writes a minute", [{ label: "Poured", colour: "accent", fill: true }, { label: "Rejected", colour: "warn", dash: true }], number),
    lag: chart("lag", "Lag, from accepted to committed", [{ label: "Half within", colour: "accent", fill: true }, { label: "95 % within", colour: "quiet", dash: true }], seconds),
    backlog: chart("backlog", "Queued messages", [{ label: "ordered", colour: "accent", fill: true }, { label: "unordered", colour: "quiet" }, { label: "stream", colour: "quiet", dash: true }], number, opened),
    connections: chart("connections", "Connections", [{ label: "In use", colour: "accent", fill: true }, { label: "Budget", colour: "quiet", dash: true, isFixed: true }], number, opened),
  };
}

function draw(all, { history }) {
  const minutes = history.minutes.map((time) => new Date(time) / 1000);
  all.throughput.show(minutes, [history.written, history.rejected]);
  all.lag.show(minutes, [history.lag_p50, history.lag_p95]);
  all.backlog.show(...sampled("ordered", "unordered", "stream"));
  all.connections.show(...sampled("in use", "budget"));
}

function resources({ resources: all }, why) {
  if (!all.length) return empty("No resource has been written to yet.");
  const lag = (name) => ({
    heading: `Lag ${name}`,
    class: "figure",
    cell: (each) => duration(each.lag?.[name], why(`resources.${each.name}.lag`) ?? "nothing was poured in the last 5 minutes"),
  });
  const figure = (heading, name) => ({ heading, class: "figure", cell: (each) => count(each[name], why(`resources.${each.name}.${name}`)) });
  return table("Resources", [
    { heading: "Resource", cell: (each) => each.name },
    { heading: "Way", cell: (each) => (each.front === "dynamodb" ? "front table" : each.ordered ? "ordered" : "unordered") },
    figure("Writes a minute", "writes_per_minute"), lag("p50"), lag("p95"), lag("p99"),
    figure("Rejected in the last hour", "rejected_last_hour"), figure("Waiting", "waiting"),
  ], all, (each) => each.name);
}

function causes({ rejections: all }) {
  if (!all.length) return empty("Nothing was rejected.");
  return table("Rejections by cause", [
    { heading: "Cause", cell: (each) => h("a", { href: causeLink(each) }, [each.type, each.constraint].filter(isKnown).join(": ")) },
    { heading: "Resource", cell: (each) => each.resource ?? unknown("the message could not be read") },
    { heading: "Writes", class: "figure", cell: (each) => number(each.writes) },
  ], all, (each) => JSON.stringify([each.resource, each.type, each.constraint]));
}

function causeLink({ resource, type, constraint }) {
  const given = Object.entries({ resource, type, constraint }).filter(([, value]) => isKnown(value));
  return `#/rejections?${new URLSearchParams(given)}`;
}

function waiting({ waiting: all }) {
  if (!all.length) return empty("None waits.");
  return table("Writes that wait", [
    { heading: "Reason", cell: (each) => each.reason },
    { heading: "Writes", class: "figure", cell: (each) => number(each.writes) },
    { heading: "Since", cell: (each) => ago(each.since) },
  ], all, (each) => each.reason);
}

function lanes(found) {
  if (!found) return null;
  if (found.error) return h("p", { class: "note" }, "Lanes: ", unknown(found.error.message), `. ${found.error.message}`);
  const busy = found.lanes.filter((each) => each.waiting || each.blocking);
  if (!busy.length) return h("p", { class: "note" }, `No lane is blocked. ${found.basis}`);
  return [h("h3", {}, "Lanes"), table("Lanes in which writes wait", [
    { heading: "Lane", cell: (each) => each.lane },
    { heading: "Waiting", class: "figure", cell: (each) => count(each.waiting) },
    { heading: "Blocked by", cell: (each) => blocking(each.blocking) },
  ], busy, (each) => each.lane), h("p", { class: "note" }, found.basis)];
}

function blocking(found) {
  if (!found) return "nothing";
  return [h("a", { href: `#/find/${encodeURIComponent(found.id)}` }, `a write to ${found.resource}`), ", ", ago(found.since), `: ${found.reason}`];
}

function connections({ connections: all, budget }, why) {
  const used = sum(all, (each) => each.in_use);
  return [
    h("p", {}, "In use: ", count(used, why("connections")), " of a budget of ", count(budget, why("budget")), "."),
    all.length ? table("Connections by role", [
      { heading: "Role", cell: (each) => each.role },
      { heading: "In use", class: "figure", cell: (each) => count(each.in_use, why(`connections.${each.role}.in_use`)) },
      { heading: "At most", class: "figure", cell: (each) => count(each.most, why(`connections.${each.role}.most`)) },
    ], all, (each) => each.role) : null,
  ];
}

function score(given) {
  if (!given || !given.scored) return empty(`No estimate could be compared with what happened yet. ${given?.basis ?? ""}`);
  return h("p", {}, `${number(given.scored)} were compared with what happened: half were wrong by less than `,
    duration(given.median_error_seconds), ", and ",
    isKnown(given.within_factor_2) ? `${Math.round(given.within_factor_2 * 100)} %` : unknown(),
    ` were neither twice nor half of it. `, h("span", { class: "note" }, given.basis));
}
