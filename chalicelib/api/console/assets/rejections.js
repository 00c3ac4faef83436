// Rejected writes: by cause, then one by one.
import { read, segment, withQuery } from "./api.js";
import { actions } from "./bulk.js";
import { empty, failed, load, loading, unknowns } from "./dialog.js";
import { announce, h, render, repeat, table } from "./dom.js";
import { filterOf, filterOfCause, form } from "./filters.js";
import { ago, brief, number, unknown, writes } from "./format.js";
import { cause, name, open as openOne, standing } from "./rejection.js";
import { changes, isOver } from "./running.js";

const SECONDS = 15;
const PAGE = 50;

export const title = "Rejections";

export function open(area, { id, query }, signal) {
  return id ? openOne(area, id, signal) : list(area, filterOf(query), signal);
}

async function list(area, filter, signal) {
  const causes = h("div", { class: "stack" });
  const found = h("div", { class: "stack" });
  const state = {
    filter,
    signal,
    causes,
    found,
    rows: [],
    next: null,
    error: null,
    matching: null,
  };
  state.renew = () => renewCauses(state);
  const submitted = (entered) => {
    location.hash = withQuery("#/rejections", entered);
  };
  area.replaceChildren(h("h1", { tabindex: -1 }, title), form(filter, submitted), causes, found);
  render(found, loading("rejections"));
  changes.addEventListener(
    "change",
    ({ detail }) => {
      if (isOver(detail)) reload(state);
    },
    { signal },
  );
  more(state);
  await repeat(SECONDS, state.renew, signal);
}

function reload(state) {
  Object.assign(state, { rows: [], next: null });
  state.renew();
  more(state);
}

function renewCauses(state) {
  const ask = () => read("rejections/causes", state.filter, state);
  return load(state.causes, "causes", ask, (answer) => shownCauses(state, answer), state.signal);
}

function shownCauses(state, { causes: all, unknown: gaps }) {
  const matching = all.reduce((total, each) => total + each.writes, 0);
  if (state.matching === null) announce(`${writes(matching)} match.`);
  state.matching = matching;
  if (!all.length) return null;
  return [
    h(
      "div",
      { class: "title" },
      h("h2", {}, writes(matching), state.filter.state ? "" : " to be put right"),
      actions(state),
    ),
    table(
      "Causes",
      [
        {
          heading: "Cause",
          cell: (each) => h("a", { href: narrowed(state.filter, each) }, cause(each)),
        },
        { heading: "Resource", cell: resource },
        { heading: "Writes", class: "figure", cell: (each) => number(each.writes) },
        { heading: "Open", class: "figure", cell: (each) => number(each.open) },
        { heading: "First", cell: (each) => ago(each.first_at) },
        { heading: "Last", cell: (each) => ago(each.last_at) },
      ],
      all,
      (each) =>
        JSON.stringify([each.resource, each.type, each.constraint, each.column, each.sqlstate]),
    ),
    unknowns(gaps),
  ];
}

function narrowed(filter, cause) {
  return withQuery("#/rejections", { ...filter, ...filterOfCause(cause) });
}

function resource(each) {
  return each.resource ?? unknown("the message could not be read");
}

async function more(state) {
  const query = { ...state.filter, limit: PAGE, cursor: state.next };
  try {
    const answer = await read("rejections", query, { signal: state.signal, hasRows: true });
    state.rows.push(...answer.rejections);
    Object.assign(state, { next: answer.next, error: null });
  } catch (error) {
    if (error.name === "AbortError") return;
    state.error = error;
  }
  if (!state.signal.aborted) render(state.found, shownList(state));
}

function shownList(state) {
  const again = () => more(state);
  if (state.error && !state.rows.length) return failed(state.error, again);
  if (!state.rows.length) return empty("No rejected write matches these filters.");
  return [
    h("h2", {}, "One by one"),
    table(
      "Rejections",
      [
        {
          heading: "Write",
          cell: (each) => [
            h("a", { href: `#/rejections/${segment(each.id)}` }, name(each)),
            h("small", {}, ago(each.rejected_at)),
          ],
        },
        { heading: "Cause", cell: cause },
        { heading: "Reason", class: "long", cell: (each) => brief(each.reason, 200) },
        { heading: "Row", class: "long", cell: (each) => h("code", {}, preview(each)) },
        { heading: "State", cell: standing },
      ],
      state.rows,
      (each) => each.id,
    ),
    state.error && failed(state.error, again),
    state.next &&
      !state.error &&
      h("button", { type: "button", id: "show-more", onclick: again }, "Show more"),
  ];
}

function preview({ row, body }) {
  return brief(row ?? body ?? "");
}
