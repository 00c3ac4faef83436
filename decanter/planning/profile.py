"""The traffic that a stage is planned for, as it was read and checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

DAY_SECONDS = 24 * 3600


class Rate(NamedTuple):
    """What arrives from a second of the day on, until the next rate."""

    second: float
    requests_per_second: float


class Burst(NamedTuple):
    """What arrives beside the rate, for some seconds."""

    second: float
    seconds: float
    requests_per_second: float


class Outage(NamedTuple):
    """When in the day the database is unavailable, and for how many seconds."""

    second: float
    seconds: float


@dataclass(frozen=True)
class Traffic:
    """The writes of one resource.

    share: of all requests, from 0 to 1. rows: of a request. row_bytes: of a row as JSON. ops: the
    share of each op in its requests; they sum up to 1. hottest: share of its writes that go to one
    key. zipf: exponent by which the others are spread over `keys` keys; 0: evenly.
    """

    resource: str
    share: float
    rows: int
    row_bytes: int
    ops: Mapping[str, float]
    hottest: float = 0.0
    zipf: float = 0.0
    keys: int = 100_000


@dataclass(frozen=True)
class Profile:
    """The traffic of a day, and what is asked of the stage.

    rates: by their second; the first one holds from second 0. lag_p99_seconds: the goal: 99 of 100
    writes are poured so many seconds after they were accepted. connections: that the database
    grants to the functions; None: unknown. region: of AWS, for prices. round_trip_seconds: from a
    function to the database and back, beyond that of the benchmark, which has both on one machine.
    """

    rates: tuple[Rate, ...]
    resources: tuple[Traffic, ...]
    lag_p99_seconds: float
    region: str
    connections: int | None = None
    bursts: tuple[Burst, ...] = ()
    outage: Outage | None = None
    round_trip_seconds: float = 0.0
