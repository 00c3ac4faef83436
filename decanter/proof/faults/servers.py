"""Faults of the database server."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import psutil
import psycopg2

from decanter.local.postgres import MAX_CONNECTIONS, Postgres
from decanter.proof.faults.batches import small, write_batch
from decanter.proof.faults.case import LONG, FaultCase
from decanter.proof.faults.databases import ROLE, SLOW
from decanter.proof.faults.steps import Batch
from decanter.proof.relay import Link, Point

_SLEEP_MILLISECONDS = 1_500
_TIMES = 3
_PAUSE_SECONDS = 0.05

_PIDS = f"""
    FROM pg_stat_activity WHERE datname = current_database() AND usename = '{ROLE}'
    AND application_name = 'decanter-drain'
"""


def stopped(case: FaultCase) -> None:
    """The server ends at once, as in a crash, and comes back after the invocation."""

    def crash(link: Link) -> None:
        _crash(case.server)
        link.cut()

    with _afterwards(case.server.start):
        _deliver_with(case, crash)


def restarted(case: FaultCase) -> None:
    """The server is stopped in order, and comes back within the invocation."""

    def restart(link: Link) -> None:
        case.server.stop()
        link.cut()
        case.server.start()

    _deliver_with(case, restart)


def read_only(case: FaultCase) -> None:
    def set_to(value: str) -> None:
        case.execute("SET default_transaction_read_only = off")
        case.execute(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
        case.execute("SELECT pg_reload_conf()")

    with _afterwards(lambda: set_to("off")):
        _deliver_with(case, lambda _: set_to("on"))


def out_of_connections(case: FaultCase) -> None:
    """Others hold all connections of the server."""
    with ExitStack() as others:

        def take_all(_: Link) -> None:
            case.relay.refuses_connections = True
            case.relay.cut()
            while _drains(case):  # what they had is free then
                time.sleep(_PAUSE_SECONDS)
            with suppress(psycopg2.OperationalError):
                for _connection in range(MAX_CONNECTIONS):
                    others.enter_context(closing(case.database.connected()))
            case.relay.refuses_connections = False

        _deliver_with(case, take_all)


def limited_connections(case: FaultCase) -> None:
    """The role of the drains may have no connection."""

    def limit(connections: int) -> None:
        case.execute(f"ALTER ROLE {ROLE} CONNECTION LIMIT {connections}")

    def forbid(_: Link) -> None:
        limit(0)
        case.relay.cut()

    with _afterwards(lambda: limit(-1)):
        _deliver_with(case, forbid)


def frozen(case: FaultCase) -> None:
    """All processes of the server are frozen for longer than an invocation."""
    processes: list[psutil.Process] = []

    def freeze(_: Link) -> None:
        postmaster = psutil.Process(_postmaster(case.server))
        processes[:] = [postmaster, *postmaster.children(recursive=True)]
        for each in processes:
            each.suspend()

    def thaw() -> None:
        for each in processes:
            each.resume()

    with _afterwards(thaw):
        _deliver_with(case, freeze)


def terminated(case: FaultCase) -> None:
    """Somebody ends the drain's backend."""
    _deliver_with(case, lambda _: case.execute(f"SELECT pg_terminate_backend(pid) {_PIDS}"))


def cancelled(case: FaultCase) -> None:
    """Somebody cancels what the drain's backend is doing, several times."""
    _interrupt_sleep(case, "pg_cancel_backend", _TIMES)


def terminated_in_a_statement(case: FaultCase) -> None:
    _interrupt_sleep(case, "pg_terminate_backend", _TIMES)


def _deliver_with(case: FaultCase, action: Callable[[Link], object]) -> None:
    """Deliver a batch, with an action at the place, and another batch after that."""
    assert isinstance(case.place.step, Point)
    write_batch(case, case.place.batch or Batch.PLAIN)
    case.relay.arm(case.place.step, action)
    case.deliver()
    case.write(small(case))
    case.deliver()


def _drains(case: FaultCase) -> int:
    """How many connections the drains hold, as the server sees it."""
    return int(case.execute(f"SELECT count(*) {_PIDS}")[0][0])


def _interrupt_sleep(case: FaultCase, function: str, times: int) -> None:
    """Interrupt the drain's backend while it is in a statement that takes long."""
    case.write([case.request("merge", "accounts", {"id": 3, "a": SLOW, "b": _SLEEP_MILLISECONDS})])
    write_batch(case, Batch.PLAIN)
    for _ in range(times):
        if not (batch := case.queue.receive()):
            return
        flight = case.dispatch(batch)
        end = time.monotonic() + LONG
        while not case.settle(flight, seconds=0) and time.monotonic() < end:
            case.execute(f"SELECT {function}(pid) {_PIDS} AND wait_event = 'PgSleep'")


def _crash(server: Postgres) -> None:
    """End the server as `pg_ctl stop -m immediate` does, and wait for that."""
    postmaster = psutil.Process(_postmaster(server))
    postmaster.send_signal(signal.SIGQUIT)
    postmaster.wait(LONG)


def _postmaster(server: Postgres) -> int:
    return int(Path(server.data, "postmaster.pid").read_text().splitlines()[0])


@contextmanager
def _afterwards(heal: Callable[[], None]) -> Iterator[None]:
    try:
        yield
    finally:
        heal()
