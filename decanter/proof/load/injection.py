"""Faults at random, by a seed, with quiet phases between them."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from random import Random
from typing import NamedTuple

import psutil
import psycopg2

from decanter.proof.load import database_faults, dsql_faults, function_faults, queue_faults
from decanter.proof.load.system import System

logger = logging.getLogger("decanter.proof")

Fault = Callable[[System, Random], bool]
"""Injects a fault, heals it, and returns whether it struck anything."""

FAMILIES: tuple[tuple[Fault, ...], ...] = (
    (
        function_faults.function_killed,
        function_faults.drain_killed_in_transaction,
        function_faults.function_frozen,
        function_faults.drain_frozen_in_transaction,
        function_faults.mapping_disabled,
    ),
    (
        queue_faults.queue_refuses,
        queue_faults.queue_cut_off,
        queue_faults.queue_late,
        queue_faults.queue_takes_a_part,
        queue_faults.reader_unreachable,
    ),
    (
        database_faults.backends_terminated,
        database_faults.statements_cancelled,
        database_faults.rows_locked,
        database_faults.read_only,
        database_faults.connections_refused,
    ),
)
"""Faults of which those of one family happen one after the other, beside those of the others."""

ON_DSQL: tuple[tuple[Fault, ...], ...] = (
    *FAMILIES[:-1],
    (
        database_faults.backends_terminated,
        database_faults.statements_cancelled,
        database_faults.read_only,
    ),
    (dsql_faults.statements_refused, dsql_faults.connections_cut, dsql_faults.rows_changed),
)
"""The same where DSQL's rules stand before the database: it knows no limits of connections, and
nobody waits for a lock."""

OF_OWN_CLOUD: tuple[tuple[Fault, ...], ...] = (
    (),
    (queue_faults.cloud_frozen,),
    (database_faults.server_stopped, database_faults.server_frozen),
)
"""More of them, which others who use the same cloud would notice."""

_PASSING = (psycopg2.Error, psutil.Error, OSError)
"""Errors of a fault that meets another one."""


class Phases(NamedTuple):
    """How long faults last, then nothing happens, and so on."""

    faulty_seconds: float
    quiet_seconds: float


@dataclass
class Injection:
    """Injects faults until it is stopped.

    struck: how often each fault struck, by name. quiet: begin and end of the phases without faults.
    """

    system: System
    seed: int
    phases: Phases
    struck: Counter[str] = field(default_factory=Counter)
    quiet: list[tuple[float, float]] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)

    def run(self) -> None:
        decks = [
            _deck(Random(f"{self.seed} {place}"), family + more)
            for place, (family, more) in enumerate(self._families())
        ]
        while not self.system.stopped.is_set():
            end = time.monotonic() + self.phases.faulty_seconds
            threads = [
                threading.Thread(target=self._inject, args=(deck, end), name="faults")
                for deck in decks
            ]
            for each in threads:
                each.start()
            for each in threads:
                each.join()
            began = time.time()
            self.system.pause(self.phases.quiet_seconds)
            self.quiet.append((began, time.time()))

    def _families(self) -> Iterator[tuple[tuple[Fault, ...], tuple[Fault, ...]]]:
        known = ON_DSQL if self.system.dsql else FAMILIES
        yield from zip_longest(known, OF_OWN_CLOUD if self.system.is_own else (), fillvalue=())

    def _inject(self, deck: Iterator[tuple[Fault, Random]], end: float) -> None:
        while time.monotonic() < end and not self.system.stopped.is_set():
            fault, random = next(deck)
            name = fault.__name__.replace("_", " ")
            try:
                self.struck[name] += fault(self.system, random)
            except _PASSING as error:
                logger.info("%s met another fault: %r", name, error)
            except BaseException as error:
                self.errors.append(error)
                raise
            self.system.pause(random.uniform(0.2, 2))


def _deck(random: Random, faults: Sequence[Fault]) -> Iterator[tuple[Fault, Random]]:
    """All faults in some order, then in another, and so on; each with random numbers of its own."""
    while True:
        for each in random.sample(faults, len(faults)):
            yield each, Random(random.getrandbits(64))
