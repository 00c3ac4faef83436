// One rejected write: understand it, edit it, try it, send it again, or discard it.
import { act, parse, read, segment } from "./api.js";
import { confirm, failed, load, message, note, unknowns } from "./dialog.js";
import { announce, h, render } from "./dom.js";
import { ago, isKnown, jsonText, unknown, visible } from "./format.js";
import { begin, changes, isOver } from "./running.js";

// Edits that were not sent yet, by rejection: they survive a look at another view.
const drafts = new Map();

export function cause({ type, constraint, column }) {
  const where = constraint ?? column;
  return where ? `${type}: ${where}` : type;
}

export function name({ op, resource }) {
  return `${op ?? "message"} ${resource ?? "that cannot be read"}`;
}

export function standing({ correction }) {
  if (!correction) return "open";
  return correction.kind === "discard" ? "discarded" : "resent";
}

export async function open(area, id, signal) {
  const body = h("div", { class: "stack" });
  area.replaceChildren(
    h("p", {}, h("a", { href: "#/rejections" }, "← Rejections")),
    h("h1", { tabindex: -1 }, "Rejected write"),
    body,
  );
  const ask = () => read(`rejections/${segment(id)}`, {}, { signal, hasRows: true });
  const renew = () =>
    load(body, "the rejected write", ask, (found) => shown(found, signal), signal);
  changes.addEventListener(
    "change",
    ({ detail }) => {
      if (isOver(detail)) renew();
    },
    { signal },
  );
  await renew();
}

function shown(found, signal) {
  if (found.correction) drafts.delete(found.id);
  return [
    h("p", { class: "reason" }, h("strong", {}, found.type), " ", visible(found.reason)),
    facts(found),
    isKnown(found.row) ? editor(found, signal) : withoutRow(found, signal),
  ];
}

function facts(found) {
  const fact = (label, value) => h("div", { key: label }, h("dt", {}, label), h("dd", {}, value));
  return h(
    "dl",
    { class: "facts" },
    fact("Write", name(found)),
    fact("Rejected", ago(found.rejected_at)),
    found.constraint && fact("Constraint", h("code", {}, found.constraint)),
    found.column && fact("Column", h("code", {}, found.column)),
    found.sqlstate && fact("SQLSTATE", h("code", {}, found.sqlstate)),
    fact("Item of its request", found.item),
    fact("Caller", found.caller ?? unknown("older messages do not say")),
    fact("State", state(found)),
    fact("Message", h("a", { href: `#/find/${segment(found.dedup_id)}` }, "its timeline")),
  );
}

function state(found) {
  const { correction } = found;
  if (!correction) return "open";
  return [
    standing(found),
    " ",
    ago(correction.at),
    ", ",
    h("a", { href: `#/acts/${segment(correction.act)}` }, "by this act"),
    correction.resent_as && [
      ", ",
      h("a", { href: `#/find/${segment(correction.resent_as)}` }, "as this message"),
    ],
  ];
}

// A message that could not be read, or a row that is too large for an answer.
function withoutRow(found, signal) {
  const isRow = !isKnown(found.body);
  return [
    h("h2", {}, isRow ? "Row" : "Message"),
    isRow ? unknowns(found.unknown) : h("pre", { tabindex: 0 }, visible(found.body)),
    !found.correction && buttons(isRow && resending(found, signal), discarding(found)),
    outcome(),
  ];
}

function resending(found, signal) {
  const onclick = () => resend(found, signal);
  return [
    h("button", { type: "button", id: "try", onclick: () => rehearse(found, signal) }, "Try"),
    h("button", { type: "button", id: "resend", class: "primary", onclick }, "Resend …"),
  ];
}

function discarding(found) {
  return h("button", { type: "button", id: "discard", onclick: () => discard(found) }, "Discard …");
}

function buttons(...all) {
  return h("div", { class: "buttons" }, all);
}

function outcome() {
  return h("div", { id: "outcome", class: "stack", keep: true });
}

function say(...content) {
  render(document.getElementById("outcome"), ...content);
}

function editor(found, signal) {
  const sent = jsonText(found.row, 2);
  if (found.correction) return [h("h2", {}, "Row"), h("pre", { tabindex: 0 }, sent), outcome()];
  const text = h("textarea", {
    id: "row",
    rows: Math.min(24, sent.split("\n").length + 1),
    spellcheck: "false",
    autocomplete: "off",
    "aria-describedby": "row-state",
    value: drafts.get(found.id) ?? sent,
    oninput: ({ target }) => edited(found, sent, target),
  });
  const restore = () => {
    const area = document.getElementById("row");
    area.value = sent;
    edited(found, sent, area);
    area.focus();
  };
  return [
    h("label", { for: "row", class: "heading" }, "Row, as it was sent"),
    text,
    h("p", { id: "row-state", class: "note", keep: true }, difference(found, sent, text.value)),
    buttons(
      resending(found, signal),
      discarding(found),
      h(
        "button",
        {
          type: "button",
          id: "restore",
          class: "quiet",
          hidden: !drafts.has(found.id),
          onclick: restore,
        },
        "Undo edit",
      ),
    ),
    outcome(),
  ];
}

function edited(found, sent, area) {
  if (area.value === sent) drafts.delete(found.id);
  else drafts.set(found.id, area.value);
  const fault = faultOf(area.value);
  area.setAttribute("aria-invalid", fault ? "true" : "false");
  document.getElementById("restore").hidden = !drafts.has(found.id);
  render(document.getElementById("row-state"), difference(found, sent, area.value));
}

function faultOf(text) {
  try {
    const row = parse(text);
    return row && typeof row === "object" && !Array.isArray(row) ? null : "A row is a JSON object.";
  } catch (error) {
    return `This is not JSON: ${error.message}`;
  }
}

// In words, what was edited.
function difference(found, sent, text) {
  const fault = faultOf(text);
  if (fault) return fault;
  const row = parse(text);
  const names = [...new Set([...Object.keys(found.row), ...Object.keys(row)])];
  const changed = names.filter(
    (each) => JSON.stringify(found.row[each]) !== JSON.stringify(row[each]),
  );
  return changed.length ? `Edited: ${changed.join(", ")}.` : "Not edited.";
}

// The edited row, undefined where nothing was edited, or null where it is no row.
function edit(found) {
  const text = drafts.get(found.id);
  if (text === undefined) return undefined;
  const fault = faultOf(text);
  if (!fault) return parse(text);
  say(message(fault));
  document.getElementById("row").focus();
  return null;
}

async function tried(found, row, signal) {
  const write = row === undefined ? { id: found.id } : { id: found.id, row };
  const { outcomes } = await act("try", { writes: [write] }, { signal, hasRows: true });
  return outcomes[0];
}

async function rehearse(found, signal) {
  const row = edit(found);
  if (row === null) return;
  say(
    h(
      "p",
      { class: "loading", "aria-busy": "true" },
      "Trying it in a transaction that is rolled back …",
    ),
  );
  try {
    const result = await tried(found, row, signal);
    say(message(verdict(result), h("p", {}, changed(result))));
    announce(verdict(result));
  } catch (error) {
    if (error.name !== "AbortError") say(failed(error));
  }
}

function verdict({ outcome: what, type, reason }) {
  if (what === "applied") return "It would be applied now.";
  const because = [type, reason].filter(isKnown).map(visible).join(": ");
  return what === "waiting" ? `It would wait. ${because}` : `It would be rejected. ${because}`;
}

function changed({ changed_since: isChanged, changed_at: at }) {
  if (isChanged === false) return "Its row has not been changed since.";
  if (!isChanged) return ["Whether its row has been changed since is ", unknown(), "."];
  return [
    h("strong", {}, "Its row has been changed since"),
    isKnown(at) ? [", ", ago(at)] : "",
    "; this write would come on top of that.",
  ];
}

async function resend(found, signal) {
  const row = edit(found);
  if (row === null) return;
  say(h("p", { class: "loading", "aria-busy": "true" }, "Trying it first …"));
  let result;
  try {
    result = await tried(found, row, signal);
  } catch (error) {
    if (error.name !== "AbortError") say(failed(error));
    return;
  }
  say();
  const title = row === undefined ? "Resend this write?" : "Resend this write as edited?";
  const entered = await confirm({
    title,
    text: [verdict(result), h("p", {}, changed(result))],
    fields: [note()],
    action: "Resend",
  });
  if (!entered) return;
  const rows = row === undefined ? {} : { rows: { [found.id]: row } };
  await perform(found, { kind: "resend", ids: [found.id], ...rows, note: entered.note });
}

async function discard(found) {
  const text = ["It is kept, with who discarded it, when and why."];
  const entered = await confirm({
    title: "Discard this write?",
    text,
    fields: [note()],
    action: "Discard",
  });
  if (entered) await perform(found, { kind: "discard", ids: [found.id], note: entered.note });
}

async function perform(found, body) {
  try {
    await begin(body);
    say();
  } catch (error) {
    say(failed(error));
  }
}

addEventListener("beforeunload", (event) => {
  if (drafts.size) event.preventDefault();
});
