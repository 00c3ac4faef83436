// Shows the view that the address names.
import * as acts from "./acts.js";
import { forget, isSupported } from "./api.js";
import * as deadLetters from "./dead-letters.js";
import { message } from "./dialog.js";
import { h } from "./dom.js";
import * as find from "./find.js";
import { renewTimes } from "./format.js";
import * as overview from "./overview.js";
import * as rejections from "./rejections.js";

const VIEWS = { overview, rejections, find, "dead-letters": deadLetters, acts };
const TIMES_EVERY = 5000; // ms
let left = new AbortController();
let before = null;

// #/view/id?query
function address() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [view, id] = path.split("/");
  const name = Object.hasOwn(VIEWS, view) ? view : "overview";
  return {
    name,
    id: id ? decoded(id) : null,
    query: Object.fromEntries(new URLSearchParams(query ?? "")),
  };
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a stray % in an address that was typed
  }
}

function show() {
  const { name, id, query } = address();
  const view = VIEWS[name];
  const place = `${name}/${id ?? ""}`;
  const focused = before === place ? document.activeElement?.id : null;
  left.abort();
  left = new AbortController();
  document.title = `${view.title} · Decanter`;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.view === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const area = h("div", { class: "view" });
  document.getElementById("main").replaceChildren(area);
  view.open(area, { id, query }, left.signal);
  focus(area, focused);
  before = place;
}

// After a change of the view, people who do not see it are at its heading; otherwise they stay.
function focus(area, focused) {
  if (before === null) return;
  const heading = area.querySelector("h1");
  const same = focused && document.getElementById(focused);
  (same || heading)?.focus({ preventScroll: Boolean(same) });
  if (!same) scrollTo(0, 0);
}

function start() {
  if (!isSupported()) {
    document
      .getElementById("main")
      .append(
        message(
          "This browser is too old for this page, which needs a version of 2025 or later: an older one would change digits of large numbers.",
        ),
      );
    return;
  }
  const leave = document.getElementById("leave");
  leave.hidden = false;
  leave.addEventListener("click", () => {
    forget();
    location.reload();
  });
  document
    .getElementById("skip")
    .addEventListener("click", () => document.getElementById("main").focus());
  addEventListener("hashchange", show);
  setInterval(renewTimes, TIMES_EVERY);
  show();
}

start();
