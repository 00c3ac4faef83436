"""Numbers of a sequence, and rows whose number was given: what becomes of the next ones."""

import re
from typing import Any

import pytest
import sqlalchemy as sa

from chalicelib.errors import Problem


def tables() -> sa.MetaData:
    metadata = sa.MetaData()
    own = sa.Sequence("own numbers", metadata=metadata)
    columns = {
        "identity": sa.Column("id", sa.Integer, sa.Identity(), primary_key=True),
        "descending": sa.Column("id", sa.Integer, sa.Identity(start=49, increment=-1, maxvalue=50,
                                minvalue=-50), primary_key=True),
        "serial": sa.Column("id", sa.BigInteger, primary_key=True),
        "sequence": sa.Column("id", sa.Integer, own, primary_key=True),
        "called": sa.Column("id", sa.Integer, primary_key=True,
                            server_default=own.next_value()),
        "It's odd": sa.Column('The "id" %', sa.Integer, sa.Identity(), primary_key=True),
    }  # fmt: skip
    for name, column in columns.items():
        info = {"resource": re.sub("[^a-z]+", "-", name.lower()), "ordered": name != "serial"}
        sa.Table(name, metadata, column, sa.Column("u", sa.Text, unique=True), info=info)
    sa.Table("always", metadata, sa.Column("id", sa.Integer, sa.Identity(always=True),
             primary_key=True), sa.Column("u", sa.Text))  # fmt: skip
    sa.Table("besides", metadata, sa.Column("key", sa.Text, primary_key=True),
             sa.Column("n", sa.Integer, sa.Identity(), unique=True))  # fmt: skip
    return metadata


@pytest.mark.parametrize(
    ("resource", "number", "numbered"),
    [
        ("identity", "id", {"u": "x"}),
        ("descending", "id", {"u": "x"}),
        ("serial", "id", {"u": "x"}),
        ("sequence", "id", {"u": "x"}),
        ("called", "id", {"u": "x"}),
        ("it-s-odd", 'The "id" %', {"u": "x"}),
        ("besides", "n", {"key": "b"}),
    ],
)
def test_a_sequence_behind_its_table_is_reported_with_its_cure(
    make_world: Any, resource: str, number: str, numbered: Any
) -> None:
    world = make_world(tables())
    keys = ["key"] if resource == "besides" else []
    # Every attempt takes a number: one that is only a little behind catches up by itself.
    world.post(resource, [{**dict.fromkeys(keys, f"{n}"), number: n} for n in range(1, 50)])
    world.drain()
    receipt = world.post(resource, numbered)
    world.drain()

    [rejection] = world.status(receipt)["rejections"]
    assert rejection["type"] == "conflict"
    assert "already exists. A sequence gives" in rejection["reason"]
    world.execute(re.search(r"Operator: (SELECT .*);", rejection["reason"])[1])  # type: ignore[index]
    again = world.post(resource, numbered)
    world.drain()
    assert world.status(again)["state"] == "applied"


def test_a_number_that_a_client_gives_is_an_ordinary_conflict(make_world: Any) -> None:
    world = make_world(tables())
    world.post("identity", [{"id": 1, "u": "a"}, {"id": 2, "u": "b"}])
    world.drain()
    world.post("identity", {"id": 1})
    world.post("identity", {"id": 7, "u": "b"})
    world.drain()

    reasons = [reason for (reason,) in world.rejections("reason")]
    assert len(reasons) == 2
    assert not any("sequence" in reason for reason in reasons)


def test_a_number_that_is_always_made_is_refused_by_name(make_world: Any) -> None:
    world = make_world(tables())

    with pytest.raises(Problem) as raised:
        world.post("always", {"id": 1})

    assert [fault.pointer for fault in raised.value.faults] == ["/id"]
