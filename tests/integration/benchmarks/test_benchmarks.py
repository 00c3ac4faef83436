"""The benchmarks measure what they say, on small sizes."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from urllib.request import urlopen

import pytest

from chalicelib.errors import Problem
from decanter.bench import bulk, coldstart, drain, intake, ways
from tests.kit.project import PROJECT


def test_each_shape_is_measured_beside_its_peers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(drain, "QUICK", [(2, 10)])
    monkeypatch.setenv("DECANTER_DATABASE_URL", "set by the benchmark")

    drain.run(quick=True, as_json=True)

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["shape"] for line in lines} == {"create", "replace", "merge", "delete", "mixed"}
    assert {(line["batch"], line["writes"]) for line in lines} == {(2, 10)}
    for line in lines:
        assert line["bench"] == "drain"
        low, high = line["spread"]
        assert 0 < low <= line["rows_per_s"] <= high
        peers = {name.removesuffix("_ratio") for name in line if name.endswith("_ratio")}
        expected = {"copy", "sqlalchemy", "execute_values", "powertools"}
        assert peers == (expected if line["shape"] == "create" else {"create"})
        for peer in peers:
            ratio = line["rows_per_s"] / line[f"{peer}_rows_per_s"]
            assert line[f"{peer}_ratio"] == pytest.approx(ratio, rel=0.05)


def test_ways_into_postgres_are_measured_side_by_side(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ways, "ROWS", 100)

    ways.run(quick=True, as_json=True)

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["of"] for line in lines} == {"rows", "ledger", "parts"}
    whole, *parts = [line for line in lines if line["of"] == "parts"]
    assert all(part["ms"] > 0 for part in parts)
    # Of no round are the parts more than the whole; figures are rounded.
    assert sum(part["spread"][0] for part in parts) <= whole["spread"][1] + 0.5


def test_a_sample_that_was_not_poured_whole_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(drain, "QUICK", [(4, 1)])
    monkeypatch.setenv("DECANTER_DATABASE_URL", "set by the benchmark")
    monkeypatch.setattr(drain.handler, "drain", lambda event, context: None)

    with pytest.raises(AssertionError, match="writes and rejections"):
        drain.run(quick=True, as_json=True)


PEERS = ("ours", "bare", "our_client", "powertools")


def test_each_write_is_measured_beside_its_peers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = [replace(case, calls=2) for case in intake.cases()]
    monkeypatch.setattr(intake, "QUICK", intake.Plan(generations=1, rounds=1))
    monkeypatch.setattr(intake, "cases", lambda: small)

    assert intake.run(quick=True, as_json=True) == 0

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["case"], line["rows"]) for line in lines] == [
        ("POST observations", 1),
        ("POST stations", 1),
        ("PUT stations", 1),
        ("PATCH stations", 1),
        ("POST 1,000 observations", 1_000),
        ("POST 1,000 stations", 1_000),
    ]
    for line in lines:
        assert line["bench"] == "intake"
        for peer in PEERS:
            low, high = line[f"{peer}_spread"]
            assert 0 < low <= line[f"{peer}_ms"] <= high
        low, high = line["ratio_spread"]
        assert low <= line["ratio"] <= high
        for name, peer in {"": "bare", "our_client_": "our_client"}.items():
            ratio = line["ours_ms"] / line[f"{peer}_ms"]
            assert line[f"{name}ratio"] == pytest.approx(ratio, rel=0.05)
    # A thousand rows cost more than one, or nothing of them was looked at.
    assert lines[4]["ours_ms"] > 5 * lines[0]["ours_ms"]


@pytest.fixture(scope="module")
def stub():
    with intake.stub() as port:
        yield port


@pytest.mark.parametrize("peer", PEERS)
def test_every_peer_puts_the_same_writes_on_the_queue(peer: str, stub: int) -> None:
    cases = intake.cases()[:4]

    with intake.Worker(peer, stub) as worker:
        before = taken(stub)
        for case in cases:
            assert worker.milliseconds(replace(case, calls=3)) > 0

    assert taken(stub) - before == 3 * len(cases)


def test_a_write_that_was_not_accepted_does_not_count(stub: int) -> None:
    refused = replace(intake.cases()[0], body={"station": 5}, calls=1)

    with intake.Worker("ours", stub) as worker, pytest.raises(AssertionError, match="422"):
        worker.milliseconds(refused)


def test_an_answer_without_a_message_on_the_queue_does_not_count(
    monkeypatch: pytest.MonkeyPatch, stub: int
) -> None:
    monkeypatch.setattr(intake, "_taken", lambda port: 0)

    with intake.Worker("bare", stub) as worker, pytest.raises(AssertionError, match="0 messages"):
        worker.milliseconds(replace(intake.cases()[0], calls=1))


def test_a_cold_start_is_measured_beside_its_peers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(coldstart, "QUICK", {"compiled": 1})

    assert coldstart.run(quick=True, as_json=True) == 0

    (line,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (line["bench"], line["bytecode"]) == ("coldstart", "compiled")
    for peer in ("client", "ours", "bare", "powertools"):
        low, high = line[f"{peer}_spread"]
        assert 0 < low <= line[f"{peer}_ms"] <= high
        assert line[f"{peer}_wall_ms"] > 0
    assert line["ratio"] == pytest.approx(line["ours_ms"] / line["client_ms"], rel=0.05)


def test_a_cold_start_runs_until_the_first_write_is_accepted(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    refused = replace(intake.cases()[0], body={"station": 5})
    monkeypatch.setattr(coldstart, "cases", lambda: [refused])

    with pytest.raises(subprocess.CalledProcessError):
        coldstart._start("ours", intake.environment(1))
    assert "422" in capfd.readouterr().err


@pytest.mark.parametrize("kind", ["compiled", "source"])
def test_bytecode_is_there_or_is_not(kind: str) -> None:
    with coldstart._bytecode(kind) as settings:
        kept = {name: value for name, value in os.environ.items() if name[:6] != "PYTHON"}
        command = [sys.executable, "-c", "import chalicelib.settings"]
        for _ in range(2):
            subprocess.run(command, env=kept | settings, cwd=PROJECT, check=True)
        written = list(os.walk(settings["PYTHONPYCACHEPREFIX"]))

    assert any("settings" in name for *_, files in written for name in files) is (
        kind == "compiled"
    )


def taken(port: int) -> int:
    with urlopen(f"http://127.0.0.1:{port}/") as answer:
        return int(json.load(answer)["taken"])


def test_a_row_of_a_large_body_is_measured_beside_the_standard_library(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bulk.run(quick=True, as_json=True) == 0

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["case"] for line in lines] == [
        "text/csv",
        "application/x-ndjson",
        "application/json",
    ]
    for line in lines:
        assert line["bench"] == "bulk"
        low, high = line["ratio_spread"]
        assert 0 < low <= line["ratio"] <= high
        assert line["seconds"] == pytest.approx(line["row_us"] * line["rows"] / 1e6, abs=0.001)


def test_a_body_that_was_not_accepted_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    made = bulk.rows(3)
    monkeypatch.setattr(bulk, "rows", lambda count: [*made[:-1], {**made[-1], "day": "no"}])

    with pytest.raises(Problem, match="day"):
        bulk.run(quick=True, as_json=True)
