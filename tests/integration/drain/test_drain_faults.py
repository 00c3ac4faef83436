"""A bad write harms nobody else; a missing parent is waited for; foreign messages are kept."""

import json
import re
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from sqlalchemy import (
    ARRAY,
    DDL,
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Integer,
    MetaData,
    Numeric,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy import event as events
from sqlalchemy.dialects.postgresql import INET, JSONB

from chalicelib.buffer.sqs import take
from chalicelib.drain import bad_rows, handler
from chalicelib.errors import SchemaMismatch
from chalicelib.messages.message import Message, RowSet, encode
from chalicelib.postgres.engine import ENGINES, Engine
from tests.kit.world import Context, World, changed, event, without_patience


@cache
def tables(engine: Engine, *, has_made: bool = False) -> MetaData:
    metadata = MetaData()
    more = [Column("ip", INET), Column("grid", ARRAY(Integer, dimensions=2))]
    Table(
        "things",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("n", Integer, CheckConstraint("n < 1000", name="small"), nullable=False,
               server_default="0"),
        Column("u", Text, unique=True),
        Column("doc", JSONB),
        *(more if engine.own_types else ()),
    )  # fmt: skip
    Table(
        "parents",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("above", Integer, ForeignKey("parents.id", name="above_exists")),
    )
    Table(
        "children",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("parent", Integer, ForeignKey("parents.id", name="parent_exists"), nullable=False),
        Column("n", Integer),
    )
    Table("log", metadata, Column("line", Text, nullable=False), Column("n", Integer),
          Column("parent", Integer, ForeignKey("parents.id")), info={"ordered": False})  # fmt: skip
    if has_made:
        Table("made", metadata, Column("id", BigInteger, Identity(always=True), primary_key=True),
              Column("n", Integer))  # fmt: skip
    return metadata


@pytest.fixture
def world(make_world: Callable[..., World], engine_name: str) -> World:
    return make_world(tables(ENGINES[engine_name]))


def ids(world: World, table: str = "things") -> list[int]:
    return [id_ for (id_,) in world.execute(f"SELECT id FROM {table} ORDER BY id")]


# A bad write harms nobody else


@pytest.mark.parametrize(
    ("bad", "rejection"),
    [
        ({"id": 7, "n": 1000}, ("check", "23514", "small", None)),
        ({"id": 0}, ("conflict", "23505", "things_pkey", "id")),
        ({"id": 7, "u": "taken"}, ("conflict", "23505", "things_u_key", "u")),
        *(
            pytest.param(bad, rejection, marks=pytest.mark.needs("own_types"))
            for bad, rejection in (
                ({"id": 7, "ip": ":::"}, ("value", "22P02", None, "ip")),
                ({"id": 7, "grid": [[1], [1, 2]]}, ("value", "22P02", None, None)),
            )
        ),
    ],
)
def test_one_bad_write_is_rejected_and_its_neighbours_are_poured_in_the_same_delivery(
    world, bad, rejection
):
    world.execute("INSERT INTO things (id, u) VALUES (0, 'taken')")
    receipts = [world.post("things", {"id": n, **{k: None for k in bad if k in ("u", "ip")}})
                for n in range(1, 7)]  # fmt: skip
    receipts.insert(3, world.post("things", bad))

    assert world.drain() == {"batchItemFailures": []}

    assert ids(world) == [0, 1, 2, 3, 4, 5, 6]
    states = [world.status(receipt)["state"] for receipt in receipts]
    assert states == ["applied"] * 3 + ["rejected"] + ["applied"] * 3
    assert world.rejections('type, sqlstate, "constraint", "column"') == [rejection]
    ((row, reason),) = world.rejections("row, reason")
    assert row == bad
    assert reason


def test_a_null_where_none_may_be_names_its_column(world):
    world.execute("ALTER TABLE things ALTER u SET NOT NULL")
    world.post("things", {"id": 1, "u": "x"})
    receipt = world.post("things", {"id": 2})
    world.drain()

    ((rejection,),) = [world.status(receipt)["rejections"]]
    assert (rejection["type"], rejection["sqlstate"]) == ("null", "23502")
    assert rejection["column"] == "u"
    assert "Failing row" not in rejection["reason"]
    assert ids(world) == [1]


@pytest.mark.parametrize("bad", [{500}, {0}, {999}, set(range(95, 105)), set(range(0, 1000, 100))])
def test_ten_bad_writes_of_a_thousand_cost_few_statements(world, statements, bad):
    receipt = world.post("log", [{"line": "x", "n": n} for n in range(1_000)])
    world.execute("ALTER TABLE log ADD CHECK (n <> ALL (%s))", sorted(bad))

    world.drain()

    assert world.value("SELECT count(*) FROM log") == 1_000 - len(bad)
    assert world.status(receipt)["state"] == "partial"
    assert {item for item, _ in world.rejections()} == bad
    most = 2 * len(bad) * 11 + 20
    assert len(statements) <= (2 * most if world.engine.settles_before_rejecting else most)


@pytest.mark.parametrize("taken", [10, 500, 1_000])
def test_conflicts_with_the_key_cost_few_statements_however_many(world, statements, taken):
    world.execute("INSERT INTO things (id) SELECT generate_series(1, %s)", taken)
    receipt = world.post("things", [{"id": n} for n in range(1, 1_001)])

    world.drain()

    status = world.status(receipt)
    assert (status["applied"], status["rejected"]) == (1_000 - taken, taken)
    assert {each["type"] for each in status["rejections"]} == {"conflict"}
    assert {each["constraint"] for each in status["rejections"]} == {"things_pkey"}
    assert len(statements) < 200


@pytest.mark.needs("own_types")
def test_what_the_queries_for_bad_rows_cannot_tell_is_found_by_halving(world, monkeypatch):
    def too_new(*_: Any) -> str:
        return "SELECT no_such_function(%(rows)s)"

    monkeypatch.setattr(bad_rows, "unfit_values", too_new)
    monkeypatch.setattr(bad_rows, "violators", too_new)
    world.execute("INSERT INTO things (id) VALUES (5)")
    receipt = world.post("things", [{"id": n, "ip": ":::" if n == 7 else "::1"} for n in range(16)])

    world.drain()

    assert world.status(receipt)["rejected"] == 2
    assert sorted(world.rejections()) == [(5, "conflict"), (7, "value")]
    assert len(ids(world)) == 15


def test_every_write_of_a_batch_may_be_bad(world):
    receipts = [world.post("things", {"id": n, "n": 1000 + n}) for n in range(20)]

    assert world.drain() == {"batchItemFailures": []}

    assert ids(world) == []
    assert {world.status(receipt)["state"] for receipt in receipts} == {"rejected"}


def test_bad_writes_of_all_ops_among_good_ones(world):
    world.execute("INSERT INTO things (id, u) VALUES (1, 'a'), (2, 'b'), (3, 'c')")
    receipts = [
        world.patch("things", 1, {"u": "b"}),
        world.patch("things", 2, {"n": 5}),
        world.put("things", 3, {"n": 1000}),
        world.put("things", 4, {"u": "d"}),
        world.delete("things", 5),
        world.patch("things", 6, {"n": 1}),
        world.patch("things", 3, {"u": "e"}),
    ]
    world.drain()

    assert [world.status(receipt)["state"] for receipt in receipts] == [
        "rejected", "applied", "rejected", "applied", "rejected", "rejected", "applied",
    ]  # fmt: skip
    assert sorted(kind for (kind,) in world.rejections("type")) == [
        "check", "conflict", "missing", "missing",
    ]  # fmt: skip
    assert world.execute("SELECT id, n, u FROM things ORDER BY id") == [
        (1, 0, "a"), (2, 5, "b"), (3, 0, "e"), (4, 0, "d"),
    ]  # fmt: skip


@pytest.mark.parametrize("code", ["P0001", "45000", "UE001", "PT409", "38000", "2F000", "23514"])
def test_a_trigger_may_refuse_a_write(world, code):
    world.execute(
        """
        CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NEW.id = 2 THEN RAISE EXCEPTION 'not this one' USING ERRCODE = TG_ARGV[0]; END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON things FOR EACH ROW EXECUTE FUNCTION refuse(%s)
    """,
        code,
    )
    world.post("things", [{"id": n} for n in range(4)])
    world.drain()

    assert ids(world) == [0, 1, 3]
    ((kind, sqlstate, reason),) = world.rejections("type, sqlstate, reason")
    assert (kind, sqlstate) == ("check" if code == "23514" else "trigger", code)
    assert reason == "not this one"


def test_a_deferred_constraint_is_reported_by_row(make_world):
    metadata = MetaData()
    Table("nodes", metadata, Column("id", Integer, primary_key=True),
          Column("next", Integer, ForeignKey("nodes.id", name="next_exists", deferrable=True,
                                             initially="DEFERRED")),
          Column("u", Integer),
          UniqueConstraint("u", name="one_u", deferrable=True, initially="DEFERRED"))  # fmt: skip
    world = make_world(metadata)
    world.execute("INSERT INTO nodes VALUES (9, NULL, 9)")
    good = [world.post("nodes", {"id": n, "u": n}) for n in range(3)]
    bad = [world.post("nodes", {"id": 3, "u": 9}), world.post("nodes", {"id": 4, "next": 99})]

    world.drain_to_the_end()

    assert [world.status(receipt)["state"] for receipt in good + bad] == ["applied"] * 3 + [
        "rejected"
    ] * 2
    assert sorted(world.rejections('type, "constraint"')) == [
        ("conflict", "one_u"),
        ("missing-parent", "next_exists"),
    ]


# Parents and children


def test_parents_are_poured_before_children_of_the_same_batch(world, statements):
    world.post("children", {"id": 1, "parent": 1})
    world.post("parents", {"id": 1})

    assert world.drain() == {"batchItemFailures": []}

    assert ids(world, "children") == [1]
    assert len(statements) <= 3


def test_children_are_deleted_before_parents_of_the_same_batch(world):
    world.execute("INSERT INTO parents VALUES (1); INSERT INTO children VALUES (1, 1)")
    world.delete("parents", 1)
    world.delete("children", 1)

    world.drain()

    assert (ids(world, "parents"), ids(world, "children")) == ([], [])
    assert world.rejections() == []


def test_rows_may_refer_to_later_ones_of_their_request(world):
    receipt = world.post(
        "parents",
        [{"id": n, "above": n + 1} for n in range(1, 30)] + [{"id": 30}],
    )

    world.drain()

    assert world.status(receipt)["state"] == "applied"
    assert len(ids(world, "parents")) == 30


def test_rows_may_refer_to_ones_of_later_messages_even_among_bad_ones(world):
    receipts = [world.post("parents", {"id": n, "above": n + 1}) for n in range(1, 10)]
    receipts.append(world.post("parents", {"id": 10}))
    lonely = world.post("parents", {"id": 50, "above": 51})
    world.drain_to_the_end()

    assert {world.status(receipt)["state"] for receipt in receipts} == {"applied"}
    assert world.status(lonely)["rejections"][0]["type"] == "missing-parent"


def test_a_missing_parent_is_waited_for_and_the_others_are_committed(world):
    child = world.post("children", {"id": 1, "parent": 1})
    other = world.post("things", {"id": 1})

    world.drain()

    assert world.status(child)["state"] == "pending"
    assert world.status(other)["state"] == "applied"
    world.post("parents", {"id": 1})
    world.make_due()
    world.drain()
    assert world.status(child)["state"] == "applied"
    assert world.rejections() == []


def test_a_message_that_waits_keeps_its_lane_open(world, monkeypatch):
    monkeypatch.setenv("DECANTER_PARTIAL_RESPONSES", "1")
    before = world.post("things", {"id": 1})
    orphan = world.post("children", {"id": 1, "parent": 1})
    behind = world.patch("children", 1, {"n": 5})
    neighbour = world.post("things", {"id": 3})
    entries = [entry._replace(lane="the only lane") for entry in world.queued]

    assert world.drain(entries) == {"batchItemFailures": []}

    states = [world.status(each)["state"] for each in (before, orphan, behind, neighbour)]
    assert states == ["applied", "pending", "pending", "applied"]
    world.execute("INSERT INTO parents VALUES (1)")
    world.drain_by_schedule()
    assert world.execute("SELECT id, n FROM children") == [(1, 5)]


def test_a_parent_that_never_comes_is_a_rejection_in_the_end(world):
    receipt = world.post("children", {"id": 1, "parent": 1})
    merge = world.patch("children", 1, {"n": 1})
    world.drain()
    for _ in range(3):
        world.drain_by_schedule()
        assert world.status(receipt)["state"] == "pending"

    with without_patience():
        world.drain_by_schedule()

    (rejection,) = world.status(receipt)["rejections"]
    assert (rejection["type"], rejection["constraint"]) == ("missing-parent", "parent_exists")
    assert world.status(merge)["rejections"][0]["type"] == "missing"


def test_a_thousand_orphans_cost_few_statements(world, statements):
    receipt = world.post("log", [{"line": "x", "parent": n} for n in range(1_000)])
    world.execute("INSERT INTO parents SELECT generate_series(0, 998, 2)")

    world.drain_to_the_end()

    status = world.status(receipt)
    assert (status["applied"], status["rejected"]) == (500, 500)
    assert {each["type"] for each in status["rejections"]} == {"missing-parent"}
    assert len(statements) < 100


def test_a_parent_with_children_is_still_referenced(world):
    world.execute("INSERT INTO parents VALUES (1), (2); INSERT INTO children VALUES (1, 1)")
    kept = world.delete("parents", 1)
    gone = world.delete("parents", 2)
    world.drain()

    assert world.status(kept)["rejections"][0]["type"] == "still-referenced"
    assert world.status(gone)["state"] == "applied"
    assert ids(world, "parents") == [1]


def test_a_parent_above_itself_with_children_is_still_referenced(world):
    world.execute("INSERT INTO parents VALUES (1, NULL), (2, 1)")
    kept = world.delete("parents", 1)
    world.drain()

    assert world.status(kept)["rejections"][0]["type"] == "still-referenced"


# Messages that are not ours, or not for these models


FOREIGN = ["", "hello", '{"Records": []}', "null", "\ud800", "a\0b", "[" * 5_000, '{"v": 2}',
           '{"v": "\\u0000"}', "😀\ufffe\uffff"]  # fmt: skip


def test_foreign_messages_are_kept_with_a_reason_and_harm_nobody(world):
    world.post("things", [{"id": n} for n in range(5)])

    assert world.drain([*FOREIGN, *world.queued, *FOREIGN]) == {"batchItemFailures": []}

    assert ids(world) == [0, 1, 2, 3, 4]
    kept = world.execute("SELECT type, reason, body, resource FROM decanter.rejection")
    assert len(kept) == 2 * len(FOREIGN)  # each record of the queue is one of its own
    assert {kind for kind, *_ in kept} == {"foreign-message"}
    assert all(reason for _, reason, *_ in kept)
    assert {body for *_, body, _ in kept} >= {"hello", '{"v": 2}', "a\\u0000b"}


def test_a_foreign_message_that_comes_again_is_kept_once(world):
    records = event(["hello"])

    handler.drain(records, Context(30), take)
    handler.drain(records, Context(30), take)
    handler.drain({"Records": records["Records"] * 2}, Context(30), take)

    assert len(world.rejections()) == 1
    assert world.poured() == 1


def with_rows(rows: str, items: int = 1) -> Callable[[Message], Message]:
    def change(message: Message) -> Message:
        part = message.sets[0]
        digests = tuple(range(items)) if part.digests else ()
        part = part._replace(text=rows, items=tuple(range(items)), digests=digests, documents=None)
        return message._replace(sets=(part,))

    return change


BROKEN_ROWS = [
    ('{"id": 100,}', 1),
    ('{"id": NaN}', 1),
    ('{"id": 100} {"id": 101}', 2),
    ('{"id": 100},{"id": 101}', 1),
    ('{"id": 100}', 2),
    ('{"id": "' + "\ud800" + '"}', 1),
    ('{"id": "\\ud800"}', 1),
    ('{"id": "\0"}', 1),
    ('{"id": "\\u0000"}', 1),
    ('{"id": 1' + "0" * 5_000 + "}", 1),
    ('{"id": ' + "[" * 3_000 + "]" * 3_000 + "}", 1),
    ('{"id": [}', 1),
    ('{"nope": 1}', 1),
    ('{"id": {}}', 1),
]


@pytest.mark.parametrize("op", ["create", "replace", "merge", "delete"])
def test_a_message_whose_rows_are_broken_blocks_nobody(world, op):
    write = {
        "create": lambda n: world.post("things", {"id": n + 10}),
        "replace": lambda n: world.put("things", n, {}),
        "merge": lambda n: world.patch("things", n, {"n": 7}),
        "delete": lambda n: world.delete("things", n),
    }[op]
    for number, (rows, items) in enumerate(BROKEN_ROWS, 1):
        world.execute("TRUNCATE things")
        world.execute("INSERT INTO things (id) VALUES (1), (2)")
        broken = write(1)
        (entry,) = world.queued
        world.queued = []
        good = write(2)
        missing = world.delete("things", 77)
        entries, world.queued = [changed(entry, with_rows(rows, items)), *world.queued], []

        assert world.drain(entries) == {"batchItemFailures": []}, rows[:30]
        assert world.poured() == 3 * number
        assert world.status(good)["state"] == "applied", rows[:30]
        assert world.status(missing)["rejections"][0]["type"] == "missing"
        assert world.status(broken)["state"] in ("applied", "rejected", "partial")


def message(**changes: Any) -> Message:
    fields: dict[str, Any] = {
        "dedup_id": "01890000-0000-7000-8000-000000000000",
        "fingerprint": "0" * 32,
        "accepted_at": time.time_ns() // 1_000_000,
        "resource": "things",
        "op": "create",
        "sets": (RowSet(("id",), (0,), (7,), '{"id":100}'),),
    }
    return Message(**{**fields, **changes})


def part(*members: str, **row: Any) -> tuple[RowSet, ...]:
    return (RowSet(tuple(sorted(members)), (0,), (7,), json.dumps(row)),)


@pytest.mark.parametrize(
    ("foreign", "kind"),
    [
        (message(resource="nope"), "schema-mismatch"),
        (message(resource="pg_class"), "schema-mismatch"),
        (message(sets=part("id", "nope", id=1, nope=1)), "schema-mismatch"),
        (message(sets=part("id", 'n" = 1; --', id=1)), "schema-mismatch"),
        (message(sets=part("id", "a\x01b", id=1)), "schema-mismatch"),
        (message(op="delete", sets=part("n", n=1)), "schema-mismatch"),
        (message(op="merge", sets=part("n", n=1)), "schema-mismatch"),
        (message(op="replace", sets=part("n", n=1)), "schema-mismatch"),
        (message(op="merge", sets=part("id", id=1)), "schema-mismatch"),
        (message(resource="log", op="replace", sets=part("line", line="x")), "schema-mismatch"),
        (message(resource="log", op="delete", sets=part("line", line="x")), "schema-mismatch"),
        (
            message(resource="made", op="replace", sets=part("id", "n", id=5, n=1)),
            "schema-mismatch",
        ),
        (message(resource="made", op="create", sets=part("id", "n", id=5, n=1)), "schema-mismatch"),
        (message(sets=(RowSet(("id",), (0, 0), (7, 8), '{"id":"x"},{"id":"y"}'),)), "value"),
    ],
)
def test_a_message_for_other_models_blocks_nobody(make_world, engine_name, foreign, kind):
    world = make_world(tables(ENGINES[engine_name], has_made=True))
    good = world.post("things", {"id": 1})

    assert world.drain([encode(foreign), *world.queued]) == {"batchItemFailures": []}

    assert world.status(good)["state"] == "applied"
    assert {found for (found,) in world.rejections("type")} == {kind}
    assert world.value("SELECT count(*) FROM log") == 0


def test_a_database_without_a_table_holds_up_its_messages_and_no_others(world, caplog):
    world.execute("DROP TABLE log")
    receipt = world.post("log", {"line": "x"})
    other = world.post("things", {"id": 1})

    world.drain()

    assert 'relation "log" does not exist' in caplog.text
    assert "Invoke migrate" in caplog.text
    assert [world.status(each)["state"] for each in (receipt, other)] == ["pending", "applied"]
    world.execute("CREATE TABLE public.log (line text, n int, parent int)")
    world.drain_by_schedule()
    assert world.status(receipt)["state"] == "applied"


def test_a_database_without_a_ledger_takes_nothing(world):
    world.execute("ALTER TABLE decanter.ledger RENAME TO gone")
    world.post("things", {"id": 1})
    entries = list(world.queued)

    with pytest.raises(SchemaMismatch, match="ledger"):
        world.drain(entries)
    world.execute("ALTER TABLE decanter.gone RENAME TO ledger")
    world.drain(entries, receives=2)

    assert ids(world) == [1]


# The same key, another body


def test_a_key_that_was_used_for_another_body_rejects_the_second(world):
    first = world.put("things", 1, {"n": 1}, Idempotency_Key="k")
    second = world.put("things", 1, {"n": 2}, Idempotency_Key="k")

    world.drain()

    assert world.status(first)["state"] == "applied"
    status = world.status(second)
    assert status["state"] == "rejected"
    assert status["rejections"][0]["type"] == "key-reused"
    assert world.execute("SELECT id, n FROM things") == [(1, 1)]


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("together", [True, False])
def test_no_part_of_another_body_slips_in_beside_the_first(world, order, together):
    one = world.post("things", {"id": 1}, Idempotency_Key="k")
    many = world.post("things", [{"id": n} for n in range(2, 40)], Idempotency_Key="k")
    entries = world.queued[::order]
    batches = [entries] if together else [[entry] for entry in entries]

    for batch in batches:
        world.drain(batch)

    states = {receipt: world.status(receipt)["state"] for receipt in (one, many)}
    assert sorted(states.values()) == ["applied", "rejected"]
    assert ids(world) == ([1] if states[one] == "applied" else list(range(2, 40)))


def test_decimals_of_a_rejected_row_are_kept(make_world):
    metadata = MetaData()
    Table("amounts", metadata, Column("id", Integer, primary_key=True),
          Column("n", Numeric, CheckConstraint("n < 1")))  # fmt: skip
    world = make_world(metadata)
    world.post("amounts", b'{"id":1,"n":12345678901234567890.12345678901234567890}')
    world.drain()

    assert world.value("SELECT row::text FROM decanter.rejection") == (
        '{"id":1,"n":12345678901234567890.12345678901234567890}'
    )


def test_a_partitioned_table_waits_for_parents_too(make_world):
    metadata = MetaData()
    Table("parents", metadata, Column("id", Integer, primary_key=True))
    Table("readings", metadata, Column("id", Integer, primary_key=True),
          Column("parent", Integer, ForeignKey("parents.id")),
          postgresql_partition_by="RANGE (id)")  # fmt: skip
    events.listen(
        metadata,
        "after_create",
        DDL("CREATE TABLE readings_1 PARTITION OF readings FOR VALUES FROM (0) TO (10)"),
    )
    world = make_world(metadata)
    receipt = world.post("readings", {"id": 1, "parent": 1})
    outside = world.post("readings", {"id": 11})

    world.drain()
    world.post("parents", {"id": 1})
    world.make_due()
    world.drain()

    assert world.status(receipt)["state"] == "applied"
    assert world.status(outside)["rejections"][0]["type"] == "check"


def test_rows_that_need_each_other_survive_a_neighbour_that_violates_their_deferred_constraint(
    make_world,
):
    metadata = MetaData()
    for own, other in ("ab", "ba"):
        key = ForeignKey(f"{other}.id", name=f"{own} %", deferrable=True, initially="DEFERRED")
        Table(own, metadata, Column("id", Integer, primary_key=True),
              Column("other", Integer, key, nullable=False))  # fmt: skip
    world = make_world(metadata)
    good = [world.post("a", {"id": 1, "other": 1}), world.post("b", {"id": 1, "other": 1})]
    bad = world.post("a", {"id": 2, "other": 99})

    world.drain_to_the_end()

    assert [world.status(receipt)["state"] for receipt in good] == ["applied"] * 2
    assert world.rejections('type, "constraint"') == [("missing-parent", "a %")]
    assert world.status(bad)["state"] == "rejected"


@pytest.mark.parametrize("named", ["", ", CONSTRAINT = 'none such', SCHEMA = 'public'"])
def test_a_deferred_trigger_is_reported_by_row(make_world, named):
    metadata = MetaData()
    Table("nodes", metadata, Column("id", Integer, primary_key=True))
    world = make_world(metadata)
    world.execute(f"""
        CREATE FUNCTION public.odd() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NEW.id = 2 THEN RAISE 'no twos' USING ERRCODE = '23000'{named}; END IF;
            RETURN NULL;
        END $$;
        CREATE CONSTRAINT TRIGGER odd AFTER INSERT ON public.nodes DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION public.odd()
    """)
    receipts = [world.post("nodes", {"id": n}) for n in range(4)]

    world.drain()

    states = [world.status(receipt)["state"] for receipt in receipts]
    assert states == ["applied", "applied", "rejected", "applied"]


@pytest.mark.needs("notes")
def test_patches_and_deletes_of_many_forms_wait_for_one_answer(world, statements):
    world.post("things", [{"id": n} for n in range(1, 8)])
    world.drain()
    receipts = [
        world.patch("things", 1, {"n": 1}),
        world.patch("things", 2, {"u": "x"}),
        world.patch("things", 3, {"n": 3, "u": "y"}),
        world.patch("things", 90, {"n": 1}),
        world.delete("things", 4),
        world.delete("things", 91),
        world.patch("things", 92, {"u": "z"}),
    ]
    statements.clear()

    world.drain()

    again = 3 if world.engine.settles_before_rejecting else 0  # told, settled, COMMIT
    assert len(statements) == 3 + again  # what they tell, all of them; rejections; COMMIT
    states = [world.status(receipt)["state"] for receipt in receipts]
    assert states == ["applied"] * 3 + ["rejected", "applied", "rejected", "rejected"]


def test_a_reason_is_whole_whether_one_query_finds_the_rows_or_postgres_says_it(world):
    world.execute("INSERT INTO things (id, u) VALUES (1, 'x')")
    for rows in (
        [{"id": 2, "u": "x"}, {"id": 3, "u": "y"}, {"id": 4, "u": "x"}],
        {"id": 5, "u": "x"},
    ):
        world.post("things", rows)
    for rows in ([{"id": 2, "parent": 7}, {"id": 3, "parent": 7}], {"id": 4, "parent": 7}):
        world.post("children", rows, prefer="missing-parent=reject")
    world.drain()

    assert {reason for (reason,) in world.rejections("reason")} == {
        'duplicate key value violates unique constraint "things_u_key": Key (u)=(x) already'
        " exists.",
        'insert or update on table "children" violates foreign key constraint "parent_exists": Key'
        ' (parent)=(7) is not present in table "parents".',
    }


def test_of_a_long_value_a_reason_shows_begin_and_end_and_tells_how_much_is_between(world):
    value = "x" * 2_000
    world.post("things", [{"id": 1, "u": value}, {"id": 2, "u": value}])
    world.drain()

    [(reason,)] = world.rejections("reason")
    shown = r"Key \(u\)=\(x+ … \(1,0\d\d more characters\) … x+\) already exists\."
    assert re.search(shown + "$", reason)
