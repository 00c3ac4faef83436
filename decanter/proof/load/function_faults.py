"""Faults of functions and of what invokes them."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import psutil

from decanter.proof.load.system import System, frozen, kill

_FUNCTIONS = ("api", "bearer", "drain_ordered", "drain_unordered", "reader")
_DRAINS = ("drain_ordered", "drain_unordered")
_LOOKING_SECONDS = 2.0
_LOOKING_AGAIN_SECONDS = 0.5
_LOOKING_PAUSE_SECONDS = 0.001
_WORKING = (
    "SELECT client_port FROM pg_stat_activity WHERE client_port = ANY(%s) AND state <> 'idle'"
)


def function_killed(system: System, random: Random) -> bool:
    """A process of any function is killed, whatever it does."""
    found = system.processes(random.choice(_FUNCTIONS))
    if found:
        kill(random.choice(found))
    return bool(found)


def drain_killed_in_transaction(system: System, random: Random) -> bool:
    """A drain is killed while Postgres has a transaction of it open."""
    drain = _working_drain(system)
    if drain is not None:
        system.pause(random.uniform(0, 0.01))
        kill(drain)
    return drain is not None


def function_frozen(system: System, random: Random) -> bool:
    """A process stops, and goes on later than the visibility timeout of its messages."""
    found = system.processes(random.choice(_FUNCTIONS))
    with frozen(found[:1]):
        system.pause(random.uniform(0.5, 8))
    return bool(found)


def drain_frozen_in_transaction(system: System, random: Random) -> bool:
    """A drain stops with a transaction open, and goes on later."""
    drain = _working_drain(system)
    if drain is None:
        return False
    with frozen([drain]):
        system.pause(random.uniform(0.5, 8))
    return True


def mapping_disabled(system: System, random: Random) -> bool:
    """The event source mapping of a drain is switched off for a while."""
    with _mapping_disabled(system, random.choice(_DRAINS)):
        system.pause(random.uniform(0.5, 4))
    return True


@contextmanager
def _mapping_disabled(system: System, drain: str) -> Iterator[None]:
    client, identity = system.cloud.client("lambda"), system.mapping(drain)
    try:
        client.update_event_source_mapping(UUID=identity, Enabled=False)
        yield
    finally:
        client.update_event_source_mapping(UUID=identity, Enabled=True)


def _working_drain(system: System) -> psutil.Process | None:
    """The process of a drain that has a transaction open, if there is one soon."""
    end = time.monotonic() + _LOOKING_SECONDS
    with system.session() as cursor:
        while time.monotonic() < end and not system.stopped.is_set():
            drains = {port: each for name in _DRAINS for port, each in system.ports(name)}
            again = time.monotonic() + _LOOKING_AGAIN_SECONDS
            while time.monotonic() < again:
                cursor.execute(_WORKING, ([*drains],))
                for (port,) in cursor.fetchall():
                    return drains[port]
                time.sleep(_LOOKING_PAUSE_SECONDS)
    return None
