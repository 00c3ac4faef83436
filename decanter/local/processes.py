"""Facts about processes of the operating system."""

import os
from contextlib import suppress
from pathlib import Path

import psutil


def runs(pid: int, name: str) -> bool:
    """Whether a process of this name and id runs. A zombie does not."""
    try:
        process = psutil.Process(pid)
        return bool(process.name() == name and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def any_works_in(folder: Path, name: str) -> bool:
    """Whether a process of this name works in the folder."""
    wanted = {"name": name, "cwd": str(folder.resolve())}
    return any(process.info == wanted for process in psutil.process_iter(("name", "cwd")))


def listens(pid: int, port: int) -> bool:
    """Whether the process listens on the TCP port."""
    try:
        sockets = psutil.Process(pid).net_connections("tcp")
    except psutil.Error:
        return False
    return any(each.status == psutil.CONN_LISTEN and each.laddr.port == port for each in sockets)


def group_runs(group: int) -> bool:
    """Whether a process group has a process that is not a zombie."""
    for process in psutil.process_iter(("status",)):
        with suppress(ProcessLookupError):
            if os.getpgid(process.pid) == group and process.info["status"] != psutil.STATUS_ZOMBIE:
                return True
    return False
