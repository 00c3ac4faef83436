// What the page has seen since it was opened, of figures that nobody keeps.

const MOST = 720; // an hour, at one every five seconds
export const since = new Date().toISOString();
const times = [];
const series = new Map();

export function sample({ at, buffers, connections, budget }) {
  const time = new Date(at) / 1000;
  if (times.length && time <= times.at(-1)) return;
  const known = (connections ?? []).map((each) => each.in_use).filter((value) => value !== null);
  const seen = { "in use": known.length ? known.reduce((a, b) => a + b, 0) : null, budget };
  for (const { name, queued } of buffers) seen[name] = queued;
  for (const name of Object.keys(seen))
    if (!series.has(name))
      series.set(
        name,
        times.map(() => null),
      );
  times.push(time);
  for (const [name, values] of series) values.push(seen[name] ?? null);
  while (times.length > MOST) for (const values of [times, ...series.values()]) values.shift();
}

// The times, and the values of each of these names; null where one is not known.
export function sampled(...names) {
  return [[...times], names.map((name) => [...(series.get(name) ?? times.map(() => null))])];
}
