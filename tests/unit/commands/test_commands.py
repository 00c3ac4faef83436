"""The command line: every command has help."""

import argparse
import json
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import Column, Identity, Integer, MetaData, Table, Text

from decanter import CITUS_URL, PROJECT
from decanter.__main__ import main, parser
from decanter.commands import postgres
from decanter.contract import committed, compiled
from decanter.local import serving


@cache
def commands() -> dict[str, argparse.ArgumentParser]:
    [action] = [each for each in parser()._actions if isinstance(each, argparse._SubParsersAction)]
    return dict(action.choices)


@pytest.mark.parametrize("name", commands())
def test_every_command_is_described(name: str) -> None:
    assert commands()[name].description


@pytest.mark.parametrize("name", commands())
def test_every_option_has_help(name: str) -> None:
    for action in commands()[name]._actions:
        assert action.help, f"{name} {action.dest}"


@pytest.mark.parametrize("name", commands())
def test_every_command_is_documented(name: str) -> None:
    documents = [PROJECT / "README.md", *(PROJECT / "docs").glob("*.md")]
    text = "".join(document.read_text() for document in documents)

    assert re.search(rf"(make|decanter) {name}\b|`{name}( --[a-z-]+)*`", text)


def test_make_alone_lists_every_target() -> None:
    rules = re.findall(r"^([a-z][a-z0-9 -]*):(?!=)", (PROJECT / "Makefile").read_text(), re.M)

    done = subprocess.run(["make"], cwd=PROJECT, capture_output=True, text=True, check=True)

    assert {*rules} <= {*re.findall("^([a-z0-9 -]+?) {2}", done.stdout, re.M)}


def test_the_command_line_loads_what_a_command_needs_and_no_more() -> None:
    program = (
        "import sys; from decanter.__main__ import parser; parser();"
        " print(*{'boto3', 'sqlalchemy', 'psycopg2', 'chalice', 'alembic'} & {*sys.modules})"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True
    )

    assert done.stdout.split() == []


def test_the_command_line_needs_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parser().parse_args([])
    assert "command" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--engine citus", "DECANTER_CITUS_URL names no cluster. Set it to"),
        ("mutants --mutant rejected-unsettled", "DECANTER_CITUS_URL names no cluster. Set it to"),
        ("load --engine citus", "--engine citus is for: python -m decanter prove histories"),
    ],
)
def test_a_proof_on_citus_needs_a_cluster(
    monkeypatch: pytest.MonkeyPatch, words: str, said: str
) -> None:
    monkeypatch.delenv(CITUS_URL, raising=False)

    with pytest.raises(SystemExit, match=said):
        main(["prove", *words.split()])


def test_what_stands_behind_two_dashes_goes_to_psql(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    taken: list[object] = []
    monkeypatch.setattr(
        postgres,
        "run",
        lambda given: taken.append((given.data_dir, given.action, given.passed_on)) or 0,
    )

    main(["postgres", "psql", "--data-dir", str(tmp_path), "--", "-Atc", "SELECT 1"])

    assert taken == [(tmp_path, "psql", ["-Atc", "SELECT 1"])]


def test_the_first_requests_are_to_resources_that_there_are() -> None:
    metadata = MetaData()
    note = Column("note", Text, info={"example": "it's 5 o'clock"})
    Table(
        "stations", metadata, Column("id", Integer, Identity(always=True), primary_key=True), note
    )
    others = json.loads(compiled(SimpleNamespace(metadata=metadata)))  # type: ignore[arg-type]

    assert "$API/stations/LSZH" in serving.examples(committed())
    words = shlex.split(serving.examples(others))
    assert json.loads(words[words.index("-d") + 1]) == {"note": "it's 5 o'clock"}
