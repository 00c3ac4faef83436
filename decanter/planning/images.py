"""A picture of a plan as the end of its file's name says: SVG, or PNG with matplotlib."""

from pathlib import Path
from typing import TYPE_CHECKING

from decanter.planning import pictures, plotting
from decanter.planning.documents import PlanningError
from decanter.planning.outcome import Outcome
from decanter.planning.profile import DAY_SECONDS, Profile

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ENDINGS = (".svg", ".png")


def check(path: Path) -> None:
    """Raises PlanningError for a file that `write` cannot draw, before anything is simulated."""
    if path.suffix.lower() not in ENDINGS:
        raise PlanningError(
            f"{path} is no picture that can be drawn: let its name end with {' or '.join(ENDINGS)}."
        )
    if path.suffix.lower() == ".png":
        plotting.check(str(path), ", or name a file that ends with .svg")


def write(profile: Profile, outcome: Outcome, path: Path) -> None:
    """Draw lag and backlog over the day. Raises PlanningError for a file that cannot be drawn."""
    check(path)
    if path.suffix.lower() == ".svg":
        path.write_text(pictures.draw(profile, outcome), encoding="utf-8")
    else:
        _write_png(profile, outcome, path)


def _write_png(profile: Profile, outcome: Outcome, path: Path) -> None:
    buffers = [each for each in outcome.buffers if each.messages]
    with plotting.figure(8, 5) as figure:
        upper, lower = figure.subplots(2, 1, sharex=True)
        figure.suptitle(pictures.TITLE, fontweight="bold", fontsize=12)
        for each in buffers:
            _line(upper, each.name, each.lags)
            _line(lower, each.name, each.backlog)
        _goal(upper, profile, [lag for each in buffers for _, lag in each.lags])
        _outage(profile, upper, lower)
        lower.set(ylabel="backlog (messages)", xlabel="time of the day", ylim=(0, None))
        lower.set(xlim=(0, DAY_SECONDS), xticks=range(0, DAY_SECONDS + 1, 10_800))
        lower.set_xticklabels([f"{hour:02}:00" for hour in range(0, 25, 3)])
        words = pictures.describe(profile, buffers)
        plotting.save(figure, path, Title=pictures.TITLE, Description=words)


def _line(axes: "Axes", name: str, series: pictures.Series) -> None:
    points = [
        *pictures.thinned(series, plotting.DOTS * 8),
        (DAY_SECONDS, series[-1][1] if series else 0.0),
    ]
    seconds, values = zip(*points, strict=True)
    colour = pictures.COLOURS[name]
    axes.step(seconds, values, where="post", color=colour, linewidth=1.8, label=name)


def _goal(axes: "Axes", profile: Profile, lags: list[float]) -> None:
    goal = profile.lag_p99_seconds
    label = f"goal for p99: {goal:g} s"
    axes.axhline(goal, color=pictures.GREY, linewidth=1, linestyle=":", label=label)
    levels = pictures.decades(pictures.LOWEST_LAG, max([goal, *lags]))
    axes.set_yscale("log")
    axes.set(ylabel="lag (s)", ylim=(levels[0], levels[-1]))
    axes.legend(loc="upper right", frameon=False)


def _outage(profile: Profile, *panels: "Axes") -> None:
    """A band where the database is out."""
    if profile.outage is None:
        return
    begin, seconds = profile.outage
    for axes in panels:
        axes.axvspan(begin, min(DAY_SECONDS, begin + seconds), color="#fee2e2", zorder=0)
    place = panels[0].get_xaxis_transform()
    panels[0].text(begin, 1.01, "database out", color=pictures.RED, transform=place, va="bottom")
