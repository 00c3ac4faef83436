"""Keys that the database makes are shown by the items of their rows, however these were poured."""

from contextlib import closing
from functools import cache
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import psycopg2
import pytest
from sqlalchemy import (
    CheckConstraint,
    Column,
    Computed,
    Date,
    FetchedValue,
    ForeignKey,
    Identity,
    Integer,
    MetaData,
    Numeric,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from chalicelib.postgres import retention
from chalicelib.postgres.connecting import connection
from chalicelib.sweep import handler
from tests.kit.world import Context, World, without_patience


@cache
def tables() -> MetaData:
    """Tables whose keys are made in many ways. `n` tells what the client sent."""
    metadata = MetaData()

    def table(name: str, *columns: Any, ordered: bool = True) -> None:
        n = Column("n", Integer, CheckConstraint("n < 1000"))
        Table(name, metadata, *columns, n, info={"ordered": ordered})

    table("log", Column("id", Integer, Identity(always=True), primary_key=True), ordered=False)
    table("serial", Column("id", Integer, primary_key=True))
    table("named", Column("id", Uuid, primary_key=True, server_default=text("gen_random_uuid()")))
    # All its rows may have one key, as far as digests tell: a message has a set for each of them.
    table("filled", Column("id", Text, primary_key=True, server_default=FetchedValue()))
    table("python", Column("id", Uuid, primary_key=True, default=uuid4),
          Column("kind", Text, default="a"))  # fmt: skip
    table("priced", Column("id", Numeric(6, 2), primary_key=True, server_default=text("1.50")))
    table("doc", Column("id", JSONB, primary_key=True, server_default=text("'\"1\"'")))
    table(
        "computed",
        Column("a", Text),
        Column("id", Text, Computed("a || '/%'", persisted=True), primary_key=True),
    )
    table("altered", Column("id", Text, primary_key=True, server_default=FetchedValue()),
          ordered=False)  # fmt: skip
    table("parents", Column("id", Integer, primary_key=True, autoincrement=False))
    table("children", Column("id", Integer, Identity(always=True), primary_key=True),
          Column("parent", ForeignKey("parents.id")), ordered=False)  # fmt: skip
    table("days", Column("site", Text, primary_key=True),
          Column("day", Date, primary_key=True, server_default=text("'2026-01-31'")))  # fmt: skip
    return metadata


@pytest.fixture
def world(make_world) -> World:
    world = make_world(tables())
    world.execute(
        """
        CREATE SEQUENCE filling;
        ALTER TABLE filled ALTER id SET DEFAULT 'no ' || nextval('filling');
        CREATE FUNCTION name_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF NEW.n = 13 THEN RETURN NULL; END IF;
            IF NEW.n = 14 THEN NEW.id := ''; RETURN NEW; END IF;
            NEW.id := 'no ' || NEW.n; RETURN NEW;
        END $$;
        CREATE TRIGGER name_it BEFORE INSERT ON altered FOR EACH ROW EXECUTE FUNCTION name_it();
        """
    )
    return world


def addresses(world: World, receipt: str) -> dict[int, str]:
    """The address of each item's row."""
    status = world.status(receipt)
    assert not status["truncated"]
    if "location" in status:
        return {0: status["location"]}
    found: dict[int, str] = {}
    for each in status.get("locations", ()):
        path, _, first = each["location"].rpartition("/")
        length = each.get("last_item", each["item"]) - each["item"] + 1
        if length > 1:
            assert each["last_location"] == f"{path}/{int(first) + length - 1}"
        for nth in range(length):
            key = first if length == 1 else int(first) + nth
            found[each["item"] + nth] = f"{path}/{key}"
    return found


def rows(world: World, name: str, key: str = "id") -> dict[int, str]:
    """Where the rows are, by their n."""
    return {
        n: f"/{name}/{quote(str(id_))}" for n, id_ in world.execute(f"SELECT n, {key} FROM {name}")
    }


@cache
def divided_tables() -> MetaData:
    """Tables that a cluster divides among its nodes; any other server has them as they are."""
    metadata = MetaData()
    for name, key in {
        "log": Column("id", Integer, Identity(always=True), primary_key=True),
        "serial": Column("id", Integer, primary_key=True),
        "named": Column("id", Uuid, primary_key=True, server_default=text("gen_random_uuid()")),
        "python": Column("id", Uuid, primary_key=True, default=uuid4),
    }.items():
        n = Column("n", Integer, CheckConstraint("n < 1000"))
        Table(name, metadata, key, n, Column("kind", Text, default="%"),
              info={"distribute_by": "id"})  # fmt: skip
    Table(
        "pairs",
        metadata,
        Column("site", Text, primary_key=True),
        Column("id", Integer, Identity(), primary_key=True),
        Column("n", Integer),
        info={"distribute_by": "site"},
    )
    return metadata


def test_each_item_has_the_key_of_its_row_and_a_rejected_one_none(world):
    keys_are_those_of_their_rows(world, "log", "serial", "named", "filled", "python")


def test_each_item_has_the_key_of_its_row_on_whichever_node(make_world):
    world = make_world(divided_tables())

    keys_are_those_of_their_rows(world, "log", "serial", "named", "python")

    for resolution in ("", "resolution=merge-duplicates", "resolution=ignore-duplicates"):
        sent = [{"site": f"s{n % 5}", "n": n} for n in range(30)]
        receipt = world.post("pairs", sent, Prefer=resolution)
        world.drain()
        there = {n: f"/pairs/{site}/{id_}" for n, site, id_ in
                 world.execute("SELECT n, site, id FROM pairs")}  # fmt: skip
        assert addresses(world, receipt) == there
        world.execute("DELETE FROM pairs")


def keys_are_those_of_their_rows(world: World, *names: str) -> None:
    for name in names:
        for start, bad in ((0, ()), (100, (0,)), (200, (3, 7, 8))):
            odd = [{"n": start + 50}, {"n": start + 51}]
            neighbour = world.post(name, odd)
            receipt = world.post(name, [{"n": 1000 if n in bad else start + n} for n in range(12)])
            one = world.post(name, {"n": start + 60})
            entries = [*world.queued]

            for _ in range(2):  # a redelivery changes nothing
                world.drain(entries)

                there = rows(world, name)
                good = {n: there[start + n] for n in range(12) if n not in bad}
                assert addresses(world, receipt) == good
                assert addresses(world, neighbour) == {0: there[start + 50], 1: there[start + 51]}
                assert addresses(world, one) == {0: there[start + 60]}
            world.queued.clear()


def test_whole_numbers_take_no_room(world):
    def size(count: int) -> int:
        world.post("log", [{"n": n % 1000} for n in range(count)])
        world.drain()
        table = "SELECT sum(pg_column_size(made_key.*)) FROM decanter.made_key"
        found = int(world.value(table))
        world.execute("TRUNCATE decanter.made_key")
        return found

    assert size(1_400) < 1.5 * size(14)  # each in one message, on any engine


def test_rows_of_one_message_in_several_sets_and_with_given_keys(world):
    receipt = world.post(
        "serial", [{"n": 0}, {"id": 1_000, "n": 1}, {"n": 2}, {"id": 1_001, "n": 3}, {}]
    )

    world.drain()

    there = rows(world, "serial")
    assert addresses(world, receipt) == {0: there[0], 2: there[2], 4: there[None]}
    given = world.post("serial", {"id": 5_000})
    before = world.value("SELECT count(*) FROM decanter.made_key")
    world.drain()
    assert addresses(world, given) == {}
    assert world.value("SELECT count(*) FROM decanter.made_key") == before


def test_a_row_that_waited_has_its_key_beside_those_that_did_not(world):
    world.post("parents", {"id": 1})
    world.drain()
    receipt = world.post(
        "children", [{"parent": parent, "n": n} for n, parent in enumerate((1, 2, 1, 3, 2))]
    )
    other = world.post("children", {"parent": 2, "n": 9})
    for entry in world.queued:
        world.drain([entry])
    world.queued.clear()
    assert sorted(addresses(world, receipt)) == [0, 2]
    assert addresses(world, other) == {}

    world.execute("INSERT INTO parents VALUES (2)")
    with without_patience():
        world.drain_by_schedule()

    there = rows(world, "children")
    assert addresses(world, receipt) == {n: there[n] for n in (0, 1, 2, 4)}
    assert addresses(world, other) == {0: there[9]}
    assert world.rejections() == [(3, "missing-parent")]


def test_each_row_that_is_written_is_reported_though_its_key_is_named_in_part(world):
    world.execute("INSERT INTO days (site) VALUES ('c'), ('d')")
    days = [{"site": site, "n": n} for n, site in enumerate("acbada")]
    address = {n: f"/days/{site}/2026-01-31" for n, site in enumerate("acbada")}

    ignoring = world.post("days", days, prefer="resolution=ignore-duplicates")
    world.drain()
    assert addresses(world, ignoring) == {0: address[0], 2: address[2]}

    merging = world.post("days", days, prefer="resolution=merge-duplicates")
    world.drain()
    assert addresses(world, merging) == address


def test_no_key_is_reported_for_another_item_where_a_trigger_changes_what_was_sent(world):
    world.execute(
        """
        CREATE FUNCTION move() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            NEW.site := 'b'; RETURN NEW;
        END $$;
        CREATE TRIGGER move BEFORE INSERT ON days FOR EACH ROW EXECUTE FUNCTION move()
        """
    )
    days = [{"site": "a", "n": 1}, {"site": "b", "n": 2}]
    ignoring = world.post("days", days, prefer="resolution=ignore-duplicates")
    world.drain()
    assert world.execute("SELECT site, n FROM days") == [("b", 1)]
    assert addresses(world, ignoring) == {}


GIVEN = (("z", 6), ("no 8", 8), ("a", 7))


def test_a_key_is_reported_as_it_was_stored(world):
    receipts = {
        "priced": world.post("priced", {"n": 1}),
        "doc": world.post("doc", {"n": 1}),
        "computed": world.post("computed", {"a": "ü b", "n": 1}),
        "empty": world.post("altered", {"n": 14}),
        "altered": world.post("altered", [{"n": 13}, {"n": 2}, {"n": 13}, {"n": 4}]),
        "ignoring": world.post(
            "altered", [{"n": 13}, {"n": 9}], prefer="resolution=ignore-duplicates"
        ),
        "given": world.post("altered", [{"id": id_, "n": n} for id_, n in GIVEN]),
    }

    world.drain()

    assert {name: addresses(world, each) for name, each in receipts.items()} == {
        "priced": {0: "/priced/1.50"},
        "doc": {0: "/doc/%221%22"},
        "empty": {},
        "computed": {0: "/computed/%C3%BC%20b%2F%25"},
        "altered": {1: "/altered/no%202", 3: "/altered/no%204"},
        "ignoring": {1: "/altered/no%209"},
        "given": {0: "/altered/no%206", 2: "/altered/no%207"},
    }
    assert sorted(world.rejections()) == [(0, "trigger"), (0, "trigger"), (2, "trigger")]


def test_rows_are_taken_where_postgres_would_refuse_to_tell_their_keys(world):
    world.execute(
        "CREATE RULE away AS ON INSERT TO log DO INSTEAD INSERT INTO parents VALUES (NEW.n)"
    )
    receipt = world.post("log", [{"n": 1}, {"n": 2}])

    world.drain()

    assert (world.status(receipt)["state"], addresses(world, receipt)) == ("applied", {})
    assert world.execute("SELECT id FROM parents ORDER BY id") == [(1,), (2,)]


def test_what_is_listed_goes_on_behind_an_item(world, monkeypatch):
    from chalicelib.reader import requests

    world.execute("INSERT INTO parents SELECT 1")
    receipt = world.post(
        "children",
        [{"parent": 1, "n": 1000 if n % 10 == 3 else n} for n in range(60)],
    )
    world.drain()
    whole = world.status(receipt)
    assert (whole["truncated"], len(whole["rejections"])) == (False, 6)
    monkeypatch.setattr(requests, "_LISTED_BYTES", 900)

    rejections, locations, pages, at = [], [], 0, {}
    while at is not None:
        page = world.status(receipt, **at)
        pages += 1
        rejections += page["rejections"]
        locations += page["locations"]
        assert page["causes"] == whole["causes"]
        left = page.get("unlisted")
        assert page["truncated"] == (left is not None)
        if left:
            assert left["rejections"] == 6 - len(rejections)
            listed = sum(each.get("last_item", each["item"]) - each["item"] + 1
                         for each in locations)  # fmt: skip
            assert left["locations"] == 54 - listed
        at = {"after_item": left["after_item"]} if left else None

    assert pages > 2
    assert (rejections, locations) == (whole["rejections"], whole["locations"])
    run = next(each for each in whole["locations"] if each.get("last_item", 0) > each["item"] + 1)
    rest = world.status(receipt, after_item=run["item"])["locations"][0]
    second = int(run["location"].rpartition("/")[2]) + 1
    assert rest == {**run, "item": run["item"] + 1, "location": f"/children/{second}"}


def test_keys_are_forgotten_with_their_messages(world):
    old = world.post("log", [{"n": 1}])
    waiting = world.post("children", [{"parent": 7}, {}])
    world.drain()
    for table in ("ledger", "made_key"):
        world.execute(f"UPDATE decanter.{table} SET poured_at = poured_at - interval '90 days'")
    kept = world.value("SELECT count(*) FROM decanter.made_key")

    handler.sweep(Context(30))
    connection.forget("sweep")

    assert (kept, world.value("SELECT count(*) FROM decanter.made_key")) == (2, 1)
    assert addresses(world, old) == {}
    assert list(addresses(world, waiting)) == [1]


def test_keys_of_messages_that_are_not_forgotten_yet_are_not_looked_through_by_each_sweep(world):
    world.post("log", [{"n": 1}], idempotency_key="k")
    world.drain()

    def asked(days: int) -> bool:
        for table in ("ledger", "made_key"):
            sql = f"UPDATE decanter.{table} SET poured_at = now() - interval '{days} days'"
            world.execute(sql)
        bound = {"days": handler._DAYS, "keyed_days": handler._KEYED_DAYS}
        query = (
            f"EXPLAIN ANALYZE SELECT FROM decanter.made_key WHERE {retention._SWEEPS['made_key']}"
        )
        with closing(psycopg2.connect(world.url)) as own, own.cursor() as cursor:
            cursor.execute(query, bound)
            plan = [line for (line,) in cursor.fetchall()]
        return any(" on ledger" in line and "never executed" not in line for line in plan)

    assert (asked(days=handler._KEYED_DAYS - 1), asked(days=handler._KEYED_DAYS + 1)) == (
        False,
        True,
    )
