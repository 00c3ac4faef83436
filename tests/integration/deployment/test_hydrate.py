"""The rows of a closed resource get their items, and nothing else has one."""

import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Date,
    DateTime,
    Enum,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
)
from sqlalchemy.dialects.postgresql import JSONB

from chalicelib.buffer.dynamodb import entries
from chalicelib.buffer.dynamodb.entries import FrontItem
from chalicelib.contract import resources
from decanter.deployment import fronts, hydrate, pipeline
from decanter.deployment.hydrate import Hydrated
from tests.kit.deployed_fronts import OUTPUTS, DeployedFake
from tests.kit.front_table import FrontTable
from tests.kit.fronted import NAME, all_entries
from tests.kit.project import PROJECT
from tests.kit.stream import Record, drain, streamed
from tests.kit.world import World

__all__ = ["streamed"]

CLOSED = {"front": "closed"}
DIGITS = "12345678901234567890.12345678901234567890"
KINDS = {
    "text": (Text, "'a/\"b'"),
    "integer": (Integer, "-7"),
    "numeric": (Numeric, "0.0150"),
    "huge": (Numeric, "1e40"),
    "boolean": (Boolean, "true"),
    "date": (Date, "'2026-01-31'"),
    "timestamptz": (DateTime(timezone=True), "'2026-01-31 12:00:00.5+02'"),
    "timestamp": (DateTime, "'2026-01-31 12:00:00'"),
    "uuid": (Uuid, "'0b6c1d6e-0000-4000-8000-00000000000A'"),
    "bytea": (LargeBinary, "'\\xAB00'"),
    "enum": (Enum("a b", "c", name="letters"), "'a b'"),
}


@cache
def models(front: str = "closed") -> MetaData:
    metadata, info = MetaData(), {"front": front}
    Table("things", metadata, Column("id", Integer, primary_key=True, autoincrement=False),
          Column("n", Numeric), Column("email", Text), Column("about", JSON),
          Column("note", Text), UniqueConstraint("email", "n", name="things_email_key"),
          info=info)  # fmt: skip
    Table("parts", metadata, Column("maker", Text, primary_key=True),
          Column("made", DateTime(timezone=True), primary_key=True),
          Column("detail", JSONB), info=info)  # fmt: skip
    Table("kinds", metadata,
          *[Column(name, kind, primary_key=True, autoincrement=False)
            for name, (kind, _) in list(KINDS.items())[:8]], info=info)  # fmt: skip
    for name, (kind, _) in list(KINDS.items())[8:]:
        Table(name, metadata, Column("id", kind, primary_key=True), info=info)
    return metadata


MODELS = models()


class Stage:
    """The tables, and what hydrate does with them."""

    def __init__(self, world: World, table: FrontTable) -> None:
        self.world, self.table = world, table
        self.aws = DeployedFake(table.client, read=world.read)
        self.aws.states = {"things": "closed", "parts": "closed"}

    def steps(self, name: str = "things", **more: Any) -> Iterator[Hydrated]:
        return hydrate.hydrate(self.aws, NAME, "reader", resources.resource(name), **more)

    def run(self, name: str = "things") -> Hydrated:
        return [*self.steps(name)][-1]

    def insert(self, *values: str, table: str = "things") -> None:
        self.world.execute(f"INSERT INTO {table} VALUES {', '.join(values)}")

    def items(self, name: str = "things") -> dict[str, str | None]:
        """The rows in the table, by the key in the name of the item."""
        found = all_entries(self.table.client, entries.prefixes(name)[0])
        return {pk.split("/", 2)[2]: entries.read_item(e).row for pk, e in found.items()}

    def is_marked(self, name: str = "things") -> bool:
        return fronts.is_hydrated(self.aws, NAME, name)


@pytest.fixture
def stage(make_world: Callable[[MetaData], World], front_table: FrontTable) -> Stage:
    return Stage(make_world(MODELS), front_table)


def test_each_row_has_an_item_as_the_reader_shows_it(stage: Stage) -> None:
    about = '{"b": 1.50, "a": [null, 1e2]}'
    stage.insert(f"(1, {DIGITS}, 'é@x', '{about}', NULL)", "(2, NULL, 'b@x', NULL, NULL)",
                 "(3, 'NaN', 'c@x', NULL, '')")  # fmt: skip

    assert stage.run() == Hydrated(rows=3, written=5)

    item = stage.table.item(entries.item_pk("things", ["1"]))
    read = stage.world.read({"ask": "row", "resource": "things", "key": '{"id": 1}'})
    assert (item.row, item.etag, item.write) == (read["body"], read["etag"], None)
    assert DIGITS in str(item.row)
    assert about in str(item.row)
    assert stage.table.owners() == {
        'unique/things/things_email_key/["é@x","123456789012345678901234567890123456789e-19"]':
            'row/things/["1"]',
        'unique/things/things_email_key/["c@x","NaN"]': 'row/things/["3"]',
    }  # fmt: skip
    assert stage.is_marked()


def test_an_empty_table_is_hydrated_too(stage: Stage) -> None:
    assert stage.run() == Hydrated()
    assert stage.is_marked()


def test_what_is_right_is_left_as_it_is(stage: Stage) -> None:
    stage.insert("(1, 1, 'a', NULL, NULL)", "(2, 2, 'b', NULL, NULL)")
    stage.run()
    item = stage.table.item(entries.item_pk("things", ["1"]))
    stage.table.put(entries.item_entry(item._replace(etag="f" * 32)))  # of a client's write
    before = all_entries(stage.table.client)

    assert stage.run() == Hydrated(rows=2)
    assert all_entries(stage.table.client) == before


def test_keys_of_all_kinds_are_found_again(stage: Stage) -> None:
    values = [value for _, value in KINDS.values()]
    stage.insert(f"({', '.join(values[:8])})", table="kinds")
    for name, value in list(zip(KINDS, values, strict=True))[8:]:
        stage.insert(f"({value})", table=f'"{name}"')

    for name in ("kinds", *list(KINDS)[8:]):
        assert stage.run(name) == Hydrated(rows=1, written=1), name
        assert stage.run(name) == Hydrated(rows=1), name


def test_many_rows_come_page_by_page_and_it_may_be_stopped(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hydrate, "PAGE_ROWS", 3)
    stage.insert(*[f"('m{n % 2}', '2026-01-0{n}', '{{\"n\": {n}}}')" for n in range(1, 9)],
                 table="parts")  # fmt: skip

    steps = stage.steps("parts")
    assert next(steps) == Hydrated(rows=3, written=3)
    steps.close()
    assert len(stage.items("parts")) == 3
    assert not stage.is_marked("parts")

    assert stage.run("parts") == Hydrated(rows=8, written=5)
    assert stage.is_marked("parts")
    assert sorted(stage.items("parts"))[0] == '["m0","2026-01-02T00:00:00+00:00"]'


def test_a_mark_is_taken_back_until_it_is_true_again(stage: Stage) -> None:
    stage.insert("(1, 1, 'a', NULL, NULL)")
    stage.run()

    next(stage.steps())

    assert not stage.is_marked()


def test_it_stops_when_the_resource_is_not_closed_any_more(stage: Stage) -> None:
    stage.insert("(1, 1, 'a', NULL, NULL)")

    def require() -> None:
        raise RuntimeError("open")

    with pytest.raises(RuntimeError, match="open"):
        list(stage.steps(require=require))
    assert stage.items() == {}
    assert not stage.is_marked()


def test_entries_that_no_row_has_are_removed(stage: Stage) -> None:
    stage.insert("(1, 1, 'a', NULL, NULL)", "(2, 2, 'b', NULL, NULL)")
    stage.run()
    right = all_entries(stage.table.client)
    gone, other = (entries.item_pk(name, ["3"]) for name in ("things", "things2"))
    tombstone = entries.item_entry(entries.tombstone(entries.item_pk("things", ["4"]), "e", "w", 0))
    kept = [tombstone, entries.item_entry(FrontItem(other, "{}", "e", "write"))]
    for entry in (
        *kept,
        entries.item_entry(FrontItem(gone, '{"id":3}', "e", "write")),
        {"pk": {"S": entries.item_pk("things", ["9"])}, "etag": {"N": "1"}},
        {"pk": {"S": 'row/things/"9'}, "row": {"S": "{}"}},
        entries.item_entry(FrontItem(entries.item_pk("things", ["1", "1"]), '{"id":1}', "e")),
        entries.claim_entry('unique/things/things_email_key/["a","2e0"]', 'row/things/["1"]'),
        entries.claim_entry('unique/things/things_email_key/["b","2e1"]', "row/things/1"),
        entries.claim_entry('unique/things/old/["b"]', 'row/things/["2"]'),
        # Wrong, but of a row.
        entries.item_entry(FrontItem(entries.item_pk("things", ["1"]), '{"id":1}', "e", "write")),
        {"pk": {"S": entries.item_pk("things", ["2"])}, "row": {"N": "1"}},
    ):
        stage.table.put(entry)

    done = stage.run()

    assert (done.rows, done.written, done.unfit) == (2, 2, 0)
    assert all_entries(stage.table.client) == right | {each["pk"]["S"]: each for each in kept}


def test_an_item_with_a_key_of_another_type_is_removed(stage: Stage) -> None:
    stage.insert("(1, 1, 'a', NULL, NULL)")
    stage.run()
    right = all_entries(stage.table.client)
    for text in ("x", "1.0"):
        pk = entries.item_pk("things", [text])
        stage.table.put(entries.item_entry(FrontItem(pk, '{"id":1}', "e")))

    stage.run()

    assert all_entries(stage.table.client) == right


def test_a_unique_value_that_has_moved_gets_its_owner(stage: Stage) -> None:
    stage.insert("(1, 1, 'a', NULL, NULL)", "(2, 2, 'b', NULL, NULL)")
    stage.run()
    stage.world.execute("UPDATE things SET email = email || '2', n = 7")
    stage.world.execute("UPDATE things SET email = 'a', n = 1 WHERE id = 2")

    stage.run()

    assert stage.table.owners() == {
        'unique/things/things_email_key/["a2","7e0"]': 'row/things/["1"]',
        'unique/things/things_email_key/["a","1e0"]': 'row/things/["2"]',
    }


DEEP = "[" * 5_000 + "]" * 5_000
UNFIT = {
    2: ("(2, 1, NULL, NULL, repeat('x', 410000))", "takes 41"),
    4: ("(4, 1, NULL, NULL, repeat('x', 6000000))", "the row is too large"),
    5: ("(5, 1, repeat('é', 1100), NULL, NULL)", "its unique value takes more than 2,048"),
    6: ("""(6, 1, NULL, '{"a": 1, "a": 2}', NULL)""", "appears more than once"),
    7: (f"(7, 1, NULL, '{DEEP}', NULL)", "nested too deeply"),
    8: ("(8, 3, 'c', NULL, NULL)", 'row/things/["3"] has the same unique value'),
}
"""Rows by ID, and why no item can hold them."""


@pytest.mark.parametrize("page", [1_000, 2])
def test_rows_that_no_item_can_hold_are_named(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr(hydrate, "PAGE_ROWS", page)
    stage.world.execute("ALTER TABLE things DROP CONSTRAINT things_email_key")
    fit = [f"({id}, {id}, '{email}', NULL, NULL)" for id, email in ((1, "a"), (3, "c"), (9, "i"))]
    stage.insert(*fit, *[values for values, _ in UNFIT.values()])

    done = stage.run()

    named = {int(re.findall(r'"id": ?(\d+)', told)[0]): told for told in done.named}
    assert (done.rows, done.unfit, {*named}) == (9, 6, {*UNFIT})
    for id, (_, why) in UNFIT.items():
        assert why in named[id]
        assert not re.search(r"xxx|\[\[\[|\"a\"", named[id].partition(": ")[0])  # only the key
        assert len(named[id]) < 200
    assert [*stage.items()] == ['["1"]', '["3"]', '["9"]']
    assert not stage.is_marked()
    stage.world.execute("DELETE FROM things WHERE id = ANY (%s)", [*UNFIT])
    assert stage.run().unfit == 0
    assert stage.is_marked()


def test_keys_that_no_item_can_have_are_named(stage: Stage) -> None:
    stage.insert("(repeat('x', 2100), now(), '{}')", "('m', '0001-01-01 BC', '{}')", table="parts")

    done = stage.run("parts")

    early, long = done.named
    assert early.startswith('{"maker":"m"')
    assert "cannot be compared" in early
    assert long.startswith('{"maker":"xxx')
    assert "its key takes more than 2,048" in long
    assert (done.rows, done.unfit, stage.items("parts")) == (2, 2, {})


def test_no_more_rows_are_named_than_can_be_read(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hydrate, "MOST_NAMED", 2)
    stage.insert(*[f"('m', '000{n}-01-01 BC', '{{}}')" for n in range(1, 6)], table="parts")

    done = stage.run("parts")

    assert (done.unfit, len(done.named)) == (5, 2)


# The whole way

OPERATING = (PROJECT / "docs" / "operating.md").read_text()
[DOCUMENTED] = re.findall(r"\$ \.venv/bin/python -m decanter (hydrate .+)", OPERATING)


def test_a_resource_is_moved_behind_the_front_table_and_back(
    make_world: Callable[..., World],
    front_table: FrontTable,
    streamed: list[Record],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from decanter.__main__ import main

    monkeypatch.setenv("DECANTER_PARTIAL_RESPONSES", "1")
    stage = Stage(make_world(models("sqs")), front_table)
    stage.aws.served = {"things": {"key": [{"name": "id"}]}}
    stage.aws.states = {}
    monkeypatch.setattr(pipeline, "client", stage.aws)
    monkeypatch.setattr(
        pipeline.cloudformation, "describe", lambda *_: SimpleNamespace(outputs=OUTPUTS)
    )

    def deploy(front: str) -> list[str]:
        """Deploy the resource with this front, unless there are findings."""
        states = {} if front == "sqs" else {"things": front}
        deployed = fronts.of_stack(stage.aws, OUTPUTS)
        fronts.forget_hydration(stage.aws, states, deployed)
        found = [each.name for each in fronts.findings(stage.aws, states, deployed)]
        if not found:
            stage.aws.states = states
            stage.world = make_world(models(front), stage.world.url)
        return found

    def command(*more: str) -> int:
        return main([*DOCUMENTED.replace("subscriptions", "things").split(), *more])

    row = {"id": 1, "n": 1, "email": "a"}
    stage.world.post("things", row)
    stage.world.drain()
    assert deploy("dynamodb") == ["front-not-hydrated"]
    assert command() == 1
    assert "things is behind SQS" in capsys.readouterr().err
    assert deploy("closed") == []
    assert command() == 0
    assert "an item for each of its 1 rows" in capsys.readouterr().out
    assert deploy("dynamodb") == []
    written = stage.world.patch("things", 1, {"n": 2})
    assert deploy("sqs") == ["front-not-poured"]  # elsewhere than here, it has to be closed
    assert deploy("closed") == []
    assert deploy("sqs") == ["front-not-poured"]
    monkeypatch.setattr(hydrate, "_WAIT_SECONDS", -1.0)
    assert command() == 1
    assert "1 writes are in the front table's stream" in capsys.readouterr().err
    drain(stage.world, streamed)
    assert stage.world.status(written)["state"] == "applied"
    assert deploy("dynamodb") == []  # as it was hydrated before
    assert deploy("closed") == []
    assert deploy("sqs") == []
    stage.world.patch("things", 1, {"email": "b"})
    stage.world.drain()
    assert json.loads(stage.world.row("things", id=1)) == {
        "id": 1, "n": 2, "email": "b", "about": None, "note": None
    }  # fmt: skip
    assert deploy("closed") == []
    assert deploy("dynamodb") == ["front-not-hydrated"]  # it is not known any more
    assert command("--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"rows": 1, "written": 2, "removed": 1, "unfit": 0, "named": []}
    assert deploy("dynamodb") == []
    assert stage.items() == {'["1"]': stage.world.row("things", id=1)}
