"""What all pictures that matplotlib draws have in common. It is not needed for anything else."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from decanter.planning.documents import PlanningError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOTS = 110
"""Of a PNG, an inch."""

_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "decanter",
    "font.family": "sans-serif",
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
# The same picture is the same file, whenever and by whatever version it is drawn.
_METADATA: dict[str, dict[str, Any]] = {
    ".svg": {"Date": None, "Creator": None},
    ".png": {"Software": None},
}


def check(what: str, otherwise: str = "") -> None:
    """Raises PlanningError where there is no matplotlib. what: needs it. otherwise: what else would
    do, as the end of the sentence."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise PlanningError(
            f"{what} needs matplotlib: run pip install -r requirements-dev.txt{otherwise}."
        ) from None


@contextmanager
def figure(width: float, height: float) -> Iterator["Figure"]:
    """Provide a figure to draw and to save within the block. width, height: in inches."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_SETTINGS):
        yield Figure(figsize=(width, height), layout="constrained")


def save(drawn: "Figure", path: Path, **metadata: str) -> None:
    """Write a figure as SVG or PNG, as the end of the file's name says. metadata: more of it."""
    suffix = path.suffix.lower()
    said: Any = {**_METADATA[suffix], **metadata}
    drawn.savefig(path, format=suffix[1:], metadata=said, facecolor="white", dpi=DOTS)
