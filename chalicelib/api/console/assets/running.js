// Acts that this page carries out, step by step, whatever view is open.
import { act as send, segment } from "./api.js";
import { announce, h, pause, render } from "./dom.js";
import { number } from "./format.js";

const MOST_WAIT = 30; // seconds
const TRIES = 3;
// Acts by id: {act, note (what an operator should know), wait (seconds), isLeft (no step is done any
// more), isHalted (by the operator)}.
const running = new Map();
export const changes = new EventTarget(); // "change" with the act as detail

export function isRunning(id) {
  const entry = running.get(id);
  return entry !== undefined && !entry.isLeft;
}

export function isOver(act) {
  return act.state === "done" || act.state === "stopped";
}

// Begins an act and does its steps until it is over. Returns the act as it was begun; raises
// CallFailed if it was not.
export async function begin(body) {
  const act = await sent(body, crypto.randomUUID());
  tell(act);
  if (!isOver(act)) go(act);
  return act;
}

// Trying again is safe, because the key makes it the same act.
async function sent(body, key) {
  for (let tries = 1; ; tries += 1) {
    try {
      return await send("acts", body, { key, hasRows: true });
    } catch (error) {
      if (!isPassing(error) || tries === TRIES) throw error;
      await pause(error.wait ?? tries);
    }
  }
}

function isPassing(error) {
  return error.kind === "offline" || error.kind === "busy";
}

// Does the steps of an act; anybody may go on with one.
export async function go(act) {
  if (isRunning(act.id)) return;
  const entry = { act, note: null, wait: 0, isLeft: false, isHalted: false };
  running.set(act.id, entry);
  while (!isOver(entry.act) && !entry.isLeft) {
    show();
    await step(entry);
  }
  finish(entry);
}

async function step(entry) {
  try {
    const before = entry.act.done + entry.act.failed;
    entry.act = await send(`acts/${segment(entry.act.id)}/steps`, {});
    entry.note = null;
    tell(entry.act);
    // Where nothing has moved, as in a redrive, which SQS does by itself, there is time.
    entry.wait = entry.act.done + entry.act.failed > before ? 0 : 1;
  } catch (error) {
    entry.isLeft = !isPassing(error);
    entry.note = `${entry.isLeft ? "It does not go on" : "Trying again"}: ${error.message}`;
    entry.wait = error.wait ?? Math.min(MOST_WAIT, 2 * Math.max(1, entry.wait));
  }
  show();
  if (!isOver(entry.act) && !entry.isLeft) await pause(entry.wait);
}

// What went as it should is not shown any longer.
function finish(entry) {
  const { act, isHalted } = entry;
  entry.isLeft = true;
  if (isOver(act)) {
    entry.note = [`It is ${act.state}`, progress(act)].filter(Boolean).join(", ");
    if (!act.failed && (isHalted || act.state === "done")) running.delete(act.id);
  }
  announce(`${name(act)}: ${entry.note}.`);
  show();
}

function close({ id }) {
  running.delete(id);
  show();
}

export async function stop(act) {
  const entry = running.get(act.id);
  if (entry) entry.isHalted = true; // before the step that is under way tells it
  const stopped = await send(`acts/${segment(act.id)}/stop`, {});
  if (entry) entry.act = stopped;
  tell(stopped);
  show();
  return stopped;
}

function tell(act) {
  changes.dispatchEvent(new CustomEvent("change", { detail: act }));
}

export function name(act) {
  const kinds = {
    resend: "Resending",
    discard: "Discarding",
    redrive: "Redrive",
    pause: "Pause",
    resume: "Resume",
  };
  return kinds[act.kind] ?? act.kind;
}

// "1,204 of 2,000, 3 failed"; nothing for an act that is not counted.
export function progress(act) {
  if (act.writes === null && !act.done && !act.failed) return "";
  const done = `${number(act.done)}${act.writes === null ? "" : ` of ${number(act.writes)}`}`;
  return act.failed ? `${done}, ${number(act.failed)} failed` : done;
}

export function bar(act) {
  const label = `${name(act)}: ${progress(act)}`;
  const value = act.writes === null ? {} : { max: act.writes || 1, value: act.done + act.failed };
  return h("progress", { ...value, "aria-label": label });
}

function show() {
  const area = document.getElementById("running");
  area.hidden = running.size === 0;
  render(area, [...running.values()].map(line));
}

function line({ act, note, isLeft }) {
  const halt = () => stop(act).catch((failure) => announce(failure.message));
  const onclick = isLeft ? () => close(act) : halt;
  return h(
    "div",
    { class: "running", key: act.id },
    h("a", { href: `#/acts/${segment(act.id)}` }, name(act)),
    bar(act),
    h("span", { class: "figure" }, progress(act)),
    note && h("span", { class: "attention" }, note),
    h("button", { type: "button", onclick }, isLeft ? "Close" : "Stop"),
  );
}

addEventListener("beforeunload", (event) => {
  if ([...running.values()].some((entry) => !entry.isLeft)) event.preventDefault();
});
