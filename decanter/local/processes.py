"""What the operating system says of processes."""

import os
from pathlib import Path

import psutil


def runs(pid: int, name: str) -> bool:
    """Whether the process lives under this name; one that nobody has reaped does not."""
    try:
        process = psutil.Process(pid)
        return bool(process.name() == name and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def exists(pid: int) -> bool:
    """Whether the number is taken, if only by a process that nobody has reaped."""
    return bool(psutil.pid_exists(pid))


def work_in(folder: Path, name: str) -> bool:
    """Whether a process of this name has the folder as its working directory."""
    for process in psutil.process_iter(("name",)):
        if process.info["name"] != name:
            continue
        try:
            if Path(process.cwd()) == folder.resolve():
                return True
        except (psutil.Error, OSError):
            continue
    return False


def listens(pid: int, port: int) -> bool:
    """Whether the process listens on the TCP port."""
    try:
        sockets = psutil.Process(pid).net_connections("tcp")
    except psutil.Error:
        return False
    return any(each.status == psutil.CONN_LISTEN and each.laddr.port == port for each in sockets)


def group_lives(group: int) -> bool:
    """Whether a process group has a process that is more than an entry its parent has not read."""
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    for process in psutil.process_iter(("status",)):
        try:
            if os.getpgid(process.pid) == group and process.info["status"] != psutil.STATUS_ZOMBIE:
                return True
        except ProcessLookupError:
            continue
    return False
