"""Pausing and resuming a buffer through the API."""

import json

import pytest

from chalicelib.api.ops import mappings as acts_of_mappings
from chalicelib.buffer import mappings
from chalicelib.buffer.mappings import MappingState
from tests.kit.api import assert_problem, body_of

AT = "2026-01-02T03:04:05.678+00:00"


class Lambda:
    """The mappings: each look at one that is on its way brings it nearer."""

    def __init__(self):
        self.found = {"ordered": "Enabled", "unordered": "Enabled"}
        self.looks = 1
        self.told = []
        self.busy = 0

    def states(self, _deadline):
        for buffer, state in self.found.items():
            if state and state.endswith("ing"):
                self.looks -= 1
                if self.looks < 0:
                    self.found[buffer] = state.replace("ing", "ed")
        return [MappingState(each, state, AT, "no answer") for each, state in self.found.items()]

    def set_enabled(self, buffer, enabled, _deadline):
        if self.busy:
            self.busy -= 1
            return MappingState(buffer, self.found[buffer], AT)
        self.told.append((buffer, enabled))
        self.found[buffer] = "Enabling" if enabled else "Disabling"
        return MappingState(buffer, self.found[buffer], AT)


@pytest.fixture(name="cloud")
def fixture_cloud(monkeypatch, acts):
    found = Lambda()
    monkeypatch.setattr(mappings, "states", found.states)
    monkeypatch.setattr(mappings, "set_enabled", found.set_enabled)
    monkeypatch.setattr(acts_of_mappings, "_PAUSE_SECONDS", 0)
    return found


def begin(ops, kind, buffer="ordered"):
    answer = ops("POST", "/ops/acts", {"kind": kind, "buffer": buffer, "note": "maintenance"})
    assert answer.status_code == 201, answer.body
    return answer.headers["Location"]


def step(ops, place):
    answer = ops("POST", f"{place}/steps")
    assert answer.status_code == 200, answer.body
    return body_of(answer)


def detail(acts):
    """What the last step of the last act has found."""
    return [*acts.kept.values()][-1]["detail"]


def test_a_buffer_is_paused_and_resumed(ops, cloud, acts):
    place = begin(ops, "pause")
    assert cloud.told == []  # nothing is done before it is recorded

    act = step(ops, place)

    assert (act["state"], detail(acts)["state"]) == ("done", "Disabled")
    assert (act["kind"], act["note"], act["who"]) == ("pause", "maintenance", "me")
    found = body_of(ops("GET", "/ops/mappings"))
    assert found["mappings"] == [
        {"buffer": "ordered", "state": "Disabled", "paused": True, "changed_at": AT},
        {"buffer": "unordered", "state": "Enabled", "paused": False, "changed_at": AT},
    ]
    assert found["unknown"] == []
    assert step(ops, begin(ops, "resume"))["state"] == "done"
    assert detail(acts)["state"] == "Enabled"
    assert cloud.told == [("ordered", False), ("ordered", True)]


def test_a_step_that_is_not_done_in_time_goes_on_in_the_next(ops, cloud, monkeypatch):
    cloud.looks = 2
    monkeypatch.setattr(acts_of_mappings, "_STEP_SECONDS", 0)
    place = begin(ops, "pause")

    states = [step(ops, place)["state"] for _ in range(4)]

    assert states == ["running", "running", "running", "done"]
    assert cloud.told == [("ordered", False)]  # only once


def test_an_old_act_undoes_nothing(ops, cloud, acts, monkeypatch):
    cloud.looks = 100
    monkeypatch.setattr(acts_of_mappings, "_STEP_SECONDS", 0)
    place = begin(ops, "pause")
    assert step(ops, place)["state"] == "running"
    cloud.found["ordered"] = "Enabled"  # by somebody else

    act = step(ops, place)

    assert act["state"] == "stopped"
    assert "somebody else" in detail(acts)["reason"]
    assert cloud.told == [("ordered", False)]


def test_a_mapping_that_is_just_being_changed_is_told_again(ops, cloud):
    cloud.busy = 2

    assert step(ops, begin(ops, "pause"))["state"] == "done"


def test_a_mapping_that_is_always_being_changed_is_not_recorded_as_told(
    ops, cloud, acts, monkeypatch
):
    cloud.busy = 100
    monkeypatch.setattr(acts_of_mappings, "_STEP_SECONDS", 0)
    place = begin(ops, "pause")

    assert_problem(ops("POST", f"{place}/steps"), 503, "unavailable")

    [act] = acts.kept.values()
    assert act["steps"] == 0
    cloud.busy = 0
    assert step(ops, place)["state"] in ("running", "done")


@pytest.mark.parametrize(
    ("state", "kind", "word"),
    [
        ("Disabled", "pause", "paused already"),
        ("Disabling", "pause", "paused already"),
        ("Enabled", "resume", "not paused"),
    ],
)
def test_what_is_so_already_is_a_conflict(ops, cloud, acts, state, kind, word):
    cloud.found["ordered"] = state

    problem = assert_problem(
        ops("POST", "/ops/acts", {"kind": kind, "buffer": "ordered"}), 409, "conflict"
    )

    assert word in problem["detail"]
    assert AT in problem["detail"]
    assert acts.kept == {}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"buffer": "stream"}, "/buffer"),  # this stage has none
        ({"buffer": "Ordered"}, "/buffer"),
        ({"buffer": ["ordered"]}, "/buffer"),
        ({}, "/buffer"),
        ({"buffer": "ordered", "per_second": 1}, "/per_second"),
    ],
)
def test_bad_bodies_are_refused(ops, cloud, acts, body, pointer):
    problem = assert_problem(
        ops("POST", "/ops/acts", {"kind": "pause", **body}), 422, "invalid-act"
    )

    assert [each["pointer"] for each in problem["errors"]] == [pointer]
    assert acts.kept == {}


def test_what_lambda_does_not_tell_is_unknown(ops, cloud, acts):
    cloud.found["ordered"] = None

    found = body_of(ops("GET", "/ops/mappings"))
    assert found["mappings"][0] == {
        "buffer": "ordered", "state": None, "paused": None, "changed_at": AT,
    }  # fmt: skip
    assert found["unknown"] == [{"what": "mappings.ordered", "why": "no answer"}]
    assert_problem(
        ops("POST", "/ops/acts", {"kind": "pause", "buffer": "ordered"}), 503, "unavailable"
    )
    assert acts.kept == {}


def test_only_operators_see_and_change_it(ops, cloud):
    assert_problem(ops("GET", "/ops/mappings", scopes="*:read"), 403, "missing-scope")
    body = {"kind": "pause", "buffer": "ordered"}
    assert_problem(ops("POST", "/ops/acts", body, scopes="ops:read"), 403, "missing-scope")
    assert cloud.told == []
    assert_problem(ops("GET", "/ops/mappings?x=1"), 400, "invalid-query")
    assert "mappings" in json.dumps(body_of(ops("GET", "/ops/unknown")))
