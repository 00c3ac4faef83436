"""No command shows a traceback: a line says what is wrong, where, and what to do."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg2
import pytest
import sqlalchemy as sa

from decanter.__main__ import main
from decanter.commands import errors
from decanter.local.named import PostgresError
from tests.kit.project import clone

MODELS, CONFIG = "chalicelib/models.py", ".chalice/config.json"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project."""
    return clone(tmp_path_factory.mktemp("faults") / "project", "tests")


TABLE = 'class Mine(Base):\n    __tablename__ = "mine"\n    '
BROKEN = {
    # what is appended to a file, or is it; the command; what is said
    "syntax": (
        MODELS,
        "x = = 1",
        "contract",
        r"models\.py:\d+: SyntaxError: invalid syntax: x = = 1",
    ),
    "a name": (MODELS, "Nothing.at_all", "migration", r"models\.py:\d+: NameError: .*'Nothing'"),
    "a module": (
        MODELS,
        "import no_such_module",
        "package --stage dev",
        r"models\.py:\d+: ModuleNotFoundError: .*requirements\.in",
    ),
    "no key": (
        MODELS,
        TABLE + "x = 1",
        "contract",
        r"models\.py:\d+: ArgumentError: .*key",
    ),
    "no such table": (
        MODELS,
        "from sqlalchemy import ForeignKey as FK\n"
        + TABLE
        + 'id: Mapped[int] = mapped_column(FK("nowhere.id"), primary_key=True)\n',
        "contract",
        r"models\.py: .*could not find table 'nowhere'",
    ),
    "not JSON": (CONFIG, "{,}", "template --stage dev", r"config\.json cannot be read: .*line 1"),
    "no layer": (
        CONFIG,
        '{"app_name": "x", "stages": {"dev": {"environment_variables":'
        ' {"DECANTER_QUEUES": "x", "DECANTER_AUTH": "jwt"}}}}',
        "package --stage dev",
        "automatic_layer is not true in .*Set it",
    ),
    "no stages": (
        CONFIG,
        '{"app_name": "x"}',
        "package --stage dev",
        r"stages in .*config\.json must be an object",
    ),
    "a list": (
        CONFIG,
        '{"app_name": "x", "stages": {"dev": {"lambda_functions": []}}}',
        "template --stage dev",
        r"stages\.dev\.lambda_functions is not an object",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_wrong_in_a_file_is_reported_with_its_place(project: Path, case: str) -> None:
    file, text, command, told = BROKEN[case]
    whole = (project / file).read_text()
    added = f"{whole}\n\n{text}\n" if file == MODELS else text
    (project / file).write_text(added)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "decanter", *command.split()],
            cwd=project,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
        )
    finally:
        (project / file).write_text(whole)

    assert done.returncode == 1
    assert re.search(told, done.stderr), done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert len(done.stderr.strip().splitlines()) == 1


def free() -> socket.socket:
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    return taken


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("template --stage nosuch", r"no stage 'nosuch' in .*: dev"),
        ("check --stage nosuch", r"no stage 'nosuch'"),
        ("package --stage nosuch", r"no stage 'nosuch'"),
        ("budget --stage nosuch", r"no stage 'nosuch'"),
        ("run --data-dir /dev/null/x", r"Not a directory: .*Name a folder"),
        ("cloud --data-dir /dev/null", r"File exists: /dev/null\. Name another folder"),
        ("token --data-dir /dev/null/x", r"Not a directory: .*Name a folder"),
        ("postgres url --data-dir {empty}", r"no Postgres in .* start it first"),
        ("cloud --data-dir {empty} --port {taken}", r"Port \d+ is taken; .*--port"),
        ("dev --data-dir {empty} --port {taken}", r"Port \d+ is taken; .*--port"),
    ],
)
def test_what_is_wrong_with_an_option_is_reported(
    command: str, told: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with free() as taken:
        given = command.format(empty=tmp_path, taken=taken.getsockname()[1])
        code = main(given.split())

    said = capfd.readouterr().err
    assert code == 1
    assert re.search(told, said)
    assert "Traceback" not in said


def raising(error: BaseException) -> Callable[[], int]:
    def run() -> int:
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            OSError(28, "No space left on device", "/data/x"),
            "device: /data/x. Free",
        ),
        (OSError(28, "No space left on device"), "No space left on device. Free"),
        (PermissionError(13, "Permission denied", "/data/x"), "denied: /data/x. Let this user"),
        (PostgresError("Postgres did not start."), "Postgres did not start."),
        (
            psycopg2.OperationalError("server closed\nthe connection"),
            "closed the connection",
        ),
        (
            sa.exc.ProgrammingError("SQL", {}, psycopg2.Error('type "ltree" does not exist')),
            'type "ltree" does not exist. If it is of an extension',
        ),
    ],
)
def test_what_others_say_is_one_line_with_the_cure(
    error: Exception, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert errors.run_reporting(raising(error)) == 1

    said = capsys.readouterr().err.strip()
    assert told in said
    assert len(said.splitlines()) == 1


def test_a_fault_of_our_own_leaves_its_traceback_in_a_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    assert errors.run_reporting(raising(KeyError("lost"))) == 1

    [kept] = tmp_path.iterdir()
    said = capsys.readouterr().err
    assert "KeyError: 'lost'" in said
    assert str(kept) in said
    assert "Traceback" not in said
    assert "Traceback" in kept.read_text()


def test_who_stops_a_command_sees_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert errors.run_reporting(raising(KeyboardInterrupt())) == 130

    assert capsys.readouterr().err.strip() == "Stopped."


def test_of_a_traceback_that_a_program_prints_the_place_and_the_last_line_are_kept() -> None:
    said = (
        "chalice says:\nTraceback (most recent call last):\n"
        '  File "/x/site-packages/chalice/cli.py", line 3, in main\n    load()\n'
        '  File "/build/.source/app.py", line 7, in <module>\n    import nothing\n'
        '  File "/usr/lib/python3.11/x.py", line 1, in y\nModuleNotFoundError: no nothing\n'
    )

    assert (
        errors.shorten_traceback(said) == "chalice says:\napp.py:7: ModuleNotFoundError: no nothing"
    )
    assert errors.shorten_traceback(" as it is\n") == "as it is"
