"""Caps that a plan has found, written into .chalice/config.json."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from decanter.planning.caps import edited, write
from decanter.planning.documents import PlanningError
from decanter.planning.plan import Limit, Plan
from decanter.planning.profile import Profile, Rate
from tests.kit import planned_day
from tests.kit.planned import capacity, drain

CONFIG = """{ "version": "2.0",
  "stages": {
    "dev": {"environment_variables": {"DECANTER_QUEUES": "d"},
      "lambda_functions": {
        "drain_ordered":   { "reserved_concurrency": 4, "lambda_timeout": 30 }
      }},
    "prod": {"environment_variables": { "DECANTER_ORDERED_CAP": "8" } }
  }
}
"""
PLAN = Plan(
    replace(planned_day.PROFILE, connections=18),
    capacity(drain("ordered", cap=4, connections=4), drain("unordered"), drain("stream")),
    planned_day.OUTCOME,
    (),
    Limit(1, "", 1, {}, ()),
    {"ordered": 3, "unordered": 2, "stream": 1},
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / ".chalice").mkdir()
    (tmp_path / ".chalice/config.json").write_text(CONFIG)
    return tmp_path


def test_caps_of_used_drains_are_written_and_nothing_else(project: Path) -> None:
    difference = write(project, "dev", PLAN)

    written = (project / ".chalice/config.json").read_text()
    expected = json.loads(CONFIG)
    stage = expected["stages"]["dev"]
    stage["environment_variables"] |= {"DECANTER_ORDERED_CAP": "3", "DECANTER_UNORDERED_CAP": "2"}
    stage["lambda_functions"]["drain_ordered"]["reserved_concurrency"] = 3
    stage["lambda_functions"]["drain_unordered"] = {"reserved_concurrency": 2}
    assert json.loads(written) == expected
    assert '"drain_ordered":   { "reserved_concurrency": 3, "lambda_timeout": 30 }' in written
    assert '-        "drain_ordered":   { "reserved_concurrency": 4' in difference
    assert '"prod"' not in difference.replace(' "prod": {"environment_variables"', "")


def test_writing_again_changes_nothing(project: Path) -> None:
    write(project, "dev", PLAN)

    assert write(project, "dev", PLAN) == ""


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (replace(PLAN, caps={**PLAN.caps, "ordered": None}), "with no cap does the buffer ordered"),
        (
            replace(PLAN, profile=replace(PLAN.profile, connections=15)),
            "the functions may hold 8 connections, and 16 while two versions run side by side; the"
            " database grants 15",
        ),
    ],
)
def test_caps_that_do_not_suffice_are_not_written(plan: Plan, said: str, project: Path) -> None:
    with pytest.raises(PlanningError, match="Nothing is written") as caught:
        write(project, "dev", plan)

    assert said in str(caught.value)
    assert (project / ".chalice/config.json").read_text() == CONFIG


@pytest.mark.parametrize(
    ("text", "place", "after"),
    [
        ('{"a": 1}', ["a"], '{"a": 2}'),
        ('{"a":{"b" : 1 ,"c":[1, {"b": 3}]}}', ["a", "b"], '{"a":{"b" : 2 ,"c":[1, {"b": 3}]}}'),
        ('{"\\u0061": "}"}', ["a"], '{"\\u0061": 2}'),
        ("{}", ["a"], '{"a": 2}'),
        ('{\n  "a": {"b": 1}\n}\n', ["a", "c"], '{\n  "a": {"b": 1,"c": 2}\n}\n'),
        ('{\n  "b": 1\n}\n', ["a", "c"], '{\n  "b": 1,\n  "a": {"c": 2}\n}\n'),
    ],
)
def test_a_value_is_set_and_the_rest_stays_as_it_is(
    text: str, place: list[str], after: str
) -> None:
    assert edited(text, place, 2) == after


def test_a_profile_that_grants_nothing_known_is_written(project: Path) -> None:
    unknown = Profile((Rate(0, 1),), (), 1.0, "us-east-1")

    assert write(project, "dev", replace(PLAN, profile=unknown))
