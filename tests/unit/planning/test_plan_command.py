"""`python -m decanter plan`: a profile in, words, JSON, a picture and settings out."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from decanter import PROJECT
from decanter.__main__ import main
from decanter.commands import plan
from tests.kit import planned_day
from tests.kit.planned import document

SERVICE = {
    "cold_start_seconds": 0.5,
    "ops": {
        "create": {
            "batch_seconds": 20,
            "message_seconds": 0.1,
            "row_seconds": 0,
            "byte_seconds": 0,
        }
    },
    "functions": planned_day.FUNCTIONS,
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose stage may be changed."""
    shutil.copytree(PROJECT / ".chalice", tmp_path / ".chalice")
    for name in ("app.py", "chalicelib"):
        (tmp_path / name).symlink_to(PROJECT / name)
    monkeypatch.setattr(plan, "PROJECT", tmp_path)
    return tmp_path


def planned(folder: Path, *options: str, **members: Any) -> int:
    """Run the command with a profile of a few hundred requests."""
    rate = [{"at": "00:00", "requests_per_second": 0.005}]
    given = {"rate": rate, "goal": {"lag_p99_seconds": 300}, **members}
    (folder / "day.json").write_text(json.dumps(document(**given)))
    (folder / "service.json").write_text(json.dumps(SERVICE))
    files = [str(folder / "day.json"), "--service", str(folder / "service.json")]
    return main(["plan", *files, *options])


def test_a_plan_is_told_and_drawn(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = project / "day.svg"

    assert planned(project, "--picture", str(picture)) == 0

    said = capsys.readouterr().out
    for words in (
        "The goal is met.",
        "drain_unordered",
        "The database grants: 60.",
        "Nothing breaks at 16 times this traffic.",
        "The lowest caps that meet the goal:",
        "sum, USD a month",
        "an invocation that starts a container may take",
    ):
        assert words in said
    assert picture.read_text().startswith("<svg")


def test_a_plan_is_json_and_its_code_tells_whether_the_goal_is_met(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert planned(project, "--json", connections=8) == 1

    found = json.loads(capsys.readouterr().out)
    assert found["goal_met"] is False
    assert "the database grants 8" in found["objections"][0]
    assert [each["name"] for each in found["outcome"]["buffers"]] == [
        "ordered",
        "unordered",
        "stream",
    ]
    assert found["outcome"]["buffers"][0]["lag"].keys() == {"p50", "p95", "p99", "most"}
    assert {"limit", "caps", "cost", "memory", "budget"} <= found.keys()


def test_caps_are_written_and_hold(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert planned(project, "--write") == 0
    assert '+        "DECANTER_ORDERED_CAP": "2"' in capsys.readouterr().out

    assert planned(project, "--json") == 0

    found = json.loads(capsys.readouterr().out)
    caps = {each["function"]: each for each in found["outcome"]["buffers"]}
    assert caps["drain_ordered"]["containers"] <= 2
    assert found["budget"] == 17 - 2
    assert planned(project, "--write") == 0
    assert "has these caps" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "members", "said"),
    [
        (["--stage", "prod"], {}, "There is no stage 'prod' in .chalice/config.json: dev."),
        ([], {"region": "mars-1"}, "there are no prices for 'mars-1'"),
        ([], {"connections": -1}, "day.json: connections: -1 is less than the minimum of 1"),
    ],
)
def test_what_cannot_be_planned_is_refused(
    options: list[str],
    members: dict[str, Any],
    said: str,
    project: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert planned(project, *options, **members) == 1
    assert said in capsys.readouterr().err
