// Questions to the operator before something is changed, and messages about what went wrong.
import { changeToken } from "./api.js";
import { h, render } from "./dom.js";
import { sentence, visible } from "./format.js";

// title: the question. text: what it means, paragraphs. fields: elements of a form. action: what
// the button says. Returns what was entered, by name, or null.
export function confirm({ title, text = [], fields = [], action }) {
  // One of its own: the browser tells of a close later, when the next question may stand already.
  const dialog = h("dialog", { "aria-labelledby": "dialog-title" });
  return new Promise((done) => {
    let entered = null;
    const form = h(
      "form",
      {
        onsubmit: (event) => {
          event.preventDefault();
          entered = Object.fromEntries(new FormData(event.target));
          dialog.close();
        },
      },
      h("h2", { id: "dialog-title" }, title),
      text.map((each) => (each instanceof Node ? each : h("p", {}, each))),
      fields,
      h(
        "div",
        { class: "buttons" },
        h("button", { type: "button", onclick: () => dialog.close() }, "Cancel"),
        h("button", { type: "submit", class: "primary" }, action),
      ),
    );
    dialog.append(form);
    dialog.onclose = () => {
      dialog.remove();
      done(entered);
    };
    document.body.append(dialog);
    dialog.showModal();
  });
}

export function note() {
  return field(
    "Why (kept with the act)",
    h("input", { name: "note", maxlength: 500, autocomplete: "off" }),
  );
}

// A label and its control.
export function field(label, control, hint) {
  return h(
    "label",
    { class: "field" },
    h("span", {}, label),
    control,
    hint && h("small", {}, hint),
  );
}

export function message(text, ...more) {
  return h("div", { class: "message" }, h("p", {}, h("strong", {}, text)), more);
}

export function loading(what) {
  return h("p", { class: "loading", "aria-busy": "true" }, `Loading ${what} …`);
}

export function empty(text) {
  return h("p", { class: "empty" }, text);
}

// What an operator can do about a call that failed. again: tries once more.
export function failed(error, again) {
  const other = async () => {
    await changeToken();
    again?.();
  };
  return h(
    "div",
    { class: "message bad", role: "alert" },
    h("p", {}, h("strong", {}, heading(error))),
    h("p", {}, sentence(visible(error.message))),
    faults(error),
    h(
      "div",
      { class: "buttons" },
      again && h("button", { type: "button", onclick: again }, "Try again"),
      error.kind === "scope" &&
        h("button", { type: "button", onclick: other }, "Use another token"),
    ),
  );
}

function heading(error) {
  const known = {
    offline: "No answer",
    scope: "Not allowed with this token",
    busy: "Busy at the moment",
    missing: "Not there",
    conflict: "Something has changed in the meantime",
    invalid: "Not accepted",
  };
  return known[error.kind] ?? "This did not work";
}

function faults({ faults: listed = [] }) {
  if (!listed.length) return null;
  return h(
    "ul",
    {},
    listed.map((fault) => h("li", {}, h("code", {}, fault.pointer), ` ${visible(fault.detail)}`)),
  );
}

// What is not known at the moment, and why. all: of an answer.
export function unknowns(all) {
  if (!all?.length) return null;
  return h(
    "dl",
    { class: "unknowns" },
    all.map(({ what, why }) =>
      h("div", { key: what }, h("dt", {}, h("code", {}, what), " is not known"), h("dd", {}, why)),
    ),
  );
}

// Draws a part of the page from an answer: loading, then the answer or what went wrong. ask: →
// the answer. show: the answer → elements.
export async function load(area, what, ask, show, signal) {
  if (!area.firstChild) render(area, loading(what));
  try {
    const answer = await ask();
    if (!signal.aborted) render(area, show(answer));
  } catch (error) {
    if (signal.aborted || error.name === "AbortError") return;
    render(
      area,
      failed(error, () => load(area, what, ask, show, signal)),
    );
  }
}
