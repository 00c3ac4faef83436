"""Runs faults, each at all of its steps, and judges what came of them."""

import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import NamedTuple

from decanter.proof.checker import check
from decanter.proof.faults.batches import write_batch
from decanter.proof.faults.case import case
from decanter.proof.faults.catalogue import FAULTS
from decanter.proof.faults.databases import Databases, databases
from decanter.proof.faults.host import Host, host
from decanter.proof.faults.steps import Batch, Place, places
from decanter.proof.history import Violation
from decanter.proof.relay import Traffic

_AT_ONCE = 6  # most of a case is waiting
_READ = 2
_WRITTEN_AFTERWARDS = 3


class FaultOutcome(NamedTuple):
    """A fault at one step. writes: accepted ones. deliveries: of their messages. was_reached: False
    if the batch was done before that step came. seconds: that it took."""

    fault: str
    step: str
    writes: int
    deliveries: int
    violations: tuple[Violation, ...]
    was_reached: bool
    seconds: float


def run(
    seed: int, names: Sequence[str] | None, is_short: bool, modules: Sequence[str] = ()
) -> Iterator[FaultOutcome]:
    """Run faults, all or those with these names, and give each outcome as it comes.

    is_short: a few faults that cost little, each at a few steps. modules: see `host`. All that it
    starts ends with it. Raises KeyError for an unknown name.
    """
    chosen = {name: FAULTS[name] for name in names or FAULTS}
    if is_short and not names:
        chosen = {name: fault for name, fault in chosen.items() if fault.is_quick}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="decanter-faults-")))
        servers = stack.enter_context(ExitStack())
        shared = servers.enter_context(databases())
        pools = ThreadPoolExecutor(_AT_ONCE), ThreadPoolExecutor(1)
        for pool in pools:
            stack.callback(pool.shutdown, cancel_futures=True)
        # It ends first; then no case goes on.
        hosting = stack.enter_context(host(folder, modules))
        passed = {batch: _first_run(hosting, shared, seed, batch) for batch in Batch}
        futures: list[Future[FaultOutcome]] = []
        for needs_server in (False, True):
            tasks = [
                (name, place)
                for name, fault in chosen.items()
                if fault.needs_server == needs_server
                for place in places(fault.points, passed, Random(f"{seed} {name}"), is_short)
            ]
            if tasks:
                used = servers.enter_context(databases()) if needs_server else shared
                futures += [
                    pools[needs_server].submit(_outcome, hosting, used, seed, name, place)
                    for name, place in tasks
                ]
        for future in as_completed(futures):
            yield future.result()


def _first_run(host: Host, databases: Databases, seed: int, batch: Batch) -> Traffic:
    """What passes the relay while a batch is poured without a fault."""
    with case(host, databases, Random(seed)) as running:
        running.write_first_rows()
        write_batch(running, batch)
        running.relay.count()
        running.deliver()
        return running.relay.traffic


def _outcome(host: Host, databases: Databases, seed: int, name: str, place: Place) -> FaultOutcome:
    """Run a fault at one place, heal, pour to the end and judge."""
    began = time.monotonic()
    fault = FAULTS[name]
    with case(host, databases, Random(seed), place, fault.patience_seconds) as running:
        running.write_first_rows()
        fault.run(running)
        running.relay.heal()
        running.read_some(_READ)
        running.write_some(_WRITTEN_AFTERWARDS)
        running.drain_to_the_end()
        history = running.history(fault.allowed)
    return FaultOutcome(
        fault=name,
        step=str(place),
        writes=sum(len(each.writes) for each in history.attempts if each.is_accepted),
        deliveries=running.queue.deliveries,
        violations=(*running.violations, *check(history)),
        was_reached=running.relay.struck >= place.strikes,
        seconds=time.monotonic() - began,
    )
