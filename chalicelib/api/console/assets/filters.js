// Filters of rejections: in the address, in a form, and in words.
import { parse } from "./api.js";
import { field } from "./dialog.js";
import { h } from "./dom.js";
import { exact } from "./format.js";
import { resourceList } from "./resources.js";

const NAMES = ["resource", "type", "constraint", "caller", "receipt", "key", "since", "until", "state"];
const FIRST = ["resource", "type", "state", "since", "until"];
const STATES = [["", "open"], ["resent", "resent"], ["discarded", "discarded"], ["all", "all"]];
const LABELS = {
  resource: "Resource", type: "Type", constraint: "Constraint", caller: "Caller",
  receipt: "Receipt or message ID", key: "Key, as JSON", since: "Since", until: "Until", state: "State",
};

// The filters in a query; others are left out.
export function filterOf(query) {
  return Object.fromEntries(NAMES.filter((name) => query[name]).map((name) => [name, query[name]]));
}

// The same as the members of a body, in which a key is an object.
export function asBody(filter) {
  return filter.key ? { ...filter, key: parse(filter.key) } : filter;
}

// "resource stations, type check"
export function inWords(filter) {
  const parts = Object.entries(filter).map(([name, value]) =>
    `${name} ${name === "since" || name === "until" ? exact(value) : value}`);
  return parts.length ? parts.join(", ") : "no filter: all";
}

// A form with these filters. submitted: is given those that were entered.
export function form(filter, submitted) {
  const submit = (event) => {
    event.preventDefault();
    submitted(entered(new FormData(event.target)));
  };
  const rest = NAMES.filter((name) => !FIRST.includes(name));
  return h("form", { class: "filters", onsubmit: submit, "aria-label": "Filters", role: "search" },
    FIRST.map((name) => control(name, filter)),
    h("details", { open: rest.some((name) => filter[name]) },
      h("summary", {}, "More filters"), h("div", { class: "filters" }, rest.map((name) => control(name, filter)))),
    resourceList(),
    h("div", { class: "buttons" },
      h("button", { type: "submit", id: "apply-filters" }, "Apply"),
      Object.keys(filter).length > 0 && h("a", { href: location.hash.split("?")[0], class: "button" }, "Clear")));
}

function control(name, filter) {
  if (name === "state") {
    return field(LABELS.state, h("select", { name }, STATES.map(([value, text]) =>
      h("option", { value, selected: (filter.state ?? "") === value }, text))));
  }
  const isTime = name === "since" || name === "until";
  const value = isTime && filter[name] ? local(filter[name]) : filter[name] ?? "";
  const hint = { key: "of a resource, such as {\"id\": 1}" }[name];
  return field(LABELS[name], h("input", {
    name, value, type: isTime ? "datetime-local" : "text", step: isTime ? 1 : null,
    list: name === "resource" ? "resources" : null, autocomplete: "off", spellcheck: "false",
  }), hint);
}

function entered(data) {
  const given = NAMES.map((name) => [name, String(data.get(name) ?? "").trim()]).filter(([, value]) => value);
  return Object.fromEntries(given.map(([name, value]) =>
    [name, name === "since" || name === "until" ? new Date(value).toISOString() : value]));
}

// What an input of a local time shows.
export function local(time) {
  const date = new Date(time);
  return new Date(date - date.getTimezoneOffset() * 60000).toISOString().slice(0, 19);
}
