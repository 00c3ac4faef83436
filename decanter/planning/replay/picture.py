"""The picture of replays: lag and backlog, predicted beside measured."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from decanter.planning import plotting
from decanter.planning.pictures import COLOURS, GREY
from decanter.planning.replay.figures import PouredMessage, backlog

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from decanter.planning.replay.verify import Verified


class _Row(NamedTuple):
    """A buffer of a profile. predicted, measured: its messages."""

    title: str
    buffer: str
    predicted: Sequence[PouredMessage]
    measured: Sequence[PouredMessage]


def check() -> None:
    """Raises PlanningError where there is no matplotlib."""
    plotting.check("The picture of a replay")


def write(found: Sequence["Verified"], path: Path) -> None:
    """Draw replays, as SVG or PNG. Raises PlanningError."""
    check()
    rows = [*_rows(found)]
    with plotting.figure(11, 2.6 * len(rows) + 0.6) as figure:
        figure.suptitle("Lag and backlog: predicted and measured", fontweight="bold")
        panels = figure.subplots(len(rows), 2, squeeze=False)
        for row, (lags, waiting) in zip(rows, panels, strict=True):
            _draw(row, lags, waiting)
        for each in panels[-1]:
            each.set_xlabel("seconds of the replay")
        plotting.save(figure, path)


def _rows(found: Sequence["Verified"]) -> Iterator[_Row]:
    for each in found:
        for buffer in sorted({message.buffer for message in each.predicted.messages}):
            predicted, measured = each.predicted.of(buffer), each.measured.of(buffer)
            yield _Row(f"{each.name}: {buffer}", buffer, predicted, measured)


def _draw(row: _Row, lags: "Axes", waiting: "Axes") -> None:
    styles: tuple[tuple[str, Sequence[PouredMessage], dict[str, Any]], ...] = (
        ("measured", row.measured, {"color": COLOURS[row.buffer], "linewidth": 1.8}),
        ("predicted", row.predicted, {"color": GREY, "linewidth": 1.2, "linestyle": "--"}),
    )
    for label, messages, style in styles:
        if messages:
            seconds = [each.poured for each in messages]
            lags.step(seconds, [each.lag for each in messages], where="post", label=label, **style)
        times, values = zip(*backlog(messages), strict=True)
        waiting.step(times, values, where="post", label=label, **style)
    lags.set(ylabel="lag (s)", title=row.title, ylim=(0, None))
    waiting.set(ylabel="backlog (messages)", ylim=(0, None))
    lags.legend(loc="upper right", frameon=False)
