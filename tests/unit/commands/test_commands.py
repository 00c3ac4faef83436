"""The command line: every command has help."""

import argparse
import json
import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import Column, Identity, Integer, MetaData, Table, Text

from decanter.__main__ import main, parser
from decanter.contract import committed, compiled
from decanter.local import server
from decanter.local.demo import run


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


def test_the_command_line_needs_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parser().parse_args([])
    assert "command" in capsys.readouterr().err


def test_what_stands_behind_two_dashes_goes_to_psql(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    taken: list[object] = []
    monkeypatch.setattr(server, "main", lambda *given: taken.append(given) or 0)

    main(["postgres", "psql", "--data-dir", str(tmp_path), "--", "-Atc", "SELECT 1"])

    assert taken == [(tmp_path, "psql", ["-Atc", "SELECT 1"])]


def test_the_first_requests_are_to_resources_that_there_are() -> None:
    metadata = MetaData()
    note = Column("note", Text, info={"example": "it's 5 o'clock"})
    Table(
        "stations", metadata, Column("id", Integer, Identity(always=True), primary_key=True), note
    )
    others = json.loads(compiled(SimpleNamespace(metadata=metadata)))  # type: ignore[arg-type]

    assert "$API/stations/LSZH" in run._examples(committed())
    words = shlex.split(run._examples(others))
    assert json.loads(words[words.index("-d") + 1]) == {"note": "it's 5 o'clock"}
