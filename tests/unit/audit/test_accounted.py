"""Accepted = applied + rejected + waiting, and what is missing in that."""

import json
import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest

from chalicelib import asking
from chalicelib.audit import accounts, log, waiting
from chalicelib.audit.accounts import Audit
from chalicelib.audit.log import LogPage
from chalicelib.audit.waiting import MayWait
from chalicelib.contract import resources
from chalicelib.errors import Problem
from chalicelib.messages.accepted import LoggedRequest
from chalicelib.messages.questions import InvalidList, OpsAnswer
from chalicelib.messages.receipt import front_id, keyed_id, new_id, split_id

NOW = 1_800_000_000_000
OLD = NOW - 3_600_000
SUMS = ("accepted", "applied", "rejected", "waiting", "missing")


def request(
    writes: int = 1,
    id_: UUID | None = None,
    resource: str = "stations",
    at: int = OLD,
    fingerprint: str = "f" * 32,
) -> LoggedRequest:
    return LoggedRequest(str(id_ or new_id(at)), at, resource, writes, 1, fingerprint)


class World:
    """The log, as pages; the accounts, by the id of a request; what operators have resent; and what
    may wait."""

    def __init__(self) -> None:
        self.pages: list[list[LoggedRequest]] = [[]]
        self.accounts: dict[str, Sequence[Any]] = {}
        self.resent: list[Sequence[Any]] = []
        self.reconciled = 0
        self.may_wait = {name: MayWait(NOW) for name in ("ordered", "unordered", "stream")}
        self.asked: list[int] = []
        self.order: list[str] = []

    def page(self, _since: int, _until: int, cursor: str | None, _deadline: float) -> LogPage:
        number = int(cursor or 0)
        next_ = str(number + 1) if number + 1 < len(self.pages) else None
        return LogPage(self.pages[number], next_)

    def of_buffers(self, _deadline: float) -> dict[str, MayWait]:
        self.order.append("buffers")
        return self.may_wait

    def ask(self, question: Any, _deadline: float) -> OpsAnswer:
        self.order.append("database")
        if question.what == "resent":
            assert question.given == {"since": OLD, "until": NOW}
            return OpsAnswer(json.dumps({"resent": self.resent}))
        assert question.what == "accounts"
        asked = question.given["requests"]
        self.asked.append(len(asked))
        found = [self.accounts.get(id_, (0, 0, 0, False)) for id_, _, _ in asked]
        return OpsAnswer(json.dumps({"accounts": found, "reconciled": self.reconciled}))

    def audit(self, seconds: float = 100, cursor: str | None = None) -> Audit:
        return accounts.audit(OLD, NOW, cursor, time.monotonic() + seconds)


@pytest.fixture(name="world")
def fixture_world(monkeypatch: pytest.MonkeyPatch) -> World:
    found = World()
    monkeypatch.setattr(log, "page", found.page)
    monkeypatch.setattr(waiting, "of_buffers", found.of_buffers)
    monkeypatch.setattr(asking, "ask", found.ask)
    return found


def sums(found: Audit, resource: str = "stations") -> tuple[int, ...]:
    total = found.sums[resource]
    assert total["accepted"] == sum(total[each] for each in SUMS[1:])
    return tuple(total[each] for each in SUMS)


def test_all_that_was_accepted_is_accounted_for(world: World) -> None:
    done, partial = request(3), request(5)
    world.pages = [[done, partial, other := request(2, resource="observations")]]
    world.accounts = {
        done.id: (3, 0, 0, False),
        partial.id: (5, 1, 2, False),
        other.id: (2, 2, 0, False),
    }

    found = world.audit()

    assert (found.requests, found.missing, found.next, found.unknown) == (3, [], None, {})
    assert sums(found) == (8, 5, 1, 2, 0)
    assert sums(found, "observations") == (2, 0, 2, 0, 0)


def test_what_operators_have_resent_counts_once(world: World) -> None:
    world.pages = [[done := request(3)], [request(1)]]
    world.accounts = {done.id: (3, 0, 0, False)}
    lost, late = str(keyed_id("a", "b")), str(keyed_id("a", "c"))
    world.resent = [
        ["stations", OLD, str(keyed_id("a", "a")), 7, True, 2, 1],
        ["stations", OLD, lost, 4, False, 0, 0],
        ["stations", NOW, late, 2, False, 0, 0],
    ]

    found = world.audit()

    assert sums(found) == (17, 7, 2, 3, 5)
    assert [writes for _, writes in found.missing] == [4, 1]
    assert found.missing[0][0].id == lost
    assert sums(world.audit(cursor="1")) == (1, 0, 0, 0, 1)


def test_what_is_nowhere_is_missing(world: World) -> None:
    lost, half = request(3), request(5)
    world.pages = [[lost, half]]
    world.accounts = {half.id: (4, 0, 0, False)}

    found = world.audit()

    assert sums(found) == (8, 4, 0, 0, 4)
    assert found.missing == [(lost, 3), (half, 1)]


def test_what_may_still_wait_is_not_missing(world: World) -> None:
    world.pages = [[early := request(1, at=OLD), late := request(2, at=NOW - 1_000)]]
    world.may_wait["ordered"] = MayWait(NOW - 5_000)

    assert world.audit().missing == [(early, 1)]

    world.may_wait["ordered"] = MayWait(None, "it is paused, and messages wait")
    found = world.audit()
    assert sums(found) == (3, 0, 0, 3, 0)
    assert found.unknown == {"ordered": "it is paused, and messages wait"}
    assert late.writes == 2


def test_a_buffer_that_is_not_known_about_does_not_excuse_another(world: World) -> None:
    ordered, unordered, front, gone = (
        request(),
        request(resource="observations"),
        request(id_=front_id(OLD, 0), resource="subscriptions"),
        request(resource="no-longer-served"),
    )
    world.pages = [[ordered, unordered, front, gone]]

    def missing(buffer: str) -> set[str]:
        world.may_wait = {name: MayWait(NOW) for name in world.may_wait}
        world.may_wait[buffer] = MayWait(None)
        return {each.resource for each, _ in world.audit().missing}

    everything = {"stations", "observations", "subscriptions", "no-longer-served"}
    assert everything - missing("ordered") == {"stations", "no-longer-served"}
    assert everything - missing("unordered") == {"observations", "no-longer-served"}
    assert everything - missing("stream") == {"subscriptions"}


def test_a_stage_that_has_no_front_any_more_waits_for_nothing_in_it(world: World) -> None:
    world.pages = [[lost := request(id_=front_id(OLD, 0))]]
    del world.may_wait["stream"]

    assert world.audit().missing == [(lost, 1)]


def test_buffers_are_asked_before_the_database(world: World) -> None:
    """Otherwise a message that is poured in between would be in neither."""
    world.pages = [[request()]]

    world.audit()

    assert world.order == ["buffers", "database", "database"]


def test_a_retry_counts_once_in_any_split(world: World) -> None:
    keyed = keyed_id("me", "k")
    first = request(4, split_id(keyed, [[0, 1], [2, 3]]))
    again = request(4, split_id(keyed, [[0], [1], [2, 3]]), at=OLD + 1_000)
    other = request(4, split_id(keyed, [[0, 1], [2, 3]]), fingerprint="e" * 32)
    world.pages = [[first, again], [again, other]]
    world.accounts = {
        **{each.id: (4, 0, 0, False) for each in (again, first)},
        other.id: (4, 0, 0, True),
    }
    two = [request(1), request(1)]
    assert two[0].id != two[1].id

    # `other` has the id of `first`: the reader tells them apart by their fingerprints.
    found = world.audit()

    assert world.asked == [1, 1]
    assert found.requests == 2
    assert found.sums["stations"]["accepted"] == 8
    world.pages = [two]
    assert world.audit().requests == 2


def test_a_key_that_was_reused_is_a_rejection(world: World) -> None:
    world.pages = [[reused := request(7)]]
    world.accounts = {reused.id: (2, 0, 0, True)}

    assert sums(world.audit()) == (7, 0, 7, 0, 0)


def test_what_was_overtaken_in_front_is_a_rejection(world: World) -> None:
    world.pages = [[request(3, front_id(OLD, 0)), request(2)]]
    world.reconciled = OLD + 1

    assert sums(world.audit()) == (5, 0, 3, 0, 2)
    world.reconciled = OLD
    assert sums(world.audit()) == (5, 0, 0, 0, 5)


def test_many_requests_are_asked_about_in_portions(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "_AT_ONCE", 10)
    world.pages = [[request() for _ in range(25)]]

    assert world.audit().requests == 25
    assert world.asked == [10, 10, 5]


def test_an_audit_goes_on_where_its_time_was_over(world: World) -> None:
    world.pages = [[request()], [request(), request()], [request()]]

    first = world.audit(seconds=accounts._PAGE_SECONDS)
    rest = world.audit(cursor=first.next)

    assert (first.requests, first.next) == (1, "1")
    assert (rest.requests, rest.next) == (3, None)


def test_a_database_that_takes_too_long_is_busy(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "ask", lambda *_: InvalidList("it takes too long"))
    world.pages = [[request()]]

    with pytest.raises(Problem, match="too long") as problem:
        world.audit()

    assert problem.value.status == 503


def test_resources_are_those_of_the_contract() -> None:
    assert resources.resource("stations").ordered
    assert not resources.resource("observations").ordered
