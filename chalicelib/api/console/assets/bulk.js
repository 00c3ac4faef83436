// What is done to all writes that a filter finds: resend, discard, download.
import { page, withQuery } from "./api.js";
import { confirm, failed, note } from "./dialog.js";
import { announce, h, render } from "./dom.js";
import { asBody, inWords } from "./filters.js";
import { number, writes } from "./format.js";
import { begin } from "./running.js";

const TYPES = { ndjson: "application/x-ndjson", csv: "text/csv" };
const PAGE = 1000;

// state: of the list, with filter, matching (the number that is shown), renew and signal.
export function actions(state) {
  const isOpen = !state.filter.state && state.matching > 0;
  const button = (text, onclick, attributes) =>
    h("button", { type: "button", onclick, ...attributes }, text);
  return h(
    "div",
    { class: "buttons" },
    isOpen && button("Resend all …", () => all(state, "resend"), { id: "resend-all" }),
    isOpen && button("Discard all …", () => all(state, "discard"), { id: "discard-all" }),
    button("NDJSON", () => download(state, "ndjson"), {
      "aria-label": "Download all as NDJSON",
    }),
    button("CSV", () => download(state, "csv"), { "aria-label": "Download all as CSV" }),
    h("div", { class: "outcome", id: "bulk-outcome", keep: true }),
  );
}

const MEANINGS = {
  resend:
    "Each is sent again as it is, through the buffer of its resource, and counts once however often that happens.",
  discard: "They are kept, with who discarded them, when and why; they are not open any more.",
};

async function all(state, kind) {
  const { filter, matching } = state;
  const verb = kind === "resend" ? "Resend" : "Discard";
  const entered = await confirm({
    title: `${verb} ${writes(matching)}?`,
    text: [`Filter: ${inWords(filter)}.`, MEANINGS[kind]],
    fields: [note()],
    action: `${verb} ${writes(matching)}`,
  });
  if (!entered) return;
  try {
    await begin({ kind, filter: asBody(filter), note: entered.note, expect: matching });
  } catch (error) {
    render(outcome(), failed(error));
    state.renew();
  }
}

function outcome() {
  return document.getElementById("bulk-outcome");
}

async function download(state, format) {
  const stop = new AbortController();
  const signal = AbortSignal.any([state.signal, stop.signal]);
  const report = (length) =>
    render(
      outcome(),
      h("span", { class: "figure" }, `${number(length / 1e6)} MB loaded`),
      h("button", { type: "button", onclick: () => stop.abort() }, "Cancel"),
    );
  try {
    const parts = await pages(state.filter, format, signal, report);
    save(new Blob(parts, { type: TYPES[format] }), `rejections.${format}`);
    render(outcome());
    announce("The download is complete.");
  } catch (error) {
    if (state.signal.aborted) return;
    render(
      outcome(),
      error.name === "AbortError" ? "" : failed(error, () => download(state, format)),
    );
  }
}

// All pages of a filter; of CSV, only the first has the names of the columns.
async function pages(filter, format, signal, report) {
  const parts = [];
  let length = 0;
  for (let cursor; cursor !== null;) {
    report(length);
    const path = withQuery("rejections", { ...filter, limit: PAGE, cursor });
    const { text, next } = await page(path, TYPES[format], signal);
    parts.push(format === "csv" && parts.length ? text.slice(text.indexOf("\n") + 1) : text);
    length += text.length;
    cursor = next;
  }
  return parts;
}

function save(blob, name) {
  const link = h("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}
