// Figures, times and unknowns as people read them.
import { h } from "./dom.js";

const NUMBERS = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const MOMENT = new Intl.DateTimeFormat("en-GB", {
  day: "numeric",
  month: "short",
  year: "numeric",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
});
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const YEAR = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });

export function isKnown(value) {
  return value !== null && value !== undefined;
}

// What is not known is said so, and never shown as 0. why: the reason, if there is one.
export function unknown(why) {
  return h("span", { class: "unknown", title: why ?? null }, "not known");
}

export function number(value) {
  return NUMBERS.format(value);
}

export function count(value, why) {
  return isKnown(value) ? number(value) : unknown(why);
}

// "1 write", "2 writes"
export function counted(value, one, many = `${one}s`) {
  return `${number(value)} ${value === 1 ? one : many}`;
}

export function writes(value) {
  return counted(value, "write");
}

// A text of the API as a sentence.
export function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1).replace(/[^.!?]$/, "$&.");
}

// 0.42 → "420 ms", 90 → "90 s", 600 → "10 min".
export function seconds(value) {
  if (value === 0) return "0 s";
  if (value < 1) return `${Math.round(value * 1000)} ms`;
  if (value < 10) return `${value.toFixed(1)} s`;
  if (value < 120) return `${Math.round(value)} s`;
  if (value < 7200) return `${Math.round(value / 60)} min`;
  if (value < 172800) return `${Math.round(value / 3600)} h`;
  return `${Math.round(value / 86400)} days`;
}

export function duration(value, why) {
  return isKnown(value) ? seconds(value) : unknown(why);
}

// A time as the distance from now, with the exact one as title.
export function ago(time, why) {
  if (!isKnown(time)) return unknown(why);
  return h(
    "time",
    { datetime: time, title: exact(time), "data-is-relative": true },
    relative(time),
  );
}

export function exact(time) {
  return `${new Date(time).toISOString().replace("T", " ").replace("Z", "")} UTC`;
}

function relative(time) {
  const passed = (Date.now() - new Date(time)) / 1000;
  if (passed < -5) return `in ${seconds(-passed)}`;
  if (passed < 5) return "just now";
  return passed < 172800 ? `${seconds(passed)} ago` : day(time);
}

function day(time) {
  const date = new Date(time);
  const isThisYear = date.getFullYear() === new Date().getFullYear();
  return `${(isThisYear ? DAY : YEAR).format(date)}, ${CLOCK.format(date)}`;
}

// The clock's time in the time zone of the reader.
export function clock(time) {
  return CLOCK.format(new Date(time));
}

// Date and time of an event, to the second.
export function moment(time) {
  if (!isKnown(time)) return unknown();
  return h("time", { datetime: time, title: exact(time) }, MOMENT.format(new Date(time)));
}

// Keeps the times on the page true.
export function renewTimes() {
  for (const node of document.querySelectorAll("time[data-is-relative]")) {
    const text = relative(node.getAttribute("datetime"));
    if (node.textContent !== text) node.textContent = text;
  }
}

// Characters that are not seen, or that change the order of others, as their escapes in JSON.
export function visible(text) {
  return text.replace(
    /[\u0080-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g,
    (found) => `\\u${found.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

// JSON text for people; it means the same.
export function jsonText(value, indent) {
  return visible(JSON.stringify(value, null, indent));
}

// A JSON value, or a text, in one line, shortened.
export function brief(value, most = 160) {
  const text = typeof value === "string" ? visible(value) : jsonText(value);
  return text.length > most ? `${text.slice(0, most)} …` : text;
}
