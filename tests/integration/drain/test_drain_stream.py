"""What comes from the front table's stream: once, in order per key, and nothing stops a shard."""

import random
from collections.abc import Callable
from contextlib import closing
from functools import cache
from typing import Any

import psycopg2
import pytest
from sqlalchemy import CheckConstraint, Column, ForeignKey, Integer, MetaData, Table, Text

from chalicelib.buffer.dynamodb import take
from chalicelib.buffer.dynamodb.entries import claim_entry
from chalicelib.buffer.sqs import take as sqs
from chalicelib.drain import handler
from chalicelib.errors import Unfinished
from chalicelib.messages.message import Message, encode
from chalicelib.postgres import ledger
from chalicelib.postgres.connecting.connection import Transaction
from tests.kit.stream import Shard, drain, record, record_of, removal, write
from tests.kit.world import Context, World, without_patience

DONE: dict[str, Any] = {"batchItemFailures": []}


@cache
def tables() -> MetaData:
    metadata = MetaData()
    front = {"front": "dynamodb"}
    Table("groups", metadata, key(), Column("n", Integer), info=front)
    Table("members", metadata, key(), Column("group", ForeignKey("groups.id")),
          Column("n", Integer), info=front)  # fmt: skip
    Table("items", metadata, key(), Column("name", Text, unique=True),
          Column("n", Integer, CheckConstraint("n >= 0", name="positive")), info=front)  # fmt: skip
    return metadata


def key() -> Column[int]:
    return Column("id", Integer, primary_key=True, autoincrement=False)


@pytest.fixture
def world(make_world: Callable[[MetaData], World], monkeypatch: pytest.MonkeyPatch) -> World:
    made = make_world(tables())
    monkeypatch.setenv("DECANTER_PARTIAL_RESPONSES", "1")
    return made


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every statement that is sent, with or without an answer."""
    seen: list[str] = []
    ahead = Transaction.ahead

    def counted(self: Transaction, sql: str, values: Any = None) -> None:
        seen.append(sql)
        ahead(self, sql, values)

    monkeypatch.setattr(Transaction, "ahead", counted)
    return seen


def place(of: Any) -> str:
    return str(of["dynamodb"]["SequenceNumber"])


def item(id: int, n: int = 0, name: str | None = None) -> Message:
    return write("replace", "items", {"id": id, "n": n, "name": name})


def member(id: int, group: int, n: int = 0) -> Message:
    return write("replace", "members", {"id": id, "group": group, "n": n})


def creates(count: int) -> list[Message]:
    return [write("create", "items", {"id": n, "n": n, "name": None}) for n in range(count)]


def test_overlapping_batches_are_poured_once(world: World) -> None:
    """As after answers that got lost: creates are refused the second time, if they are tried."""
    records = [record(each) for each in creates(60)]

    for first, last in ((0, 30), (10, 40), (0, 60), (20, 60)):
        assert drain(world, records[first:last]) == DONE

    assert world.value("SELECT count(*) FROM items") == 60
    assert (world.poured(), world.rejections()) == (60, [])


def test_a_record_that_is_twice_in_a_batch_is_poured_once(world: World) -> None:
    (first, second) = [record(each) for each in creates(2)]

    assert drain(world, [first, second, first]) == DONE

    assert (world.poured(), world.rejections()) == (2, [])


def test_a_thousand_records_of_fifty_keys_are_poured_in_order(world: World) -> None:
    dice = random.Random(7)
    expected: dict[int, int] = {}
    records = []
    for n in range(1_000):
        id = dice.randrange(50)
        if id in expected and dice.random() < 0.2:
            del expected[id]
            records.append(record(write("delete", "items", {"id": id})))
        else:
            records.append(record(item(id, n) if id in expected else create(id, n)))
            expected[id] = n

    assert drain(world, records) == DONE

    assert dict(world.execute("SELECT id, n FROM items")) == expected
    assert (world.poured(), world.rejections()) == (1_000, [])


def create(id: int, n: int) -> Message:
    return write("create", "items", {"id": id, "n": n, "name": None})


def test_a_thousand_messages_of_one_row_are_as_many_statements_as_a_hundred(
    world: World, sent: list[str]
) -> None:
    many = 500 if world.engine.most_rows else 1_000  # all in one transaction
    records = [record(each) for each in creates(101 + many)]
    drain(world, records[:1])  # asks for traits of the tables
    counts = []
    for first, last in ((1, 101), (101, 101 + many)):
        sent.clear()
        assert drain(world, records[first:last]) == DONE
        counts.append(len(sent))

    assert counts[0] == counts[1] < 20
    assert world.value("SELECT count(*) FROM items") == 101 + many


def test_refused_rows_cost_their_neighbours_little(world: World, sent: list[str]) -> None:
    world.execute("INSERT INTO items VALUES (5000, 'taken', 0)")
    bad = {100: item(100, -1), 600: item(600, 0, "taken"), 900: create(5000, 0)}
    records = [record(bad.get(n) or create(n, n)) for n in range(1_000)]

    with without_patience():
        assert drain(world, records) == DONE

    assert world.value("SELECT count(*) FROM items") == 998
    assert sorted(world.rejections('type, "constraint"')) == [
        ("check", "positive"),
        ("conflict", "items_name_key"),
        ("conflict", "items_pkey"),
    ]
    assert len(sent) < (400 if world.engine.settles_before_rejecting else 200)


def test_a_child_before_its_parent_holds_up_nobody(world: World) -> None:
    """A queue would get the child back; a stream goes on, and the child is in the database."""
    child = member(1, 7)
    shard = Shard(world)
    shard.add([child, item(1), item(2)])

    assert not shard.deliver()

    assert world.value("SELECT count(*) FROM items") == 2
    assert world.execute("SELECT reason FROM decanter.waiting") == [("parent",)]
    bring_parent(shard)
    assert world.execute('SELECT id, "group" FROM members') == [(1, 7)]
    assert world.value("SELECT count(*) FROM decanter.waiting") == 0


def bring_parent(shard: Shard) -> None:
    be_due(shard.world)
    shard.add([write("create", "groups", {"id": 7, "n": 0})])
    assert not shard.deliver()


def be_due(world: World) -> None:
    """What has waited for long is tried seldom: as if it had not been tried for a minute."""
    world.execute("UPDATE decanter.waiting SET tried_at = tried_at - interval '1 min'")


@pytest.mark.parametrize("is_deleted", [True, False])
@pytest.mark.parametrize("batches", [1, 2])
def test_a_unique_value_may_be_taken_before_it_is_given_back(
    world: World, is_deleted: bool, batches: int
) -> None:
    """Of two rows that do not wait for each other: their records may be in two shards."""
    world.execute("INSERT INTO items VALUES (1, 'value', 0)")
    release = write("delete", "items", {"id": 1}) if is_deleted else item(1, 0, "mine")
    shard = Shard(world)
    shard.add([item(2, 5, "value"), item(3), item(2, 6, "value"), release])

    assert shard.deliver(4 - (batches - 1)) is (batches == 2)
    if batches == 2:
        assert world.execute("SELECT id FROM items ORDER BY id") == [(1,), (3,)]
        assert waiting_for(world) == [("key", 1), ("parent", 1)]
        be_due(world)
        assert not shard.deliver()

    assert world.execute("SELECT id, n FROM items WHERE name = 'value'") == [(2, 6)]
    assert (waiting_for(world), world.rejections(), world.poured()) == ([], [], 4)


def test_a_unique_value_that_is_not_given_back_is_a_conflict_in_the_end(world: World) -> None:
    world.execute("INSERT INTO items VALUES (1, 'value', 0), (4, 'other', 0)")
    swapped = [item(1, 1, "other"), item(4, 1, "value")]

    drain(world, [record(each) for each in [create(1, 1), item(2, 0, "value"), *swapped]])

    # Nobody else can have the key of a row.
    assert world.rejections('type, "constraint"') == [("conflict", "items_pkey")]
    assert waiting_for(world) == [("parent", 3)]
    be_due(world)
    with without_patience():
        assert handler.drain({}, Context(30), take) == DONE
    assert waiting_for(world) == []
    names = [constraint for (constraint,) in world.rejections('"constraint"')]
    assert sorted(names) == ["items_name_key"] * 3 + ["items_pkey"]


def test_a_row_may_be_deleted_before_those_that_refer_to_it(world: World) -> None:
    drain(world, [record(write("create", "groups", {"id": 7, "n": 0})), record(member(1, 7))])

    drain(world, [record(write("delete", "groups", {"id": 7}))])
    assert (waiting_for(world), world.rejections()) == ([("parent", 1)], [])
    be_due(world)
    drain(world, [record(write("delete", "members", {"id": 1}))])

    assert world.value("SELECT count(*) FROM groups") == 0
    assert (waiting_for(world), world.rejections()) == ([], [])


def waiting_for(world: World) -> list[Any]:
    return world.execute("SELECT reason, count(*)::int FROM decanter.waiting GROUP BY 1 ORDER BY 1")


def test_later_writes_of_a_key_wait_behind_one_that_waits(world: World) -> None:
    shard = Shard(world)
    shard.add([member(1, 7, n=1), member(2, 7, n=1), item(1)])
    assert not shard.deliver()
    shard.add([member(1, 7, n=2), write("delete", "members", {"id": 2}), item(1, 5)])
    assert not shard.deliver()
    assert world.execute("SELECT n FROM items") == [(5,)]
    assert waiting_for(world) == [("key", 2), ("parent", 2)]

    bring_parent(shard)

    assert world.execute("SELECT id, n FROM members") == [(1, 2)]
    assert (world.rejections(), world.poured()) == ([], 7)


def test_the_clock_of_the_queue_pours_what_came_from_the_stream_and_waits(world: World) -> None:
    drain(world, [record(member(1, 7))])
    world.execute("INSERT INTO groups VALUES (7)")
    be_due(world)

    assert handler.drain({}, Context(30), sqs) == DONE

    assert world.execute("SELECT id FROM members") == [(1,)]


@pytest.mark.needs("waits_for_locks")
@pytest.mark.parametrize("partial", [True, False])
def test_what_the_time_does_not_suffice_for_comes_again(
    world: World, monkeypatch: pytest.MonkeyPatch, partial: bool
) -> None:
    """Somebody else has claimed the second half and does not commit."""
    messages = creates(8)
    records = [record(each) for each in messages]
    shard = Shard(world, records)
    if not partial:
        monkeypatch.delenv("DECANTER_PARTIAL_RESPONSES")
    with closing(psycopg2.connect(world.url)) as other:
        other.cursor().executemany(
            "INSERT INTO decanter.ledger (dedup_id, fingerprint, writes) VALUES (%s, '', 1)",
            [(each.dedup_id,) for each in messages[4:]],
        )
        if partial:
            answer = drain(world, records, seconds=5)
            named = [each["itemIdentifier"] for each in answer["batchItemFailures"]]
            assert named == [place(each) for each in records[4:]]
        else:
            with pytest.raises(Unfinished):
                drain(world, records, seconds=5)
        assert world.execute("SELECT id FROM items ORDER BY id") == [(0,), (1,), (2,), (3,)]
        assert shard.deliver(seconds=5)
        assert shard.at == (4 if partial else 0)

    assert not shard.deliver()

    assert world.value("SELECT count(*) FROM items") == 8
    assert (world.poured(), world.rejections()) == (8, [])


def test_what_waited_in_the_stream_is_not_late(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its place there is its order, and no search for newer writes is made after an outage."""
    monkeypatch.setattr(ledger, "later_writes", None)
    hours = 3_600 * 20
    message = write("replace", "items", {"id": 1, "n": 1, "name": None}, ms=-hours * 1000)
    made_at = int(message.accepted_at / 1000) + 1
    drain(world, [record(item(1, 2))])

    assert drain(world, [record(message, ApproximateCreationDateTime=made_at)]) == DONE

    assert world.execute("SELECT n FROM items") == [(1,)]


def test_a_record_that_cannot_be_read_is_a_rejection(world: World) -> None:
    good, body = record(item(1)), encode(item(2))
    poison = [
        {"pk": {"S": "row/items/5"}, "write": {"S": "\0 no message"}},
        {"pk": {"S": "row/items/5"}, "write": {"S": body.replace('"op":"replace"', '"op":"x"')}},
        {"pk": {"S": "row/items/5"}, "write": {"S": body[:-5]}},
        {"pk": {"S": "row/items/5"}, "write": {"N": "5"}},
        {"id": {"N": "5"}, "write": {"BOOL": True}},  # of another table
        {"pk": {"S": "row/gone/5"}, "write": {"S": body.replace('"items"', '"gone"')}},
    ]
    records = [*map(record_of, poison), good]

    for _ in range(2):
        assert drain(world, records) == DONE

    assert world.execute("SELECT id FROM items") == [(1,)]
    kinds = [kind for (kind,) in world.rejections("type")]
    assert sorted(kinds) == ["foreign-message"] * 5 + ["schema-mismatch"]


def test_a_row_that_is_no_json_is_a_rejection(world: World) -> None:
    text = encode(item(1)).replace('{"id":1,', '{"id":1\0,')

    assert drain(world, [record_of({"pk": {"S": "x"}, "write": {"S": text}})]) == DONE

    assert world.rejections() == [(0, "value")]


def test_what_the_time_to_live_removes_stays_in_postgres(world: World) -> None:
    world.execute("INSERT INTO items VALUES (1)")
    claim = claim_entry('unique/items/items_name_key/["x"]', 'row/items/["1"]')

    assert drain(world, [removal('row/items/["1"]'), record_of(claim, "INSERT")]) == DONE

    assert world.value("SELECT count(*) FROM items") == 1
    assert world.poured() == 0


def test_records_without_a_write_need_no_database(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DECANTER_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")

    assert drain(world, [removal('row/items/["1"]')], seconds=3) == DONE


def test_a_write_of_a_newer_version_comes_again_with_all_behind_it_of_its_key(
    world: World,
) -> None:
    newer = record(item(1, 1))
    entry = newer["dynamodb"]["NewImage"]
    entry["write"] = {"S": entry["write"]["S"].replace('{"v":1,', '{"v":99,')}
    records = [record(item(2)), newer, record(item(3)), record(item(1, 2))]

    answer = drain(world, records)

    named = [each["itemIdentifier"] for each in answer["batchItemFailures"]]
    assert named == [place(records[1]), place(records[3])]
    assert world.execute("SELECT id FROM items ORDER BY id") == [(2,), (3,)]
