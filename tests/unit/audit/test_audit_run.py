"""A run of the audit function: which minutes it looks at, and what it says."""

import logging
import time
from itertools import pairwise
from typing import Any

import pytest

from chalicelib.audit import accounts, handler
from chalicelib.audit.accounts import Audit
from chalicelib.audit.handler import AuditIncomplete
from chalicelib.buffer import mappings
from chalicelib.buffer.mappings import MappingState
from chalicelib.messages.accepted import LoggedRequest

MINUTE = 60_000
NOW = 1_800_000_000_000 + 7 * MINUTE


class Context:
    def get_remaining_time_in_millis(self) -> int:
        return 60_000


class Accounts:
    """What an audit finds. asked: the times that were audited."""

    def __init__(self) -> None:
        self.found: list[Audit] = []
        self.asked: list[tuple[int, int]] = []

    def audit(self, since: int, until: int, cursor: str | None, _deadline: float) -> Audit:
        assert cursor is None
        self.asked.append((since, until))
        return self.found.pop(0) if self.found else Audit(requests=1)


@pytest.fixture(name="world")
def fixture_world(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Accounts:
    found = Accounts()
    monkeypatch.setattr(accounts, "audit", found.audit)
    monkeypatch.setattr(mappings, "states", lambda _: [MappingState("ordered", "Enabled")])
    monkeypatch.setattr(time, "time_ns", lambda: NOW * 1_000_000)
    caplog.set_level(logging.INFO, "decanter.audit")
    return found


def test_a_run_looks_at_minutes_of_three_ages(world: Accounts, caplog: Any) -> None:
    assert handler.run(Context()) == {"paused": 0, "missing": 0}

    ages = [(NOW - until) / MINUTE for _, until in world.asked]
    assert [until - since for since, until in world.asked] == [10 * MINUTE] * 3
    assert ages == [60 + 2, 26 * 60 + 2, 15 * 24 * 60 + 2]
    assert caplog.messages[-1] == "audited 3 requests, 0 writes missing"


def test_runs_look_at_all_minutes_though_one_fails(
    world: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    for minute in (0, 10, 15, 20):  # the one at 5 has failed, and none is on time
        at = NOW + minute * MINUTE + 33_000
        monkeypatch.setattr(time, "time_ns", lambda at=at: at * 1_000_000)
        handler.run(Context())

    seen = [each for number, each in enumerate(world.asked) if number % 3 == 0]
    assert all(since <= before for (_, before), (since, _) in pairwise(seen))


def test_what_is_missing_is_named(world: Accounts, caplog: Any) -> None:
    lost = [LoggedRequest(f"id-{n}", 7, "stations", 9, 1, "f") for n in range(30)]
    world.found = [Audit(40, missing=[(each, 2) for each in lost]), Audit(2)]

    assert handler.run(Context())["missing"] == 60

    named = [text for text in caplog.messages if text.startswith("missing: 2 writes of request")]
    assert len(named) == 20
    assert "id-0 to stations" in named[0]
    assert caplog.messages[-1] == "audited 43 requests, 60 writes missing"


def test_a_run_whose_time_is_over_fails(world: Accounts, caplog: Any) -> None:
    world.found = [Audit(9, next="t")]

    with pytest.raises(AuditIncomplete, match="lambda_timeout"):
        handler.run(Context())

    assert not [text for text in caplog.messages if text.startswith("audited")]
    assert [text for text in caplog.messages if text.startswith("paused 0 buffers")]


def test_paused_buffers_are_said(
    world: Accounts, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    found = [
        MappingState("ordered", "Disabled"),
        MappingState("unordered", None, why="Lambda did not tell"),
        MappingState("stream", "Missing"),
    ]
    monkeypatch.setattr(mappings, "states", lambda _: found)

    assert handler.run(Context())["paused"] == 2

    assert "paused 2 buffers: ordered, stream" in caplog.messages
    assert "the state of the unordered buffer is not known: Lambda did not tell" in caplog.messages
