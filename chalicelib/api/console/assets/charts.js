// Charts of values over time, each with a sentence and a table that say the same.
import { h, render, table } from "./dom.js";
import { clock, exact, isKnown, unknown } from "./format.js";

const HEIGHT = 150;
const ROWS = 60; // most of the table
const SHORTEST = 300; // seconds that a chart covers at least
const drawn = new Set();
const DARK = matchMedia("(prefers-color-scheme: dark)");

// Canvases know no style sheets, so colours are looked up when a chart is drawn.
function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

// id: of its place on the page, unique. series: label, colour (a variable of the style sheet), dash,
// fill, isFixed (of a value that does not vary), gap (what null means, "not known"). format: a value → text. note: what a reader has to
// know. Returns {place, show}. place(): the element in which the chart appears. show(times, values):
// times in seconds since the epoch, values: a list for each series, null where one is not known.
export function chart(id, title, series, format, note) {
  const area = h("div", { class: "canvas", "aria-hidden": "true", keep: true });
  const summary = h("p", { class: "summary" });
  const rows = h("div", {
    class: "scroll",
    tabindex: 0,
    role: "region",
    "aria-label": `Values of ${title}`,
  });
  const more = h("details", {}, h("summary", {}, "As a table"), rows);
  const figure = h(
    "figure",
    { class: "chart" },
    h("figcaption", {}, h("h3", {}, title), legend(series), summary),
    area,
    more,
  );
  const state = { area, series, format, data: null, plot: null };
  const list = () => {
    if (more.open) render(rows, values(title, series, state.data, format));
  };
  more.addEventListener("toggle", list);
  drawn.add(state);
  new ResizeObserver(() => resize(state)).observe(area);
  return {
    place: () => h("div", { id: `chart-${id}`, key: id, keep: true }),
    show(times, lists) {
      const place = document.getElementById(`chart-${id}`);
      if (!place.firstChild) place.append(figure);
      state.data = [times, ...lists];
      render(summary, sentence(series, state.data, format), note ? ` ${note}` : "");
      draw(state);
      list();
    },
  };
}

function legend(series) {
  return h(
    "ul",
    { class: "legend" },
    series.map((each) =>
      h(
        "li",
        {},
        h("span", {
          class: `line ${each.colour} ${each.dash ? "dashed" : ""}`,
          "aria-hidden": "true",
        }),
        each.label,
      ),
    ),
  );
}

function draw(state) {
  if (!state.area.clientWidth) return;
  if (state.plot) state.plot.setData(drawable(state.data));
  else state.plot = new uPlot(options(state), drawable(state.data), state.area);
}

// A single moment makes no span of time, so it gets a neighbour of which nothing is known.
function drawable([times, ...lists]) {
  if (times.length !== 1) return [times, ...lists];
  return [[times[0] - SHORTEST, times[0]], ...lists.map(([value]) => [null, value])];
}

function resize(state) {
  const width = state.area.clientWidth;
  if (!width || !state.data) return;
  if (state.plot) state.plot.setSize({ width, height: HEIGHT });
  else draw(state);
}

function redraw() {
  for (const state of drawn) {
    state.plot?.destroy();
    state.plot = null;
    if (state.data && state.area.isConnected) draw(state);
    else if (!state.area.isConnected) drawn.delete(state);
  }
}
DARK.addEventListener("change", redraw);

function options({ area, series, format }) {
  const quiet = colour("quiet");
  const grid = { stroke: colour("line"), width: 1 };
  const axis = {
    stroke: quiet,
    grid,
    ticks: { show: false },
    font: "12px system-ui, sans-serif",
  };
  return {
    width: area.clientWidth,
    height: HEIGHT,
    legend: { show: false },
    cursor: { y: false, drag: { setScale: false } },
    scales: {
      x: { range: (_, first, last) => span(first, last) },
      y: { range: (_, low, high) => [0, high > 0 ? high * 1.1 : 1] },
    },
    axes: [
      {
        ...axis,
        grid: { show: false },
        size: 28,
        space: 70,
        values: (_, times) => times.map((time) => clock(time * 1000)),
      },
      { ...axis, size: 56, space: 34, values: (_, all) => all.map((value) => format(value)) },
    ],
    series: [{}, ...series.map(line)],
    hooks: { setCursor: [(plot) => point(plot, series, format)] },
    padding: [8, 8, 0, 0],
  };
}

// A chart that has only begun grows into the last minutes, instead of being stretched.
function span(first, last) {
  const end = last ?? Date.now() / 1000;
  return [Math.min(first ?? end, end - SHORTEST), end];
}

function line({ colour: name, dash, fill }) {
  return {
    stroke: colour(name),
    width: 2,
    dash: dash ? [5, 4] : undefined,
    fill: fill ? colour(`${name}-fill`) : undefined,
    points: { show: (plot, at) => isLonely(plot.data[at]), size: 5 },
  };
}

// A value without neighbours makes no line.
function isLonely(values) {
  return values.filter(isKnown).length < 2;
}

function point(plot, series, format) {
  const at = plot.cursor.idx;
  plot.root.parentElement.title = isKnown(at)
    ? [
        clock(plot.data[0][at] * 1000),
        ...series.map((each, index) => valueOf(each, plot.data[index + 1][at], format)),
      ].join(" · ")
    : "";
}

function valueOf(each, value, format) {
  return `${each.label} ${isKnown(value) ? format(value) : (each.gap ?? "not known")}`;
}

function sentence(series, [, ...lists], format) {
  const parts = series.map((each, at) => {
    const known = lists[at].filter(isKnown);
    if (!lists[at].length) return `${each.label}: not known yet.`;
    if (!known.length) return `${each.label}: ${each.gap ?? "not known yet"}.`;
    const last = lists[at].at(-1);
    const now = isKnown(last) ? format(last) : (each.gap ?? "not known now");
    return each.isFixed
      ? `${each.label} ${now}.`
      : `${each.label} ${now}, at most ${format(Math.max(...known))}.`;
  });
  return parts.join(" ");
}

function values(title, series, [times, ...lists], format) {
  const places = times
    .map((_, at) => at)
    .slice(-ROWS)
    .reverse();
  const columns = [
    {
      heading: "Time",
      cell: (at) => h("time", { title: exact(times[at] * 1000) }, clock(times[at] * 1000)),
    },
    ...series.map((each, index) => ({
      heading: each.label,
      class: "figure",
      cell: (at) =>
        isKnown(lists[index][at]) ? format(lists[index][at]) : (each.gap ?? unknown()),
    })),
  ];
  return table(title, columns, places, (at) => times[at]);
}
