"""Triggers record each change of a row once, in its transaction and in its order."""

from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest

from decanter.proof import evidence
from decanter.proof.history import Snapshot
from decanter.proof.tables import metadata


@pytest.fixture
def url(make_database):
    return make_database(metadata)


@pytest.fixture
def connection(url) -> Iterator[object]:
    with closing(psycopg2.connect(url)) as opened:
        evidence.install(opened.cursor())
        opened.commit()
        yield opened


def change(connection, *statements):
    with connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def recorded(connection):
    with connection, connection.cursor() as cursor:
        return [*evidence.effects(cursor)]


def row(key, token, a=None):
    return {"id": key, "token": token, "a": a, "b": None}


def test_each_change_is_recorded_once(connection):
    update = "UPDATE accounts SET token = 'y', a = 1"
    change(connection, "INSERT INTO accounts VALUES (1, 'x')")
    change(connection, update, update)
    change(connection, "DELETE FROM accounts")

    assert [(each.key, each.before, each.after) for each in recorded(connection)] == [
        ("1", None, row(1, "x")),
        ("1", row(1, "x"), row(1, "y", 1)),
        ("1", row(1, "y", 1), row(1, "y", 1)),
        ("1", row(1, "y", 1), None),
    ]


def test_a_change_that_is_rolled_back_leaves_nothing(connection):
    change(connection, "INSERT INTO accounts VALUES (1, 'x')")
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO accounts VALUES (2, 'x')")
    connection.rollback()
    change(
        connection,
        "SAVEPOINT tried",
        "DELETE FROM accounts",
        "ROLLBACK TO tried",
        "INSERT INTO accounts VALUES (1, 'z'), (3, 'x') ON CONFLICT DO NOTHING",
    )

    assert [each.after for each in recorded(connection)] == [row(1, "x"), row(3, "x")]


def test_numbers_and_transactions_follow_the_order_of_a_row(connection):
    change(connection, "INSERT INTO accounts VALUES (1, 'x'), (2, 'x')")
    change(
        connection,
        "INSERT INTO entries VALUES (1, 7, 'x')",
        "INSERT INTO accounts VALUES (1, 'y') ON CONFLICT (id) DO UPDATE SET token = 'y'",
    )
    change(connection, "UPDATE accounts SET token = 'z' WHERE id = 1")

    found = recorded(connection)
    own = [each for each in found if (each.resource, each.key) == ("accounts", "1")]
    assert [each.number for each in found] == sorted({each.number for each in found})
    assert [each.after["token"] for each in own] == ["x", "y", "z"]
    assert [each.transaction for each in own] == sorted({each.transaction for each in own})
    assert [each.at for each in own] == sorted(each.at for each in own)
    (entry,) = (each for each in found if each.resource == "entries")
    assert (entry.key, entry.transaction) == ("1,7", own[1].transaction)


def test_a_snapshot_sees_what_had_committed(url, connection):
    change(connection, "INSERT INTO accounts VALUES (1, 'x')")
    (first,) = recorded(connection)
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO accounts VALUES (2, 'x') RETURNING pg_current_xact_id()::text")
        ((running,),) = cursor.fetchall()
        with closing(psycopg2.connect(url)) as other, other.cursor() as reader:
            reader.execute("SELECT pg_current_snapshot()::text")
            snapshot = Snapshot.parse(reader.fetchone()[0])
    connection.rollback()

    assert snapshot.sees(first.transaction)
    assert not snapshot.sees(int(running))
