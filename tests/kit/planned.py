"""Profiles, service times and stages for tests of planning."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from decanter.planning.capacity import Capacity, DrainCapacity
from decanter.planning.profile import Outage, Profile, Rate, Traffic
from decanter.planning.requests import RequestKind, SentMessage, request
from decanter.planning.service import OpService, Service
from decanter.planning.simulation import Setting

SERVICE = Service(
    0.5,
    {
        "create": OpService(0.002, 0.0001, 0.00001, 0.00000001, 1, 0.5),
        "merge": OpService(0.004, 0.0001, 0.00002, 0.00000001, 2, 0.5),
    },
)

DOCUMENT: Mapping[str, Any] = {
    "region": "us-east-1",
    "connections": 60,
    "goal": {"lag_p99_seconds": 10},
    "rate": [
        {"at": "00:00", "requests_per_second": 5},
        {"at": "08:00", "requests_per_second": 40},
        {"at": "20:00", "requests_per_second": 5},
    ],
    "resources": {
        "stations": {
            "share": 0.5,
            "rows_per_request": 1,
            "bytes_per_row": 250,
            "ops": {"create": 0.5, "merge": 0.5},
        },
        "observations": {
            "share": 0.5,
            "rows_per_request": 10,
            "bytes_per_row": 150,
            "ops": {"create": 1},
        },
    },
}
"""A profile as a team writes it, for the sample models."""


def document(**members: Any) -> dict[str, Any]:
    """DOCUMENT with other members; None leaves one out."""
    found = {**DOCUMENT, **members}
    return {name: each for name, each in found.items() if each is not None}


def drain(buffer: str = "unordered", **fields: Any) -> DrainCapacity:
    """A drain that pours one message at a time."""
    plain = DrainCapacity(
        buffer=buffer,
        function=f"drain_{buffer}",
        cap=1,
        connections=1,
        has_clock=False,
        lanes=0,
        mixes_lanes=False,
        batch=1,
        window_seconds=0,
        megabytes=1_769,
        seconds=28,
        visibility_seconds=45,
    )
    return replace(plain, **fields)


def capacity(*drains: DrainCapacity, refuses_after_seconds: float | None = None) -> Capacity:
    """A stage with these drains, and a reader with two connections."""
    by_buffer = {each.buffer: each for each in drains}
    return Capacity(by_buffer, {"reader": 2}, refuses_after_seconds, 45_000)


def traffic(
    rate: float,
    drain: DrainCapacity,
    seconds: Sequence[float],
    *,
    goal: float = 10.0,
    outage: Outage | None = None,
    refuses_after_seconds: float | None = None,
    cold_start_seconds: float = 0.0,
) -> Setting:
    """Requests of one message at a constant rate to one buffer, each lane as often as the others.
    seconds: of service that a batch of each sample message takes."""
    lanes = max(1, drain.lanes)
    samples = tuple(
        request([SentMessage(lane, 1, 100, 0.0, each, 0)], puts=1)
        for each in seconds
        for lane in range(lanes)
    )
    only = Traffic("things", 1.0, 1, 100, {"create": 1.0})
    profile = Profile((Rate(0, rate),), (only,), goal, "us-east-1", outage=outage)
    return Setting(
        profile,
        capacity(drain, refuses_after_seconds=refuses_after_seconds),
        [RequestKind(0, drain.buffer, 1.0, samples)],
        [drain.buffer],
        {drain.buffer: Service(cold_start_seconds, {})},
    )
