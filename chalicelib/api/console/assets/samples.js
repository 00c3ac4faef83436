// What the overview has shown since the page was opened, of figures that nobody keeps.

const MOST = 720; // an hour, at one every five seconds
const GAP = 30; // seconds without a sample, as in a hidden tab, that are shown as not known
export const since = new Date().toISOString();
const times = [];
const series = new Map();

export function sample({ at, buffers, connections, budget }) {
  const time = new Date(at) / 1000;
  if (times.length && time <= times.at(-1)) return;
  const known = (connections ?? []).map((each) => each.in_use).filter((value) => value !== null);
  const seen = { "in use": known.length ? known.reduce((a, b) => a + b, 0) : null, budget };
  for (const { name, queued } of buffers) seen[name] = queued;
  if (times.length && time - times.at(-1) > GAP) push(time - GAP / 2, {});
  push(time, seen);
  while (times.length > MOST) for (const values of [times, ...series.values()]) values.shift();
}

function push(time, seen) {
  for (const name of Object.keys(seen)) {
    if (!series.has(name)) series.set(name, Array(times.length).fill(null));
  }
  times.push(time);
  for (const [name, values] of series) values.push(seen[name] ?? null);
}

// The times, and the values of each of these names; null where one is not known.
export function sampled(...names) {
  const missing = Array(times.length).fill(null);
  return [[...times], names.map((name) => [...(series.get(name) ?? missing)])];
}
