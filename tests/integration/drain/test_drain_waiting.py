"""What is slow, locked, without a parent or without a table waits and holds up no others."""

import time
from collections.abc import Callable
from contextlib import closing, suppress
from functools import cache
from typing import Any

import psycopg2
import pytest
from sqlalchemy import Column, ForeignKey, Integer, MetaData, Table, Text
from sqlalchemy.dialects.postgresql import INET

from chalicelib.buffer.sqs import take
from chalicelib.drain import handler, outcome, retry_waiting
from chalicelib.errors import DatabaseUnavailable, OutOfTime, StatementTimedOut
from chalicelib.postgres import waiting
from chalicelib.postgres.connecting.connection import Transaction, connection, forget
from chalicelib.sweep.handler import sweep
from tests.kit.virtual_queue import Queue
from tests.kit.waiting import until
from tests.kit.world import Context, World, changed

MakeWorld = Callable[[MetaData], World]


@cache
def tables() -> MetaData:
    metadata = MetaData()
    Table("parents", metadata, Column("id", Integer, primary_key=True), Column("n", Integer))
    Table(
        "children",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("parent", ForeignKey("parents.id", name="parent_exists")),
        Column("n", Integer),
    )
    Table("things", metadata, Column("id", Integer, primary_key=True), Column("n", Integer),
          *[Column(f"c{n}", Integer) for n in range(16)])  # fmt: skip
    Table("log", metadata, Column("line", Text), Column("parent", ForeignKey("parents.id")),
          info={"ordered": False})  # fmt: skip
    return metadata


@pytest.fixture
def world(make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> World:
    made = make_world(tables())
    monkeypatch.setenv("DECANTER_PARTIAL_RESPONSES", "1")
    return made


def slow_row(world: World, when: str, table: str = "things") -> None:
    """A trigger that takes for ever over some rows."""
    world.execute(f"""
        CREATE FUNCTION public.dawdle() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN IF {when} THEN PERFORM pg_sleep(600); END IF; RETURN NEW; END $$;
        CREATE TRIGGER dawdle BEFORE INSERT OR UPDATE ON {table}
            FOR EACH ROW EXECUTE FUNCTION dawdle();
    """)


def states(world: World, receipts: list[str]) -> list[str]:
    return [world.status(receipt)["state"] for receipt in receipts]


def waits(world: World) -> list[Any]:
    return world.execute("SELECT reason, count(*)::int FROM decanter.waiting GROUP BY 1 ORDER BY 1")


def drain_in(world: World, seconds: float) -> None:
    """Drain all queued entries as one batch, and again, as SQS delivers it, if so many seconds were
    too few on a busy machine."""
    entries, world.queued = world.queued, []

    def is_done() -> bool:
        with suppress(DatabaseUnavailable):
            world.drain(entries, seconds=seconds)
            return True
        return False

    until(is_done)


def drain_until_nothing_waits(world: World, seconds: float) -> None:
    world.drain(seconds=seconds)
    for _ in range(6):
        if waits(world):
            world.drain_by_schedule(seconds)


def test_the_clock_tells_how_long_the_oldest_write_waits(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    monkeypatch.setattr(handler.logger, "info", lambda text, *values: lines.append(text % values))
    world.drain([])
    world.post("children", [{"id": n, "parent": 1} for n in range(3)])
    world.drain()
    world.execute("UPDATE decanter.waiting SET since = since - item * interval '1 min'")
    world.drain([])

    assert [line.split(" for ")[0] for line in lines if line.startswith("waiting")] == [
        "waiting 0 writes, the oldest",
        "waiting 3 writes, the oldest",
    ]
    [seconds] = [float(line.split()[-2]) for line in lines if "waiting 3" in line]
    assert 120 <= seconds < 180


# Slow writes


@pytest.mark.parametrize("place", [0, 4, 9])
def test_a_slow_write_holds_up_no_neighbour(world: World, place: int) -> None:
    slow_row(world, "NEW.n = 7")
    receipts = [world.post("things", {"id": n, "n": 7 if n == place else 0}) for n in range(10)]

    drain_in(world, seconds=10)

    assert states(world, receipts) == ["pending" if n == place else "applied" for n in range(10)]
    assert waits(world) == [("slow", 1)]


def test_a_write_that_is_slow_by_itself_is_rejected_in_the_end(world: World) -> None:
    slow_row(world, "NEW.n = 7")
    receipt, behind = world.post("things", {"id": 1, "n": 7}), world.patch("things", 1, {"n": 1})

    drain_until_nothing_waits(world, seconds=4)

    (rejection,) = world.status(receipt)["rejections"]
    assert rejection["type"] == "timeout"
    assert [each["type"] for each in world.status(behind)["rejections"]] == ["missing"]
    assert waits(world) == []


def test_slow_writes_that_each_fit_an_invocation_are_all_applied(world: World) -> None:
    world.execute("""
        CREATE FUNCTION public.dawdle() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_sleep(0.4); RETURN NEW; END $$;
        CREATE TRIGGER dawdle BEFORE INSERT ON things FOR EACH ROW EXECUTE FUNCTION dawdle();
    """)
    receipt = world.post("things", [{"id": n} for n in range(4)])
    queue = Queue(world)
    queue.send()

    queue.run_to_the_end()

    assert states(world, [receipt]) == ["applied"]


def test_what_is_slow_only_at_commit_is_found_too(world: World) -> None:
    world.execute("""
        CREATE FUNCTION public.dawdle() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN IF NEW.n = 7 THEN PERFORM pg_sleep(600); END IF; RETURN NULL; END $$;
        CREATE CONSTRAINT TRIGGER dawdle AFTER INSERT ON things
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION dawdle();
    """)
    receipts = [world.post("things", {"id": n, "n": 7 if n == 3 else 0}) for n in range(5)]

    drain_until_nothing_waits(world, seconds=6)

    assert states(world, receipts) == ["applied"] * 3 + ["rejected", "applied"]
    assert world.rejections("type") == [("timeout",)]


@pytest.mark.parametrize("when", ["before", "at commit"])
@pytest.mark.parametrize("code", ["57014", "40001", "53400", "25006"])
def test_a_trigger_that_raises_what_passes_harms_only_its_row(
    world: World, code: str, when: str
) -> None:
    raising(world, code, when)
    receipts = [world.post("things", {"id": n, "n": 7 if n == 3 else 0}) for n in range(5)]

    drain_until_nothing_waits(world, seconds=6)

    assert states(world, receipts) == ["applied"] * 3 + ["rejected", "applied"]
    assert world.rejections("type, sqlstate") == [("trigger", code)]


def raising(world: World, code: str, when: str) -> None:
    """A trigger that refuses some rows."""
    kind = "CONSTRAINT TRIGGER refuse AFTER" if when == "at commit" else "TRIGGER refuse BEFORE"
    deferred = "DEFERRABLE INITIALLY DEFERRED" if when == "at commit" else ""
    world.execute(f"""
        CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN IF NEW.n = 7 THEN RAISE 'not now' USING ERRCODE = '{code}'; END IF; RETURN NEW;
        END $$;
        CREATE {kind} INSERT ON things {deferred} FOR EACH ROW EXECUTE FUNCTION refuse();
    """)


# Locks


def test_a_lock_that_only_commit_waits_for_stops_nobody(world: World) -> None:
    raising(world, "55P03", "at commit")
    receipts = [world.post("things", {"id": n, "n": 7 if n == 3 else 0}) for n in range(5)]
    world.drain(seconds=6)

    for id_ in range(1, 6):
        world.drain_by_schedule(seconds=6)
        parent = world.post("parents", {"id": id_})
        world.drain(seconds=6)
        assert states(world, [parent]) == ["applied"]

    assert states(world, receipts) == ["applied"] * 3 + ["pending", "applied"]
    world.execute("DROP TRIGGER refuse ON things")
    world.drain_by_schedule()
    assert states(world, receipts) == ["applied"] * 5


def test_nothing_that_waits_is_tried_without_time(world: World) -> None:
    world.post("children", {"id": 1, "parent": 5})
    world.drain()

    retry_waiting.retry(connection(world.url, "drain", 0), [], time.monotonic() - 1)

    assert waits(world) == [("parent", 1)]


@pytest.mark.needs("row_locks")
@pytest.mark.needs("waits_for_locks")
def test_a_parent_that_somebody_holds_holds_up_only_its_children(
    world: World, statements: list[str]
) -> None:
    world.execute("INSERT INTO parents SELECT generate_series(0, 9)")
    receipts = [
        world.post("log", [{"line": "x", "parent": n % 10} for n in range(100)]),
        *[world.post("children", {"id": n, "parent": n}) for n in range(10)],
    ]
    entries = list(world.queued)
    with closing(psycopg2.connect(world.url)) as other:
        other.cursor().execute("SELECT FROM parents WHERE id = 3 FOR UPDATE")
        for receives in range(1, 4):
            world.drain(entries, receives, seconds=6)
            assert world.value("SELECT count(*) FROM log") == 90
            assert world.value("SELECT count(*) FROM children") == 9
    assert waits(world) == [("lock", 11)]
    assert len(statements) < 200

    world.drain(entries, 4)

    assert states(world, receipts) == ["applied"] * 11


@pytest.mark.needs("waits_for_locks")
def test_a_table_that_somebody_locks_waits_and_is_never_rejected(world: World) -> None:
    locked, free = world.post("things", {"id": 1}), world.post("parents", {"id": 1})
    entries = list(world.queued)
    with closing(psycopg2.connect(world.url)) as other:
        other.cursor().execute("LOCK things IN ACCESS EXCLUSIVE MODE")
        for receives in range(1, 8):
            world.drain(entries, receives, seconds=4)
        assert states(world, [locked, free]) == ["pending", "applied"]

    world.drain(entries, 8)

    assert states(world, [locked, free]) == ["applied", "applied"]
    assert world.rejections() == []


@pytest.mark.needs("row_locks")
@pytest.mark.needs("waits_for_locks")
@pytest.mark.parametrize(
    ("table", "mode"),
    [("things", "ACCESS EXCLUSIVE"), ("things", "SHARE"), ("parents", "ACCESS EXCLUSIVE")],
)
def test_writes_to_a_locked_table_keep_no_later_batch(
    world: World, statements: list[str], table: str, mode: str
) -> None:
    world.execute("INSERT INTO parents VALUES (1)")
    receipts = [
        world.post("things", [{"id": n} for n in range(200)])
        if table == "things"
        else world.post("children", [{"id": n, "parent": 1} for n in range(200)])
    ]
    entries, world.queued = world.queued, []
    with closing(psycopg2.connect(world.url)) as other:
        other.cursor().execute(f"LOCK {table} IN {mode} MODE")
        world.drain(entries, seconds=6)
        assert waits(world) == [("lock", 200)]
        good = world.post("things" if table == "parents" else "parents", {"id": 2})
        world.execute("UPDATE decanter.waiting SET tried_at = tried_at - interval '1 min'")
        statements.clear()
        world.drain(seconds=6)
        assert (states(world, [good]), len(statements) < 20) == (["applied"], True)
        assert waits(world) == [("lock", 200)]

    world.drain(entries, 2)

    assert states(world, receipts) == ["applied"]


@pytest.mark.needs("waits_for_locks")
def test_a_claim_that_another_drain_holds_holds_up_no_other_message(world: World) -> None:
    receipts = [world.post("things", {"id": n}) for n in range(6)]
    entries = list(world.queued)
    with closing(psycopg2.connect(world.url)) as other:
        other.cursor().execute(
            "INSERT INTO decanter.ledger (dedup_id, fingerprint, writes) VALUES (%s, %s, 1)",
            (entries[2].dedup_id, "f" * 32),
        )
        answer = world.drain(entries, seconds=8)

    assert answer["batchItemFailures"]
    assert states(world, receipts) == ["applied"] * 2 + ["pending"] + ["applied"] * 3
    world.drain(entries, 2)
    assert states(world, receipts) == ["applied"] * 6


# Much at once


def test_many_rows_of_one_key_cost_few_statements(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    ahead = Transaction.ahead

    def counted(self: Transaction, sql: str, values: Any = None) -> None:
        sent.append(sql)
        ahead(self, sql, values)

    monkeypatch.setattr(Transaction, "ahead", counted)
    rows = [{"id": 1, "n": n} for n in range(5_000)]
    receipt = world.post("things", rows, Prefer="resolution=merge-duplicates")
    neighbour = world.post("parents", {"id": 1})

    world.drain()

    assert states(world, [receipt, neighbour]) == ["applied"] * 2
    assert world.value("SELECT n FROM things") == 4_999
    assert len(sent) < 60


def test_rows_of_one_key_are_not_left_out_where_one_is_bad(world: World) -> None:
    world.execute("ALTER TABLE things ADD CONSTRAINT small CHECK (n < 100)")
    rows = [{"id": 1, "n": n} for n in (1, 100, 2)]
    receipt = world.post("things", rows, Prefer="resolution=merge-duplicates")

    world.drain()

    assert (states(world, [receipt]), world.rejections()) == (["partial"], [(1, "check")])
    assert world.value("SELECT n FROM things") == 2


def test_rows_of_keys_that_only_postgres_tells_apart_are_all_poured(make_world: MakeWorld) -> None:
    metadata = MetaData()
    Table("hosts", metadata, Column("ip", INET, primary_key=True), Column("n", Integer))
    world = make_world(metadata)
    rows = [{"ip": f"10.0.0.{n % 3}", "n": n} for n in range(9)]
    receipt = world.post("hosts", rows, Prefer="resolution=merge-duplicates")

    world.drain()

    assert states(world, [receipt]) == ["applied"]
    assert world.execute("SELECT host(ip), n FROM hosts ORDER BY ip") == [
        ("10.0.0.0", 6),
        ("10.0.0.1", 7),
        ("10.0.0.2", 8),
    ]


@pytest.mark.parametrize("kind", ["trigger", "generated", "unique"])
def test_rows_of_one_key_are_not_left_out_where_somebody_sees_them(world: World, kind: str) -> None:
    if kind == "trigger":
        world.execute("""
            CREATE TABLE public.seen (n integer);
            CREATE FUNCTION public.see() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
            BEGIN INSERT INTO public.seen VALUES (NEW.n); RETURN NULL; END $$;
            CREATE TRIGGER see AFTER INSERT OR UPDATE ON things
                FOR EACH ROW EXECUTE FUNCTION see();
        """)
    if kind == "generated":
        world.execute("ALTER TABLE things ADD g integer GENERATED ALWAYS AS (1 / (n - 5)) STORED")
    if kind == "unique":
        world.execute("CREATE UNIQUE INDEX ON things (n)")
        world.execute("INSERT INTO things (id, n) VALUES (9, 5)")
    receipt = world.post(
        "things", [{"id": 1, "n": n} for n in (4, 5, 6)], Prefer="resolution=merge-duplicates"
    )

    world.drain()

    if kind == "trigger":
        assert world.execute("SELECT n FROM seen ORDER BY n") == [(4,), (5,), (6,)]
    else:
        assert states(world, [receipt]) == ["partial"]
        assert [item for item, _ in world.rejections()] == [1]


@pytest.mark.parametrize("prefer", ["", "resolution=ignore-duplicates"])
def test_many_creates_of_one_key_cost_few_statements(
    world: World, statements: list[str], prefer: str
) -> None:
    rows = [{"id": 1, "n": n} for n in range(2_000)]
    receipt = world.post("things", rows, **({"Prefer": prefer} if prefer else {}))

    world.drain()

    status = world.status(receipt)
    assert (status["applied"], status["rejected"]) == ((2_000, 0) if prefer else (1, 1_999))
    assert world.value("SELECT n FROM things") == 0
    assert len(statements) < 60


def test_a_batch_that_needs_many_invocations_gets_done_with_its_neighbours(world: World) -> None:
    world.execute("""
        CREATE FUNCTION public.dawdle() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_sleep(0.02); RETURN NEW; END $$;
        CREATE TRIGGER dawdle BEFORE INSERT ON things FOR EACH ROW EXECUTE FUNCTION dawdle();
    """)
    one_key = [{"id": 1, "n": n} for n in range(120)]
    many = world.post("things", one_key, Prefer="resolution=merge-duplicates")
    sparse = world.post(
        "things",
        [{"id": n, **{f"c{b}": n for b in range(16) if n >> b & 1}} for n in range(2, 120)],
    )
    neighbour = world.post("parents", {"id": 1})
    queue = Queue(world, invocation=5)
    queue.send()

    queue.run_to_the_end(3_000)

    assert states(world, [many, sparse, neighbour]) == ["applied"] * 3
    assert world.value("SELECT n FROM things WHERE id = 1") == 119
    assert world.value("SELECT count(*) FROM things") == 119


def visited(world: World) -> int:
    """Rows that Postgres looks at to find what of the writes that wait is due."""
    bound = {"own": [], "limit": 2_000, "began": "now", "slow": False, "others": True}
    with closing(psycopg2.connect(world.url)) as own, own.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {waiting._TAKE}", bound)
        ((((plan),),),) = cursor.fetchall()
    return rows_of_plan(plan["Plan"])


def rows_of_plan(node: dict[str, Any]) -> int:
    rows = sum(value for name, value in node.items() if name.startswith("Rows Removed by"))
    own = int((node["Actual Rows"] + rows) * node["Actual Loops"])
    return own + sum(map(rows_of_plan, node.get("Plans", [])))


def test_many_writes_behind_one_of_their_key_are_looked_at_once_each(world: World) -> None:
    more = """
        INSERT INTO decanter.waiting (dedup_id, item, digest, reason, message)
        SELECT gen_random_uuid(), 0, CASE WHEN n < 1900 THEN 1 ELSE n % 3 END, 'key', ''
        FROM generate_series(1, 2000) AS n;
        ANALYZE decanter.waiting
    """
    world.execute(more)
    few = visited(world)

    world.execute(more)

    assert visited(world) < 3 * few


def test_what_others_have_waiting_keeps_no_batch_for_long(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry_waiting, "_WRITES_AT_ONCE", 5)
    orphans = [world.post("children", {"id": n, "parent": n}) for n in range(30)]
    world.drain()
    world.execute("INSERT INTO parents SELECT generate_series(0, 29)")
    world.execute("UPDATE decanter.waiting SET tried_at = tried_at - interval '1 min'")
    good = world.post("things", {"id": 1})

    world.drain()

    assert states(world, [good]) == ["applied"]
    assert waits(world) == [("parent", 25)]
    handler.drain({"source": "aws.events"}, Context(30), take)
    assert set(states(world, orphans)) == {"applied"}


def test_a_batch_is_done_with_all_of_its_own_that_waits(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry_waiting, "_WRITES_AT_ONCE", 5)
    world.post("children", [{"id": n, "parent": n} for n in range(30)])
    entries = list(world.queued)
    world.drain(entries)
    world.execute("INSERT INTO parents SELECT generate_series(0, 29)")

    assert world.drain(entries, 2) == {"batchItemFailures": []}

    assert waits(world) == []


def test_a_turn_that_is_too_long_for_an_invocation_is_made_shorter(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.post("children", [{"id": n, "parent": n} for n in range(100)])
    world.drain()
    world.execute("INSERT INTO parents SELECT generate_series(0, 99)")
    again = waiting.take

    def long(running: Transaction, own: Any, limit: int, *rest: Any, **more: Any) -> Any:
        if limit > 50:
            raise OutOfTime("there is no time left for the next statement")
        return again(running, own, limit, *rest, **more)

    monkeypatch.setattr(waiting, "take", long)
    world.make_due()
    handler.drain({"source": "aws.events"}, Context(30), take)

    assert waits(world) == []


def test_a_write_that_was_not_reached_keeps_its_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.post("children", {"id": 1, "parent": 5})
    world.post("children", {"id": 1, "parent": 5})
    world.drain()
    world.execute("UPDATE decanter.waiting SET waited = 80, tried_at = tried_at - interval '1 min'")
    before = world.execute("TABLE decanter.waiting")

    with monkeypatch.context() as patch:
        patch.setattr(outcome.TimeLimit, "is_over", True)
        handler.drain({"source": "aws.events"}, Context(4), take)
    assert world.execute("TABLE decanter.waiting") == before

    handler.drain({"source": "aws.events"}, Context(30), take)
    assert world.rejections("type") == [("missing-parent",)]


@pytest.mark.parametrize("digest", [1 << 70, -(1 << 70), 1 << 64, -1])
def test_digests_that_are_none_of_ours_harm_nobody(world: World, digest: int) -> None:
    world.post("children", {"id": 1, "parent": 5})
    world.drain()
    world.queued = []
    world.post("children", {"id": 2, "parent": 5})
    good = world.post("things", {"id": 2})
    strange = changed(
        world.queued[0], lambda m: m._replace(sets=(m.sets[0]._replace(digests=(digest,)),))
    )

    world.drain([strange, world.queued[1]])

    assert states(world, [good]) == ["applied"]
    assert waits(world) == [("parent", 2)]


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "k"}])
def test_a_write_that_waits_for_longer_than_the_ledger_remembers_is_known(
    world: World, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]
) -> None:
    world.execute("ALTER TABLE things RENAME TO gone")
    then = time.time() - 70 * 86_400
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: then)
        receipt = world.post("things", {"id": 1}, **headers)
        world.drain()
    world.execute("UPDATE decanter.ledger SET poured_at = poured_at - interval '70 days'")
    forget("sweep")

    sweep(Context(30))

    status = world.status(receipt)
    assert (status["state"], status["applied"]) == ("pending", 0)
    world.execute("ALTER TABLE gone RENAME TO things")
    handler.drain({"source": "aws.events"}, Context(30), take)
    assert states(world, [receipt]) == ["applied"]
    assert world.value("SELECT count(*) FROM things") == 1
    sweep(Context(30))
    assert world.poured() == 0
    forget("sweep")


def test_a_turn_of_what_waits_that_runs_out_of_time_fails_no_batch(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.post("children", {"id": 1, "parent": 5})
    world.drain()
    world.queued = []

    def slow(*_: Any, **__: Any) -> None:
        raise StatementTimedOut("canceling statement due to statement timeout")

    monkeypatch.setattr(waiting, "take", slow)
    good = world.post("things", {"id": 1})

    assert world.drain() == {"batchItemFailures": []}

    assert states(world, [good]) == ["applied"]


# Kept by one version, poured by another


def test_what_a_newer_version_has_kept_waits_for_it_with_its_key(world: World) -> None:
    first = world.post("children", {"id": 1, "parent": 5})
    second = world.patch("children", 1, {"n": 1})
    entries = list(world.queued)
    world.drain(entries)
    kept = world.value("SELECT message FROM decanter.waiting WHERE reason = 'parent'")
    newer = "UPDATE decanter.waiting SET message = %s WHERE reason <> 'key'"
    world.execute(newer, kept.replace('{"v":1', '{"v":99', 1))
    world.execute("INSERT INTO parents VALUES (5)")
    other = world.post("parents", {"id": 6})

    world.drain(entries + world.queued[-1:], 2)

    assert states(world, [first, second, other]) == ["pending", "pending", "applied"]
    assert waits(world) == [("key", 1), ("schema", 1)]
    world.execute(newer, kept)
    world.drain(entries, 3)
    assert states(world, [first, second]) == ["applied"] * 2


def test_what_a_newer_version_has_kept_does_not_hold_up_what_is_before_it(world: World) -> None:
    first = world.post("children", {"id": 1, "parent": 5})
    second = world.patch("children", 1, {"n": 1})
    third = world.patch("children", 1, {"n": 2})
    entries = list(world.queued)
    world.drain(entries)
    world.execute(
        "UPDATE decanter.waiting SET message = overlay(message PLACING '{\"v\":99' FROM 1 FOR 6)"
        " WHERE place = (SELECT min(place) FROM decanter.waiting WHERE reason = 'key')"
    )
    world.execute("INSERT INTO parents VALUES (5)")

    world.drain(entries, 2)

    assert states(world, [first, second, third]) == ["applied", "pending", "pending"]
    assert waits(world) == [("key", 1), ("schema", 1)]


def test_what_the_models_no_longer_take_is_rejected_where_it_waits(world: World) -> None:
    receipt = world.post("children", {"id": 1, "parent": 5})
    entries = list(world.queued)
    world.drain(entries)
    world.execute("""
        UPDATE decanter.waiting SET message = replace(message, '"parent"', '"gone"')
    """)

    assert world.drain(entries, 2) == {"batchItemFailures": []}

    assert states(world, [receipt]) == ["rejected"]
    assert world.rejections() == [(0, "schema-mismatch")]


# Without messages


def test_an_invocation_without_messages_settles_what_waits(world: World) -> None:
    receipt = world.post("children", {"id": 1, "parent": 5})
    world.drain()
    world.execute("INSERT INTO parents VALUES (5)")

    assert handler.drain({"source": "aws.events"}, Context(30), take) == {"batchItemFailures": []}

    assert states(world, [receipt]) == ["applied"]


def test_any_drain_settles_what_waits_when_its_parent_comes(world: World) -> None:
    children = [world.post("children", {"id": n, "parent": n}) for n in range(3)]
    world.drain()
    world.make_due()
    world.post("parents", [{"id": n} for n in range(3)])

    world.drain()

    assert states(world, children) == ["applied"] * 3


def test_a_write_waits_behind_one_of_its_key_whose_message_is_done(world: World) -> None:
    first = world.post("children", {"id": 1, "parent": 5, "n": 1})
    world.drain()
    second, other = world.patch("children", 1, {"n": 2}), world.post("things", {"id": 1})

    world.drain()

    assert states(world, [first, second, other]) == ["pending", "pending", "applied"]
    assert waits(world) == [("key", 1), ("parent", 1)]
    world.post("parents", {"id": 5})
    world.make_due()
    world.drain()
    assert world.execute("SELECT id, parent, n FROM children") == [(1, 5, 2)]
    assert waits(world) == []


def test_a_client_that_has_no_patience_is_answered_at_once(world: World) -> None:
    rows = [{"id": n, "parent": n} for n in range(4)]
    world.execute("INSERT INTO parents VALUES (0), (1)")
    hasty = world.post("children", rows, Prefer="missing-parent=reject")
    patient = world.post("children", [{"id": 10 + n, "parent": n} for n in range(4)])
    changed = world.patch("children", 0, {"parent": 7}, Prefer="missing-parent=reject")

    world.drain()

    assert states(world, [hasty, patient, changed]) == ["partial", "pending", "rejected"]
    assert {each["item"] for each in world.status(hasty)["rejections"]} == {2, 3}
    assert waits(world) == [("parent", 2)]


# Rows and tables that are not as they should be


@pytest.mark.parametrize("bad", ['{"id":\u00a07}', '{"id":7', '{"id":NaN}', '{"id": "},{"', "[7]"])
def test_a_row_that_is_not_json_costs_no_row_beside_it(world: World, bad: str) -> None:
    receipt = world.post("log", [{"line": "},{ " + str(n)} for n in range(20)])
    (entry,) = world.queued
    broken = changed(
        entry,
        lambda message: message._replace(
            sets=(
                message.sets[0]._replace(
                    text=message.sets[0].rows.replace(ROW_7, bad), documents=None
                ),
            )
        ),
    )

    world.drain([broken])

    status = world.status(receipt)
    assert (status["applied"], [each["item"] for each in status["rejections"]]) == (19, [7])


ROW_7 = '{"line":"},{ 7"}'


@pytest.mark.parametrize(
    ("mismatch", "cure"),
    [
        (
            "ALTER TABLE things DROP CONSTRAINT things_pkey",
            "ALTER TABLE things ADD PRIMARY KEY (id)",
        ),
        ("ALTER TABLE things RENAME n TO m", "ALTER TABLE things RENAME m TO n"),
        ("ALTER TABLE things RENAME TO gone", "ALTER TABLE gone RENAME TO things"),
        ("ALTER TABLE things SET SCHEMA decanter", "ALTER TABLE decanter.things SET SCHEMA public"),
    ],
)
def test_a_table_that_is_not_as_the_models_say_holds_up_its_own_writes_only(
    world: World, mismatch: str, cure: str
) -> None:
    world.execute(mismatch)
    receipts = [
        world.put("things", 1, {"n": 1}),
        world.post("things", {"id": 2, "n": 1}, Prefer="resolution=merge-duplicates"),
    ]
    others = [world.post("parents", {"id": 1}), world.post("log", {"line": "x", "parent": 1})]
    entries = list(world.queued)

    world.drain(entries)

    assert states(world, others) == ["applied"] * 2
    assert states(world, receipts) == ["pending"] * 2
    world.execute(cure)
    world.drain(entries, 2)
    assert states(world, receipts) == ["applied"] * 2
    assert world.rejections() == []


@pytest.mark.needs("waits_for_locks")
def test_children_of_a_parent_that_waits_for_a_lock_are_not_given_up(world: World) -> None:
    world.execute("INSERT INTO parents VALUES (1, 0)")
    with closing(psycopg2.connect(world.url)) as other:
        other.cursor().execute("LOCK parents IN SHARE ROW EXCLUSIVE MODE")
        parent = world.post("parents", {"id": 2})
        child = world.post("log", {"line": "x", "parent": 2})
        entries = list(world.queued)
        world.drain(entries, seconds=6)
        world.execute("UPDATE decanter.waiting SET waited = 1000")

        world.drain(entries, 2, seconds=6)

        assert states(world, [parent, child]) == ["pending"] * 2
    world.drain(entries, 3)
    assert states(world, [parent, child]) == ["applied"] * 2
