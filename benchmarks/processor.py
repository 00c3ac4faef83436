"""Processor time of other processes, such as those of a Postgres."""

from contextlib import suppress
from pathlib import Path

import psutil


def seconds(process: psutil.Process) -> float:
    """Return the seconds that a process has run, user and system."""
    with suppress(FileNotFoundError):  # Linux counts nanoseconds there, and hundredths otherwise
        text = Path(f"/proc/{process.pid}/schedstat").read_text(encoding="ascii")
        return int(text.split()[0]) / 1e9
    times = process.cpu_times()
    return float(times.user + times.system)


def server_seconds(backend_pid: int) -> float:
    """Return the seconds of all processes of the Postgres that has this one: its backends, and what
    writes the log and the tables. Those that have ended do not count any more."""
    server = psutil.Process(backend_pid).parent()
    total = 0.0
    for process in (server, *server.children()):
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            total += seconds(process)
    return total
