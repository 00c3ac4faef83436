"""What the function that publishes events asks of operate."""

import json
from collections.abc import Sequence
from typing import Any

from tests.kit.world import World

Event = dict[str, Any]


def ask(world: World, published: Sequence[int] = (), limit: int = 1_000) -> dict[str, Any]:
    """Ask once: confirm these places, and get the next events, which are in their order."""
    given = {"published": [*published], "limit": limit}
    answer = world.operate({"ask": "ops", "what": "outcomes", "given": given})
    found: dict[str, Any] = json.loads(answer["body"])
    sequences = [each["sequence"] for each in found["events"]]
    assert sequences == sorted({*sequences} & {*found["places"]})
    return found


def publish(world: World, limit: int = 1_000) -> list[Event]:
    """Ask, and confirm all of it, until nothing is left; return the events."""
    events: list[Event] = []
    answer = ask(world, limit=limit)
    while answer["places"]:
        events += answer["events"]
        answer = ask(world, answer["places"], limit)
    return events


def expected(world: World, receipt: str) -> Event:
    """What an event about a request has to say, by its status."""
    status = world.status(receipt)
    names = ("state", "writes", "applied", "rejected", "accepted_at")
    return {"receipt": receipt, **{name: status[name] for name in names},
            "poured_at": status.get("poured_at")}  # fmt: skip


def told(event: Event) -> Event:
    """The part of an event that `expected` is about."""
    names = ("receipt", "state", "writes", "applied", "rejected", "accepted_at", "poured_at")
    return {name: event[name] for name in names}
