// Finds writes, and shows the life of one.
import { accounts } from "./accounts.js";
import { filledIn, read, segment, withQuery } from "./api.js";
import { empty, failed, field, load, loading, unknowns } from "./dialog.js";
import { h, render, table } from "./dom.js";
import { local } from "./filters.js";
import { ago, isKnown, moment, number, unknown, visible, writes } from "./format.js";
import { emptyKey, resourceList } from "./resources.js";

const PAGE = 50;
const HOUR = 3600_000;

export const title = "Find";

export async function open(area, { id, query }, signal) {
  if (id) return timeline(area, id, signal);
  const found = h("div", { class: "stack" });
  area.replaceChildren(
    h("h1", { tabindex: -1 }, title),
    h("div", { class: "columns" }, byReceipt(), byKey(query), byTime(query), byHour(query)),
    found,
  );
  if (!Object.keys(query).length) return;
  if (query.hour) return accounts(found, query.hour, signal);
  const state = { found, query, signal, rows: [], next: null, error: null };
  render(found, loading("writes"));
  await more(state);
}

function search(label, submitted, ...controls) {
  const submit = (event) => {
    event.preventDefault();
    submitted(filledIn(event.target));
  };
  return h(
    "form",
    { class: "card stack", "aria-label": label, onsubmit: submit },
    h("h2", {}, label),
    controls,
    h("div", { class: "buttons" }, h("button", { type: "submit" }, "Find")),
  );
}

function byReceipt() {
  return search(
    "By receipt",
    ({ receipt }) => {
      location.hash = `#/find/${segment(receipt)}`;
    },
    field(
      "Receipt, or ID of a message",
      h("input", {
        name: "receipt",
        required: true,
        autocomplete: "off",
        spellcheck: "false",
      }),
    ),
  );
}

function resource(value, attributes) {
  return field(
    "Resource",
    h("input", {
      name: "resource",
      list: "resources",
      required: true,
      autocomplete: "off",
      value: value ?? "",
      ...attributes,
    }),
  );
}

function byKey({ key, resource: of }) {
  const suggest = async ({ target }) => {
    const field = target.form.elements.key;
    if (!field.value) field.value = await emptyKey(target.value);
  };
  return search(
    "By key",
    (entered) => {
      location.hash = withQuery("#/find", entered);
    },
    resource(key && of, { onchange: suggest }),
    resourceList(),
    field(
      "Key of the row, as JSON",
      h("input", {
        name: "key",
        required: true,
        autocomplete: "off",
        spellcheck: "false",
        value: key ?? "",
      }),
    ),
  );
}

function byTime({ since, until, key, resource: of }) {
  const time = (value) => new Date(value).toISOString();
  const input = (name, value) =>
    h("input", { name, type: "datetime-local", step: 1, required: true, value });
  const go = (entered) => {
    location.hash = withQuery("#/find", {
      resource: entered.resource,
      since: time(entered.since),
      until: time(entered.until),
    });
  };
  return search(
    "By time",
    go,
    resource(key ? "" : of),
    field("Since", input("since", local(since ?? Date.now() - HOUR))),
    field("Until", input("until", local(until ?? Date.now()))),
  );
}

// Hours are those of UTC, as a time zone may begin its own in between.
function byHour({ hour }) {
  const last = new Date(Math.floor(Date.now() / HOUR - 1) * HOUR).toISOString();
  const value = (hour ?? last).slice(0, 16);
  const input = h("input", {
    name: "hour",
    type: "datetime-local",
    step: 3600,
    required: true,
    value,
  });
  const go = (entered) => {
    location.hash = withQuery("#/find", { hour: `${entered.hour.slice(0, 16)}:00Z` });
  };
  return search("Is anything missing?", go, field("Hour, in UTC", input));
}

async function more(state) {
  try {
    const answer = await read("writes", { ...state.query, limit: PAGE, cursor: state.next }, state);
    state.rows.push(...answer.writes);
    Object.assign(state, { next: answer.next, error: null, unknown: answer.unknown ?? [] });
  } catch (error) {
    if (error.name === "AbortError") return;
    state.error = error;
  }
  if (!state.signal.aborted) render(state.found, shown(state));
}

function shown(state) {
  const again = () => more(state);
  if (state.error && !state.rows.length) return failed(state.error, again);
  return [
    h("h2", {}, "Messages"),
    state.rows.length ? messages(state.rows) : empty("None was found."),
    state.error && failed(state.error, again),
    state.next &&
      !state.error &&
      h("button", { type: "button", id: "show-more", onclick: again }, "Show more"),
    unknowns(state.unknown),
  ];
}

function messages(rows) {
  return table(
    "Messages",
    [
      {
        heading: "Message",
        cell: ({ id }) => h("a", { href: `#/find/${segment(id)}` }, h("code", {}, id)),
      },
      {
        heading: "Resource",
        cell: (each) => each.resource ?? unknown("messages of older versions do not say"),
      },
      { heading: "Writes", class: "figure", cell: (each) => number(each.writes) },
      { heading: "Accepted", cell: (each) => ago(each.accepted_at) },
      {
        heading: "Poured",
        cell: (each) => (isKnown(each.poured_at) ? ago(each.poured_at) : "not yet"),
      },
      {
        heading: "Rejected",
        class: "figure",
        cell: (each) => (isKnown(each.rejected) ? number(each.rejected) : unknown()),
      },
      {
        heading: "Waiting",
        class: "figure",
        cell: (each) => (isKnown(each.waiting) ? number(each.waiting) : unknown()),
      },
    ],
    rows,
    (each) => each.id,
  );
}

async function timeline(area, id, signal) {
  const body = h("div", { class: "stack" });
  area.replaceChildren(
    h("p", {}, h("a", { href: "#/find" }, "← Find")),
    h("h1", { tabindex: -1 }, "Timeline"),
    body,
  );
  await load(
    body,
    "the timeline",
    () => read(`writes/${segment(id)}`, {}, { signal, hasRows: true }),
    life,
    signal,
  );
}

function life({ id, resource: of, events, unknown: gaps }) {
  return [
    h("p", {}, of ?? unknown(), " · ", h("code", {}, id)),
    events.length
      ? h("ol", { class: "timeline" }, events.map(event))
      : empty("Nothing is known of it."),
    h(
      "p",
      {},
      h(
        "a",
        { href: `#/rejections?${new URLSearchParams({ receipt: id, state: "all" })}` },
        "Its rejections",
      ),
    ),
    unknowns(gaps),
  ];
}

function event({ at, what, detail, item, writes: many, act, other }) {
  const place = isKnown(item) && `${many > 1 ? "from " : ""}item ${item}`;
  const count = [isKnown(many) && writes(many), place].filter(Boolean).join(", ");
  const link = (href, text) => h("p", {}, h("a", { href }, text));
  return h(
    "li",
    {},
    moment(at),
    h(
      "div",
      {},
      h("strong", {}, what.replace("-", " ")),
      count && ` ${count}`,
      detail && h("p", {}, visible(detail)),
      isKnown(other) &&
        link(`#/find/${segment(other)}`, `${what.split("-")[1] ?? "as"} this message`),
      isKnown(act) && link(`#/acts/${segment(act)}`, "by this act"),
    ),
  );
}
