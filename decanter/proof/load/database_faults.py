"""Faults of Postgres."""

import signal
from pathlib import Path
from random import Random
from typing import Any

import psutil

from decanter.deployment import functions
from decanter.local.postgres import Postgres
from decanter.proof.load.requests import HOT_ACCOUNTS
from decanter.proof.load.system import System, frozen

_MAINTENANCE = "postgres"  # a database that no fault touches
_CONNECTED = "FROM pg_stat_activity WHERE datname = %s AND application_name LIKE 'decanter-%%'"


def backends_terminated(system: System, random: Random) -> bool:
    """Sessions of drains and readers are ended by an administrator."""
    return _signal_backends(system, random, "pg_terminate_backend")


def statements_cancelled(system: System, random: Random) -> bool:
    """Statements of drains and readers are cancelled."""
    return _signal_backends(system, random, "pg_cancel_backend")


def rows_locked(system: System, random: Random) -> bool:
    """Another session holds locks on some of the rows that everyone writes to."""
    chosen = random.sample(HOT_ACCOUNTS, 3)
    mode = random.choice(("UPDATE", "NO KEY UPDATE", "SHARE"))
    with system.session() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("SET LOCAL lock_timeout = '2s'")
        cursor.execute(f"SELECT FROM accounts WHERE id = ANY(%s) FOR {mode}", (chosen,))
        system.pause(random.uniform(0.5, 6))
        cursor.execute("ROLLBACK")
    return True


def read_only(system: System, random: Random) -> bool:
    """The database takes no writes for a while."""
    name = system.database
    with system.session(_MAINTENANCE) as cursor:
        try:
            cursor.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
            _terminate_all(cursor, name)
            system.pause(random.uniform(0.5, 3))
        finally:
            cursor.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
            _terminate_all(cursor, name)
    return True


def connections_refused(system: System, random: Random) -> bool:
    """The roles of drain and reader may hold fewer connections than they need."""
    with system.session(_MAINTENANCE) as cursor:
        limits = _role_limits(cursor, system.database)
        try:
            for role in limits:
                cursor.execute(f'ALTER ROLE "{role}" CONNECTION LIMIT {random.randint(0, 1)}')
            _terminate_all(cursor, system.database)
            system.pause(random.uniform(0.5, 4))
        finally:
            for role, limit in limits.items():
                cursor.execute(f'ALTER ROLE "{role}" CONNECTION LIMIT {limit}')
    return True


def server_stopped(system: System, random: Random) -> bool:
    """Postgres is stopped immediately, without a checkpoint, and started again."""
    server = system.cloud.postgres
    assert isinstance(server, Postgres)
    main = _main_process(server)
    try:
        main.send_signal(signal.SIGQUIT)
        main.wait(30)
        system.pause(random.uniform(0, 3))
    finally:
        server.start()
    return True


def server_frozen(system: System, random: Random) -> bool:
    """All processes of Postgres stop, with all that they hold, and go on."""
    server = system.cloud.postgres
    assert isinstance(server, Postgres)
    main = _main_process(server)
    with frozen([main, *main.children()]):
        system.pause(random.uniform(0.5, 5))
    return True


def _main_process(server: Postgres) -> psutil.Process:
    return psutil.Process(int(Path(server.data, "postmaster.pid").read_text().splitlines()[0]))


def _signal_backends(system: System, random: Random, function: str) -> bool:
    """Several times in a row, so that some of them are in the middle of something."""
    signalled = 0
    with system.session(_MAINTENANCE) as cursor:
        for _ in range(random.randint(10, 40)):
            cursor.execute(f"SELECT {function}(pid) {_CONNECTED} AND random() < 0.5",
                           (system.database,))  # fmt: skip
            signalled += cursor.rowcount
            system.pause(random.uniform(0, 0.1))
    return signalled > 0


def _terminate_all(cursor: Any, database: str) -> None:
    cursor.execute(f"SELECT pg_terminate_backend(pid) {_CONNECTED}", (database,))


def _role_limits(cursor: Any, database: str) -> dict[str, int]:
    """Connection limits of the roles of the functions, by name."""
    names = [f"{database}_{kind}{turn}" for kind in functions.roles() for turn in ("", "_2")]
    cursor.execute("SELECT rolname, rolconnlimit FROM pg_roles WHERE rolname = ANY(%s)", (names,))
    return dict(cursor.fetchall())
