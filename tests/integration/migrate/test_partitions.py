"""The ledger gets its partitions while it is poured into, whenever a migration is killed."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import date, timedelta
from uuid import UUID, uuid4

import psycopg2
import pytest
from sqlalchemy import Column, Integer, MetaData, Table

from chalicelib.errors import DatabaseError
from chalicelib.messages.message import decode, encode
from chalicelib.migrate.handler import FOLDER, upgrade
from chalicelib.postgres import ledger, partitions
from chalicelib.postgres.connecting import connection
from chalicelib.sweep import handler as sweeper
from tests.kit.databases import create_tables, drop, execute, extend
from tests.kit.revisions import downgrade
from tests.kit.roles import made, shop
from tests.kit.world import Context, World

WHERE = """
    SELECT 'decanter.' || relname, count(*)::integer
    FROM decanter.ledger JOIN pg_class ON pg_class.oid = ledger.tableoid GROUP BY 1
"""
BEGUN = "SELECT to_regclass('decanter.ledger_held') IS NOT NULL"
REST_ALONE = {"ledger", "ledger_rest", "ledger_rest_pkey"}
CONSTRAINTS = "SELECT count(*) FROM pg_constraint WHERE conname = 'ledger_rest_ahead'"


@pytest.fixture
def former(new_database: Callable[..., str]) -> Iterator[str]:
    """A database of the version before partitions, with messages of both kinds."""
    url = new_database()
    upgrade(url, "decanter_0010")
    enter(url, *(timed(now()) for _ in range(50)), *(keyed(uuid4()) for _ in range(50)))
    yield url
    drop(url)


@pytest.fixture
def bare(new_database: Callable[..., str]) -> Iterator[str]:
    """A database whose ledger has no leaf and no row."""
    url = new_database()
    upgrade(url, "decanter@head")
    yield url
    drop(url)


def now() -> date:
    return date.today()


def timed(day: date) -> str:
    """The ID of a message accepted on that day."""
    start = partitions._id(day)[:14]
    return f"{start}7{uuid4().hex[:3]}-8{uuid4().hex[:3]}-{uuid4().hex[:8]}0000"


def keyed(random: UUID, day: date | None = None) -> str:
    """The ID of a message with an Idempotency-Key, which may happen to be in that day's week."""
    start = partitions._id(day)[:14] if day else str(random)[:14]
    return f"{start}8{str(random)[15:24]}{str(random)[24:28]}00000000"


def enter(url: str, *dedup_ids: str) -> None:
    given = "INSERT INTO decanter.ledger (dedup_id, fingerprint, writes, keys) SELECT id, 'f', 1,"
    execute(url, f"{given} '\\x01' FROM unnest(%s::uuid[]) AS id", ([*dedup_ids],))


def rows(url: str) -> list[tuple[object, ...]]:
    return [
        (*row[:-1], bytes(row[-1]))
        for row in execute(
            url,
            "SELECT dedup_id, fingerprint, writes, poured_at, resource_name, keys"
            " FROM decanter.ledger ORDER BY dedup_id",
        )
    ]


def test_a_ledger_that_is_poured_into_gets_partitions_and_loses_nothing(former: str) -> None:
    before = rows(former)
    entered: list[str] = []
    stop = threading.Event()

    def pour() -> None:
        while not stop.is_set():
            some = [timed(now()), keyed(uuid4())]
            enter(former, *some)
            entered.extend(some)

    thread = threading.Thread(target=pour)
    thread.start()
    try:
        upgrade(former, "decanter@head")
        leaves = extend(former, 26)
        for day in (now() + timedelta(days=60), now() + timedelta(days=100)):
            enter(former, found := timed(day))
            entered.append(found)
    finally:
        stop.set()
        thread.join()

    assert leaves
    assert {row[0] for row in rows(former)} == {row[0] for row in before} | {*entered}
    assert {*before} <= {*rows(former)}
    assert {name for name, _ in execute(former, WHERE)} & {*leaves}
    with pytest.raises(psycopg2.errors.UniqueViolation):
        enter(former, str(before[0][0]))


def test_a_message_whose_random_id_is_in_a_new_leaf_stays_known(former: str) -> None:
    day = now() + timedelta(days=40)
    enter(former, lost := keyed(uuid4(), day))
    upgrade(former, "decanter@head")

    leaves = extend(former, 26)

    found = dict(execute(former, WHERE))
    assert sum(found.get(leaf, 0) for leaf in leaves) == 1
    with pytest.raises(psycopg2.errors.UniqueViolation):
        enter(former, lost)
    assert execute(former, BEGUN) == [(False,)]
    assert execute(former, CONSTRAINTS) == [(0,)]


@pytest.mark.parametrize("killed_at", ["_VALIDATE", "_END"])
def test_what_was_killed_goes_on_at_the_next_run(
    former: str, monkeypatch: pytest.MonkeyPatch, killed_at: str
) -> None:
    upgrade(former, "decanter@head")
    enter(former, lost := keyed(uuid4(), now() + timedelta(days=40)))
    _kill(former, monkeypatch, killed_at)
    assert execute(former, BEGUN) == [(True,)]
    assert (UUID(lost).hex,) not in execute(former, "SELECT dedup_id::text FROM decanter.ledger")
    with pytest.raises(psycopg2.errors.CheckViolation):
        enter(former, lost)
    enter(former, timed(now()), keyed(uuid4(), now() - timedelta(days=400)))

    leaves = extend(former, 26)

    assert len(leaves) > 20
    assert execute(former, BEGUN) == [(False,)]
    with pytest.raises(psycopg2.errors.UniqueViolation):
        enter(former, lost)


def _kill(url: str, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    """Make partitions, in a session that ends at that statement."""
    with monkeypatch.context() as patch:
        patch.setattr(partitions, at, "SELECT pg_terminate_backend(pg_backend_pid())")
        with pytest.raises(DatabaseError):
            extend(url, 26)


def test_what_was_begun_is_undone_when_its_time_comes(
    former: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade(former, "decanter@head")
    _kill(former, monkeypatch, "_VALIDATE")

    leaves = extend(former, 26, now() + timedelta(days=20))

    assert min(leaves) > partitions.leaf_name(now() + timedelta(days=20))
    assert execute(former, BEGUN) == [(False,)]


def test_the_sweep_undoes_what_no_migration_ends(
    former: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade(former, "decanter@head")
    enter(former, lost := keyed(uuid4(), now() + timedelta(days=40)))
    _kill(former, monkeypatch, "_VALIDATE")
    monkeypatch.setenv("DECANTER_DATABASE_URL", former)
    sweeper.sweep(Context(30))
    assert execute(former, BEGUN) == [(True,)]  # a migration may end it yet
    execute(former, f"COMMENT ON TABLE decanter.ledger_held IS '{now()} {now()}'")

    sweeper.sweep(Context(30))
    connection.forget("sweep")

    assert execute(former, BEGUN) == [(False,)]
    with pytest.raises(psycopg2.errors.UniqueViolation):
        enter(former, lost)


def test_a_message_that_is_refused_meanwhile_comes_again_and_harms_no_other(
    make_world: Callable[..., World], bare: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    metadata = MetaData()
    Table("things", metadata, Column("id", Integer, primary_key=True))
    create_tables(bare, metadata)
    world = make_world(metadata, bare)
    monkeypatch.setenv("DECANTER_PARTIAL_RESPONSES", "1")
    enter(bare, keyed(uuid4()))
    _kill(bare, monkeypatch, "_VALIDATE")
    for number in range(3):
        world.post("things", {"id": number})
    first, *others = (decode(each.body) for each in world.queued)
    held = encode(first._replace(dedup_id=keyed(uuid4(), now() + timedelta(days=40))))

    answer = world.drain([held, *map(encode, others)])

    assert len(answer["batchItemFailures"]) == 1
    assert world.value("SELECT array_agg(id ORDER BY id) FROM things") == [1, 2]
    assert world.rejections() == []
    extend(bare, 26)
    assert world.drain([held]) == {"batchItemFailures": []}
    assert world.drain([held]) == {"batchItemFailures": []}
    assert world.value("SELECT count(*) FROM things") == 3
    assert world.rejections() == []


def test_leaves_are_made_ahead_once_they_reach_less_than_half_as_far(bare: str) -> None:
    monday = now() - timedelta(days=now().weekday())
    assert len(extend(bare, 8)) == 8
    assert extend(bare, 8) == []
    assert extend(bare, 8, monday + timedelta(weeks=3)) == []

    more = extend(bare, 8, monday + timedelta(weeks=4))

    assert more == [partitions.leaf_name(monday + timedelta(weeks=n)) for n in range(8, 12)]


def test_nothing_of_a_filled_rest_is_read_while_pours_wait(former: str) -> None:
    upgrade(former, "decanter@head")
    with closing(psycopg2.connect(former, options="-c client_min_messages=debug1")) as own:
        assert partitions.extend(own, 4)
        told = [each for each in own.notices if "ledger_rest" in each]

    # Read once: to validate, before the leaves are attached.
    assert [" ".join(each.split()[1:3]) for each in told] == [
        "verifying table",
        "updated partition",
    ]
    assert "is implied by existing constraints" in told[1]


def test_pages_of_deleted_rows_are_not_read_while_pours_wait(bare: str) -> None:
    enter(bare, *(keyed(uuid4()) for _ in range(20_000)))
    execute(bare, "DELETE FROM decanter.ledger_rest")

    leaves = extend(bare, 4)

    assert min(leaves) > partitions.leaf_name(now() + timedelta(days=7))


def test_a_term_that_is_long_over_is_dropped_and_its_rows_stay_known(
    bare: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With random IDs, new rows come into an old term for ever."""
    first, *_ = extend(bare, 2)
    extend(bare, 8)
    enter(bare, *(kept := [keyed(uuid4(), now()), keyed(uuid4(), now())]))
    before = rows(bare)
    later = now() + timedelta(days=120)
    is_there = "SELECT to_regclass(%s) IS NOT NULL"
    with monkeypatch.context() as patch:
        patch.setattr(partitions, "_MOST_MOVED", 1)
        extend(bare, 8, later)
        assert execute(bare, is_there, (first,)) == [(True,)]

    extend(bare, 8, later)

    assert execute(bare, is_there, (first,)) == [(False,)]
    assert rows(bare) == before
    assert execute(bare, WHERE) == [("decanter.ledger_rest", 2)]
    with pytest.raises(psycopg2.errors.UniqueViolation):
        enter(bare, kept[0])


def test_the_sweep_of_the_version_before_deletes_nothing(bare: str) -> None:
    """Which names rows by their places, that two partitions both have."""
    extend(bare, 2)
    enter(bare, timed(now()), keyed(uuid4()))
    execute(bare, "UPDATE decanter.ledger_rest SET poured_at = now() - interval '99 days'")

    with pytest.raises(psycopg2.errors.RaiseException, match="partitions"):
        execute(
            bare,
            "WITH old AS MATERIALIZED (SELECT ctid FROM decanter.ledger"
            " WHERE poured_at < now() - interval '15 days')"
            " DELETE FROM decanter.ledger USING old WHERE ledger.ctid = old.ctid",
        )

    assert len(rows(bare)) == 2


def test_rights_on_the_ledger_go_with_it(former: str) -> None:
    execute(former, "GRANT SELECT, INSERT ON decanter.ledger TO pg_monitor")
    execute(former, "GRANT SELECT ON decanter.ledger TO PUBLIC")

    upgrade(former, "decanter@head")

    held = "SELECT has_table_privilege(%s, 'decanter.ledger', 'INSERT')"
    assert execute(former, held, ("pg_monitor",)) == [(True,)]
    assert execute(former, held, ("pg_read_all_data",)) == [(False,)]
    assert "=r/" in str(
        execute(former, "SELECT relacl::text FROM pg_class WHERE relname = 'ledger'")
    )


def test_the_ledger_is_one_table_again_after_a_downgrade(former: str) -> None:
    before = rows(former)
    upgrade(former, "decanter@head")
    extend(former, 26)

    downgrade(former, FOLDER, "decanter_0010")

    assert rows(former) == before
    upgrade(former, "decanter@head")
    assert rows(former) == before


def test_a_leaf_that_is_made_later_has_the_rights_of_the_sweep(url: str) -> None:
    made(url, shop())
    (leaf, *_) = extend(url, 8)
    held = "SELECT has_table_privilege(%s, %s, 'TRUNCATE')"
    name = execute(url, "SELECT current_database()")[0][0] + "_sweep"
    assert execute(url, held, (name, leaf)) == [(False,)]

    made(url, shop())

    assert execute(url, held, (name, leaf)) == [(True,)]


def test_statements_about_random_ids_are_planned_without_leaves(bare: str) -> None:
    extend(bare, 26)
    claimed = [ledger.LedgerEntry(keyed(uuid4()), "f", 1, 0) for _ in range(1000)]
    with closing(psycopg2.connect(bare)) as own, own.cursor() as cursor:
        for sql, values in (
            *((ledger._REFUSE_REUSED, each) for each in ledger._reused(claimed)),
            *((ledger._REFUSE_OTHER_SPLIT, each) for each in ledger._splits(claimed)),
        ):
            cursor.execute(f"EXPLAIN {sql}", values)
            plan = "\n".join(line for (line,) in cursor.fetchall())
            if len(values[0]) > 100:  # not the one in ten thousand that is in the time of a leaf
                assert {*re.findall(r" on (ledger\w*)", plan)} <= REST_ALONE
