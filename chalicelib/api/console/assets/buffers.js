// The buffers, each with what waits in it; pause and resume.
import { confirm, note } from "./dialog.js";
import { announce, h } from "./dom.js";
import { clock, count, duration, isKnown, seconds, sentence, unknown } from "./format.js";
import { begin } from "./running.js";

// A card. why: the name of a figure → why it is not known. fail: shows an error.
export function buffer(each, why, fail) {
  const { name } = each;
  const of = (what) => why(`buffers.${name}.${what}`);
  const fact = (label, value) => h("div", {}, h("dt", {}, label), h("dd", {}, value));
  const oldest =
    each.queued === 0 && !isKnown(each.oldest_seconds)
      ? "–"
      : duration(each.oldest_seconds, of("oldest_seconds"));
  return h(
    "article",
    { class: "card", key: name, "aria-label": `Buffer ${name}` },
    h("div", { class: "title" }, h("h3", {}, name), standing(each.mapping, of("mapping"))),
    h(
      "dl",
      {},
      fact("Queued", count(each.queued, of("queued"))),
      fact("In flight", count(each.in_flight, of("in_flight"))),
      fact("Oldest", oldest),
      fact("Dead letters", count(each.dead_letters, of("dead_letters"))),
    ),
    estimate(each.estimate),
    each.mapping && steering(each, fail),
  );
}

function standing(mapping, why) {
  if (!mapping) return h("span", { class: "state" }, "State ", unknown(why));
  if (mapping.paused) return h("span", { class: "state attention" }, "Paused");
  const isWell = mapping.state === "Enabled";
  return h(
    "span",
    { class: isWell ? "state" : "state attention" },
    isWell ? "Pouring" : mapping.state,
  );
}

function estimate(given) {
  if (!given) return h("p", { class: "note" }, "When it is poured is ", unknown(), ".");
  const basis = sentence(given.basis);
  if (!isKnown(given.seconds) || given.seconds === 0) return h("p", { class: "note" }, basis);
  const at = given.at ? `, at ${clock(given.at)}` : "";
  const text = `What waits now is poured in about ${seconds(given.seconds)}${at}.`;
  return h("details", { class: "note" }, h("summary", {}, text), h("p", {}, basis));
}

function steering(each, fail) {
  const text = each.mapping.paused ? "Resume" : "Pause";
  const named = h("span", { class: "unseen" }, ` ${each.name}`);
  return h("button", { type: "button", onclick: () => change(each, fail) }, text, named);
}

const MEANINGS = {
  Pause: "Nothing of it is poured until it is resumed. Writes go on being accepted, and wait.",
  Resume: "What waits in it is poured again.",
};

async function change({ name, mapping }, fail) {
  const action = mapping.paused ? "Resume" : "Pause";
  const text = [MEANINGS[action]];
  const entered = await confirm({ title: `${action} ${name}?`, text, fields: [note()], action });
  if (!entered) return;
  try {
    await begin({ kind: action.toLowerCase(), buffer: name, note: entered.note });
    announce(`${action} of ${name} has begun.`);
  } catch (error) {
    fail(error);
  }
}
