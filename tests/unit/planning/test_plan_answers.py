"""What a stage makes of a profile: the goal, what breaks first, and what would help."""

from dataclasses import replace
from typing import Any

import pytest

from chalicelib.contract import resources
from decanter.planning import simulation
from decanter.planning.capacity import Capacity, DrainCapacity
from decanter.planning.plan import Plan, Planner
from decanter.planning.profile import Outage, Profile, Rate, Traffic
from decanter.planning.service import OpService, Service
from decanter.planning.text import lines
from tests.kit.planned import capacity, drain

KNOWN = {name: resources.resource(name) for name in resources.names()}
SECONDS = 40.0  # that a batch takes: a day has few
GOAL = 6 * SECONDS
WEATHER = Traffic("observations", 1.0, 1, 100, {"create": 1.0})


def planned(
    drain: DrainCapacity,
    traffic: Traffic = WEATHER,
    *,
    rate: float = 0.005,
    stage: Capacity | None = None,
    **members: Any,
) -> Plan:
    """A plan for a stage with one drain, and a goal of six batches."""
    profile = Profile((Rate(0, rate),), (traffic,), GOAL, "us-east-1", **members)
    service = Service(1.0, {"create": OpService(SECONDS, 0, 0, 0)})
    return Planner(profile, stage or capacity(drain), service, KNOWN, 1).plan()


def test_a_stage_that_keeps_up_meets_the_goal() -> None:
    found = planned(drain(cap=4, connections=4), connections=12, rate=0.0075)

    assert not found.objections
    assert found.caps == {"unordered": 2}
    assert 2 <= found.outcome.connections["drain_unordered"] <= 4
    assert found.outcome.connections["reader"] == 2
    # Four containers pour 0.1 messages a second.
    assert 10 < found.limit.times < found.limit.at < 16
    assert found.limit.what.startswith("lag p99 of unordered is ")
    [gain] = found.limit.gains
    assert gain.change == "one more connection of drain_unordered"
    assert gain.lag_p99 < GOAL < found.limit.lag_p99["unordered"]
    said = "\n".join(lines(found))
    assert "The goal is met." in said
    assert "which meets the goal" in said


def test_a_stage_that_is_too_slow_is_told_which_caps_suffice() -> None:
    found = planned(drain(), rate=0.0225)

    [objection] = found.objections
    assert objection.startswith("lag p99 of unordered is ")
    assert objection.endswith(" s; the goal is 240 s")
    assert found.limit.times < 1
    assert found.caps == {"unordered": 2}


def test_each_buffer_has_a_cap_of_its_own() -> None:
    stations = Traffic("stations", 0.5, 1, 100, {"create": 1.0})
    profile = Profile((Rate(0, 0.045),), (stations, replace(WEATHER, share=0.5)), GOAL, "us-east-1")
    drains = drain("ordered", lanes=16, mixes_lanes=True, batch=10), drain("unordered")
    service = Service(0.0, {"create": OpService(SECONDS, 0, 0, 0)})

    found = Planner(profile, capacity(*drains), service, KNOWN, 1).plan()

    assert found.caps == {"ordered": 2, "unordered": 2}
    assert [each.startswith("lag p99 of unordered") for each in found.objections] == [True]


def test_one_key_is_not_poured_faster_by_more_connections() -> None:
    traffic = Traffic("stations", 1.0, 1, 100, {"create": 1.0}, hottest=1.0)
    ordered = drain("ordered", cap=4, connections=4, lanes=16, mixes_lanes=True)

    found = planned(ordered, traffic, rate=0.03)

    assert found.caps == {"ordered": None}
    assert {each.change for each in found.limit.gains} == {
        "one more connection of drain_ordered",
        "one more lane of the ordered queue",
    }
    assert all(each.lag_p99 > GOAL for each in found.limit.gains)
    assert "spread the writes over more keys" in "\n".join(lines(found))


def test_a_database_that_grants_too_little_is_an_objection() -> None:
    found = planned(drain(cap=4, connections=4), connections=11)

    assert found.objections == (
        "the functions may hold 6 connections, and 12 while two versions run side by side; the"
        " database grants 11",
    )


def test_a_long_outage_makes_dead_letters() -> None:
    stage = replace(capacity(drain(cap=4)), dead_after_seconds=3_000)

    found = planned(drain(), rate=0.02, outage=Outage(0, 3_600), stage=stage)

    assert found.objections[-1] == (
        "an outage of 60 minutes makes dead letters of messages: they are tried for 50 minutes"
    )
    assert not found.limit.times
    assert "Less traffic does not help" in "\n".join(lines(found))


def test_a_backlog_that_is_too_old_refuses_requests() -> None:
    stage = capacity(drain(), refuses_after_seconds=1_200)

    found = planned(drain(), rate=0.03, stage=stage)

    assert 0 < found.outcome.refused < found.outcome.requests / 2
    assert "requests are refused" in found.objections[-1]
    assert found.outcome.buffers[0].lag.most < 4_000  # and 17,000 without a limit


def test_a_stage_that_is_hopeless_is_not_simulated_to_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(simulation, "_ENOUGH_REQUESTS", 1_000)

    found = planned(drain(), rate=0.125)

    assert found.outcome.seconds < 43_200
    assert "The stage cannot keep up; simulated until" in "\n".join(lines(found))
