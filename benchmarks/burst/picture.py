"""The picture of a burst: connections and lag over time, all ways in one."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.burst import direct
from benchmarks.burst.outcome import Outcome, Series
from benchmarks.harness import OURS
from decanter.planning import plotting
from decanter.planning.pictures import AMBER, GREY, RED, TEAL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {OURS: TEAL, direct.PER_CONTAINER: RED, direct.PER_REQUEST: AMBER}
LINES = {OURS: 2.5, direct.PER_CONTAINER: 2.0, direct.PER_REQUEST: 1.2}
LEVELS = {OURS: 0.0, direct.PER_CONTAINER: 0.68, direct.PER_REQUEST: 0.34}
"""Of the labels beside the axes, in proportion to their height."""

NAMES = {
    OURS: "Decanter",
    direct.PER_CONTAINER: "direct, one per container",
    direct.PER_REQUEST: "direct, one per request",
}


def draw(outcomes: Mapping[str, Outcome], max_connections: int, paths: Iterable[Path]) -> None:
    """Write the picture of one burst of each way to each path, as its ending says."""
    with plotting.figure(8, 5) as figure:
        _draw(figure, outcomes, max_connections)
        for path in paths:
            plotting.save(figure, path)


def _draw(figure: "Figure", outcomes: Mapping[str, Outcome], max_connections: int) -> None:
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(5, 2))
    clients = len(outcomes[OURS].attempts)
    title = f"{clients:,} clients write at once; each line ends when all rows are stored"
    figure.suptitle(title, fontweight="bold", fontsize=12)
    for way, outcome in outcomes.items():
        _line(upper, way, outcome.connections())
        _label(upper, way, _summary(way, outcome))
    _line(lower, OURS, outcomes[OURS].lag())
    _label(lower, OURS, f"{NAMES[OURS]}\n(direct: no lag)")
    upper.axhline(max_connections, color=GREY, linewidth=1, linestyle=":")
    upper.text(0, max_connections, f" max_connections = {max_connections}", color=GREY, va="bottom")
    upper.set(ylabel="connections", ylim=(0, 1.2 * max_connections))
    lower.set(ylabel="lag (s)", xlabel="time since the burst (s)", ylim=(0, None), xlim=(0, None))


def _line(axes: "Axes", way: str, series: Series) -> None:
    times, values = zip(*series, strict=True)
    axes.step(times, values, where="post", color=COLOURS[way], linewidth=LINES[way])
    axes.plot(times[-1], values[-1], "o", color=COLOURS[way], markersize=5, clip_on=False)


def _label(axes: "Axes", way: str, text: str) -> None:
    """Write to the right of the axes."""
    place = axes.transAxes
    axes.text(1.02, LEVELS[way], text, color=COLOURS[way], transform=place, va="bottom")


def _summary(way: str, outcome: Outcome) -> str:
    failed = sum(outcome.failures().values())
    return (
        f"{NAMES[way]}\nat most {outcome.most_connections} connections\n{failed:,} attempts failed"
    )
