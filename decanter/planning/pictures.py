"""The picture of a plan: lag and backlog over the day, as SVG, which needs no library."""

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from math import ceil, floor, log10
from typing import NamedTuple

from decanter.planning.outcome import BufferOutcome, Outcome
from decanter.planning.profile import DAY_SECONDS, Profile

TEAL, RED, AMBER, GREY = "#0f766e", "#b91c1c", "#d97706", "#4b5563"

TITLE = "Lag and backlog over the day"

Series = Sequence[tuple[float, float]]
"""Points: the second of the day, and a value that holds until the next one."""

COLOURS = {"ordered": TEAL, "unordered": AMBER, "stream": RED}
_WIDTH, _HEIGHT = 880, 520
_LEFT, _RIGHT = 76.0, 860.0
LOWEST_LAG = 0.1
"""In seconds. The scale is logarithmic: in an outage, lags are thousands of times as long."""
_FONT = "font-family='sans-serif' font-size='13'"


class Panel(NamedTuple):
    """One of the two diagrams. top, bottom: of its axes, in pixels. lowest: the value at the bottom
    of a logarithmic scale; 0: the scale is linear. limit: a line across, with its label."""

    label: str
    top: float
    bottom: float
    lines: Sequence[tuple[str, Series]]
    lowest: float = 0.0
    limit: tuple[float, str] | None = None

    @property
    def ticks(self) -> list[float]:
        """The values of the lines across; the last one is at the top."""
        values = [value for _, series in self.lines for _, value in series]
        highest = max([*values, self.limit[0] if self.limit else 0.0])
        return decades(self.lowest, highest) if self.lowest else ticks(highest)

    def y(self, value: float) -> float:
        """Where a value is, in pixels."""
        highest = self.ticks[-1]
        if self.lowest:
            height = log10(max(value, self.lowest) / self.lowest) / log10(highest / self.lowest)
        else:
            height = value / highest
        return self.bottom - (self.bottom - self.top) * min(1.0, height)


def draw(profile: Profile, outcome: Outcome) -> str:
    """The picture as SVG, with what it shows as its description."""
    buffers = [each for each in outcome.buffers if each.messages]
    goal = profile.lag_p99_seconds
    panels = (
        Panel(
            "lag (s)",
            78,
            258,
            [(each.name, each.lags) for each in buffers],
            LOWEST_LAG,
            (goal, f"goal for p99: {goal:g} s"),
        ),
        Panel("backlog (messages)", 302, 462, [(each.name, each.backlog) for each in buffers]),
    )
    body = [*_outage(profile, panels), *(part for each in panels for part in _panel(each))]
    return "\n".join(
        [
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {_WIDTH} {_HEIGHT}'"
            f" width='{_WIDTH}' height='{_HEIGHT}' role='img' aria-labelledby='title what'",
            f" {_FONT}>",
            f"<title id='title'>{TITLE}</title>",
            f"<desc id='what'>{escape(describe(profile, buffers))}</desc>",
            f"<rect width='{_WIDTH}' height='{_HEIGHT}' fill='#ffffff'/>",
            f"<text x='{_LEFT}' y='28' font-size='16' font-weight='bold'>{TITLE}</text>",
            *_legend(buffers),
            *body,
            *_hours(panels),
            "</svg>\n",
        ]
    )


def describe(profile: Profile, buffers: Iterable[BufferOutcome]) -> str:
    """What the picture shows, in words."""
    told = [
        f"{each.name}: lag p50 {each.lag.p50:.3g} s, p99 {each.lag.p99:.3g} s, at most"
        f" {each.lag.most:.3g} s; backlog at most {each.peak_backlog:,.0f} messages at"
        f" {clock(each.peak_second)}, cleared after {each.clear_seconds:,.0f} s."
        for each in buffers
    ]
    outage = profile.outage
    if outage:
        minutes = outage.seconds / 60
        told.append(f"The database is out for {minutes:g} minutes from {clock(outage.second)} on.")
    return " ".join(told) or "No messages wait."


def clock(second: float) -> str:
    """A second of the day as hours and minutes."""
    minutes = int(second) // 60
    return f"{minutes // 60:02}:{minutes % 60:02}"


def ticks(highest: float) -> list[float]:
    """Round values from 0 to the highest or just above it, at most seven."""
    if highest <= 0:
        return [0.0, 1.0]
    power = 10.0 ** floor(log10(highest))
    steps = (power * size for size in (0.1, 0.2, 0.25, 0.5, 1.0, 2.0))
    step = next(each for each in steps if highest / each <= 5.5)
    count = int(-(-highest // step))
    return [round(step * number, 10) for number in range(max(1, count) + 1)]


def decades(lowest: float, highest: float) -> list[float]:
    """Powers of ten from the lowest to the highest or just above it, at least one above."""
    count = max(1, ceil(log10(max(highest, lowest) / lowest)))
    return [lowest * 10**number for number in range(count + 1)]


def thinned(series: Series, columns: int) -> list[tuple[float, float]]:
    """The highest value of each of so many columns of the day, so that no peak is left out."""
    highest: dict[int, tuple[float, float]] = {}
    for second, value in series:
        column = int(second / DAY_SECONDS * columns)
        if column not in highest or value > highest[column][1]:
            highest[column] = (second, value)
    return [highest[column] for column in sorted(highest)]


def _panel(panel: Panel) -> Iterator[str]:
    for value in panel.ticks:
        y = panel.y(value)
        yield (
            f"<path d='M{_LEFT:g} {y:.1f}H{_RIGHT:g}' stroke='#e5e7eb'/>"
            f"<text x='{_LEFT - 8:g}' y='{y + 4:.1f}' text-anchor='end' fill='{GREY}'>"
            f"{value:,g}</text>"
        )
    middle = (panel.top + panel.bottom) / 2
    yield (
        f"<text transform='translate(18 {middle:g}) rotate(-90)' text-anchor='middle'>"
        f"{escape(panel.label)}</text>"
    )
    for name, series in panel.lines:
        yield (
            f"<path d='{_steps(panel, series)}' fill='none' stroke='{COLOURS[name]}'"
            " stroke-width='2' stroke-linejoin='round'/>"
        )
    if panel.limit:
        value, label = panel.limit
        y = panel.y(value)
        yield (
            f"<path d='M{_LEFT:g} {y:.1f}H{_RIGHT:g}' stroke='{GREY}' stroke-dasharray='2 3'/>"
            f"<text x='{_RIGHT:g}' y='{y - 5:.1f}' text-anchor='end' fill='{GREY}'>"
            f"{escape(label)}</text>"
        )


def _steps(panel: Panel, series: Series) -> str:
    points = thinned(series, int(_RIGHT - _LEFT))
    path = ""
    for second, value in points:
        x, y = _x(second), panel.y(value)
        path += f"H{x:.1f}V{y:.1f}" if path else f"M{x:.1f} {y:.1f}"
    return path + f"H{_RIGHT:g}" if path else ""


def _hours(panels: Sequence[Panel]) -> Iterator[str]:
    bottom = panels[-1].bottom
    for hour in range(0, 25, 3):
        x = _x(hour * 3_600)
        yield f"<path d='M{x:.1f} {bottom:g}v5' stroke='{GREY}'/>"
        yield (
            f"<text x='{x:.1f}' y='{bottom + 20:g}' text-anchor='middle' fill='{GREY}'>"
            f"{hour:02}:00</text>"
        )
    middle = (_LEFT + _RIGHT) / 2
    yield f"<text x='{middle:g}' y='{bottom + 44:g}' text-anchor='middle'>time of the day</text>"


def _legend(buffers: Iterable[BufferOutcome]) -> Iterator[str]:
    for number, each in enumerate(buffers):
        x = _LEFT + 110 * number
        yield (
            f"<path d='M{x:g} 48h22' stroke='{COLOURS[each.name]}' stroke-width='3'/>"
            f"<text x='{x + 28:g}' y='52'>{each.name}</text>"
        )


def _outage(profile: Profile, panels: Sequence[Panel]) -> Iterator[str]:
    """A band where the database is out."""
    if profile.outage is None:
        return
    second, seconds = profile.outage
    left, right = _x(second), _x(min(DAY_SECONDS, second + seconds))
    for panel in panels:
        yield (
            f"<rect x='{left:.1f}' y='{panel.top:g}' width='{max(1.0, right - left):.1f}'"
            f" height='{panel.bottom - panel.top:g}' fill='#fee2e2'/>"
        )
    yield f"<text x='{left:.1f}' y='{panels[0].top - 6:g}' fill='{RED}'>database out</text>"


def _x(second: float) -> float:
    return _LEFT + (_RIGHT - _LEFT) * second / DAY_SECONDS
