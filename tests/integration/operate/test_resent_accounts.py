"""What operators resend is accounted for, as what clients send is."""

import time
from collections.abc import Callable
from functools import cache

import pytest
from sqlalchemy import CheckConstraint, Column, Integer, MetaData, Table

from chalicelib.audit import accounts, log, waiting
from chalicelib.audit.log import LogPage
from chalicelib.audit.waiting import MayWait
from tests.kit.api import body_of
from tests.kit.operators import break_next_record, post
from tests.kit.world import World

HOUR_MS = 3_600_000


@cache
def tables() -> MetaData:
    metadata = MetaData()
    for name in ("items", "others"):
        key = Column("id", Integer, primary_key=True, autoincrement=False)
        check = CheckConstraint("n >= 0", name=f"positive_{name}")
        Table(name, metadata, key, Column("n", Integer), check)
    return metadata


@pytest.fixture
def world(make_operated: Callable[[MetaData], World], monkeypatch: pytest.MonkeyPatch) -> World:
    """The log has no line, and nothing is on its way in a buffer."""
    monkeypatch.setattr(log, "page", lambda *_: LogPage([], None))
    future = MayWait(int(time.time() * 1_000) + HOUR_MS)
    monkeypatch.setattr(waiting, "of_buffers", lambda _: {"ordered": future})
    return make_operated(tables())


def audit(hours_ago: int = 0) -> dict[str, dict[str, int]]:
    until = int(time.time() * 1_000) + 1_000 - hours_ago * HOUR_MS
    found = accounts.audit(until - HOUR_MS, until, None, time.monotonic() + 60)
    for sums in found.sums.values():
        others = ("applied", "rejected", "waiting", "missing")
        assert sums["accepted"] == sum(sums[each] for each in others)
    assert sum(count for _, count in found.missing) == sum(
        sums["missing"] for sums in found.sums.values()
    )
    return {name: dict(+sums) for name, sums in found.sums.items()}


def reject(world: World, resource: str, count: int) -> list[str]:
    """Have rows rejected; returns the ids of the rejections."""
    world.post(resource, [{"id": n, "n": -1} for n in range(count)])
    world.drain()
    found = world.execute(
        "SELECT dedup_id || '.' || item FROM decanter.rejection"
        f" WHERE resource = '{resource}' ORDER BY dedup_id, item"
    )
    return [id_ for (id_,) in found]


def resend(*ids: str) -> None:
    act = body_of(post("acts", {"kind": "resend", "ids": [*ids]}))["id"]
    while (answer := post(f"acts/{act}/steps")).status_code == 503:
        pass
    assert body_of(answer)["state"] == "done"


def test_what_is_resent_is_missing_until_it_is_poured(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *others = reject(world, "items", 40)
    resend(first)
    break_next_record(monkeypatch)  # what is sent is sent again
    resend(*others)
    assert audit() == {"items": {"accepted": 40, "missing": 40}}

    world.execute("ALTER TABLE items DROP CONSTRAINT positive_items")
    world.drain()

    assert audit() == {"items": {"accepted": 40, "applied": 40}}
    assert audit(hours_ago=2) == {}


def test_what_is_rejected_again_and_what_waits_is_counted(world: World) -> None:
    rejected = [*reject(world, "items", 20), *reject(world, "others", 5)]
    resend(*rejected)
    world.execute("ALTER TABLE items DROP CONSTRAINT positive_items")
    world.drain()
    world.execute(
        "INSERT INTO decanter.waiting (dedup_id, item, reason, message)"
        " SELECT resent_as, resent_item, 'lock', '' FROM decanter.correction"
        " JOIN decanter.rejection USING (dedup_id, item) WHERE resource = 'items' LIMIT 3"
    )

    assert audit() == {
        "items": {"accepted": 20, "applied": 17, "waiting": 3},
        "others": {"accepted": 5, "rejected": 5},
    }
