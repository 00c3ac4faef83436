"""Whether a stage has a table in front, and the functions that it then has."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chalicelib import stage
from tests.kit.project import PROJECT

FUNCTIONS = """
import sys
from chalicelib import stage
stage.has_front = lambda: sys.argv[1] == "front"
import app
print(sorted({"drain_stream", "settle"} & {*app.app.handler_map}))
"""


def rules(tmp_path: Path, *lines: Any) -> Path:
    file = tmp_path / "rules.jsonl"
    file.write_text("".join(f"{json.dumps(line, separators=(',', ':'))}\n" for line in lines))
    return file


@pytest.mark.parametrize(
    ("lines", "fronts"),
    [
        ([], {}),
        ([{"name": "a"}], {}),
        ([{"name": "a"}, {"name": "b", "front": {"defaults": {}}}], {"b": "dynamodb"}),
        ([{"name": "b", "front": {"closed": True, "defaults": {}}}], {"b": "closed"}),
        ([{"name": "a", "columns": {"front": {"type": "string"}}}], {}),
        ([{"name": "a", "made": {"b": 'say "front":{'}}], {}),
    ],
)
def test_a_stage_has_a_front_if_a_resource_is_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: list[Any], fronts: dict[str, str]
) -> None:
    monkeypatch.setattr(stage, "_RULES", rules(tmp_path, *lines))

    assert stage.fronts() == fronts
    assert stage.has_front() is bool(fronts)


def test_the_stream_is_the_one_of_the_stage() -> None:
    arn = "arn:aws:dynamodb:eu-central-1:1:table/t/stream/2026-01-01T00:00:00.000"

    assert stage.front_stream({"DECANTER_FRONT_STREAM": arn}) == arn
    assert stage.front_stream({}) == stage.front_stream({"DECANTER_FRONT_STREAM": ""})
    assert stage.front_stream({}).startswith("arn:aws:dynamodb:")


@pytest.mark.parametrize(("chosen", "found"), [("front", "['drain_stream', 'settle']"), ("", "[]")])
def test_only_a_stage_with_a_front_has_its_functions(chosen: str, found: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FUNCTIONS, chosen],
        cwd=PROJECT,
        env={**os.environ, "DECANTER_AUTH": "jwt"},
        capture_output=True,
        text=True,
    )

    assert done.stdout.splitlines() == [found], done.stderr
