// Dead letters: a look into them, and their way back.
import { read, segment } from "./api.js";
import { confirm, empty, failed, field, load, note, unknowns } from "./dialog.js";
import { h, render, table } from "./dom.js";
import { ago, count, isKnown, number, unknown } from "./format.js";
import { begin } from "./running.js";

const BUFFERS = ["ordered", "unordered"];
const PACE = 10; // a second, as a start

export const title = "Dead letters";

export async function open(area, { query }, signal) {
  const parts = BUFFERS.map((name) => part(name, signal));
  area.replaceChildren(
    h("h1", { tabindex: -1 }, title),
    h(
      "p",
      { class: "note" },
      "Messages that were delivered again and again without being finished. A look leaves them there, and counts as one more delivery.",
    ),
    parts
      .map((each) => each.node)
      .reduce((all, node) => (all.append(node), all), h("div", { class: "stack" })),
  );
  if (BUFFERS.includes(query.buffer)) await parts[BUFFERS.indexOf(query.buffer)].look();
}

function part(name, signal) {
  const found = h("div", { class: "stack" });
  const said = h("div", { class: "stack" });
  const look = () => {
    found.replaceChildren();
    return load(
      found,
      `dead letters of ${name}`,
      () => read("dead-letters", { buffer: name }, { signal }),
      shown,
      signal,
    );
  };
  const node = h(
    "section",
    { class: "card stack", "aria-labelledby": `dead-${name}` },
    h(
      "div",
      { class: "title" },
      h("h2", { id: `dead-${name}` }, name),
      h(
        "div",
        { class: "buttons" },
        h(
          "button",
          { type: "button", onclick: look },
          "Look into them",
          h("span", { class: "unseen" }, ` of ${name}`),
        ),
        h(
          "button",
          { type: "button", onclick: () => redrive(name, said) },
          "Redrive …",
          h("span", { class: "unseen" }, ` ${name}`),
        ),
      ),
    ),
    said,
    found,
  );
  return { node, look };
}

function shown({ count: all, messages, unknown: gaps }) {
  const known = [
    h(
      "p",
      {},
      "There are ",
      count(all),
      messages.length ? `; these are ${number(messages.length)} of them.` : ".",
    ),
    messages.length ? letters(messages) : empty("None could be looked at."),
  ];
  return [all === 0 ? empty("There are none.") : known, unknowns(gaps)];
}

function letters(messages) {
  return table(
    "Dead letters",
    [
      { heading: "Message", cell: write },
      { heading: "Writes", class: "figure", cell: (each) => count(each.writes) },
      { heading: "Accepted", cell: (each) => ago(each.accepted_at) },
      { heading: "Deliveries", class: "figure", cell: (each) => count(each.receives) },
      { heading: "What a redrive does", cell: fate },
    ],
    messages,
    (each) => each.message_id,
  );
}

function write({ id, message_id: sent, op, resource, reason }) {
  if (!isKnown(id)) return [h("code", {}, sent), h("small", {}, reason ?? "it cannot be read")];
  return [
    h("a", { href: `#/find/${segment(id)}` }, `${op ?? ""} ${resource ?? ""}`.trim() || id),
    h("small", {}, h("code", {}, id)),
  ];
}

function fate({ poured, newer, reason }) {
  if (isKnown(reason)) return `cannot be read: ${reason}`;
  if (poured) return "nothing: it was poured before";
  if (newer) return "rejected as superseded: a newer write to its key was poured";
  if (newer === false) return "it is poured";
  return ["it is poured, unless a newer write was: ", unknown()];
}

async function redrive(name, said) {
  const pace = h("input", {
    name: "pace",
    type: "number",
    min: 1,
    max: 500,
    value: PACE,
    required: true,
  });
  const entered = await confirm({
    title: `Redrive the dead letters of ${name}?`,
    text: [
      "They go back to their queue and are poured as what they were. None overwrites a newer write: such a one is rejected as superseded.",
    ],
    fields: [field("Messages a second", pace), note()],
    action: "Redrive",
  });
  if (!entered) return;
  try {
    const act = await begin({
      kind: "redrive",
      buffer: name,
      per_second: Number(entered.pace),
      note: entered.note,
    });
    render(
      said,
      h("p", {}, "Begun: ", h("a", { href: `#/acts/${segment(act.id)}` }, "progress"), "."),
    );
  } catch (error) {
    render(said, failed(error));
  }
}
