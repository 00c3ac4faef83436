"""The drain on Citus. What only Citus can show runs on the database of DECANTER_CITUS_URL."""

import json
from collections.abc import Callable

import pytest
from sqlalchemy import CheckConstraint, Column, ForeignKey, Integer, MetaData, Table, Text

from chalicelib.errors import DatabaseUnavailable
from chalicelib.postgres.connecting import connection, session
from chalicelib.postgres.engine import CITUS
from decanter.proof.nodes import between_nodes
from decanter.proof.relay import Loss
from tests.kit.world import World, without_patience

MakeWorld = Callable[..., World]


def tables() -> MetaData:
    metadata = MetaData()
    Table("parents", metadata, Column("id", Integer, primary_key=True))
    Table(
        "things",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("n", Integer, CheckConstraint("n < 1000", name="small"), nullable=False),
        Column("name", Text, onupdate=lambda: "changed"),
        Column("parent", Integer, ForeignKey("parents.id")),
    )
    return metadata


@pytest.fixture
def on_citus(make_world: MakeWorld) -> World:
    metadata = tables()
    return make_world(metadata)


@pytest.fixture
def settling(make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> World:
    """A server whose settling makes a parent visible."""
    world = make_world(tables())
    monkeypatch.setattr(session, "told", lambda _: CITUS)
    world.execute("CREATE FUNCTION decanter.settle() RETURNS int LANGUAGE sql AS"
                  " 'INSERT INTO parents VALUES (7) RETURNING 0';"
                  " CREATE TABLE decanter.two_phase ()")  # fmt: skip
    return world


@pytest.mark.needs("settings")
def test_what_was_committed_is_settled_before_a_write_is_rejected(settling: World) -> None:
    receipt = settling.post("things", [{"id": 1, "n": 1, "parent": 7}])
    with without_patience():
        settling.drain_to_the_end()

    assert settling.status(receipt)["state"] == "applied"
    assert settling.rejections() == []


@pytest.mark.needs("settings")
def test_a_write_that_is_still_refused_is_rejected(settling: World) -> None:
    receipt = settling.post("things", [{"id": 1, "n": 1, "parent": 7}, {"id": 2, "n": 1000}])
    settling.drain_to_the_end()

    assert settling.status(receipt)["state"] == "partial"
    assert settling.rejections() == [(1, "check")]


@pytest.mark.needs("settings")
def test_nothing_is_rejected_while_a_commit_cannot_be_settled(settling: World) -> None:
    settling.execute("CREATE OR REPLACE FUNCTION decanter.settle() RETURNS int LANGUAGE sql"
                     " AS 'SELECT 1'")  # fmt: skip
    settling.post("things", [{"id": 2, "n": 1000}])

    with pytest.raises(DatabaseUnavailable, match="Commits that may not be: 1"):
        settling.drain(seconds=3)

    assert (settling.rejections(), settling.poured()) == ([], 0)


@pytest.mark.needs("settings")
def test_nothing_is_settled_where_nothing_is_rejected(settling: World) -> None:
    settling.post("things", [{"id": 1, "n": 1}])
    settling.drain()

    assert settling.value("SELECT count(*) FROM parents") == 0


@pytest.mark.needs("settings")
def test_names_of_a_shard_are_not_told(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    metadata = MetaData()
    small = CheckConstraint("n < 1000", name="small")
    Table("things", metadata, Column("id", Integer, primary_key=True), Column("n", Integer, small))
    world = make_world(metadata)
    monkeypatch.setattr(session, "told", lambda _: CITUS)
    world.execute("CREATE FUNCTION decanter.settle() RETURNS int LANGUAGE sql AS 'SELECT 0';"
                  " CREATE TABLE decanter.two_phase ();"
                  " ALTER TABLE things RENAME CONSTRAINT small TO small_102040")  # fmt: skip
    world.post("things", [{"id": 1, "n": 1000}])
    world.drain_to_the_end()

    assert world.rejections('type, "constraint"') == [("check", "small")]


def test_all_ops_on_distributed_tables(on_citus: World) -> None:
    world = on_citus
    world.execute("INSERT INTO parents VALUES (1)")
    receipts = [
        world.post("things", [{"id": n, "n": n, "parent": 1} for n in range(1, 6)]),
        world.patch("things", 1, {"n": 10}),
        world.put("things", 2, {"n": 20}),
        world.delete("things", 3),
        world.post("things", [{"id": 4, "n": 40}], Prefer="resolution=merge-duplicates"),
        world.post("things", [{"id": 5, "n": 50}], Prefer="resolution=ignore-duplicates"),
    ]
    world.drain()

    assert [world.status(each)["state"] for each in receipts] == ["applied"] * 6
    assert world.execute("SELECT id, n, name FROM things ORDER BY id") == [
        (1, 10, "changed"), (2, 20, None), (4, 40, "changed"), (5, 5, None),
    ]  # fmt: skip
    assert json.loads(world.row("things", id=4)) == {
        "id": 4,
        "n": 40,
        "name": "changed",
        "parent": 1,
    }
    assert world.row("things", id=3) is None


def test_a_refusal_is_known_by_its_kind_and_names_no_shard(on_citus: World) -> None:
    world = on_citus
    world.execute("INSERT INTO parents VALUES (1); INSERT INTO things VALUES (1, 1, NULL, 1)")
    rows = [{"id": 1, "n": 1}, {"id": 2, "n": 1000}, {"id": 3, "n": 1, "parent": 9}]
    world.post("things", [*rows, {"id": 4, "n": 4}])
    world.delete("parents", 1)
    world.drain_to_the_end()

    assert sorted(world.rejections('type, "constraint"')) == [
        ("check", "small"),
        ("conflict", "things_pkey"),
        ("missing-parent", "things_parent_fkey"),
        ("still-referenced", "things_parent_fkey"),
    ]
    assert world.value("SELECT count(*) FROM decanter.rejection WHERE reason ~ '_1[0-9]{5}'") == 0
    assert world.execute("SELECT id FROM things ORDER BY id") == [(1,), (4,)]


@pytest.mark.parametrize("names", [("p" * 63, "c" * 63), ("par_202401", "kid_202401")])
def test_a_child_waits_for_its_parent_whatever_their_names(
    make_world: MakeWorld, names: tuple[str, str]
) -> None:
    metadata = MetaData()
    parent, child = names
    Table(parent, metadata, Column("id", Integer, primary_key=True))
    Table(
        child,
        metadata,
        Column("id", Integer, primary_key=True),
        Column("parent", Integer, ForeignKey(f"{parent}.id")),
    )
    world = make_world(metadata)
    receipt = world.post(child, [{"id": n, "parent": 7} for n in range(3)])
    world.drain()
    assert world.status(receipt)["state"] == "pending"

    world.post(parent, {"id": 7})
    world.drain()
    with without_patience():
        world.drain_to_the_end()

    assert world.status(receipt)["state"] == "applied"


def test_preconditions_of_distributed_rows(on_citus: World) -> None:
    world = on_citus
    world.execute("INSERT INTO things VALUES (1, 1), (2, 2)")
    tag = world.read({"ask": "row", "resource": "things", "key": '{"id": 1}'})["etag"]
    receipts = [
        world.patch("things", 1, {"n": 10}, If_Match=f'"{tag}"'),
        world.patch("things", 2, {"n": 20}, If_Match=f'"{tag}"'),
    ]
    world.drain()

    assert [world.status(each)["state"] for each in receipts] == ["applied", "rejected"]
    assert world.rejections("type") == [("precondition-failed",)]
    assert world.execute("SELECT n FROM things ORDER BY id") == [(10,), (2,)]


@pytest.mark.needs("distributes")
def test_while_a_worker_is_away_nothing_is_rejected_and_nothing_lost(on_citus: World) -> None:
    world = on_citus
    where = world.execute("SELECT groupid, nodeport FROM pg_dist_node WHERE groupid > 0 LIMIT 1")
    move = "UPDATE pg_dist_node SET nodeport = %s WHERE groupid = %s"
    receipts = [world.post("things", [{"id": n, "n": n}]) for n in range(8)]
    batch = [*world.queued]
    for group, _port in where:
        world.execute(move, 1, group)  # nobody listens there
    connection.forget("drain")

    with pytest.raises(DatabaseUnavailable, match="connection to the remote node"):
        world.drain(seconds=3)

    assert (world.rejections(), world.poured()) == ([], 0)
    for group, port in where:
        world.execute(move, port, group)
    world.drain(batch)
    assert [world.status(each)["state"] for each in receipts] == ["applied"] * 8
    assert world.execute("SELECT count(*), count(DISTINCT id) FROM things") == [(8, 8)]


@pytest.mark.needs("distributes")
@pytest.mark.parametrize("arrives", [True, False], ids=["its answer", "it"])
@pytest.mark.parametrize("lost", ["PREPARE TRANSACTION", "COMMIT", "COMMIT PREPARED"])
@pytest.mark.parametrize("shards", [1, 4])
def test_a_worker_that_is_lost_at_commit_has_what_the_ledger_has(
    make_world: MakeWorld, shards: int, lost: str, arrives: bool
) -> None:
    metadata = MetaData()
    Table("things", metadata, Column("id", Integer, primary_key=True))
    world = make_world(metadata)
    world.execute("INSERT INTO things SELECT generate_series(1, 8)")
    if shards == 1:
        world.execute("SELECT alter_distributed_table('things', shard_count => 1)")
    receipts = [world.delete("things", n) for n in range(1, 8)]
    batch = [*world.queued]
    with between_nodes(world.url) as relays:
        connection.forget("drain")
        for each in relays:
            each.loss = Loss(f"^{lost}( '|$)", arrives)
        world.drain()
        lost_ones = sum(each.struck for each in relays)
        for each in relays:
            each.heal()
        world.execute("SELECT recover_prepared_transactions()")
        world.drain(batch)
        with without_patience():
            world.drain_by_schedule()

    assert [world.status(each)["state"] for each in receipts] == ["applied"] * 7
    assert world.execute("SELECT id FROM things") == [(8,)]
    assert lost_ones > 0 or lost == "COMMIT"
