"""What benchmarks of growth and of several drains count on: rows that a number determines, loads
that write to no row twice, peers that write what the drain writes, and processor time."""

import json
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any

import psycopg2
import pytest
from sqlalchemy import MetaData

from benchmarks import processor
from benchmarks.__main__ import main
from benchmarks.drain.database import fill
from benchmarks.drain.peers import copy, copy_ready, copy_text
from benchmarks.growth import tables
from benchmarks.growth.load import ANY, LAST, Load, Numbers
from benchmarks.growth.sample import execute, pour
from benchmarks.harness import Context
from benchmarks.rows import airports, as_objects, bodies, event
from chalicelib.buffer.sqs import take
from chalicelib.drain import handler, superseded
from chalicelib.ops import Op
from chalicelib.postgres.connecting.connection import forget

NAMES = (tables.TIMED, tables.RANDOM, tables.INDEXED)


@pytest.fixture
def grown(make_database: Callable[[MetaData], str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The URL of a database with the tables of the benchmark, which the drain pours into."""
    monkeypatch.setenv("DECANTER_DATABASE_URL", "set by the benchmark")
    with tables.poured():
        yield make_database(tables.tables())
    forget("drain")


def test_a_number_determines_the_same_row_in_sql_as_in_python(grown: str) -> None:
    numbers = [1, 99_999, 100_000, 10_000_000, 123_456_789]
    given = f"unnest(ARRAY{numbers}::bigint[])"
    shown = "id::text, code, reading::float8, note, to_char(taken_at, 'YYYY-MM-DD\"T\"HH24:MI:SS')"

    for table in NAMES:
        execute(grown, tables.insert(table, given))

        found = execute(grown, f"SELECT {shown} FROM {table} ORDER BY taken_at")
        sent = [tables.row(table, number) for number in numbers]
        assert found == [
            (row["id"], row["code"], row["reading"], row["note"], row["taken_at"][:-6])
            for row in sent
        ]


def test_keys_grow_with_their_numbers_or_do_not() -> None:
    keys = {name: [tables.row(name, number)["id"] for number in range(1, 1_000)] for name in NAMES}

    assert keys[tables.TIMED] == sorted(keys[tables.TIMED]) == keys[tables.INDEXED]
    assert keys[tables.RANDOM] != sorted(keys[tables.RANDOM])


def test_no_row_is_written_to_twice() -> None:
    numbers = Numbers(1_000)

    new = numbers.take("create", LAST, 3) + numbers.take("create", LAST, 2)
    last = numbers.take("merge", LAST, 200) + numbers.take("delete", LAST, 300)
    others = numbers.take("replace", ANY, 200) + numbers.take("delete", ANY, 300)

    assert new == [1_001, 1_002, 1_003, 1_004, 1_005]
    assert last == [*range(1_000, 500, -1)]
    assert sorted(others) == [*range(1, 501)]
    assert others != sorted(others)


def test_a_load_does_what_its_op_says_to_the_rows_of_its_numbers(grown: str) -> None:
    execute(grown, tables.insert(tables.RANDOM, "generate_series(1::bigint, 40)"))
    notes = {
        each["id"]: each["note"] for each in map(partial(tables.row, tables.RANDOM), range(1, 41))
    }
    numbers = Numbers(40)
    ops: tuple[Op, ...] = ("create", "replace", "merge", "delete")

    for op in ops:
        load = Load(tables.RANDOM, op, ANY, batch=2, writes=1, calls=2)
        taken = load.take(numbers)
        assert (len(taken), load.rows) == (6, 4)

        assert min(pour(grown, load.events(taken), load.rows)) > 0

        for row in map(partial(tables.row, tables.RANDOM), taken):
            changed = {"replace": "replaced", "merge": "corrected"}
            notes[row["id"]] = changed.get(op, row["note"])
            if op == "delete":
                del notes[row["id"]]
        assert dict(execute(grown, f"SELECT id::text, note FROM {tables.RANDOM}")) == notes


def test_a_sample_with_a_write_that_is_not_applied_does_not_count(grown: str) -> None:
    load = Load(tables.TIMED, "delete", LAST, batch=1, writes=1, calls=1)

    with pytest.raises(AssertionError, match="rejections and waiting writes are"):
        pour(grown, load.events(load.take(Numbers(10))), load.rows)


def test_more_rows_are_asked_for_than_all_rounds_write_to(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["growth", "--quick", "--rows", "7_000"]) == 1

    assert "7,000 rows are too few" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["growth", "--rows", "many"], "'many' is not a whole number of rows"),
        (["growth", "--rows", "0"], "'0' is not a whole number of rows"),
        (["drain", "--rows", "5"], "--rows is an option of growth, not of drain"),
        (["growth", "--only", "merge"], "--only is an option of drain, not of growth"),
        (["drain", "--table", "timed"], "--table is an option of growth, not of drain"),
        (["growth", "--table", "stations"], "invalid choice: 'stations'"),
    ],
)
def test_an_option_that_does_not_fit_is_named(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    assert ended.value.code == 2
    assert reason in capsys.readouterr().err


def test_copy_writes_the_rows_that_the_drain_writes(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DECANTER_DATABASE_URL", database_url)
    forget("drain")
    batch = event(bodies("stations", "create", airports(30), 10))
    objects = as_objects(batch)
    text = copy_text(objects)
    written = {}

    for name, write in {
        "ours": lambda: handler.drain(batch, Context(), take),
        "copy": lambda: copy(database_url)(objects),
        "copy_ready": lambda: copy_ready(database_url)(text),
    }.items():
        fill(database_url, [])
        write()
        shown = "SELECT to_json(stations)::text FROM stations ORDER BY icao"
        of_ledger = "SELECT dedup_id::text, fingerprint, writes FROM decanter.ledger ORDER BY 1"
        written[name] = execute(database_url, shown), execute(database_url, of_ledger)
    forget("drain")

    rows, messages = written["ours"]
    assert len(rows) == 30
    assert json.loads(rows[0][0])["latitude"]
    assert len(messages) == 3
    assert written["copy"] == written["copy_ready"] == written["ours"]


def test_processor_time_of_a_server_has_that_of_all_backends(database_url: str) -> None:
    work = "SELECT sum(sqrt(n)) FROM generate_series(1, 100000) AS n"
    with (
        closing(psycopg2.connect(database_url)) as one,
        closing(psycopg2.connect(database_url)) as other,
        other.cursor() as cursor,
    ):
        cursor.execute("SELECT 1")
        before = processor.server_seconds(one.info.backend_pid)
        cursor.execute("SELECT 1")
        idle = processor.server_seconds(one.info.backend_pid) - before
        before = processor.server_seconds(one.info.backend_pid)
        cursor.execute(work)
        busy = processor.server_seconds(one.info.backend_pid) - before

    assert busy > idle >= 0


def test_a_batch_that_is_poured_again_and_again_never_comes_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (delivery,) = take.deliveries(event(bodies("stations", "create", airports(1), 1)))
    hour = time.time() + 3_600
    monkeypatch.setattr(time, "time", lambda: hour)

    assert delivery.message is not None
    assert not superseded.is_late(delivery, delivery.message)
