"""Scratch servers: in memory where there is room, otherwise on disk."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from decanter import POSTGRES_BIN, POSTGRES_URL
from decanter.local import server
from decanter.local.named import PostgresError
from decanter.local.postgres import Postgres, program
from tests.kit.databases import execute
from tests.kit.project import HOME
from tests.kit.waiting import LONG, until


@pytest.mark.parametrize(("folder", "is_used"), [("room", True), ("none", False)])
def test_data_are_in_memory_if_there_is_room_and_are_removed(
    folder: str, is_used: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(POSTGRES_URL, raising=False)
    (tmp_path / "room").mkdir()
    monkeypatch.setattr(server, "_MEMORY", tmp_path / folder)
    monkeypatch.setattr(server, "_LEAST_BYTES", 1)

    with server.scratch("test") as made:
        assert isinstance(made, Postgres)
        assert execute(made.url(), "SHOW fsync") == [("off",)]
        assert (tmp_path in made.home.parents) == is_used
    assert not made.home.exists()


def test_a_folder_names_the_programs_of_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(POSTGRES_URL, raising=False)
    monkeypatch.delenv(POSTGRES_BIN, raising=False)
    folder = program("postgres").parents[2] / "pginstall" / "bin"  # another one of the package
    monkeypatch.setenv(POSTGRES_BIN, str(folder))

    with server.scratch("test") as made:
        [(version, upper)] = execute(
            made.url(), "SELECT current_setting('server_version_num')::int / 10000, upper('é')"
        )

    assert (version, upper) == (16, "É")


def test_a_folder_without_the_programs_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(POSTGRES_BIN, str(tmp_path))

    with pytest.raises(PostgresError, match=f"{POSTGRES_BIN} names a folder without .*{tmp_path}"):
        program("postgres")


def test_tests_that_are_terminated_leave_no_server() -> None:
    command = [sys.executable, "-m", "pytest", "tests/integration/reader/test_reader.py"]
    own = {name: value for name, value in os.environ.items() if name != POSTGRES_URL}
    running = subprocess.Popen(command, cwd=HOME, env=own, stdout=subprocess.DEVNULL)
    try:
        server, folder = until(lambda: server_below(running.pid))
        running.send_signal(signal.SIGTERM)

        assert running.wait(LONG) == pytest.ExitCode.INTERRUPTED
        assert not server.is_running()
        assert not folder.exists()
    finally:
        running.kill()


def server_below(pid: int) -> tuple[psutil.Process, Path] | None:
    """The Postgres that a process has started, and the folder of its data."""
    for each in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if "-D" in (arguments := each.cmdline()):
                return each, Path(arguments[arguments.index("-D") + 1])
    return None
