"""Batches poured by the whole handler of the drain: their seconds, and their round trips."""

import os
import time
from collections.abc import Sequence
from functools import partial
from statistics import median
from typing import NamedTuple

from benchmarks.drain.database import rows_per_second
from benchmarks.harness import Context, interleave
from benchmarks.service.loads import MIXED, ORDERED, Load, prepare
from chalicelib.buffer.sqs import take
from chalicelib.drain import handler
from chalicelib.ops import Op
from chalicelib.postgres.connecting.connection import forget
from decanter.planning.fit import Point
from decanter.proof.relay import Direction, relay

MIXED_MESSAGES = (8, 40, 200)
_COUNTED = 8  # messages of the batches whose round trips are counted


class Sample(NamedTuple):
    """Seconds of a batch: on the wall, and of the handler's processor. The rest is spent by
    Postgres, or waiting for it."""

    wall: float
    processor: float


class Measured(NamedTuple):
    """One load. bytes_: of the bodies of a batch. samples: one a round."""

    load: Load
    bytes_: int
    round_trips: int
    samples: Sequence[Sample]

    @property
    def processor_share(self) -> float:
        """How much of the time is the handler's own work."""
        return median(each.processor / each.wall for each in self.samples)

    def points(self) -> list[Point]:
        """One a round."""
        return [self._point(sample.wall) for sample in self.samples]

    def point(self) -> Point:
        """Of the median."""
        return self._point(median(sample.wall for sample in self.samples))

    def _point(self, seconds: float) -> Point:
        return Point(self.load.messages, self.load.batch_rows, self.bytes_, seconds)


def loads(sizes: Sequence[tuple[int, int, int]]) -> list[Load]:
    """All loads of these sizes: of each op, of observations, and mixed ones."""
    return [
        *(Load("ordered", (op,), *size) for op in ORDERED for size in sizes),
        *(Load("unordered", ("create",), *size) for size in sizes),
        *(Load("ordered", MIXED, messages, 1) for messages in MIXED_MESSAGES),
    ]


def measured(url: str, asked: Sequence[Load], rounds: int) -> list[Measured]:
    """Measure each load once a round, so that a machine that slows down affects all of them."""
    kinds = dict.fromkeys((load.buffer, load.ops) for load in asked)
    counted = {kind: count_round_trips(url, Load(*kind, _COUNTED, 1)) for kind in kinds}
    sizes = {load: prepare(url, load).bytes_ for load in asked}
    os.environ["DECANTER_DATABASE_URL"] = url
    forget("drain")
    turns = {str(number): partial(_sample, url, load) for number, load in enumerate(asked)}
    samples = interleave(turns, rounds)
    forget("drain")
    return [
        Measured(load, sizes[load], counted[load.buffer, load.ops], samples[str(number)])
        for number, load in enumerate(asked)
    ]


class Kind(NamedTuple):
    """Writes that one line is fitted to: of a buffer's sample table and an op."""

    buffer: str
    op: Op


def by_kind(found: Sequence[Measured]) -> dict[Kind, list[Measured]]:
    """The loads of a single op."""
    grouped: dict[Kind, list[Measured]] = {}
    for each in found:
        if len(each.load.ops) == 1:
            grouped.setdefault(Kind(each.load.buffer, each.load.ops[0]), []).append(each)
    return grouped


def count_round_trips(url: str, load: Load) -> int:
    """Count the round trips to the database of one batch, on a connection that has poured such a
    batch before."""
    with relay(url) as counting:
        os.environ["DECANTER_DATABASE_URL"] = counting.url
        forget("drain")
        first, second, *_ = prepare(url, load).events
        handler.drain(first, Context(), take)
        counting.count()
        handler.drain(second, Context(), take)
        found = len(counting.traffic[Direction.TO_CLIENT].ready)
        forget("drain")
    return found


def _sample(url: str, load: Load) -> Sample:
    events = prepare(url, load).events
    context = Context()
    processor = 0.0

    def pour() -> None:
        nonlocal processor
        began = time.process_time()
        for each in events:
            handler.drain(each, context, take)
        processor = time.process_time() - began

    wall = load.all_rows / rows_per_second(url, load.all_rows, pour)
    return Sample(wall / load.calls, processor / load.calls)
