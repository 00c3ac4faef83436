"""`python -m decanter plan`: a profile in, words, JSON, a picture and settings out."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from decanter import PROJECT
from decanter.__main__ import main
from decanter.commands import plan
from decanter.planning import plan as planning
from decanter.planning import text
from tests.kit import planned_day
from tests.kit.described_answers import check
from tests.kit.ops_server import OpsServer, Reply
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
    for module in (planning, text):
        monkeypatch.setattr(module, "MOST_TIMES", 2.0)  # less to simulate
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
        "Nothing breaks at 2 times this traffic.",
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


def from_ledger(folder: Path, *options: str) -> int:
    """Run the command for the traffic that the server tells of."""
    (folder / "service.json").write_text(json.dumps(SERVICE))
    (folder / "own.yaml").write_text("goal: {lag_p99_seconds: 300}")
    own = ["--service", str(folder / "service.json"), "--from-ledger", *options]
    return main(["plan", str(folder / "own.yaml"), *own])


def traffic(requests: int) -> dict[str, Any]:
    """A day with so many requests an hour."""
    counts = [requests] * 24
    stations = {
        "name": "stations", "buffer": "ordered", "messages": counts, "requests": counts,
        "writes": counts, "busiest_minute": [1] * 24, "keys": None, "ops": None, "row_bytes": None,
    }  # fmt: skip
    hours = [f"2026-03-01T{hour:02}:00:00.000+00:00" for hour in range(24)]
    now = "2026-03-02T00:00:00.000+00:00"
    body = {"now": now, "hours": hours, "sampled_share": 1, "resources": [stations], "unknown": []}
    check("GET", "/ops/traffic", 200, "application/json", json.dumps(body))
    return body


def test_the_ledgers_traffic_is_fitted_kept_and_planned_for(
    project: Path, server: OpsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.on("GET traffic", traffic(20))
    saved = project / "day.yaml"

    assert from_ledger(project, "--json", "--save", str(saved), "--days", "3") == 0

    [asked] = server.asked
    assert asked.query == {"days": "3"}
    assert asked.headers["authorization"] == "Bearer secret-token"
    found = json.loads(capsys.readouterr().out)
    assert found["profile"]["resources"]["stations"]["share"] == 1
    assert found["outcome"]["requests"] == pytest.approx(480, rel=0.3)
    assert any("bytes_per_row: assumed" in each for each in found["basis"])
    assert yaml.safe_load(saved.read_text()) == found["profile"]


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (traffic(0), "The ledger has no traffic: in the last 1 days, no write to a resource"),
        (
            Reply({"type": "urn:decanter:problem:missing-scope", "title": "Missing scope",
                   "status": 403, "detail": "the token needs the scope ops:read"}, 403),
            "needs the scope ops:read",
        ),
    ],
)  # fmt: skip
def test_a_ledger_that_does_not_help_is_reported(
    reply: Any, said: str, project: Path, server: OpsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.on("GET traffic", reply)

    assert from_ledger(project) == 1
    assert said in capsys.readouterr().err


def test_an_api_that_cannot_be_reached_is_reported(
    project: Path, server: OpsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert from_ledger(project, "--url", "http://127.0.0.1:1") == 1
    assert "http://127.0.0.1:1 does not answer" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "name a PROFILE, take the traffic of a stage with --from-ledger, or try the model"),
        (["day.yaml", "--save", "other.yaml"], "--save goes with --from-ledger"),
        (["day.yaml", "--url", "https://api.test"], "--url goes with --from-ledger"),
        (["day.yaml", "--days", "7"], "--days goes with --from-ledger"),
        (["day.yaml", "--data-dir", ".decanter"], "--data-dir goes with --from-ledger"),
        (["day.yaml", "--seconds", "90"], "--seconds goes with --verify"),
        (["--from-ledger", "--seconds", "90"], "--seconds goes with --verify"),
        (["--from-ledger", "--stage", "dev", "--data-dir", "."], "goes with the local cloud"),
        (["--from-ledger", "--url", "https://a.test", "--data-dir", "."], "goes with the local"),
        (["own.yaml", "--from-ledger", "--save", "./own.yaml"], "--save would overwrite PROFILE"),
        (["--from-ledger", "--days", "0"], "is not a whole number from 1"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["plan", *options])
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--save", "--picture"])
def test_a_file_that_cannot_be_written_is_refused_before_anything_is_asked(
    option: str, project: Path, server: OpsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, said in (
        ("nowhere/day.svg", f"there is no folder {project / 'nowhere'} to write day.svg into"),
        ("", f"{project} is a folder"),
    ):
        with pytest.raises(SystemExit):
            from_ledger(project, option, str(project / name))
        assert f"{option}: {said}" in capsys.readouterr().err
    assert server.asked == []


def test_a_data_folder_beside_an_address_in_the_environment_is_refused(
    project: Path, server: OpsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        from_ledger(project, "--data-dir", str(project))

    assert "--data-dir goes with the local cloud, not with" in capsys.readouterr().err


def test_service_times_that_cannot_be_read_are_reported_before_anything_is_asked(
    project: Path, server: OpsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert from_ledger(project, "--service", str(project / "nowhere.json")) == 1

    assert "nowhere.json cannot be read" in capsys.readouterr().err
    assert server.asked == []
