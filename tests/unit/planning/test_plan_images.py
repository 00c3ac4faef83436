"""Pictures in files: SVG and PNG."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from decanter.planning import images
from decanter.planning.documents import PlanningError
from tests.kit.planned_day import ORDERED, OUTCOME, PROFILE


def test_a_png_is_drawn_with_what_it_shows_in_words(tmp_path: Path) -> None:
    path = tmp_path / "day.png"

    images.write(PROFILE, OUTCOME, path)

    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = (int.from_bytes(data[at : at + 4]) for at in (16, 20))
    assert (width, height) == (880, 550)
    assert b"ordered: lag p50 0.5 s, p99 2 s, at most 40 s" in data
    assert b"The database is out for 10 minutes from 12:00 on." in data


def test_another_day_is_another_png(tmp_path: Path) -> None:
    one, other, same = (tmp_path / f"{name}.png" for name in ("one", "other", "same"))

    images.write(PROFILE, OUTCOME, one)
    images.write(PROFILE, OUTCOME, same)
    calm = replace(ORDERED, backlog=((0.0, 0.0),), lags=((0.0, 0.4),))
    images.write(PROFILE, replace(OUTCOME, buffers=(calm,)), other)

    assert one.read_bytes() == same.read_bytes() != other.read_bytes()


@pytest.mark.parametrize("buffers", [(), (replace(ORDERED, backlog=(), lags=()),)])
def test_a_day_without_points_is_drawn_too(buffers: tuple[()], tmp_path: Path) -> None:
    images.write(
        replace(PROFILE, outage=None), replace(OUTCOME, buffers=buffers), tmp_path / "a.png"
    )

    assert (tmp_path / "a.png").stat().st_size


@pytest.mark.parametrize("name", ["day.SVG", "day.svg"])
def test_an_svg_is_text(name: str, tmp_path: Path) -> None:
    images.write(PROFILE, OUTCOME, tmp_path / name)

    assert (tmp_path / name).read_text().startswith("<svg")


def test_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanningError, match=r"day\.jpg .*let its name end with \.svg or \.png"):
        images.write(PROFILE, OUTCOME, tmp_path / "day.jpg")


def test_a_png_without_matplotlib_is_refused_with_the_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    with pytest.raises(PlanningError, match=r"pip install -r requirements-dev\.txt"):
        images.write(PROFILE, OUTCOME, tmp_path / "day.png")
