// What happens now: live figures, charts, and what needs attention.
import { read } from "./api.js";
import { attention } from "./attention.js";
import { buffer } from "./buffers.js";
import { chart } from "./charts.js";
import { failed, loading, unknowns } from "./dialog.js";
import { h, render, repeat } from "./dom.js";
import { causes, connections, lanes, resources, score, waiting } from "./figures.js";
import { clock, number, seconds, unknown } from "./format.js";
import { changes, isOver } from "./running.js";
import { sample, sampled, since } from "./samples.js";

const SECONDS = 5;
const REST_EVERY = 3; // times of the overview
const DAY = 24 * 3600_000; // ms
const OF_DATABASE = [
  "resources",
  "waiting",
  "connections",
  "rejections",
  "history",
  "estimate_score",
];

export const title = "Overview";

export async function open(area, _, signal) {
  const state = { area, signal, seen: null, rest: {}, error: null, turn: 0, charts: charts() };
  render(area, heading(), loading("the overview"));
  const over = ({ detail }) => isOver(detail) && refresh(state);
  changes.addEventListener("change", over, { signal });
  await repeat(SECONDS, () => refresh(state), signal);
}

async function refresh(state) {
  try {
    const isTurn = state.turn % REST_EVERY === 0;
    const [seen, rest] = await Promise.all([
      read("overview", {}, state),
      isTurn ? theRest(state) : state.rest,
    ]);
    Object.assign(state, { seen, rest, error: null, turn: state.turn + 1 });
    sample(seen);
  } catch (error) {
    if (error.name === "AbortError") return;
    state.error = error;
  }
  if (!state.signal.aborted) show(state);
}

// Lanes, and the causes of the rejections of the last day that are open: answers, or {error}.
async function theRest(state) {
  const since = new Date(Date.now() - DAY).toISOString();
  const kept = (error) => ({ error });
  const [lanes, open] = await Promise.all([
    read("lanes", {}, state).catch(kept),
    read("rejections/causes", { since }, state).catch(kept),
  ]);
  return { lanes, open };
}

function heading() {
  return h("h1", { tabindex: -1 }, title);
}

function show(state) {
  const { area, seen, error } = state;
  const again = () => refresh(state);
  if (!seen) return render(area, heading(), failed(error, again));
  const why = (what) => reason(seen, what);
  const known = (name, draw) => (seen[name] ? draw() : missing(why(name)));
  const fail = (failure) => show(Object.assign(state, { error: failure }));
  const cards = seen.buffers.map((each) => buffer(each, why, fail));
  const places = Object.values(state.charts).map((each) => each.place());
  render(
    area,
    h("div", { class: "title" }, heading(), freshness(seen, error)),
    error && failed(error, again),
    attention(seen, state.rest.open?.causes ?? null),
    section("Buffers", "buffers", h("div", { class: "cards" }, cards)),
    section("Last hour", "charts", h("div", { class: "charts" }, places)),
    section(
      "Resources",
      "resources",
      known("resources", () => resources(seen, why)),
    ),
    section(
      "Rejections of the last 24 hours",
      "causes",
      known("rejections", () => causes(seen)),
    ),
    section(
      "Writes that wait in the database",
      "waiting",
      known("waiting", () => waiting(seen)),
      lanes(state.rest.lanes),
    ),
    section(
      "Connections",
      "connections",
      known("connections", () => connections(seen, why)),
    ),
    section(
      "How good the estimates are",
      "score",
      known("estimate_score", () => score(seen.estimate_score)),
    ),
    seen.unknown.length > 0 &&
      section("Not known at the moment", "unknown", unknowns(seen.unknown)),
  );
  draw(state.charts, seen);
}

function section(name, id, ...content) {
  const attributes = { id, key: id, "aria-labelledby": `${id}-heading` };
  return h("section", attributes, h("h2", { id: `${id}-heading` }, name), content);
}

function missing(why) {
  return h("p", { class: "empty" }, unknown(), why && `: ${why}`);
}

function freshness(seen, error) {
  const at = h("span", { class: "figure" }, new Date(seen.at).toLocaleTimeString("en-GB"));
  return error
    ? h("p", { class: "attention" }, "Not renewed since ", at, "; trying again")
    : h(
        "p",
        { class: "note" },
        "As of ",
        at,
        `, renewed every ${SECONDS} s while this tab is shown`,
      );
}

// Why a figure is not known: what is said of it, of something that it belongs to, or of the
// database, which all figures of it need.
function reason({ unknown: all }, what) {
  const names = [what, ...(OF_DATABASE.includes(what.split(".")[0]) ? ["database"] : [])];
  return all.find((each) => names.includes(each.what) || what.startsWith(`${each.what}.`))?.why;
}

function charts() {
  const opened = `Sampled while this view is seen, since ${clock(since)}.`;
  const first = (label) => ({ label, colour: "accent", fill: true });
  const second = (label) => ({ label, colour: "quiet", dash: true });
  return {
    throughput: chart(
      "throughput",
      "Writes a minute",
      [first("Poured"), { ...second("Rejected"), colour: "warn" }],
      number,
    ),
    lag: chart(
      "lag",
      "Lag, from accepted to committed",
      [
        { ...first("Half within"), gap: "nothing poured" },
        { ...second("95 % within"), gap: "nothing poured" },
      ],
      seconds,
    ),
    backlog: chart(
      "backlog",
      "Queued messages",
      [first("ordered"), { label: "unordered", colour: "quiet" }],
      number,
      opened,
    ),
    connections: chart(
      "connections",
      "Connections in use",
      [first("In use"), { ...second("Budget"), isFixed: true }],
      number,
      opened,
    ),
  };
}

const NO_HISTORY = { minutes: [], written: [], rejected: [], lag_p50: [], lag_p95: [] };

function draw(all, { history }) {
  const known = history ?? NO_HISTORY;
  const minutes = known.minutes.map((time) => new Date(time) / 1000);
  all.throughput.show(minutes, [known.written, known.rejected]);
  all.lag.show(minutes, [known.lag_p50, known.lag_p95]);
  all.backlog.show(...sampled("ordered", "unordered"));
  all.connections.show(...sampled("in use", "budget"));
}
