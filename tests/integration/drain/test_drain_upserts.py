"""Creates that merge into a row that is there, or leave it: `create-or-merge`, `create-or-ignore`.

As PostgREST's `Prefer: resolution=merge-duplicates` and `resolution=ignore-duplicates`.
"""

import json
from collections.abc import Callable
from copy import copy
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache, partial
from itertools import count
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import (
    ARRAY,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    DateTime,
    Enum,
    Float,
    ForeignKey,
    Identity,
    Integer,
    Interval,
    LargeBinary,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import INT4RANGE, JSONB, Range

from chalicelib.ops import Op
from tests.kit.odd_names import odd
from tests.kit.world import World, changed, without_patience

MakeWorld = Callable[[MetaData], World]

MERGE, IGNORE = "create-or-merge", "create-or-ignore"
BOTH = pytest.mark.parametrize("op", [MERGE, IGNORE])
PREFER = {MERGE: "resolution=merge-duplicates", IGNORE: "resolution=ignore-duplicates"}


def post(world: World, op: str, resource: str, rows: Any) -> str:
    return world.post(resource, rows, Prefer=PREFER[op])


@cache
def things(*, has_made: bool = False) -> MetaData:
    metadata = MetaData()
    Table(
        "things",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("a", Integer, CheckConstraint("a < 1000")),
        Column("b", Integer, server_default="7", nullable=False),
        Column("u", Text, unique=True),
        Column("doc", JSONB),
        Column("parent", Integer, ForeignKey("parents.id")),
    )
    Table("parents", metadata, Column("id", Integer, primary_key=True))
    Table(
        "log",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("n", Integer, default=lambda: 5),
        Column("u", Text, unique=True),
        Column("parent", Integer, ForeignKey("parents.id")),
        info={"ordered": False},
    )
    Table("lines", metadata, Column("line", Text), info={"ordered": False})
    if has_made:
        Table("made", metadata, Column("id", Integer, Identity(always=True), primary_key=True))
    return metadata


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    return make_world(things())


def states(world: World, receipts: list[str]) -> list[str]:
    return [world.status(receipt)["state"] for receipt in receipts]


@pytest.mark.parametrize(
    ("op", "there", "row"),
    [
        (MERGE, False, (1, 5, 7)),
        (MERGE, True, (1, 5, 2)),
        (IGNORE, False, (1, 5, 7)),
        (IGNORE, True, (1, 1, 2)),
    ],
)
def test_an_op_on_a_row_that_is_there_or_not(world, statements, op, there, row):
    if there:
        world.execute("INSERT INTO things (id, a, b) VALUES (1, 1, 2)")
    receipt = post(world, op, "things", {"id": 1, "a": 5})

    assert world.drain() == {"batchItemFailures": []}

    assert len(statements) == 1  # the COMMIT that everything rides along with
    assert world.execute("SELECT id, a, b FROM things") == [row]
    status = world.status(receipt)
    assert (status["state"], status["applied"], status["rejected"]) == ("applied", 1, 0)


def test_writes_to_one_key_in_one_batch_take_effect_in_order(world):
    receipts = [
        post(world, IGNORE, "things", {"id": 1, "a": 1}),
        post(world, MERGE, "things", {"id": 1, "b": 2}),
        post(world, IGNORE, "things", {"id": 1, "a": 3, "b": 3}),
        world.patch("things", 1, {"u": "x"}),
        post(world, MERGE, "things", {"id": 1, "a": 4}),
    ]
    world.drain()
    assert world.execute("SELECT id, a, b, u FROM things") == [(1, 4, 2, "x")]
    receipts += [
        world.delete("things", 1),
        post(world, MERGE, "things", {"id": 1, "a": 5}),
        world.post("things", {"id": 1}),
        post(world, IGNORE, "things", {"id": 1, "a": 6}),
        world.put("things", 1, {"u": "y"}),
        post(world, MERGE, "things", {"id": 1, "a": 7}),
    ]
    world.drain()

    assert world.execute("SELECT id, a, b, u FROM things") == [(1, 7, 7, "y")]
    assert states(world, receipts) == ["applied"] * 7 + ["rejected"] + ["applied"] * 3
    assert world.rejections() == [(0, "conflict")]


@pytest.mark.parametrize(
    ("op", "rows"),
    [(MERGE, [(1, 3, 2), (2, 9, 7)]), (IGNORE, [(1, 1, 7), (2, 9, 7)])],
)
def test_rows_of_one_request_with_one_key_take_effect_in_order(world, op, rows):
    sent = [{"id": 1, "a": 1}, {"id": 2, "a": 9}, {"id": 1, "b": 2}, {"id": 1, "a": 3}]
    receipt = post(world, op, "things", sent)

    world.drain()

    assert world.execute("SELECT id, a, b FROM things ORDER BY id") == rows
    assert world.status(receipt)["applied"] == 4


def test_documents_are_overwritten_and_not_merged(world):
    world.execute("""INSERT INTO things (id, doc) VALUES (1, '{"a": 1, "b": 2}')""")

    post(world, MERGE, "things", {"id": 1, "doc": {"a": None, "c": 3}})
    world.drain()

    assert world.value("SELECT doc FROM things") == {"a": None, "c": 3}


@BOTH
def test_a_message_that_comes_again_does_nothing(world, op):
    post(world, op, "things", {"id": 1, "a": 1})
    entries, world.queued = world.queued, []
    world.drain(entries)
    world.execute("DELETE FROM things")

    world.drain(entries, receives=2)
    world.drain(entries * 2, receives=3)

    assert world.execute("SELECT * FROM things") == []
    assert world.poured() == 1


# Whatever tables there are


def test_defaults_are_for_new_rows_and_onupdate_for_changed_ones(make_world: MakeWorld) -> None:
    numbers = count(1)
    metadata = MetaData()
    Table(
        "made",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("n", Integer),
        Column("server", Integer, server_default=text("40 + 2")),
        Column("scalar", Text, default="100% %s"),
        Column("expression", Text, default=func.upper("a%s")),
        Column("counted", Integer, default=lambda: next(numbers)),
        Column("tags", ARRAY(Text), default=list),
        Column("colour", Enum("red", "green", name="colour"), default="red", onupdate="green"),
        Column("both", Integer, default=lambda: 1, onupdate=lambda: 2),
        Column("stamped", DateTime(timezone=True), onupdate=func.now()),
        Column("blob", JSONB, onupdate=lambda: {"%": [1, None]}),
        Column("twice", Integer, Computed("n * 2")),
    )
    world = make_world(metadata)

    post(world, MERGE, "made", [{"id": 1, "n": 1}, {"id": 2, "n": 1}])
    world.drain()
    assert world.execute('SELECT n, server, scalar, expression, counted, tags, colour, "both",'
                         " stamped, blob, twice FROM made ORDER BY id") == [
        (1, 42, "100% %s", "A%S", n, [], "red", 1, None, None, 2) for n in (1, 2)
    ]  # fmt: skip
    world.execute("UPDATE made SET server = 0, scalar = 'kept', expression = 'kept', tags = '{x}'")
    post(world, MERGE, "made", {"id": 1, "n": 5})
    post(world, MERGE, "made", {"id": 2, "both": None, "blob": {"sent": 1}})
    post(world, IGNORE, "made", {"id": 2, "n": 7})
    world.drain()

    assert world.rejections() == []
    assert world.execute('SELECT n, server, scalar, expression, counted, tags, colour, "both",'
                         " stamped IS NOT NULL, blob, twice FROM made ORDER BY id") == [
        (5, 0, "kept", "kept", 1, ["x"], "green", 2, True, {"%": [1, None]}, 10),
        (1, 0, "kept", "kept", 2, ["x"], "green", None, True, {"sent": 1}, 2),
    ]  # fmt: skip


@pytest.mark.parametrize("op", [MERGE, "merge"])
def test_onupdate_makes_values_of_every_type_as_a_default_does(make_world: MakeWorld, op) -> None:
    made = {
        "flag": (Boolean, True),
        "ratio": (Float, 1e-300),
        "amount": (Numeric(30, 10), Decimal("12345678901234567890.0123456789")),
        "blob": (LargeBinary, b"\\x00'%"),
        "lasting": (Interval, timedelta(days=-1, microseconds=1)),
        "at": (DateTime(timezone=True), datetime(2026, 2, 3, 4, 5, 6, 7, UTC)),
        "id": (Uuid, uuid4()),
        "tags": (ARRAY(Text), ["", "NULL", None, 'a "b" \\ {%s},', "\n"]),
        "grid": (ARRAY(Integer), [[1, None], [3, 4]]),
        "documents": (ARRAY(JSONB), [{"a": ['"', None]}, [1], "x"]),
        "document": (JSONB, ["%s", {"a": None}]),
        "colours": (ARRAY(Enum("red", "green", name="colour")), ["red", "green"]),
        "range": (INT4RANGE, Range(1, 5)),
        "nothing": (Integer, None),
    }
    metadata = MetaData()
    columns = [
        Column(name, type_, default=make, onupdate=make)
        for name, (type_, value) in made.items()
        for make in [partial(copy, value)]
    ]
    Table("made", metadata, Column("key", Text, primary_key=True), Column("n", Integer), *columns)
    world = make_world(metadata)
    world.execute("INSERT INTO made (key) VALUES ('changed')")
    post(world, MERGE, "made", {"key": "new", "n": 1})
    if op == MERGE:
        post(world, op, "made", {"key": "changed", "n": 1})
    else:
        world.patch("made", "changed", {"n": 1})
    world.drain()

    assert world.rejections() == []
    assert world.value("SELECT count(*) FROM made WHERE n = 1") == 2
    changed, new = world.execute("SELECT * FROM made ORDER BY key")
    assert changed[1:] == new[1:]
    assert new[1:].count(None) == 1


@BOTH
def test_a_row_of_its_key_alone_changes_nothing_that_is_there(make_world: MakeWorld, op) -> None:
    metadata = MetaData()
    Table("made", metadata, Column("id", Integer, primary_key=True), Column("n", Integer),
          Column("touched", Integer, onupdate=9))  # fmt: skip
    Table(
        "pairs",
        metadata,
        Column("a", Integer, primary_key=True),
        Column("b", Text, primary_key=True),
    )
    world = make_world(metadata)
    world.execute("INSERT INTO made VALUES (1, 1, 1)")

    receipts = [
        post(world, op, "made", [{"id": 1}, {"id": 2}]),
        post(world, op, "pairs", [{"a": 1, "b": "x"}, {"a": 1, "b": "y"}, {"a": 1, "b": "x"}]),
        post(world, op, "pairs", {"a": 1, "b": "y"}),
    ]
    world.drain()

    assert states(world, receipts) == ["applied"] * 3
    assert world.execute("SELECT * FROM made ORDER BY id") == [(1, 1, 1), (2, None, None)]
    assert world.execute("SELECT * FROM pairs ORDER BY b") == [(1, "x"), (1, "y")]


@cache
def keyless() -> MetaData:
    metadata = MetaData()
    n = [Column("n", Integer, unique=True) for _ in range(4)]
    Table("identity", metadata, Column("id", Integer, Identity(), primary_key=True), n[0])
    Table("always", metadata, Column("id", Integer, Identity(always=True), primary_key=True), n[1])
    Table("python", metadata, Column("id", Uuid, primary_key=True, default=uuid4), n[2])
    Table("server", metadata, Column("id", Uuid, primary_key=True,
          server_default=text("gen_random_uuid()")), n[3])  # fmt: skip
    return metadata


@BOTH
@pytest.mark.parametrize("name", ["identity", "always", "python", "server"])
def test_a_row_without_its_key_is_a_new_one(make_world: MakeWorld, op, name) -> None:
    world = make_world(keyless())

    receipts = [post(world, op, name, row) for row in ({}, {"n": 1}, {"n": 1}, {"n": 2})]
    world.drain()

    assert world.execute(f'SELECT n FROM "{name}" ORDER BY n') == [(1,), (2,), (None,)]
    assert sorted(states(world, receipts)) == ["applied"] * 3 + ["rejected"]
    assert world.rejections() == [(0, "conflict")]


@BOTH
def test_a_row_without_its_key_overwrites_no_other(make_world: MakeWorld, op) -> None:
    """Its number may be one that a client has chosen before."""
    world = make_world(keyless())
    there = [(n, n) for n in range(1, 20)]
    world.execute('INSERT INTO "identity" SELECT n, n FROM generate_series(1, 19) AS n')

    post(world, op, "identity", {"n": 50})
    world.drain()

    assert world.execute('SELECT * FROM "identity" ORDER BY id') == there
    assert world.rejections() == [(0, "conflict")]


@pytest.mark.parametrize(
    "default",
    [{"server_default": "main"}, {"default": "main"}, {"default": lambda: "main"},
     {"server_default": text("lower('MAIN')")}],
)  # fmt: skip
def test_a_key_may_be_completed_by_a_default(make_world: MakeWorld, default) -> None:
    metadata = MetaData()
    Table(
        "things",
        metadata,
        Column("tenant", Text, primary_key=True, **default),
        Column("id", Integer, primary_key=True),
        Column("a", Integer),
        Column("b", Integer),
    )
    world = make_world(metadata)
    world.execute("INSERT INTO things VALUES ('main', 1, 1, 1), ('main', 2, 1, 1)")

    receipts = [
        post(world, MERGE, "things", [{"id": 1, "a": 5}, {"id": 3, "a": 5}]),
        post(world, IGNORE, "things", [{"id": 2, "a": 6}, {"id": 4, "a": 6}]),
        # Nobody but the database may know that these are one row: it takes them one by one.
        post(world, MERGE, "things", [{"id": 5, "a": 7}, {"id": 5, "b": 7}]),
    ]
    world.drain()

    assert states(world, receipts) == ["applied"] * 3
    assert world.execute("SELECT * FROM things ORDER BY id") == [
        ("main", 1, 5, 1), ("main", 2, 1, 1), ("main", 3, 5, None), ("main", 4, 6, None),
        ("main", 5, 7, 7),
    ]  # fmt: skip


def test_names_of_any_kind_are_quoted(make_world: MakeWorld) -> None:
    world = make_world(odd())
    key = {"select": "a/b", "100%": 7}
    receipts = [
        post(world, MERGE, "weird", {**key, "ordinality": 1, "%(rows)s": "%s", "ü": "ü"}),
        post(world, MERGE, "weird", {**key, "sent": 2, "target": 3, "%(rows)s": "%%"}),
        post(world, IGNORE, "weird", {**key, "sent": 9}),
        post(world, IGNORE, "weird", {**key, "100%": 8, 'q"uote': None}),
    ]

    world.drain()

    assert states(world, receipts) == ["applied"] * 4
    row = json.loads(world.row("weird", **key))
    assert row == {
        **key, "ordinality": 1, "sent": 2, "target": 3, "%(rows)s": "%%", "ü": "ü", "once": 4,
        "each": 5, "a b": 'it\'s 100% "fine"', 'q"uote': "d", "doubled": 14, "done": None,
        "found": None, "rows": None,
    }  # fmt: skip
    assert json.loads(world.row("weird", **{**key, "100%": 8}))['q"uote'] is None


@pytest.mark.parametrize("name", ["sent", "done", "once", "target", "found"])
def test_tables_may_be_named_as_parts_of_our_statements_are(make_world: MakeWorld, name) -> None:
    world = make_world(odd())

    post(world, MERGE, name, [{"id": 1, name: 1}, {"id": 1, name: 2}])
    post(world, IGNORE, name, [{"id": 1, name: 3}, {"id": 2, name: 4}])
    world.drain()

    assert world.rejections() == []
    assert world.execute(f'SELECT * FROM "{name}" ORDER BY id') == [(1, 2), (2, 4)]


# Unordered


def test_an_unordered_resource_leaves_rows_that_are_there(world, statements):
    world.execute("INSERT INTO log VALUES (1, 1)")

    receipt = post(world, IGNORE, "log", [{"id": n % 3} for n in range(30)])
    again = post(world, IGNORE, "log", {"id": 2, "n": 9})
    world.drain()

    assert len(statements) == 1
    assert states(world, [receipt, again]) == ["applied", "applied"]
    assert world.execute("SELECT id, n FROM log ORDER BY id") == [(0, 5), (1, 1), (2, 5)]


def test_an_unordered_resource_without_a_key_has_no_duplicates(world):
    receipt = post(world, IGNORE, "lines", [{"line": "x"}, {"line": "x"}])

    world.drain()

    assert world.status(receipt)["state"] == "applied"
    assert world.execute("SELECT * FROM lines") == [("x",), ("x",)]


def test_a_deferrable_key_cannot_tell_duplicates_and_blocks_nobody(make_world: MakeWorld) -> None:
    metadata = MetaData()
    Table(
        "log",
        metadata,
        Column("id", Integer, Identity()),
        Column("n", Integer),
        PrimaryKeyConstraint("id", deferrable=True),
        info={"ordered": False},
    )
    world = make_world(metadata)

    receipts = [
        post(world, IGNORE, "log", {"id": 1}),
        world.post("log", {"id": 20}),
        post(world, IGNORE, "log", {"n": 3}),
    ]
    world.drain()

    assert states(world, receipts) == ["rejected", "applied", "applied"]
    assert world.rejections() == [(0, "schema-mismatch")]


# A bad write harms nobody else


@BOTH
@pytest.mark.parametrize(
    ("good", "bad", "kind"),
    [
        ({"a": 5}, {"a": 1000}, "check"),
        ({"a": 5}, {"a": None}, "null"),
        ({"a": 5, "u": None}, {"a": 5, "u": "taken"}, "conflict"),
        ({"a": 5, "parent": None}, {"a": 5, "parent": 5}, "missing-parent"),
    ],
)
def test_one_bad_row_is_rejected_and_its_neighbours_are_poured(world, op, good, bad, kind):
    world.execute("INSERT INTO things (id, a, u) VALUES (1, 1, 'x'), (2, 2, 'y'), (50, 0, 'taken')")
    world.execute("ALTER TABLE things ALTER a SET NOT NULL")
    receipt = post(world, op, "things", [{"id": n, **good} for n in range(6)] + [{"id": 9, **bad}])

    world.drain_to_the_end()

    assert world.rejections() == [(6, kind)]
    assert world.status(receipt)["applied"] == 6
    there = [(1, 5), (2, 5)] if op == MERGE else [(1, 1), (2, 2)]
    assert world.execute("SELECT id, a FROM things ORDER BY id") == [
        (0, 5), *there, (3, 5), (4, 5), (5, 5), (50, 0),
    ]  # fmt: skip


@BOTH
def test_a_value_that_does_not_fit_is_rejected_whether_the_row_is_there_or_not(world, op):
    world.execute("INSERT INTO things (id, a) VALUES (1, 1)")
    post(world, op, "things", [{"id": n, "a": n} for n in range(4)])
    (entry,) = [each for each in world.queued if '"id": 1,' in each.body]
    rest = [each for each in world.queued if each is not entry]
    bad = changed(entry, lambda message: message._replace(sets=tuple(
        part._replace(text=part.rows.replace('"id": 1, "a": 1', '"id": 1, "a": "x"'))
        for part in message.sets
    )))  # fmt: skip

    world.drain([*rest, bad])

    assert world.rejections() == [(1, "value")]
    assert world.execute("SELECT id, a FROM things ORDER BY id") == [(0, 0), (1, 1), (2, 2), (3, 3)]


@pytest.mark.parametrize(
    ("op", "rows", "rejections"),
    [
        # The key decides first; a row keeps what is its own.
        (MERGE, [(1, "a"), (2, "b"), (3, None)], [(1, "conflict"), (2, "conflict")]),
        (IGNORE, [(1, "a"), (2, "b"), (3, None)], [(2, "conflict")]),
    ],
)
def test_a_unique_value_of_another_row_is_a_conflict(world, op, rows, rejections):
    world.execute("INSERT INTO things (id, u) VALUES (1, 'a'), (2, 'b')")

    sent = [{"id": 1, "u": "a"}, {"id": 2, "u": "a"}, {"id": 9, "u": "a"}, {"id": 3, "u": None}]
    post(world, op, "things", sent)
    world.drain()

    assert world.execute("SELECT id, u FROM things ORDER BY id") == rows
    assert world.rejections() == rejections
    assert set(world.rejections('"constraint"')) == {("things_u_key",)}


@BOTH
def test_conflicts_with_another_unique_constraint_cost_few_statements(world, statements, op):
    world.execute("INSERT INTO things (id, u) SELECT 10000 + n, n FROM generate_series(0, 499) n")
    receipt = post(world, op, "things", [{"id": n, "u": str(n)} for n in range(1_000)])

    world.drain()

    status = world.status(receipt)
    assert (status["applied"], status["rejected"]) == (500, 500)
    assert {each["type"] for each in status["rejections"]} == {"conflict"}
    assert len(statements) < 200


def test_an_ignored_row_needs_no_parent_and_no_unique_value(world, statements):
    world.execute("INSERT INTO log (id) SELECT generate_series(0, 499)")
    world.execute("INSERT INTO log (id, u) VALUES (5000, 'taken')")
    orphans = post(world, IGNORE, "log", [{"id": n, "parent": n} for n in range(1_000)])
    taken = post(world, IGNORE, "log", [{"id": n, "u": "taken"} for n in range(1_000)])

    world.drain()
    assert states(world, [orphans, taken]) == ["pending", "partial"]
    with without_patience():
        world.drain_by_schedule()

    for receipt, kind in ((orphans, "missing-parent"), (taken, "conflict")):
        status = world.status(receipt)
        assert (status["applied"], status["rejected"]) == (500, 500)
        assert {each["type"] for each in status["rejections"]} == {kind}
    assert world.value("SELECT count(*) FROM log") == 501
    assert len(statements) < 200


def test_orphans_with_a_part_of_their_key_cost_few_statements(make_world, statements):
    metadata = MetaData()
    Table("parents", metadata, Column("id", Integer, primary_key=True))
    Table(
        "tenants",
        metadata,
        Column("tenant", Text, primary_key=True, server_default="main"),
        Column("id", Integer, primary_key=True),
        Column("parent", Integer, ForeignKey("parents.id")),
    )
    world = make_world(metadata)
    world.execute("INSERT INTO parents SELECT generate_series(0, 198, 2)")
    receipt = post(world, MERGE, "tenants", [{"id": n, "parent": n} for n in range(200)])

    world.drain_to_the_end()

    assert world.status(receipt)["applied"] == 100
    assert len(statements) < 90


def test_an_orphan_that_would_be_merged_waits_for_its_parent(world):
    world.execute("INSERT INTO things (id) VALUES (1)")
    receipt = post(world, MERGE, "things", {"id": 1, "parent": 5})
    world.drain()
    assert world.status(receipt)["state"] == "pending"
    world.post("parents", {"id": 5})
    world.make_due()
    world.drain()

    assert world.status(receipt)["state"] == "applied"
    assert world.execute("SELECT id, parent FROM things") == [(1, 5)]


@BOTH
def test_ten_bad_rows_of_a_thousand_cost_few_statements(world, statements, op):
    receipt = post(world, op, "things", [{"id": n, "a": n} for n in range(999)])
    bad = list(range(0, 990, 99))
    world.execute("ALTER TABLE things ADD CHECK (a <> ALL (%s))", bad)

    world.drain()

    assert world.status(receipt)["applied"] == 999 - len(bad)
    assert {item for item, _ in world.rejections()} == set(bad)
    assert len(statements) <= 16 * (2 * len(bad) * 8 + 20)


OPS: dict[str, Op] = {"create": "create", MERGE: "create-or-merge", IGNORE: "create-or-ignore"}


@BOTH
@pytest.mark.parametrize(
    ("resource", "members", "kind"),
    [
        ("nope", {"id": 1}, "schema-mismatch"),
        ("things", {"id": 1, "nope": 1}, "schema-mismatch"),
        ("things", {"id": 1, 'n" = 1; --': 1}, "schema-mismatch"),
        ("made", {"id": 1}, "schema-mismatch"),
        ("things", {"id": {}}, "value"),
    ],
)
def test_a_message_for_other_models_blocks_nobody(make_world: MakeWorld, op, resource, members,
                                                  kind) -> None:  # fmt: skip
    world = make_world(things(has_made=True))
    world.post("things", {"id": 1})
    (entry,) = world.queued
    good = post(world, op, "things", {"id": 2})
    foreign = changed(entry, lambda message: message._replace(
        resource=resource, op=OPS[op],
        sets=(message.sets[0]._replace(members=tuple(sorted(members)), text=json.dumps(members)),),
    ))  # fmt: skip

    assert world.drain([foreign, world.queued[1]]) == {"batchItemFailures": []}

    assert world.status(good)["state"] == "applied"
    assert world.rejections() == [(0, kind)]
