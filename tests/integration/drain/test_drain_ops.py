"""What each op does to a row that is there or not, and what becomes of members and defaults."""

import enum
import json
from decimal import Decimal
from functools import cache
from itertools import count
from uuid import uuid4

import pytest
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Enum,
    Identity,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    Sequence,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import INET, JSON, JSONB

from tests.kit.odd_names import odd

numbers = count(1)


@cache
def things() -> MetaData:
    metadata = MetaData()
    Table("things", metadata, Column("id", Text, primary_key=True), Column("a", Integer),
          Column("b", Integer, server_default="7"))  # fmt: skip
    return metadata


@pytest.mark.parametrize(
    ("op", "there", "row", "rejection"),
    [
        ("create", False, {"id": "x", "a": 1, "b": 7}, None),
        ("create", True, {"id": "x", "a": 0, "b": 0}, "conflict"),
        ("replace", False, {"id": "x", "a": 1, "b": 7}, None),
        ("replace", True, {"id": "x", "a": 1, "b": 7}, None),
        ("merge", False, None, "missing"),
        ("merge", True, {"id": "x", "a": 1, "b": 0}, None),
        ("delete", False, None, "missing"),
        ("delete", True, None, None),
    ],
)
def test_an_op_on_a_row_that_is_there_or_not(make_world, op, there, row, rejection):
    world = make_world(things())
    if there:
        world.execute("INSERT INTO things VALUES ('x', 0, 0)")
    receipt = {
        "create": lambda: world.post("things", {"id": "x", "a": 1}),
        "replace": lambda: world.put("things", "x", {"a": 1}),
        "merge": lambda: world.patch("things", "x", {"a": 1}),
        "delete": lambda: world.delete("things", "x"),
    }[op]()

    assert world.drain() == {"batchItemFailures": []}

    assert json.loads(world.row("things", id="x") or "null") == row
    status = world.status(receipt)
    assert status["state"] == ("rejected" if rejection else "applied")
    assert [each["type"] for each in status["rejections"]] == ([rejection] if rejection else [])
    assert (status["applied"], status["rejected"]) == ((0, 1) if rejection else (1, 0))


def test_all_ops_on_one_key_in_one_batch_take_effect_in_order(make_world):
    world = make_world(things())
    receipts = [
        world.patch("things", "x", {"a": 1}),
        world.post("things", {"id": "x", "a": 2}),
        world.post("things", {"id": "x", "a": 3}),
        world.patch("things", "x", {"b": 4}),
        world.delete("things", "x"),
        world.delete("things", "x"),
        world.put("things", "x", {"a": 5}),
        world.patch("things", "x", {"b": None}),
    ]

    world.drain()

    assert [world.status(receipt)["state"] for receipt in receipts] == [
        "rejected", "applied", "rejected", "applied", "applied", "rejected", "applied", "applied",
    ]  # fmt: skip
    assert json.loads(world.row("things", id="x")) == {"id": "x", "a": 5, "b": None}


def test_many_writes_to_one_key_in_one_message_take_effect_in_order(make_world):
    world = make_world(things())
    receipt = world.post("things", [{"id": "x", "a": 1}, {"id": "y"}, {"id": "x", "a": 2, "b": 1}])
    assert len(world.queued) <= 2

    world.drain()

    assert json.loads(world.row("things", id="x")) == {"id": "x", "a": 1, "b": 7}
    status = world.status(receipt)
    assert (status["state"], status["applied"]) == ("partial", 2)
    assert [(each["item"], each["type"]) for each in status["rejections"]] == [(2, "conflict")]
    assert status["rejections"][0]["constraint"] == "things_pkey"


@cache
def defaults() -> MetaData:
    metadata = MetaData()
    Table(
        "defaults",
        metadata,
        Column("id", Integer, Identity(), primary_key=True),
        Column("server", Integer, server_default=text("40 + 2")),
        Column("scalar", Text, default="100% 'quoted' %s"),
        Column("expression", Text, default=func.upper("a%s")),
        Column("callable", Uuid, default=uuid4),
        Column("counted", Integer, default=lambda: next(numbers)),
        Column("bytes", LargeBinary, default=b"\x00\xff"),
        Column("json", JSONB, default=lambda: {"a": [1, None]}),
        Column("flag", Boolean, default=False, nullable=False),
        Column("decimal", Numeric, default=Decimal("0.10")),
        Column("array", ARRAY(Text), default=list),
        Column("sequenced", BigInteger, Sequence("numbers", metadata=metadata, start=5)),
        Column("colour", Enum("red", "green", name="colour"), default="red"),
        Column("nothing", Text),
        Column("touched", Integer, onupdate=lambda: 99),
        Column("stamped", DateTime(timezone=True), onupdate=func.now()),
    )
    return metadata


def test_an_absent_member_takes_its_default_wherever_that_is_made(make_world):
    world = make_world(defaults())

    world.post("defaults", [{}, {}, {"nothing": "x"}])
    world.drain()

    assert world.rejections() == []
    rows = [json.loads(world.row("defaults", id=n)) for n in (1, 2, 3)]
    for n, row in enumerate(rows):
        assert row["server"] == 42
        assert row["scalar"] == "100% 'quoted' %s"
        assert row["expression"] == "A%S"
        assert row["bytes"] == "\\x00ff"
        assert row["json"] == {"a": [1, None]}
        assert row["flag"] is False
        assert row["array"] == []
        assert row["sequenced"] == 5 + n
        assert row["colour"] == "red"
        assert row["touched"] is None
        assert row["stamped"] is None
    assert len({row["callable"] for row in rows}) == 3
    assert len({row["counted"] for row in rows}) == 3
    assert '"decimal":0.10' in world.row("defaults", id=1)


def test_null_is_null_and_no_default(make_world):
    world = make_world(defaults())

    sent = dict.fromkeys(("server", "scalar", "expression", "callable", "json", "array", "colour"))
    world.post("defaults", sent)
    world.drain()

    row = json.loads(world.row("defaults", id=1))
    assert {name: row[name] for name in sent} == sent
    assert world.value("SELECT json IS NULL FROM defaults") is True


def test_a_replace_resets_absent_members_and_a_merge_leaves_them(make_world):
    world = make_world(defaults())
    world.post("defaults", {"server": 1, "scalar": "x", "nothing": "y", "colour": "green"})
    world.drain()

    world.patch("defaults", 1, {"nothing": "z"})
    world.drain()
    merged = json.loads(world.row("defaults", id=1))
    world.put("defaults", 1, {"nothing": "w"})
    world.drain()
    replaced = json.loads(world.row("defaults", id=1))

    assert (merged["server"], merged["scalar"], merged["colour"]) == (1, "x", "green")
    assert merged["nothing"] == "z"
    assert (merged["touched"], replaced["touched"]) == (99, None)
    assert merged["stamped"] is not None
    assert replaced["nothing"] == "w"
    assert (replaced["server"], replaced["colour"]) == (42, "red")
    assert replaced["scalar"] == "100% 'quoted' %s"
    assert world.rejections() == []


@cache
def documents() -> MetaData:
    metadata = MetaData()
    Table("documents", metadata, Column("id", Integer, primary_key=True), Column("b", JSONB),
          Column("j", JSON), Column("n", Numeric), Column("big", BigInteger),
          Column("fixed", Numeric(38, 10)))  # fmt: skip
    return metadata


def test_a_merge_goes_into_documents_as_rfc_7396_says(make_world):
    world = make_world(documents())
    for column in ("b", "j"):
        world.post("documents", {"id": ord(column), column: {"a": {"x": 1, "y": 2}, "b": [1]}})
        world.patch(
            "documents", ord(column), {column: {"a": {"x": None, "z": 3}, "b": [2], "c": {}}}
        )
    world.post("documents", {"id": 1, "b": [1]})
    world.patch("documents", 1, {"b": {"a": None, "c": 1}})
    world.post("documents", {"id": 2})
    world.patch("documents", 2, {"b": {"a": {"b": None}}})
    world.drain()

    assert world.rejections() == []
    expected = {"a": {"y": 2, "z": 3}, "b": [2], "c": {}}
    assert world.value("SELECT b FROM documents WHERE id = ascii('b')") == expected
    assert world.value("SELECT j FROM documents WHERE id = ascii('j')") == expected
    assert world.value("SELECT b FROM documents WHERE id = 1") == {"c": 1}
    assert world.value("SELECT b FROM documents WHERE id = 2") == {"a": {}}


def test_numbers_keep_all_their_digits(make_world):
    world = make_world(documents())
    row = (
        b'{"id":1,"n":0.12345678901234567890123456789,"big":9223372036854775807,'
        b'"fixed":1234567890123456789012345678.0123456789,'
        b'"j":{"x":0.1234567890123456789,"y":1.0,"z":1E+400},"b":{"x":0.1234567890123456789,"y":1.50}}'
    )
    world.post("documents", row)
    world.put("documents", 2, row.replace(b'"id":1', b'"id":2'))
    world.post("documents", {"id": 3})
    world.patch("documents", 3, row.replace(b'"id":1', b'"id":3').replace(b'"j"', b'"j" '))
    world.post("documents", b'{"id":4.0,"big":-9223372036854775808,"n":1E-7}')
    world.drain()

    assert world.rejections() == []
    for n in (1, 2, 3):
        found = world.row("documents", id=n)
        assert '"n":0.12345678901234567890123456789,' in found
        assert '"big":9223372036854775807,' in found
        assert '"fixed":1234567890123456789012345678.0123456789' in found
        assert '"b":{"x": 0.1234567890123456789, "y": 1.50}' in found
    for n in (1, 2):
        assert '"j":{"x":0.1234567890123456789,"y":1.0,"z":1E+400}' in world.row("documents", id=n)
    assert '"big":-9223372036854775808' in world.row("documents", id=4)
    assert '"n":0.0000001' in world.row("documents", id=4)


def test_names_of_any_kind_are_quoted(make_world):
    world = make_world(odd())
    row = {"select": "a/b", "100%": 7, "ordinality": 1, "sent": 2, "target": 3, "found": 4,
           "done": 5, "rows": 6, "%(rows)s": "%s", "ü": "ü"}  # fmt: skip

    receipts = [
        world.post("weird", row),
        world.post("weird", {**row, "100%": 8}),
        world.put("weird", ("a/b", 9), {"rows": 1}),
        world.put("weird", ("a/b", 7), {"rows": 7, "%(rows)s": "%%"}),
        world.patch("weird", ("a/b", 7), {"found": 8, "a b": None}),
        world.delete("weird", ("a/b", 8)),
    ]
    world.drain()

    assert [world.status(receipt)["state"] for receipt in receipts] == ["applied"] * 6
    assert json.loads(world.row("weird", **{"select": "a/b", "100%": 7})) == {
        "select": "a/b", "100%": 7, "a b": None, "ordinality": None, "sent": None, "target": None,
        "found": 8, "done": None, "once": 4, "each": 5, "rows": 7, "%(rows)s": "%%",
        'q"uote': "d", "doubled": 14, "ü": None,
    }  # fmt: skip
    assert world.row("weird", **{"select": "a/b", "100%": 8}) is None
    assert (
        json.loads(world.row("weird", **{"select": "a/b", "100%": 9}))["a b"] == 'it\'s 100% "fine"'
    )


@pytest.mark.parametrize("name", ["sent", "done", "once", "target", "found"])
def test_tables_may_be_named_as_parts_of_our_statements_are(make_world, name):
    world = make_world(odd())

    world.post(name, [{"id": 1, name: 1}, {"id": 2, name: 2}])
    world.put(name, 1, {name: 3})
    world.patch(name, 1, {name: 4})
    world.delete(name, 2)
    world.delete(name, 3)
    world.drain()

    assert world.rejections("type") == [("missing",)]
    assert world.row(name, id=1) == f'{{"id":1,"{name}":4}}'
    assert world.row(name, id=2) is None


@cache
def kinds() -> MetaData:
    metadata = MetaData()
    Table(
        "kinds",
        metadata,
        Column("id", Uuid, server_default=text("gen_random_uuid()"), primary_key=True),
        Column("colour", Enum("red", "it's 100%", name="colour")),
        Column("tags", ARRAY(Text)),
        Column("grid", ARRAY(Integer, dimensions=2)),
        Column("at", DateTime(timezone=True)),
        Column("moment", DateTime),
        Column("bytes", LargeBinary),
        Column("amount", Numeric(38, 10)),
        Column("always", Integer, Identity(always=True)),
        Column("text", Text),
    )
    return metadata


def test_values_of_every_kind_are_stored_as_they_were_sent(make_world):
    world = make_world(kinds())
    id_ = "6ba7b812-9dad-11d1-80b4-00c04fd430c8"
    row = {
        "id": id_, "colour": "it's 100%", "tags": ["a", None, "b,\"{}\\ü"],
        "grid": [[1, 2], [3, None]],
        "at": "2026-01-01T01:00:00.123456+01:00", "moment": "2026-01-01T00:00:00.5",
        "bytes": "\\x00ff", "text": "\ufffe \uffff 😀 \u2028 \x7f \\u0000 %s %(rows)s '\"\n\t",
    }  # fmt: skip

    world.post("kinds", row)
    world.post("kinds", {})
    world.drain()

    assert world.rejections() == []
    found = json.loads(world.row("kinds", id=id_))
    expected = {**row, "at": "2026-01-01T00:00:00.123456+00:00", "amount": None}
    assert {name: found[name] for name in expected} == expected
    assert world.value("SELECT count(*) FROM kinds") == 2


def test_a_key_that_only_postgres_can_compare_keeps_its_order(make_world):
    metadata = MetaData()
    Table("hosts", metadata, Column("ip", INET, primary_key=True), Column("n", Integer))
    world = make_world(metadata)

    receipts = [
        world.put("hosts", "::1", {"n": 1}),
        world.patch("hosts", "0::1", {"n": 2}),
        world.delete("hosts", "0:0::1"),
        world.post("hosts", [{"ip": "0::01", "n": 3}, {"ip": "::1", "n": 4}]),
        world.patch("hosts", "0::1", {"n": 5}),
    ]
    world.drain()

    assert [world.status(receipt)["state"] for receipt in receipts] == [
        "applied", "applied", "applied", "partial", "applied",
    ]  # fmt: skip
    assert world.row("hosts", ip="0::1") == '{"ip":"::1","n":5}'


def test_a_table_of_keys_alone_can_be_replaced(make_world):
    metadata = MetaData()
    Table(
        "pairs",
        metadata,
        Column("a", Integer, primary_key=True),
        Column("b", Text, primary_key=True),
    )
    world = make_world(metadata)

    receipts = [world.put("pairs", (1, "x"), {}), world.put("pairs", (1, "x"), {}),
                world.delete("pairs", (1, "x"))]  # fmt: skip
    world.drain()

    assert [world.status(receipt)["state"] for receipt in receipts] == ["applied"] * 3


def test_an_identity_that_is_always_made_by_postgres(make_world):
    metadata = MetaData()
    Table(
        "made",
        metadata,
        Column("id", Integer, Identity(always=True), primary_key=True),
        Column("n", Integer),
    )
    world = make_world(metadata)

    world.post("made", [{"n": 1}, {"n": 2}])
    world.drain()
    world.patch("made", 1, {"n": 3})
    world.delete("made", 2)
    world.drain()

    assert world.execute("SELECT * FROM made") == [(1, 3)]
    assert world.rejections() == []


class Colour(enum.Enum):
    RED = "r"
    GREEN = "g"


def test_a_python_enum_is_a_default(make_world):
    metadata = MetaData()
    Table("painted", metadata, Column("id", Integer, primary_key=True),
          Column("colour", Enum(Colour), default=Colour.RED),
          Column("other", Enum(Colour), default=lambda: Colour.GREEN))  # fmt: skip
    world = make_world(metadata)

    world.post("painted", {"id": 1})
    world.drain()

    assert world.rejections("type, reason") == []
    assert world.row("painted", id=1) == '{"id":1,"colour":"RED","other":"GREEN"}'
