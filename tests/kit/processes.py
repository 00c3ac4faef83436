"""Processes that a local cloud leaves behind."""

from pathlib import Path

import psutil

from tests.kit.waiting import until


def processes_of(folder: Path) -> list[str]:
    """Return the command lines of all processes of a data folder."""
    found = []
    for process in psutil.process_iter(("cmdline", "status")):
        if process.info["status"] == psutil.STATUS_ZOMBIE:
            continue
        try:
            here = process.cwd()
        except psutil.Error:
            here = ""
        text = " ".join(process.info["cmdline"] or [])
        if str(folder) in text or here.startswith(str(folder)):
            found.append(text)
    return found


def gone(folder: Path) -> bool:
    return until(lambda: not processes_of(folder), "the end of all processes")
