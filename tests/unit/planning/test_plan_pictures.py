"""The picture of lag and backlog over the day."""

import re
from dataclasses import replace
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from decanter.planning import pictures
from tests.kit.planned_day import LAG, ORDERED, OUTCOME, PROFILE

SVG = "{http://www.w3.org/2000/svg}"


def drawn(**changes: object) -> ElementTree.Element:
    return ElementTree.fromstring(pictures.draw(PROFILE, replace(OUTCOME, **changes)))  # type: ignore[arg-type]


def texts(picture: ElementTree.Element) -> list[str]:
    return ["".join(each.itertext()) for each in picture.iter(f"{SVG}text")]


def test_axes_have_their_units_and_buffers_their_names() -> None:
    found = texts(drawn())

    for text in ("lag (s)", "backlog (messages)", "time of the day", "ordered", "unordered",
                 "goal for p99: 5 s", "database out", "00:00", "24:00"):  # fmt: skip
        assert text in found


def test_the_picture_is_told_in_words() -> None:
    picture = drawn()

    assert picture.attrib["role"] == "img"
    named = {each.attrib["id"]: each.text for each in picture if "id" in each.attrib}
    assert picture.attrib["aria-labelledby"].split() == [*named]
    assert "ordered: lag p50 0.5 s, p99 2 s, at most 40 s" in str(named["what"])
    assert "at most 9,000 messages at 12:10, cleared after 200 s" in str(named["what"])
    assert "The database is out for 10 minutes from 12:00 on." in str(named["what"])


def test_a_buffer_without_messages_is_not_drawn() -> None:
    idle = replace(OUTCOME.buffers[1], messages=0.0)

    assert "unordered" not in texts(drawn(buffers=(ORDERED, idle)))


def test_a_day_without_messages_is_drawn_too() -> None:
    assert "lag (s)" in texts(drawn(buffers=()))


def test_without_an_outage_there_is_no_band() -> None:
    calm = pictures.draw(replace(PROFILE, outage=None), OUTCOME)

    assert "database" not in calm


def test_a_name_cannot_break_the_picture() -> None:
    odd = replace(ORDERED, name="ordered", lag=LAG._replace(most=float("inf")))

    assert ElementTree.fromstring(pictures.draw(PROFILE, replace(OUTCOME, buffers=(odd,))))


def test_the_highest_value_reaches_higher_than_all_others_of_its_panel() -> None:
    picture = pictures.draw(PROFILE, OUTCOME)
    paths = re.findall(r"<path d='(M[^']*)' fill='none'", picture)
    tops = [min(float(y) for y in re.findall(r"(?:V|M[\d.]+ )([\d.]+)", path)) for path in paths]

    lags, backlogs = tops[:2], tops[2:]
    assert lags[0] == lags[1] < 258
    assert backlogs[1] < backlogs[0] < 462  # 20,000 messages, and 9,000


def test_no_peak_is_lost_where_points_are_thinned() -> None:
    series = [(float(second), 900.0 if second == 43_201 else 1.0) for second in range(86_400)]

    found = pictures.thinned(series, 100)

    assert len(found) == 100
    assert (43_201.0, 900.0) in found
    assert [second for second, _ in found] == sorted(second for second, _ in found)


def test_a_lag_of_the_goal_and_one_of_an_outage_are_both_seen() -> None:
    picture = pictures.draw(PROFILE, OUTCOME)
    [path] = re.findall(r"<path d='(M[^']*)' fill='none' stroke='#0f766e'", picture)[:1]
    before, peak = (float(y) for y in re.findall(r"(?:V|M[\d.]+ )([\d.]+)", path)[:2])
    [goal] = re.findall(r"<path d='M76 ([\d.]+)H860' stroke='#4b5563' stroke-dasharray", picture)

    # 0.4 s, 5 s and 600 s, from 0.1 s to 1,000 s: four decades of 45 pixels.
    assert (before, float(goal), peak) == pytest.approx((230.9, 181.5, 88.0), abs=0.1)


@pytest.mark.parametrize(
    ("highest", "found"),
    [(0.0, [0.1, 1]), (1.0, [0.1, 1]), (1.1, [0.1, 1, 10]), (90, [0.1, 1, 10, 100])],
)
def test_decades_reach_the_highest(highest: float, found: list[float]) -> None:
    assert pictures.decades(0.1, highest) == pytest.approx(found)


@pytest.mark.parametrize("highest", [0.0, 0.003, 1.0, 4.9, 9.99, 10.0, 47.0, 600.0, 123_456.0])
def test_ticks_are_even_few_and_reach_the_highest(highest: float) -> None:
    found = pictures.ticks(highest)

    assert found[0] == 0
    assert 2 <= len(found) <= 7
    assert found[-2] < highest <= found[-1] or highest == 0
    steps = [other - one for one, other in pairwise(found)]
    assert steps == pytest.approx([steps[0]] * len(steps))
