"""A process that stops the local cloud when the command line ends, in whatever way that happens.

It does so when its standard input is closed, so there is a single way to stop. As long as it runs
it holds the lock of the data folder, so that no two clouds share one.

Protocol: it writes ``ready`` or ``busy``, then reads ids of process groups, one a line.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from decanter import PROJECT
from decanter.local import processes, signals
from decanter.local.named import PostgresError
from decanter.local.postgres import Postgres

BUSY_SECONDS = 10  # for another supervisor to stop its cloud


class CloudBusyError(Exception):
    """Another local cloud uses the data folder."""


@dataclass(frozen=True)
class Supervisor:
    """The supervisor's process, as the command line uses it."""

    process: "subprocess.Popen[str]"

    def register(self, group: int) -> None:
        """Have a process group stopped at the end, in reverse order of the calls."""
        assert self.process.stdin is not None  # noqa: S101
        self.process.stdin.write(f"{group}\n")
        self.process.stdin.flush()

    def close(self) -> None:
        """Stop everything, and wait until no process remains."""
        assert self.process.stdin is not None  # noqa: S101
        assert self.process.stdout is not None  # noqa: S101
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def start_supervisor(home: Path) -> Supervisor:
    """Start the supervisor of a data folder. Raise CloudBusyError."""
    (home / "lock").touch()  # raises here if the folder is not writable
    with signals.deferred():
        process = subprocess.Popen(
            [sys.executable, "-m", "decanter.local.supervisor", str(home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            cwd=PROJECT,
        )
        assert process.stdout is not None  # noqa: S101
        answer = process.stdout.readline().strip()
    if answer != "ready":
        Supervisor(process).close()
        raise CloudBusyError(
            f"Another local cloud uses {home}. Stop it (Ctrl-C in its terminal), "
            "or choose another folder with --data-dir."
        )
    return Supervisor(process)


def stop_group(group: int, grace_seconds: float = 2) -> None:
    """Terminate a process group, kill what remains after that time, and wait for its end."""
    for number, seconds in ((signal.SIGTERM, grace_seconds), (signal.SIGKILL, 5.0)):
        try:
            os.killpg(group, number)
        except (ProcessLookupError, PermissionError):
            return
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not processes.group_runs(group):
                return
            time.sleep(0.02)


def _lock(home: Path) -> int | None:
    descriptor = os.open(home / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() > deadline:
                return None
            time.sleep(0.1)


def main(home: Path) -> int:
    """Hold the lock, read process groups until the input ends, and stop everything."""
    signals.ignore()
    descriptor = _lock(home)
    print("busy" if descriptor is None else "ready", flush=True)
    if descriptor is None:
        return 1
    groups = [int(line) for line in sys.stdin]
    for group in reversed(groups):
        stop_group(group)
    try:
        Postgres(home).stop()
    except PostgresError as error:
        print(error, file=sys.stderr)
    shutil.rmtree(home / "tmp", ignore_errors=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
