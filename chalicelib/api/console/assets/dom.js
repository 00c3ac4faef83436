// Elements from data, as text and never as markup, and their update in place: what has the focus,
// what is open and what was typed stays as it is.

// Handlers of events, by property such as onclick, so that an update can exchange them.
const handlers = new WeakMap();

// attributes: names and values; `true` is an attribute without a value, and null or false leaves
// it out. on…: a handler. key: tells elements of one parent apart. keep: an update leaves the
// children of this element alone.
export function h(tag, attributes, ...children) {
  const node = document.createElement(tag);
  const own = {};
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name === "key") node.key = value;
    else if (name === "keep") node.keep = true;
    else if (name.startsWith("on")) own[name] = node[name] = value;
    else if (name === "value") node.value = node.shown = value;
    else if (value !== null && value !== undefined && value !== false) {
      node.setAttribute(name, value === true ? "" : value);
    }
  }
  handlers.set(node, own);
  node.append(...flat(children));
  return node;
}

function flat(children) {
  return children
    .flat(Infinity)
    .filter((child) => child !== null && child !== undefined && child !== false)
    .map((child) => (child instanceof Node ? child : String(child)));
}

// Makes the children of an element these, and touches no more than what differs.
export function render(parent, ...children) {
  const wanted = document.createElement(parent.tagName);
  wanted.append(...flat(children));
  updateChildren(parent, wanted);
}

// What stays is not moved where that can be avoided, as an element that is moved loses the focus.
function updateChildren(old, wanted) {
  const keys = new Set([...wanted.childNodes].map((child) => child.key));
  for (const child of [...old.childNodes]) if (!keys.has(child.key)) child.remove();
  const rest = [...old.childNodes];
  let last = null;
  for (const child of [...wanted.childNodes]) {
    const found = take(rest, child);
    const next = last ? last.nextSibling : old.firstChild;
    last = found ?? child;
    if (last !== next) old.insertBefore(last, next);
    if (found) update(found, child);
  }
  for (const child of rest) child.remove();
}

// Takes the element that becomes the wanted one out of the rest, and removes those before it that
// have no key: they are gone. Undefined if there is none.
function take(rest, wanted) {
  const at = rest.findIndex((each) => isAlike(each, wanted));
  if (at < 0) return undefined;
  const [found] = rest.splice(at, 1);
  if (wanted.key !== undefined) return found;
  const skipped = rest.slice(0, at).filter((each) => each.key === undefined);
  for (const each of skipped) {
    rest.splice(rest.indexOf(each), 1);
    each.remove();
  }
  return found;
}

function isAlike(old, wanted) {
  return (
    old.nodeType === wanted.nodeType && old.tagName === wanted.tagName && old.key === wanted.key
  );
}

function update(old, wanted) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== wanted.data) old.data = wanted.data;
    return;
  }
  updateAttributes(old, wanted);
  const before = handlers.get(old) ?? {};
  const after = handlers.get(wanted) ?? {};
  for (const name of Object.keys({ ...before, ...after })) old[name] = after[name] ?? null;
  handlers.set(old, after);
  if (wanted.shown !== old.shown) {
    old.shown = wanted.shown;
    if (old.value !== wanted.value) old.value = wanted.value;
  }
  if (!old.keep && old.tagName !== "TEXTAREA") updateChildren(old, wanted);
}

function updateAttributes(old, wanted) {
  for (const { name } of [...old.attributes]) {
    const isOwn = name === "open" && (old.tagName === "DETAILS" || old.tagName === "DIALOG");
    if (!wanted.hasAttribute(name) && !isOwn) old.removeAttribute(name);
  }
  for (const { name, value } of wanted.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
}

// A table with a caption. columns: heading, `cell` (of an item) → what is shown, `class`; the first
// column is the heading of its row. Roles are named because narrow screens show rows as blocks,
// for which browsers would drop them.
export function table(caption, columns, items, key = (_, place) => place) {
  const heads = columns.map((column) =>
    h("th", { scope: "col", role: "columnheader", class: column.class }, column.heading),
  );
  const body = items.map((item, place) =>
    h(
      "tr",
      { key: key(item, place), role: "row" },
      columns.map((column, at) => cell(column, item, at)),
    ),
  );
  return h(
    "table",
    { role: "table" },
    h("caption", { class: "unseen" }, caption),
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, heads)),
    h("tbody", { role: "rowgroup" }, body),
  );
}

function cell(column, item, at) {
  const attributes = { class: column.class, "data-heading": column.heading };
  const content = h("div", {}, column.cell(item));
  return at === 0
    ? h("th", { ...attributes, scope: "row", role: "rowheader" }, content)
    : h("td", { ...attributes, role: "cell" }, content);
}

// Says to users of screen readers what their act has led to.
export function announce(text) {
  document.getElementById("announcer").textContent = text;
}

// Does something again and again until the signal aborts, not while the tab is hidden.
// seconds: between the end of one time and the next.
export async function repeat(seconds, task, signal) {
  while (!signal.aborted) {
    if (document.hidden) await shown(signal);
    if (signal.aborted) return;
    await task();
    await pause(seconds, signal);
  }
}

export function pause(seconds, signal) {
  return new Promise((done) => {
    const timer = setTimeout(done, seconds * 1000);
    signal?.addEventListener(
      "abort",
      () => {
        clearTimeout(timer);
        done();
      },
      { once: true },
    );
  });
}

function shown(signal) {
  return new Promise((done) => {
    document.addEventListener("visibilitychange", done, { once: true, signal });
    signal.addEventListener("abort", done, { once: true });
  });
}
