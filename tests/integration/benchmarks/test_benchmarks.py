"""The benchmarks measure what they say, on small sizes."""

import json
import os
import subprocess
import sys
from contextlib import ExitStack, closing, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import psycopg2
import pytest

from benchmarks import aws, contract
from benchmarks.__main__ import main
from benchmarks.coldstart import measure as coldstart
from benchmarks.drain import ledger as ledger_column
from benchmarks.drain import measure as drain
from benchmarks.drain import stream
from benchmarks.drains import measure as drains
from benchmarks.engines import measure as engines
from benchmarks.front import cases as front_cases
from benchmarks.front import measure as front
from benchmarks.front.tables import tables
from benchmarks.growth import ledger as ledger_growth
from benchmarks.growth import load
from benchmarks.growth import measure as growth
from benchmarks.harness import Result, format_result, interleave
from benchmarks.intake import bulk, flights
from benchmarks.intake import measure as intake
from benchmarks.intake.cases import cases
from chalicelib.errors import Problem
from decanter import CITUS_URL
from decanter.local.demo import airports
from tests.kit.databases import NewDatabase
from tests.kit.project import PROJECT


def lines_of(capsys: pytest.CaptureFixture[str], benchmark: str) -> list[dict[str, Any]]:
    """What a short run prints, after what holds for the figures of every benchmark."""
    assert main([benchmark, "--quick", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for line in lines:
        assert line["benchmark"] == benchmark
        assert line["ratios"].keys() == line["figures"].keys() - {"ours"}
        for figure in (*line["figures"].values(), *line["ratios"].values()):
            low, high = figure["spread"]
            assert 0 < low <= figure["median"] <= high
    return lines


def assert_ratios_are_those_of_one_round(line: dict[str, Any]) -> None:
    for peer, ratio in line["ratios"].items():
        expected = line["figures"]["ours"]["median"] / line["figures"][peer]["median"]
        assert ratio["median"] == pytest.approx(expected, rel=0.001)


def test_contestants_take_turns_and_the_first_round_does_not_count() -> None:
    order: list[str] = []
    samples = iter(range(100))

    def sample(name: str) -> int:
        order.append(name)
        return next(samples)

    found = interleave({name: partial(sample, name) for name in "abc"}, rounds=2, first=1)

    assert "".join(order) == "bcacababc"
    assert found == {"a": [4, 6], "b": [5, 7], "c": [3, 8]}


def test_a_line_says_the_median_the_middle_half_and_ratios_of_the_same_round() -> None:
    samples = {"ours": [1.0, 2.0, 30.0, 4.0, 5.0], "peer": [1.0, 1.0, 10.0, 1.0, 1.0]}
    result = Result({"case": "POST", "rows": 1_000}, "ms", samples)

    assert json.loads(format_result("intake", result, as_json=True)) == {
        "benchmark": "intake",
        "case": "POST",
        "rows": 1_000,
        "unit": "ms",
        "figures": {
            "ours": {"median": 4.0, "spread": [2.0, 5.0]},
            "peer": {"median": 1.0, "spread": [1.0, 1.0]},
        },
        "ratios": {"peer": {"median": 3.0, "spread": [2.0, 4.0]}},
    }
    assert format_result("intake", result, as_json=False).split() == (
        ["POST", "rows", "1,000", "4.00", "ms", "(2.00-5.00)", "3.00", "×", "peer", "(2.00-4.00)"]
    )


def test_a_result_that_is_not_compared_shows_the_figures_of_peers() -> None:
    samples = {"ours": [0.0, 0.0, 2.0], "peer": [950.0, 952.0, 960.0]}
    result = Result({"figure": "failed"}, "requests", samples, is_compared=False)

    assert json.loads(format_result("burst", result, as_json=True))["ratios"] == {}
    assert format_result("burst", result, as_json=False).split() == (
        ["failed", "0", "requests", "(0-1.00)", "peer", "952", "(951-956)"]
    )


@pytest.fixture
def on_tests_server(
    new_database: NewDatabase, sample_template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Benchmarks with a server of their own use a database on that of the tests."""
    url = new_database(sample_template)
    for each in (drain, ledger_column, drains):
        monkeypatch.setattr(each, "own_database", lambda: nullcontext(url))


@pytest.mark.usefixtures("on_tests_server")
def test_each_op_is_measured_beside_its_peers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(drain, "QUICK", [(2, 10)])
    monkeypatch.setattr(drain, "QUICK_ROUNDS", 1)
    monkeypatch.setattr(drain, "SAMPLE_ROWS", 100)
    monkeypatch.setattr(stream, "QUICK", (30, 1))
    monkeypatch.setattr(stream, "SIZES", (20,))
    monkeypatch.setenv("DECANTER_DATABASE_URL", "set by the benchmark")

    found = lines_of(capsys, "drain")

    lines = [line for line in found if "source" not in line]
    assert {line["op"] for line in lines} == {"create", "replace", "merge", "delete", "mixed"}
    assert {(line["messages"], line["writes"]) for line in lines} == {(2, 10)}
    for line in lines:
        peers = {"copy", "copy_ready", "sqlalchemy", "execute_values", "powertools"}
        others = peers if line["op"] == "create" else {"create"}
        assert line["ratios"].keys() == {"events", *others}
    of_stream = [line for line in found if "source" in line]
    assert [line["op"] for line in of_stream] == ["create", "replace", "delete", "mixed"]
    assert all(line["ratios"].keys() == {"fifo"} for line in of_stream)
    for line in found:
        assert_ratios_are_those_of_one_round(line)


@pytest.mark.usefixtures("on_tests_server")
def test_the_ledgers_column_is_measured_with_and_without_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ledger_column, "SIZES", [(2, 10)])
    monkeypatch.setattr(ledger_column, "SAMPLE_ROWS", 20)
    monkeypatch.setattr(ledger_column, "QUICK_ROUNDS", 1)
    monkeypatch.setenv("DECANTER_DATABASE_URL", "set by the benchmark")
    seen: list[set[str | None]] = []
    rows_per_second = drain.rows_per_second

    def watched(url: str, *given: Any) -> float:
        found = rows_per_second(url, *given)
        with closing(psycopg2.connect(url)) as own, own.cursor() as cursor:
            cursor.execute("SELECT DISTINCT resource_name FROM decanter.ledger")
            seen.append({name for (name,) in cursor.fetchall()})
        return found

    monkeypatch.setattr(drain, "rows_per_second", watched)

    lines = lines_of(capsys, "ledger")

    assert [line["resource"] for line in lines] == ["observations", "stations"]
    assert all(line["ratios"].keys() == {"without"} for line in lines)
    assert seen == [{"observations"}, {None}, {None}, {"observations"},
                    {"stations"}, {None}, {None}, {"stations"}]  # fmt: skip


def test_large_tables_and_a_large_ledger_are_measured_beside_empty_ones(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(growth, "QUICK_ROWS", 500)
    monkeypatch.setattr(load, "QUICK_SIZES", [(2, 3)])
    monkeypatch.setattr(load, "QUICK_SAMPLE_ROWS", 6)
    monkeypatch.setattr(ledger_growth, "QUICK_ASKED", 5)
    monkeypatch.setattr(ledger_growth, "QUICK_SWEPT", 20)
    monkeypatch.setenv("DECANTER_DATABASE_URL", "set by the benchmark")
    few = {table: cases[-1:] for table, cases in growth.CASES.items()}
    monkeypatch.setattr(growth, "CASES", few)

    lines = lines_of(capsys, "growth")

    of_tables = [line for line in lines if "large" in line]
    both = (growth.FULL, growth.NOT_FULL)
    asked = [
        (table, op, rows, pages)
        for table, cases in few.items()
        for op, rows in cases
        for pages in (both if rows == load.ANY else both[:1])
    ]
    measured = ["wall", "processor", "log"]
    names = ("table", "op", "rows", "full_page_writes", "measure")
    assert [tuple(each[name] for name in names) for each in of_tables] == [
        (*each, name) for each in asked for name in measured
    ]
    for table in (growth.tables.TIMED, growth.tables.RANDOM):
        logs = {
            each["full_page_writes"]: each["figures"]
            for each in of_tables
            if (each["table"], each["measure"]) == (table, "log")
        }
        for who in ("ours", "empty"):
            full, other = (logs[each][who]["median"] for each in both)
            assert full > other
    assert all(each["large"] == 500 for each in of_tables)
    of_ledger = {line["measure"]: line for line in lines if "ledger" in line}
    sizes = ["size of the table", "size of the indexes"]
    alone = [*sizes, "size of an emptied leaf", "vacuum"]
    compared = ["status", "sweep, nothing is old", "sweep of a leaf"]
    assert [*of_ledger] == [*sizes, *measured, *compared, *alone[2:]]
    assert len(of_tables) + len(of_ledger) == len(lines)
    for line in lines:
        peers = set() if line.get("measure") in alone else {"empty"}
        assert line["ratios"].keys() == peers


@pytest.mark.usefixtures("on_tests_server")
def test_several_drains_are_measured_beside_as_many_copies(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loads = (drains.Load("observations", 20, 1, 2), drains.Load("stations", 2, 10, 2))
    monkeypatch.setattr(drains, "QUICK_LOADS", loads)
    monkeypatch.setattr(drains, "QUICK_DRAINS", (2,))

    lines = lines_of(capsys, "drains")

    assert [(line["resource"], line["drains"], line["measure"]) for line in lines] == [
        (resource, 2, measure)
        for resource in ("observations", "stations")
        for measure in ("sum", "postgres", "drains", "cores")
    ]
    for line in lines:
        assert line["ratios"].keys() == {"copy", "copy_ready"}
        assert_ratios_are_those_of_one_round(line)


def test_engines_are_measured_side_by_side(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(engines, "QUICK_SIZES", ((2, 3, 2), (10, 300, 1)))
    monkeypatch.setenv("DECANTER_DATABASE_URL", "set by the benchmark")
    monkeypatch.delenv(CITUS_URL, raising=False)

    lines = lines_of(capsys, "engines")

    sizes = [(2, 3), (10, 300)]
    assert [
        (line["op"], (line["messages"], line["writes"]), line["measure"]) for line in lines
    ] == [
        (op, size, measure)
        for op in ("create", "merge")
        for size in sizes
        for measure in ("pace", "trips")
    ]
    for line in lines:
        assert line["ratios"].keys() == {"proxied", "dsql"}
        assert_ratios_are_those_of_one_round(line)
        if line["measure"] == "trips":
            assert line["ratios"]["proxied"]["median"] == 1
    trips = {
        (line["op"], line["writes"]): line["figures"]["dsql"]["median"]
        for line in lines
        if line["measure"] == "trips"
    }
    # 3,000 rows and their ledger take two transactions there.
    assert [trips[op, 300] / trips[op, 3] for op in ("create", "merge")] == [2, 2]


def test_a_sample_that_was_not_poured_whole_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(drain, "QUICK", [(4, 1)])
    monkeypatch.setenv("DECANTER_DATABASE_URL", "set by the benchmark")
    monkeypatch.setattr(drain.handler, "drain", lambda event, context, buffer: None)

    with pytest.raises(AssertionError, match="writes and rejections"):
        list(drain.run(quick=True))


def test_benchmarks_of_the_samples_are_not_run_on_other_tables(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(airports, "RESOURCE", "others")

    assert main(["drain", "--quick"]) == 1
    assert "sample tables" in capsys.readouterr().err


PEERS = ("ours", "no_caller_limit", "bare", "our_client", "powertools")


def test_each_write_is_measured_beside_its_peers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = [replace(case, calls=2) for case in cases()]
    monkeypatch.setattr(intake, "QUICK", (1, 1))
    monkeypatch.setattr(intake, "cases", lambda: small)

    lines = lines_of(capsys, "intake")

    assert [(line["case"], line["rows"]) for line in lines] == [
        ("POST observations", 1),
        ("POST stations", 1),
        ("PUT stations", 1),
        ("PATCH stations", 1),
        ("POST 1,000 observations", 1_000),
        ("POST 1,000 stations", 1_000),
    ]
    for line in lines:
        assert line["figures"].keys() == set(PEERS)
        assert_ratios_are_those_of_one_round(line)
    # A thousand rows cost more than one, or nothing of them was looked at.
    one, *_, many, _ = (line["figures"]["ours"]["median"] for line in lines)
    assert many > one


@pytest.fixture(scope="module")
def stub():
    with aws.served() as port:
        yield port


@pytest.fixture(scope="module")
def workers(stub: int):
    """The process of each peer."""
    with ExitStack() as stack:
        yield {peer: stack.enter_context(intake.Worker(peer, stub)) for peer in PEERS}


@pytest.mark.parametrize("peer", PEERS)
def test_every_peer_puts_the_same_writes_on_the_queue(peer: str, stub: int, workers: Any) -> None:
    asked = cases()[:4]

    before = aws.counts(stub).taken
    for case in asked:
        assert workers[peer].milliseconds(replace(case, calls=3)) > 0

    assert aws.counts(stub).taken - before == 3 * len(asked)


def test_a_write_that_was_not_accepted_does_not_count(workers: Any) -> None:
    refused = replace(cases()[0], body={"station": 5}, calls=1)

    with pytest.raises(AssertionError, match="422"):
        workers["ours"].milliseconds(refused)


def test_an_answer_without_a_message_on_the_queue_does_not_count(
    monkeypatch: pytest.MonkeyPatch, workers: Any
) -> None:
    monkeypatch.setattr(aws, "counts", lambda port: aws.Counts(0, 0, 0))

    with pytest.raises(AssertionError, match="0 messages"):
        workers["bare"].milliseconds(replace(cases()[0], calls=1))


FRONT_PEERS = ("ours", "sqs", "bare", "our_client")


def test_each_request_in_front_is_measured_beside_its_peers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = [replace(case, calls=2) for case in front_cases.cases()]
    monkeypatch.setattr(front, "QUICK", (1, 1))
    monkeypatch.setattr(front, "cases", lambda: small)

    lines = lines_of(capsys, "front")

    asked = [(case.name, clock) for case in small for clock in ("processor", "wall")]
    assert [(line["case"], line["clock"]) for line in lines] == asked
    for line in lines:
        assert line["figures"].keys() == set(FRONT_PEERS)
        assert_ratios_are_those_of_one_round(line)


@pytest.fixture(scope="module")
def in_front():
    """The port of the server, and the contract of the tables."""
    with contract.served(tables()) as file, aws.served(front.there()) as port:
        yield port, file


def counted(peer: str, in_front: Any, asked: list[Any]) -> list[aws.Counts]:
    """What two calls of each case do."""
    port, file = in_front
    found = []
    with front.worker(peer, port, file) as worker:
        for case in asked:
            before = aws.counts(port)
            worker.times(replace(case, calls=2), front_cases.event(case, peer))
            after = aws.counts(port)
            found.append(aws.Counts(*(b - a for a, b in zip(before, after, strict=True))))
    return found


def test_a_request_in_front_writes_and_reads_what_it_has_to(in_front: Any) -> None:
    asked = front_cases.cases()

    done = counted("ours", in_front, asked)

    # Two calls: items, claims and key records that are put; items that are read.
    assert {
        case.name: (each.taken, each.given) for case, each in zip(asked, done, strict=True)
    } == {
        "POST": (2, 0),
        "POST, unique value": (4, 0),
        "POST, Idempotency-Key": (4, 0),
        "PUT": (2, 0),
        "PATCH": (2, 2),
        "GET": (0, 2),
        "POST 100 rows": (200, 0),
    }


def test_a_bare_call_puts_an_entry_of_the_same_size(in_front: Any) -> None:
    asked = front_cases.cases()
    has_more = ("POST, unique value", front_cases.KEYED)  # a claim, a key record
    plain = [case for case in asked if case.name not in has_more]

    done = [counted(peer, in_front, plain) for peer in ("ours", "bare", "our_client")]

    for ours, *others in zip(*done, strict=True):
        for other in others:
            assert ours.taken == other.taken
            assert ours.bytes_ == pytest.approx(other.bytes_, rel=0.03)


def test_the_same_table_behind_sqs_puts_messages_and_asks_the_reader(in_front: Any) -> None:
    posted, keyed, read = [
        case for case in front_cases.cases() if case.name in ("POST", front_cases.KEYED, "GET")
    ]

    done = counted("sqs", in_front, [posted, keyed, read])

    # The Idempotency-Key is taken in the front table beside the message.
    assert [(each.taken, each.given) for each in done] == [(2, 0), (4, 0), (0, 2)]
    assert done[0].bytes_ == 0 < done[1].bytes_


def test_a_read_that_finds_nothing_does_not_count(in_front: Any, stub: int) -> None:
    (read,) = [case for case in front_cases.cases() if case.name == "GET"]

    with pytest.raises(AssertionError, match="404"):
        counted("ours", (stub, in_front[1]), [read])


def test_a_cold_start_is_measured_beside_its_peers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(coldstart, "QUICK", {"compiled": 1})
    # The test of bytecode sees to that; to compile all that a start imports takes long.
    monkeypatch.setattr(coldstart, "_bytecode", lambda _: nullcontext({}))

    lines = lines_of(capsys, "coldstart")

    measured = [(line["bytecode"], line["clock"]) for line in lines]
    assert measured == [("compiled", "processor"), ("compiled", "wall")]
    for line in lines:
        assert line["figures"].keys() == {"client", "ours", "bare", "powertools"}
        assert_ratios_are_those_of_one_round(line)


def test_a_cold_start_runs_until_the_first_write_is_accepted(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    refused = replace(cases()[0], body={"station": 5})
    monkeypatch.setattr(coldstart, "cases", lambda: [refused])

    with pytest.raises(subprocess.CalledProcessError):
        coldstart._start("ours", aws.environment(1))
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


def test_a_row_of_a_large_body_is_measured_beside_the_standard_library(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = lines_of(capsys, "bulk")

    assert [line["case"] for line in lines] == [
        "text/csv",
        "application/x-ndjson",
        "application/json",
    ]
    assert all(line["figures"].keys() == {"ours", "bare"} for line in lines)


def test_a_body_that_was_not_accepted_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    made = flights.rows(3)
    monkeypatch.setattr(flights, "rows", lambda count: [*made[:-1], {**made[-1], "day": "no"}])

    with pytest.raises(Problem, match="day"):
        list(bulk.run(quick=True))
