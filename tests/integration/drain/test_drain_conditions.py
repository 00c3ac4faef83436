"""If-Match and If-None-Match are judged when a write is poured, in the order of its lane."""

import hashlib
import json
import threading
from collections.abc import Callable
from contextlib import closing
from functools import cache
from typing import Any

import psycopg2
import pytest
from sqlalchemy import (
    CheckConstraint,
    Column,
    Computed,
    ForeignKey,
    Identity,
    Integer,
    MetaData,
    Numeric,
    Table,
)
from sqlalchemy.dialects.postgresql import JSONB, REGCLASS

from chalicelib.buffer.sqs import put
from chalicelib.messages.message import Condition, Message
from chalicelib.postgres.connecting.connection import Transaction
from tests.kit.odd_names import odd
from tests.kit.waiting import until
from tests.kit.world import World, changed

MakeWorld = Callable[[MetaData], World]

ANY = ("*",)
OTHER = "0" * 32
FAILED = "precondition-failed"


@cache
def tables() -> MetaData:
    metadata = MetaData()
    Table(
        "things",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("a", Integer, CheckConstraint("a < 1000")),
        Column("b", Integer, server_default="7"),
        Column("n", Numeric),
        Column("doc", JSONB),
        Column("twice", Integer, Computed("a * 2")),
    )
    Table(
        "nodes",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("above", Integer, ForeignKey("nodes.id", ondelete="CASCADE")),
    )
    Table(
        "children",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("node", Integer, ForeignKey("nodes.id"), nullable=False),
    )
    return metadata


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    return make_world(tables())


def etag(world: World, resource: str, **key: Any) -> str:
    """By the definition, from the text that the reader shows."""
    return hashlib.sha256(world.row(resource, **key).encode()).hexdigest()[:32]


def asked(match: tuple[str, ...] | None = None, none: tuple[str, ...] | None = None) -> Condition:
    return Condition(match, none)


def conditional(world: World, condition: Condition) -> None:
    """Gives the last write a condition."""
    world.queued[-1] = changed(
        world.queued[-1], lambda message: message._replace(condition=condition)
    )


def write(world: World, op: str, key: Any, condition: Condition | None, row: Any = None) -> str:
    row = {"a": 5} if row is None else row
    receipt = {
        "replace": lambda: world.put("things", key, row),
        "merge": lambda: world.patch("things", key, row),
        "delete": lambda: world.delete("things", key),
    }[op]()
    if condition:
        conditional(world, condition)
    return receipt


def results(world: World, receipts: list[str]) -> list[str]:
    """`applied`, or the type of the rejection."""
    found = [world.status(receipt) for receipt in receipts]
    return [each["rejections"][0]["type"] if each["rejected"] else each["state"] for each in found]


OPS = ("replace", "merge", "delete")


def every_condition(now: str) -> list[tuple[Condition, bool, bool]]:
    """Each with whether it holds of a row that is there, with ETag `now`, and of none."""
    return [
        (asked(match=(now,)), True, False),
        (asked(match=(OTHER, now)), True, False),
        (asked(match=(OTHER,)), False, False),
        (asked(match=("*", OTHER)), False, False),  # this * is an ETag
        (asked(match=(now.upper(),)), False, False),
        (asked(match=(now[:-1],)), False, False),
        (asked(match=()), False, False),
        (asked(match=ANY), True, False),
        (asked(none=ANY), False, True),
        (asked(none=(now,)), False, True),
        (asked(none=(OTHER, now)), False, True),
        (asked(none=(OTHER,)), True, True),
        (asked(none=()), True, True),
        (asked(ANY, (OTHER,)), True, False),
        (asked((now,), (now,)), False, False),
        (asked((OTHER,), (OTHER,)), False, False),
        (asked(ANY, ANY), False, False),
    ]


@pytest.mark.parametrize("isolating", [False, True])
def test_every_op_in_every_state_under_every_condition(world, statements, isolating):
    """In one batch; isolating, because a neighbour is bad."""
    cases = [
        (number, there, op)
        for number in range(len(every_condition(OTHER)))
        for there in (True, False)
        for op in OPS
    ]
    receipts, expected, rows = [], [], {}
    for id_, (number, there, op) in enumerate(cases, start=1):
        now = "1" * 32
        if there:
            world.execute("INSERT INTO things VALUES (%s, 1, 2, 1.50, '{\"x\": [1, null]}')", id_)
            now = etag(world, "things", id=id_)
            rows[id_] = (1, 2)
        condition, *cases_of = every_condition(now)[number]
        holds = cases_of[not there]
        receipts.append(write(world, op, id_, condition))
        if not holds:
            expected.append(FAILED)
        elif not there and op != "replace":
            expected.append("missing")
        else:
            expected.append("applied")
            rows[id_] = (5, 2 if op == "merge" else 7)
            if op == "delete":
                del rows[id_]
    violating = (0, 1) if isolating else ()
    bad = [world.post("things", {"id": 500 + n, "a": 1000 * n}) for n in violating]
    statements.clear()

    assert world.drain() == {"batchItemFailures": []}

    # A check for each op; the answers of the other two; rejections, COMMIT.
    if not isolating and world.engine.settings and not world.engine.settles_before_rejecting:
        assert len(statements) == len(OPS) + 1 + 2
    assert results(world, receipts) == expected
    assert {FAILED, "missing", "applied"} == set(expected)
    assert results(world, bad) == (["applied", "check"] if isolating else [])
    found = {id_: values for id_, *values in world.execute("SELECT id, a, b FROM things")}
    assert {id_: tuple(values) for id_, values in found.items() if id_ < 500} == rows


def test_the_etag_is_the_one_that_the_reader_gives(make_world: MakeWorld) -> None:
    world = make_world(odd())
    key = {"select": "ü", "100%": 7}
    world.post("weird", {**key, "%(rows)s": "100%", "ü": "\u2028 'x\""})
    world.drain()
    now = etag(world, "weird", **key)
    answer = world.read({"ask": "row", "resource": "weird", "key": json.dumps(key)})
    assert answer["etag"] == now

    receipt = world.patch("weird", ("ü", 7), {"found": 1}, If_Match=f'"{now}"')
    again = world.patch("weird", ("ü", 7), {"found": 2}, If_Match=f'"{now}"')
    world.drain()

    assert world.status(receipt)["state"] == "applied"
    assert results(world, [again]) == [FAILED]
    assert etag(world, "weird", **key) != now


def test_a_key_that_nobody_can_set_is_no_hindrance(make_world: MakeWorld) -> None:
    metadata = MetaData()
    for name, more in (("bare", ()), ("counted", (Column("n", Integer),))):
        Table(name, metadata, Column("id", Integer, Identity(always=True), primary_key=True), *more)
    world = make_world(metadata)
    world.execute("INSERT INTO counted (n) VALUES (1), (2)")
    world.execute("INSERT INTO bare DEFAULT VALUES")
    now = etag(world, "counted", id=1)

    receipts = [
        world.patch("counted", 1, {"n": 3}, If_Match=f'"{now}"'),
        world.patch("counted", 1, {"n": 4}, If_Match=f'"{now}"'),
        world.delete("counted", 2, If_Match="*"),
        world.delete("bare", 1, If_Match=f'"{OTHER}"'),
        world.delete("bare", 1, If_Match="*"),
    ]
    world.drain()

    assert results(world, receipts) == ["applied", FAILED, "applied", FAILED, "applied"]
    assert world.execute("SELECT id, n FROM counted") == [(1, 3)]
    assert world.value("SELECT count(*) FROM bare") == 0


# In order


def test_conditional_writes_to_one_key_in_one_batch_are_checked_one_after_the_other(world):
    world.execute("INSERT INTO things (id, a) VALUES (1, 1)")
    first = etag(world, "things", id=1)
    receipts = [
        write(world, "merge", 1, asked(none=ANY)),
        write(world, "merge", 1, asked((first,)), {"a": 2}),
        write(world, "merge", 1, asked((first,)), {"a": 3}),
        write(world, "delete", 1, asked((first,))),
        write(world, "merge", 1, None, {"a": 1}),
        write(world, "merge", 1, asked((first,)), {"a": 4}),
        write(world, "replace", 1, asked(none=ANY)),
        write(world, "delete", 1, asked(ANY)),
        write(world, "delete", 1, asked(ANY)),
        write(world, "merge", 1, asked(ANY)),
        write(world, "replace", 1, asked(none=ANY), {"a": 6}),
        write(world, "replace", 1, asked(none=ANY), {"a": 7}),
        write(world, "replace", 1, asked(ANY), {"a": 8}),
    ]

    world.drain()

    assert results(world, receipts) == [
        FAILED, "applied", FAILED, FAILED, "applied", "applied", FAILED,
        "applied", FAILED, FAILED, "applied", FAILED, "applied",
    ]  # fmt: skip
    assert world.execute("SELECT id, a FROM things") == [(1, 8)]


@pytest.mark.parametrize("repeat", ["batch", "later"])
def test_a_message_that_comes_again_is_not_checked_again(world, repeat):
    world.execute("INSERT INTO things (id, a) VALUES (1, 1)")
    now = etag(world, "things", id=1)
    receipts = [
        write(world, "merge", 1, asked((now,)), {"a": 2}),
        write(world, "merge", 1, asked((OTHER,)), {"a": 3}),
    ]
    entries, world.queued = world.queued, []

    world.drain(entries * 2 if repeat == "batch" else entries)
    world.drain(entries[::-1], receives=2)

    assert results(world, receipts) == ["applied", FAILED]
    assert world.rejections() == [(0, FAILED)]
    assert world.execute("SELECT id, a FROM things") == [(1, 2)]


def test_a_rejection_says_what_was_asked_and_nothing_of_the_row(world):
    world.execute("INSERT INTO things (id, a) VALUES (1, 456)")
    now = etag(world, "things", id=1)
    conditions = [
        (asked((OTHER,)), "If-Match", "changed or deleted"),
        (asked(none=ANY), "If-None-Match", "has a row with this key"),
        (asked(none=(now,)), "If-None-Match", "has one of these ETags"),
        (asked((OTHER,), (OTHER,)), "If-Match and If-None-Match", "things"),
    ]
    receipts = [write(world, "merge", 1, condition) for condition, *_ in conditions]
    receipts.append(write(world, "merge", 2, asked(ANY)))
    conditions.append((asked(ANY), "If-Match", "has no row with this key"))

    world.drain()

    for receipt, (_, name, reason) in zip(receipts, conditions, strict=True):
        (rejection,) = world.status(receipt)["rejections"]
        assert rejection["type"] == FAILED
        assert name in rejection["reason"]
        assert reason in rejection["reason"]
        assert now not in str(rejection)
        assert "456" not in str(rejection)
    assert ("merge", "things", {"id": 1, "a": 5}) in world.rejections("op, resource, row")


# A bad write harms nobody else


def broken(entry: put.QueueEntry, rows: str) -> put.QueueEntry:
    def change(message: Message) -> Message:
        return message._replace(sets=(message.sets[0]._replace(text=rows),))

    return changed(entry, change)


@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        ('{"id": "x", "a": 1}', "value"),
        ('{"id": 3000000000, "a": 1}', "value"),
        ('{"id": {}, "a": 1}', "value"),
        ('{"id": 100,}', "value"),
        ('{"id": NaN}', "value"),
        ('{"id": [}', "value"),
        ('{"id": "\\u0000"}', "value"),
        ('{"id": "' + "\ud800" + '"}', "value"),
        ('{"id": 1' + "0" * 5_000 + "}", "value"),
        # Rows that no condition is for, and conditions of others that they must not come to.
        ('{"id": 2, "a": 1},{"id": 3, "a": 1}', "value"),
        ('{"id": 2, "a": 1},"match": ["*"],{}', "value"),
        ('{"a": 1}', FAILED),
        ('{"id": null, "a": 1}', FAILED),
    ],
)
def test_a_key_that_cannot_be_read_harms_nobody(world, rows, kind):
    ids = [1, 3, 4, 5, 6]
    for op in OPS:
        world.execute("TRUNCATE things")
        world.execute("INSERT INTO things (id, a) SELECT n, 1 FROM generate_series(1, 6) AS n")
        receipts = [
            write(world, op, id_, asked(ANY if id_ % 2 else (OTHER,)), {"a": 2}) for id_ in ids
        ]
        bad = write(world, op, 2, asked(ANY), {"a": 2})
        *entries, last = world.queued
        entries.insert(1, broken(last, rows))
        world.queued = []

        assert world.drain(entries) == {"batchItemFailures": []}

        assert results(world, receipts) == ["applied" if id_ % 2 else FAILED for id_ in ids]
        assert results(world, [bad]) == [kind]
        applied = [] if op == "delete" else [(1, 2), (3, 2), (5, 2)]
        assert world.execute("SELECT id, a FROM things ORDER BY id") == sorted(
            [(2, 1), (4, 1), (6, 1), *applied]
        )


def test_a_row_too_many_takes_no_condition_of_another_one(world):
    """The conditions of all rows would be those of their neighbours, and hold."""
    world.execute("INSERT INTO things (id, a) VALUES (2, 1), (3, 1), (6, 1)")
    bad = write(world, "merge", 2, asked(ANY), {"a": 2})
    kept = write(world, "merge", 6, asked(none=(etag(world, "things", id=6),)), {"a": 2})
    first, second = world.queued

    world.drain([broken(first, '{"id": 2, "a": 2},{"id": 3, "a": 2}'), second])

    assert results(world, [bad, kept]) == ["value", FAILED]
    assert world.execute("SELECT id, a FROM things ORDER BY id") == [(2, 1), (3, 1), (6, 1)]


def test_a_key_that_looks_like_a_fault_of_the_schema_blocks_nobody(make_world: MakeWorld) -> None:
    metadata = MetaData()
    Table("things", metadata, Column("id", REGCLASS, primary_key=True), Column("a", Integer))
    world = make_world(metadata)
    world.execute("INSERT INTO things VALUES ('pg_class', 1)")

    receipts = [
        write(world, "merge", name, asked(ANY))
        for name in ("pg_class", "nosuch", "pg_type")
    ]  # fmt: skip
    world.drain()

    assert results(world, receipts) == ["applied", "value", FAILED]


def test_a_row_whose_etag_cannot_be_made_harms_nobody(make_world: MakeWorld) -> None:
    metadata = MetaData()
    Table(
        "things",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("a", Integer),
        Column("inverse", Integer, Computed("6 / a", persisted=False)),
    )
    world = make_world(metadata)
    if world.value("SELECT current_setting('server_version_num')::int") < 180_000:
        pytest.skip("did not run: before Postgres 18, all generated columns are stored")
    world.execute("INSERT INTO things (id, a) SELECT n, n FROM generate_series(0, 3) AS n")
    text = world.value("SELECT row_to_json(things)::text FROM things WHERE id = 3")
    now = hashlib.sha256(text.encode()).hexdigest()[:32]

    receipts = [write(world, "delete", id_, asked((now,))) for id_ in range(4)]
    world.drain()

    assert results(world, receipts) == ["value", FAILED, FAILED, "applied"]
    assert world.execute("SELECT id FROM things ORDER BY id") == [(0,), (1,), (2,)]


@pytest.mark.needs("settings")
def test_many_conditions_cost_few_statements(world, statements):
    world.execute("INSERT INTO things (id, a) SELECT n, 1 FROM generate_series(0, 999) AS n")
    now = {
        id_: hashlib.sha256(text.encode()).hexdigest()[:32]
        for id_, text in world.execute(
            "WITH things AS MATERIALIZED (SELECT id, a, b, n, doc, twice FROM things)"
            " SELECT id, row_to_json(things)::text FROM things"
        )
    }
    receipts = [
        write(world, "merge", id_, asked((now[id_] if id_ % 3 else OTHER,)), {"a": 2})
        for id_ in range(1_000)
    ]
    statements.clear()

    world.drain()

    # Check, merge, rejections, COMMIT; before these, to settle: check, merge, settle, COMMIT.
    assert len(statements) == (8 if world.engine.settles_before_rejecting else 4)
    assert results(world, receipts[:9]) == [FAILED, "applied", "applied"] * 3
    assert len(world.rejections()) == 334
    assert world.value("SELECT sum(a) FROM things") == 334 + 2 * 666


@pytest.mark.needs("savepoints")
@pytest.mark.parametrize("flaw", ["key", "check"])
def test_bad_rows_among_many_conditions_are_found_in_few_statements(world, statements, flaw):
    world.execute("INSERT INTO things (id, a) SELECT n, 1 FROM generate_series(0, 299) AS n")
    bad = range(7, 300, 60)
    receipts = [
        write(world, "merge", id_, asked(ANY if id_ % 3 else (OTHER,)),
              {"a": 1000 if flaw == "check" and id_ in bad else 2})
        for id_ in range(300)
    ]  # fmt: skip
    entries, world.queued = world.queued, []
    if flaw == "key":
        for id_ in bad:
            entries[id_] = broken(entries[id_], '{"id": "x", "a": 2}')
    statements.clear()

    world.drain(entries)

    needed = len(statements)
    expected = ["applied" if id_ % 3 else FAILED for id_ in range(300)]
    for id_ in bad:
        if flaw == "key" or id_ % 3:
            expected[id_] = "value" if flaw == "key" else "check"
    assert results(world, receipts) == expected
    times = 2 if world.engine.settles_before_rejecting else 1
    assert needed <= times * (2 * len(bad) * 9 + 20)


def test_the_condition_is_reported_before_any_other_fault(world):
    world.execute("INSERT INTO things (id, a) VALUES (1, 1), (2, 1), (3, 1)")
    for _ in range(2):  # with neighbours that are taken, and among bad ones
        receipts = [
            write(world, "merge", 1, asked((OTHER,)), {"a": 1000}),
            write(world, "merge", 2, asked(ANY), {"a": 2}),
            write(world, "merge", 4, asked(ANY), {"a": 2}),
        ]
        world.drain()
        assert results(world, receipts) == [FAILED, "applied", FAILED]
        write(world, "merge", 3, asked(ANY), {"a": 1000})


# Parents and children


def test_a_conditional_write_that_waits_for_its_parent_is_checked_when_it_is_poured(world):
    receipts = []
    for id_ in (1, 2):
        receipts.append(world.put("children", id_, {"node": 9}))
        conditional(world, asked(none=ANY))
    world.drain()
    world.execute("INSERT INTO nodes VALUES (8), (9); INSERT INTO children VALUES (2, 8)")

    world.drain_by_schedule()

    assert results(world, receipts) == ["applied", FAILED]
    assert world.execute("SELECT * FROM children ORDER BY id") == [(1, 9), (2, 8)]


def test_a_condition_that_does_not_hold_waits_for_no_parent(world):
    receipt = world.put("children", 1, {"node": 9})
    conditional(world, asked(ANY))

    assert world.drain() == {"batchItemFailures": []}

    assert results(world, [receipt]) == [FAILED]


def test_a_row_that_went_while_its_write_waited_within_the_batch_is_not_made_again(world):
    """Its new parent comes behind it, and its old one goes and takes it along."""
    world.execute("INSERT INTO nodes VALUES (1, NULL), (2, 1)")
    now = etag(world, "nodes", id=2)
    moved = world.put("nodes", 2, {"above": 3})
    conditional(world, asked((now,)))
    receipts = [
        world.put("nodes", 3, {}),
        world.delete("nodes", 1),
        world.put("nodes", 4, {"above": 99}),
    ]

    world.drain_to_the_end()

    assert results(world, [moved, *receipts]) == [FAILED, "applied", "applied", "missing-parent"]
    assert world.execute("SELECT id FROM nodes") == [(3,)]


def test_a_row_that_goes_with_another_one_of_its_set_is_reported_by_its_condition(world):
    world.execute("INSERT INTO nodes VALUES (1, NULL), (2, 1), (3, NULL), (4, NULL)")
    world.execute("INSERT INTO children VALUES (1, 3)")
    receipts = []
    for id_ in (1, 4, 2, 3):
        receipts.append(world.delete("nodes", id_))
        conditional(world, asked(ANY))

    world.drain()

    assert results(world, receipts) == ["applied", "applied", FAILED, "still-referenced"]


# Beside other transactions


def waits_for_lock(world: World) -> None:
    until(lambda: locked(world, "AND application_name = 'decanter-drain'"), "a wait of the drain")


def locked(world: World, condition: str = "") -> bool:
    """Whether one who waits for a lock is there."""
    return bool(
        world.value(
            f"SELECT count(*) FROM {world.sessions}"
            f" WHERE wait_event_type = 'Lock' AND datname = current_database() {condition}"
        )
    )


@pytest.mark.needs("waits_for_locks")
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("ends", ["commit", "rollback"])
@pytest.mark.parametrize("change", ["UPDATE things SET a = 9", "DELETE FROM things"])
def test_a_row_that_somebody_changes_is_checked_when_he_is_done(world, op, ends, change):
    world.execute("INSERT INTO things (id, a) VALUES (1, 1)")
    now = etag(world, "things", id=1)
    receipt = write(world, op, 1, asked((now,)))
    with closing(psycopg2.connect(world.url)) as other:
        other.cursor().execute(change)
        thread = threading.Thread(target=world.drain)
        thread.start()
        waits_for_lock(world)
        getattr(other, ends)()
        thread.join()

    assert results(world, [receipt]) == [FAILED if ends == "commit" else "applied"]


@pytest.mark.needs("waits_for_locks")
@pytest.mark.parametrize("op", OPS)
def test_a_row_that_was_checked_stays_as_it_is_until_it_is_poured(world, monkeypatch, op):
    world.execute("INSERT INTO things (id, a) VALUES (1, 1)")
    now = etag(world, "things", id=1)
    receipt = write(world, op, 1, asked((now,)))
    execute = Transaction.execute
    others: list[threading.Thread] = []

    def beside(self: Transaction, sql: str, values: Any = None) -> list[Any]:
        found = execute(self, sql, values)
        if "decanter:match" in sql:
            change = lambda: world.execute("UPDATE things SET b = 9 WHERE id = 1")  # noqa: E731
            others.append(threading.Thread(target=change))
            others[0].start()
            until(lambda: locked(world) or not others[0].is_alive())
            assert others[0].is_alive()
        return found

    with monkeypatch.context() as patched:
        patched.setattr(Transaction, "execute", beside)
        world.drain()
    others[0].join()

    assert results(world, [receipt]) == ["applied"]
    left = [] if op == "delete" else [(5, 9)]
    assert world.execute("SELECT a, b FROM things") == left


@pytest.mark.needs("weak_row_locks")
def test_a_merge_does_not_wait_for_a_new_child_of_its_row(world):
    world.execute("INSERT INTO nodes VALUES (1, NULL)")
    receipt = world.patch("nodes", 1, {"above": 1})
    conditional(world, asked(ANY))
    with closing(psycopg2.connect(world.url)) as other:
        other.cursor().execute("INSERT INTO children VALUES (1, 1)")
        world.drain()

    assert results(world, [receipt]) == ["applied"]
