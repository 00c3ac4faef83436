// What operators have done, and what is under way.
import { filledIn, read, segment, withQuery } from "./api.js";
import { empty, failed, field, load, loading } from "./dialog.js";
import { h, render, repeat, table } from "./dom.js";
import { inWords } from "./filters.js";
import { ago, brief, isKnown, number, unknown, writes } from "./format.js";
import { bar, changes, go, isOver, isRunning, name, progress, stop } from "./running.js";

const SECONDS = 5;
const PAGE = 50;
const KINDS = ["", "resend", "discard", "redrive", "pause", "resume"];

export const title = "Acts";

export async function open(area, { id, query }, signal) {
  if (id) return one(area, id, signal);
  const found = h("div", { class: "stack" });
  const state = { found, query, signal, rows: [], next: null, error: null };
  area.replaceChildren(
    h("h1", { tabindex: -1 }, title),
    h(
      "p",
      { class: "note" },
      "Each act of an operator, with who, what and when. Nothing here can be changed or deleted.",
    ),
    filters(query),
    found,
  );
  render(found, loading("acts"));
  await more(state);
  changes.addEventListener("change", ({ detail }) => changed(state, detail), { signal });
  await repeat(SECONDS, () => renew(state), signal);
}

function filters({ kind, who }) {
  const submit = (event) => {
    event.preventDefault();
    location.hash = withQuery("#/acts", filledIn(event.target));
  };
  return h(
    "form",
    { class: "filters", "aria-label": "Filters", onsubmit: submit },
    field(
      "Kind",
      h(
        "select",
        { name: "kind" },
        KINDS.map((each) =>
          h("option", { value: each, selected: each === (kind ?? "") }, each || "all"),
        ),
      ),
    ),
    field("Who", h("input", { name: "who", value: who ?? "", autocomplete: "off" })),
    h("div", { class: "buttons" }, h("button", { type: "submit", id: "apply-filters" }, "Apply")),
  );
}

async function more(state) {
  try {
    const answer = await read("acts", { ...state.query, limit: PAGE, cursor: state.next }, state);
    state.rows.push(...answer.acts);
    Object.assign(state, { next: answer.next, error: null });
  } catch (error) {
    if (error.name === "AbortError") return;
    state.error = error;
  }
  show(state);
}

// The newest page again: new acts come on top, and those that are shown are renewed in place.
async function renew(state) {
  try {
    const { acts } = await read("acts", { ...state.query, limit: PAGE }, state);
    const known = new Map(acts.map((each) => [each.id, each]));
    const fresh = acts.filter((each) => !state.rows.some((row) => row.id === each.id));
    state.rows = [...fresh, ...state.rows.map((row) => known.get(row.id) ?? row)];
    state.error = null;
  } catch (error) {
    if (error.name === "AbortError") return;
    state.error = error;
  }
  show(state);
}

function changed(state, act) {
  state.rows = state.rows.map((row) => (row.id === act.id ? act : row));
  show(state);
}

function show(state) {
  if (state.signal.aborted) return;
  const again = () => (state.rows.length ? renew(state) : more(state));
  render(
    state.found,
    state.error && failed(state.error, again),
    state.rows.length ? list(state.rows) : !state.error && empty("No act was found."),
    state.next &&
      h("button", { type: "button", id: "show-more", onclick: () => more(state) }, "Show more"),
  );
}

function list(rows) {
  return table(
    "Acts",
    [
      {
        heading: "Act",
        cell: (each) => [
          h("a", { href: `#/acts/${segment(each.id)}` }, each.kind),
          h("small", {}, ago(each.begun_at)),
        ],
      },
      { heading: "On what", class: "long", cell: (each) => target(each) },
      { heading: "Who", class: "long", cell: (each) => each.who },
      { heading: "Why", class: "long", cell: (each) => each.note || "–" },
      { heading: "Done", class: "figure", cell: (each) => progress(each) || "–" },
      { heading: "State", cell: (each) => each.state },
    ],
    rows,
    (each) => each.id,
  );
}

function target({ target: given, writes: many }) {
  if (given?.buffer && given.per_second) {
    return `${given.buffer}, ${number(given.per_second)} messages a second`;
  }
  if (given?.buffer) return given.buffer;
  if (given?.filter) return `filters: ${inWords(given.filter)}`;
  const [id] = given?.ids ?? [];
  if (id && many === 1) return h("a", { href: `#/rejections/${segment(id)}` }, "one write");
  return isKnown(many) ? writes(many) : unknown();
}

async function one(area, id, signal) {
  const body = h("div", { class: "stack" });
  area.replaceChildren(
    h("p", {}, h("a", { href: "#/acts" }, "← Acts")),
    h("h1", { tabindex: -1 }, "Act"),
    body,
  );
  const state = { act: null, failure: null };
  const ask = async () => (state.act = await read(`acts/${segment(id)}`, {}, { signal }));
  const renew = () => load(body, "the act", ask, () => shown(state, renew), signal);
  changes.addEventListener(
    "change",
    ({ detail }) => {
      if (detail.id === id) renew();
    },
    { signal },
  );
  await renew();
  await repeat(SECONDS, () => (state.act && isOver(state.act) ? null : renew()), signal);
}

function shown(state, renew) {
  const { act } = state;
  return [
    h(
      "div",
      { class: "title" },
      h("h2", {}, name(act)),
      h("span", { class: isOver(act) ? "state" : "state attention" }, act.state),
    ),
    h("div", { class: "running" }, bar(act), h("span", { class: "figure" }, progress(act))),
    facts(act),
    isOver(act) ? null : steering(state, renew),
    state.failure && failed(state.failure),
    act.steps?.length ? steps(act) : null,
  ];
}

function facts(act) {
  const fact = (label, value) => h("div", { key: label }, h("dt", {}, label), h("dd", {}, value));
  return h(
    "dl",
    { class: "facts" },
    fact("Who", act.who),
    fact("Why", act.note || "–"),
    fact("On what", target(act)),
    fact("Begun", ago(act.begun_at)),
    fact("Last step", isKnown(act.last_at) ? ago(act.last_at) : "none yet"),
  );
}

function steering(state, renew) {
  const { act } = state;
  const halt = async () => {
    try {
      await stop(act);
      state.failure = null;
    } catch (error) {
      state.failure = error;
    }
    renew();
  };
  return h(
    "div",
    { class: "buttons" },
    isRunning(act.id)
      ? h("p", { class: "note" }, "This page carries it out; keep it open.")
      : h(
          "button",
          {
            type: "button",
            id: "go-on",
            class: "primary",
            onclick: () => {
              go(act);
              renew();
            },
          },
          "Go on",
        ),
    h("button", { type: "button", id: "stop", onclick: halt }, "Stop"),
  );
}

function steps(act) {
  return [
    h("h2", {}, "Steps"),
    table(
      "Steps",
      [
        { heading: "When", cell: (each) => ago(each.at) },
        { heading: "Who", class: "long", cell: (each) => each.who },
        { heading: "Done", class: "figure", cell: (each) => number(each.done) },
        { heading: "Failed", class: "figure", cell: (each) => number(each.failed) },
        { heading: "State", cell: (each) => each.state },
        {
          heading: "Detail",
          class: "long",
          cell: (each) => (isKnown(each.detail) ? brief(each.detail, 400) : "–"),
        },
      ],
      act.steps,
      (each) => each.step ?? each.at,
    ),
  ];
}
