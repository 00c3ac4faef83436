// Filters of rejections: in the address, in a form, and in words.
import { filledIn, parse } from "./api.js";
import { field } from "./dialog.js";
import { h } from "./dom.js";
import { brief, exact } from "./format.js";
import { resourceList } from "./resources.js";

const CAUSE = ["resource", "type", "constraint", "column", "sqlstate"];
const NAMES = [...CAUSE, "state", "since", "until", "receipt", "key", "caller"];
const TIMES = ["since", "until"];
const NONE = "(none)"; // as a field shows the empty text, which finds what has no such member
let isOpen = false; // the form, as the operator has left it
const LABELS = {
  resource: "Resource",
  type: "Type",
  constraint: "Constraint",
  column: "Column",
  sqlstate: "SQLSTATE",
  state: "State",
  since: "Since",
  until: "Until",
  receipt: "Receipt, or ID of a message",
  key: "Key of the row, as JSON",
  caller: "Caller",
};

// The filter in a query; other parameters are left out.
export function filterOf(query) {
  const names = NAMES.filter((name) => query[name] !== undefined);
  return Object.fromEntries(names.map((name) => [name, query[name]]));
}

// The filter that finds one cause.
export function filterOfCause(cause) {
  return Object.fromEntries(
    CAUSE.filter((name) => name in cause).map((name) => [name, cause[name] ?? ""]),
  );
}

// The filter as the member of a body, in which a key is an object.
export function asBody(filter) {
  return filter.key ? { ...filter, key: parse(filter.key) } : filter;
}

// "resource stations, type check"; also of a filter as in a body.
export function inWords(filter) {
  const parts = Object.entries(filter).map(([name, value]) => {
    if (value === "") return `no ${LABELS[name].toLowerCase()}`;
    return `${name} ${TIMES.includes(name) ? exact(value) : brief(value)}`;
  });
  return parts.length ? parts.join(", ") : "none, so all that are open";
}

// A form with this filter. submitted: is given the one that was entered.
export function form(filter, submitted) {
  const submit = (event) => {
    event.preventDefault();
    submitted(entered(event.target));
  };
  const clear = h("a", { href: location.hash.split("?")[0], class: "button" }, "Clear");
  return h(
    "details",
    { class: "filterbox", open: isOpen, ontoggle: ({ target }) => (isOpen = target.open) },
    h("summary", {}, `Filters: ${inWords(filter)}`),
    h(
      "form",
      { class: "filters", onsubmit: submit, "aria-label": "Filters", role: "search" },
      NAMES.map((name) => control(name, filter[name])),
      resourceList(),
      h(
        "div",
        { class: "buttons" },
        h("button", { type: "submit", id: "apply-filters" }, "Apply"),
        Object.keys(filter).length > 0 && clear,
      ),
    ),
  );
}

function control(name, value) {
  if (name === "state") return field(LABELS.state, states(value ?? "open"));
  const attributes = { name, autocomplete: "off", spellcheck: "false" };
  if (TIMES.includes(name)) {
    const shown = value ? local(value) : "";
    const time = h("input", { ...attributes, value: shown, type: "datetime-local", step: 1 });
    return field(LABELS[name], time);
  }
  const list = name === "resource" ? "resources" : null;
  return field(
    LABELS[name],
    h("input", { ...attributes, value: value === "" ? NONE : (value ?? ""), list }),
  );
}

function states(chosen) {
  const names = ["open", "resent", "discarded", "all"];
  const option = (name) => h("option", { value: name, selected: name === chosen }, name);
  return h("select", { name: "state" }, names.map(option));
}

function entered(form) {
  const fields = Object.entries(filledIn(form)).map(([name, value]) => {
    if (TIMES.includes(name)) return [name, new Date(value).toISOString()];
    return [name, value === NONE ? "" : value];
  });
  return Object.fromEntries(fields.filter(([name, value]) => name !== "state" || value !== "open"));
}

// A time as an input of a local time takes it.
export function local(time) {
  const date = new Date(time);
  return new Date(date - date.getTimezoneOffset() * 60000).toISOString().slice(0, 19);
}
