// Calls to /ops, which is beside the page.

const BASE = new URL("ops/", location.origin + location.pathname);
const SECONDS = 40; // longer than API Gateway waits for an answer
const KEPT = "decanter-token";

let token = sessionStorage.getItem(KEPT);
let login = null; // of the user: a promise, while it is under way

// A call that did not succeed. kind: offline, scope, busy, missing, conflict, invalid or failed.
// faults: where and what is wrong with what was sent. wait: seconds after which to try again.
export class CallFailed extends Error {
  constructor(kind, message, { status = 0, faults = [], wait = null, type = "" } = {}) {
    super(message);
    Object.assign(this, { kind, status, faults, wait, type });
  }
}

// options: signal; hasRows: numbers in the answer keep all their digits; key: an Idempotency-Key.
export function read(path, query = {}, options = {}) {
  return call("GET", withQuery(path, query), options);
}

export function act(path, body, options = {}) {
  return call("POST", path, { ...options, body });
}

// Parameters that are null or undefined are left out; an empty text is a value.
export function withQuery(path, query) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined);
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

// The fields of a form that were filled in.
export function filledIn(form) {
  const fields = [...new FormData(form)].map(([name, value]) => [name, value.trim()]);
  return Object.fromEntries(fields.filter(([, value]) => value));
}

// A part of a path. `.` and `..` would be taken for folders.
export function segment(text) {
  return encodeURIComponent(text).replace(/^\.+$/, (dots) => dots.replaceAll(".", "%2E"));
}

export function forget() {
  token = null;
  sessionStorage.removeItem(KEPT);
}

async function call(method, path, options) {
  const answer = await send(method, path, options);
  const body = await text(answer);
  return options.hasRows ? parse(body) : JSON.parse(body);
}

// The answer as text: {text, next}, next: the cursor of the following page or null.
export async function page(path, type, signal) {
  const answer = await send("GET", path, { signal, type });
  return { text: await text(answer), next: following(answer) };
}

function following(answer) {
  const link = /<[^>]*\?([^>]*)>\s*;\s*rel="?next"?/.exec(answer.headers.get("Link") ?? "");
  return link && new URLSearchParams(link[1]).get("cursor");
}

async function send(method, path, options) {
  for (;;) {
    const used = token;
    const answer = await fetched(method, path, options);
    const problem = answer.ok ? null : await problemOf(answer);
    if (!problem) return answer;
    if (!needsLogin(answer, problem, used)) throw failure(answer, problem);
    if (token === used) await askForToken(used ? OVER : FIRST);
  }
}

async function fetched(method, path, { body, signal, type, key }) {
  const headers = { Accept: type ?? "application/json" };
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (key) headers["Idempotency-Key"] = `"${key}"`;
  const limit = AbortSignal.timeout(SECONDS * 1000);
  try {
    return await fetch(new URL(path, BASE), {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      // The browser would send along what opened this page.
      credentials: "omit",
      cache: "no-store",
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
    });
  } catch (error) {
    throw interrupted(error);
  }
}

function text(answer) {
  return answer.text().catch((error) => {
    throw interrupted(error);
  });
}

function interrupted(error) {
  if (error.name === "AbortError") return error;
  if (error.name === "TimeoutError") {
    return new CallFailed("offline", `The API has not answered within ${SECONDS} s.`);
  }
  return new CallFailed("offline", "The API cannot be reached from this browser.");
}

async function problemOf(answer) {
  try {
    return JSON.parse(await answer.text());
  } catch {
    return {};
  }
}

// API Gateway itself answers 403 without a type, for credentials that open no such path.
function needsLogin(answer, problem, used) {
  return answer.status === 401 || (answer.status === 403 && !used && !problem.type);
}

function failure(answer, problem) {
  const { status } = answer;
  const message = problem.detail ?? problem.message ?? `The API answers ${status}.`;
  const kinds = {
    403: "scope",
    404: "missing",
    409: "conflict",
    429: "busy",
    502: "busy",
    503: "busy",
    504: "busy",
  };
  const kind = kinds[status] ?? (status < 500 ? "invalid" : "failed");
  const wait = Number(answer.headers.get("Retry-After")) || null;
  const type = (problem.type ?? "").split(":").pop();
  return new CallFailed(kind, message, { status, faults: problem.errors ?? [], wait, type });
}

// JSON whose numbers are written again as they were, such as 0.10, 1e2, and those that have more
// digits than JavaScript's.
export function parse(text) {
  return JSON.parse(text, (_, value, { source }) =>
    typeof value === "number" && String(value) !== source ? JSON.rawJSON(source) : value,
  );
}

export function isSupported() {
  return typeof JSON.rawJSON === "function" && typeof AbortSignal.any === "function";
}

export function changeToken() {
  return askForToken("Paste a token with the scope that is needed.");
}

const FIRST = "Paste a token to see what this stage does.";
const OVER = "The token is not valid here, or not any more.";

function askForToken(reason) {
  login ??= new Promise((done) => {
    const dialog = document.getElementById("login");
    const form = document.getElementById("login-form");
    const field = document.getElementById("token");
    document.getElementById("login-reason").textContent = reason;
    dialog.onclose = () => {
      if (login && !dialog.open) dialog.showModal();
    }; // nothing can be shown without one
    form.onsubmit = (event) => {
      event.preventDefault();
      token = field.value.trim().replace(/^Bearer\s+/i, "");
      sessionStorage.setItem(KEPT, token);
      field.value = "";
      login = null;
      dialog.close();
      done();
    };
    if (!dialog.open) dialog.showModal();
    field.focus();
  });
  return login;
}
