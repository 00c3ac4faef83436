"""What a stage gives to its traffic, as the deployment has it."""

from dataclasses import replace

import pytest

from chalicelib.settings import LANES
from decanter import PROJECT
from decanter.deployment import budget, functions, template
from decanter.deployment.findings import PreflightFailed
from decanter.deployment.stage import Stage, load
from decanter.planning.capacity import SHARDS, of_stage


@pytest.fixture(scope="module")
def stage() -> Stage:
    return load(PROJECT, "dev")


def test_drains_are_as_they_are_deployed(stage: Stage) -> None:
    found = of_stage(stage).drains

    assert [*found] == ["ordered", "unordered", "stream"]
    ordered, unordered, stream = found.values()
    assert (ordered.cap, ordered.batch, ordered.window_seconds) == (4, 10, 0)
    assert (ordered.lanes, ordered.mixes_lanes, ordered.has_clock) == (LANES, True, True)
    assert (unordered.cap, unordered.batch, unordered.window_seconds) == (2, 10_000, 1)
    assert (unordered.lanes, unordered.megabytes, unordered.seconds) == (0, 1_024, 28)
    assert (stream.cap, stream.batch, stream.lanes) == (4, 1_000, SHARDS)
    assert (stream.visibility_seconds, stream.receive) == (0, 0)


def test_messages_come_back_when_the_template_says(stage: Stage) -> None:
    default = template.build(stage)["Parameters"]["VisibilityTimeout"]["Default"]
    most = template.build(stage)["Resources"]["OrderedQueue"]["Properties"]["RedrivePolicy"]

    found = of_stage(stage)

    assert found.drains["ordered"].visibility_seconds == default
    assert found.dead_after_seconds == default * most["maxReceiveCount"]


def test_the_budget_is_that_of_the_stage(stage: Stage) -> None:
    found = of_stage(stage)

    assert found.budget == budget.total(stage)
    assert {*found.others} == {"reader", "migrate", "operate", "sweep"}


def test_a_function_without_a_cap_is_refused(stage: Stage) -> None:
    caps = {name: cap for name, cap in stage.caps.items() if name != "reader"}

    with pytest.raises(PreflightFailed, match="no-cap: reader holds a database connection"):
        of_stage(replace(stage, caps=caps))


def test_a_stage_without_a_front_has_no_stream(stage: Stage) -> None:
    assert "stream" not in of_stage(replace(stage, fronts={})).drains
    assert functions.function("drain_stream").reads_stream
