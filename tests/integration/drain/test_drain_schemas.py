"""Schemas and values that nobody had designed for, and the time that a batch of them takes."""

import enum
import json
import logging
import re
from collections.abc import Callable
from contextlib import closing
from itertools import count
from typing import Any

import psycopg2
import pytest
from sqlalchemy import (
    ARRAY,
    CHAR,
    JSON,
    Column,
    Date,
    DateTime,
    Enum,
    FetchedValue,
    Float,
    ForeignKey,
    Identity,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    Time,
    text,
)
from sqlalchemy.dialects.postgresql import (
    INET,
    JSONB,
    REGCLASS,
    TSQUERY,
    TSTZRANGE,
    ExcludeConstraint,
)

from chalicelib.contract import resources
from chalicelib.errors import NotConfigured, Problem
from chalicelib.messages.message import decode, encode
from chalicelib.migrate.breaking_changes import mismatches
from chalicelib.postgres.connecting import connection
from chalicelib.postgres.resources import ModelError, resources_of
from chalicelib.postgres.sql.statements import statement
from tests.kit.clocks import ByStatements
from tests.kit.growth import LINEAR, growth
from tests.kit.plans import Visited
from tests.kit.waiting import LONG
from tests.kit.world import World, without_patience

MakeWorld = Callable[[MetaData], World]


def states(world: World, receipts: list[str]) -> list[str]:
    return [world.status(receipt)["state"] for receipt in receipts]


@pytest.mark.parametrize(
    ("kind", "good", "bad"), [(TSQUERY, "a & b", "a & & b"), (REGCLASS, "pg_class", "nosuch")]
)
def test_a_value_that_looks_like_a_fault_of_the_schema_blocks_nobody(
    make_world: MakeWorld, kind: type, good: str, bad: str
) -> None:
    metadata = MetaData()
    Table("odd", metadata, Column("id", Integer, primary_key=True), Column("value", kind))
    world = make_world(metadata)
    receipts = [
        world.post("odd", {"id": n, "value": value}) for n, value in enumerate((good, bad, good))
    ]

    world.drain()

    assert states(world, receipts) == ["applied", "rejected", "applied"]


def test_a_row_that_a_policy_refuses_blocks_nobody(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    metadata = MetaData()
    Table("things", metadata, Column("id", Integer, primary_key=True))
    world = make_world(metadata)
    world.execute("ALTER TABLE things ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    world.execute("CREATE POLICY small ON things USING (true) WITH CHECK (id < 10)")
    world.execute("CREATE ROLE writer LOGIN PASSWORD 'w' NOSUPERUSER")
    try:
        world.execute("GRANT ALL ON ALL TABLES IN SCHEMA public, decanter TO writer")
        world.execute("GRANT USAGE ON SCHEMA public, decanter TO writer")
        monkeypatch.setenv("DECANTER_DATABASE_URL", re.sub("//.*@", "//writer:w@", world.url))
        receipts = [world.post("things", {"id": n}) for n in (1, 11, 2)]

        world.drain()

        assert states(world, receipts) == ["applied", "rejected", "applied"]
        assert world.rejections() == [(0, "trigger")]
    finally:
        connection.forget("drain")
        connection.forget("reader")
        world.execute("DROP OWNED BY writer; DROP ROLE writer")


def test_names_of_columns_count_and_not_sqlalchemys_keys(make_world: MakeWorld) -> None:
    metadata = MetaData()
    Table(
        "things",
        metadata,
        Column("Id", Integer, primary_key=True, key="ident"),
        Column("Label", Text, key="label"),
    )
    world = make_world(metadata)
    receipts = [
        world.post("things", {"Id": 1, "Label": "a"}),
        world.patch("things", 1, {"Label": "b"}),
        world.put("things", 2, {"Label": "c"}),
    ]

    for _ in receipts:
        world.drain([world.queued.pop(0)])

    assert states(world, receipts) == ["applied"] * 3
    assert world.execute('SELECT * FROM things ORDER BY "Id"') == [(1, "b"), (2, "c")]


def test_a_message_that_names_a_member_twice_is_foreign(make_world: MakeWorld) -> None:
    metadata = MetaData()
    Table("things", metadata, Column("id", Integer, primary_key=True))
    world = make_world(metadata)
    world.post("things", {"id": 1})
    (entry,) = world.queued
    doubled = entry.body.replace('["id"]', '["id","id"]')
    good = world.post("things", {"id": 2})

    world.drain([doubled, world.queued[1]])

    assert doubled != entry.body
    assert world.rejections() == [(0, "foreign-message")]
    assert states(world, [good]) == ["applied"]


def test_a_deferrable_key_is_refused_by_the_contract() -> None:
    metadata = MetaData()
    Table("things", metadata, Column("id", Integer), PrimaryKeyConstraint("id", deferrable=True))

    with pytest.raises(ModelError, match="things"):
        resources_of(metadata)


def test_a_column_with_one_of_our_names_is_refused_by_the_contract() -> None:
    metadata = MetaData()
    Table("things", metadata, Column("decanter:place", Integer, primary_key=True))

    with pytest.raises(ModelError, match="decanter:place"):
        resources_of(metadata)


def test_a_default_that_only_python_knows_is_refused_by_the_contract() -> None:
    metadata = MetaData()
    Table(
        "things",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("data", JSONB, default=JSON.NULL),
    )

    with pytest.raises(ModelError, match=r"things\.data"):
        resources_of(metadata)


def test_rows_that_are_each_others_parents_survive_a_bad_neighbour(make_world: MakeWorld) -> None:
    metadata = MetaData()
    Table(
        "nodes",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("parent", Integer, ForeignKey("nodes.id")),
    )
    world = make_world(metadata)
    pair = world.post("nodes", [{"id": 2, "parent": 3}, {"id": 3, "parent": 2}])
    # The pair in one lane, so that it can be one statement at all.
    orphan = world.post("nodes", {"id": 9, "parent": 99})
    entries, world.queued = world.queued, []
    messages = [decode(entry.body) for entry in entries]

    world.drain([encode(message) for message in messages])
    with without_patience():
        world.drain_by_schedule()

    assert states(world, [pair, orphan]) == ["applied", "rejected"]


def test_a_rejection_shows_nothing_of_other_rows(make_world: MakeWorld) -> None:
    metadata = MetaData()
    Table(
        "bookings",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("during", TSTZRANGE),
        ExcludeConstraint(("during", "&&"), name="no_overlap"),
    )
    world = make_world(metadata)
    world.execute("INSERT INTO bookings VALUES (1, '[2026-01-01 10:17+00,2026-01-01 12:34+00)')")

    receipt = world.post(
        "bookings", {"id": 2, "during": "[2026-01-01T00:00:00Z,2027-01-01T00:00:00Z)"}
    )
    world.drain()

    (rejection,) = world.status(receipt)["rejections"]
    assert rejection["type"] == "conflict"
    assert "10:17" not in str(rejection)


def test_the_reason_of_a_rejection_is_bounded(make_world: MakeWorld) -> None:
    metadata = MetaData()
    Table("things", metadata, Column("id", Integer, primary_key=True), Column("q", TSQUERY))
    world = make_world(metadata)

    receipt = world.post("things", {"id": 1, "q": "a &" * 10_000})
    world.drain()

    (rejection,) = world.status(receipt)["rejections"]
    assert len(rejection["reason"]) < 1_100
    assert " … (29,025 more characters) … " in rejection["reason"]
    world.execute("""
        CREATE FUNCTION say() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            RAISE 'no' USING CONSTRAINT = repeat('c', 1000000), COLUMN = repeat('d', 1000000);
        END $$;
        CREATE TRIGGER say BEFORE INSERT ON things FOR EACH ROW EXECUTE FUNCTION say()
    """)
    receipt = world.post("things", [{"id": n} for n in (2, 3)])
    world.drain()
    assert len(json.dumps(world.status(receipt))) < 2_000


def unique_things(make_world: MakeWorld) -> World:
    metadata = MetaData()
    Table(
        "things",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("a", Integer),
        Column("b", Text),
        info={"ordered": False},
    )
    world = make_world(metadata)
    world.execute("CREATE UNIQUE INDEX only_in_the_database ON things (a, b)")
    return world


def test_conflicts_with_an_index_the_models_do_not_know_are_found_at_once(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = unique_things(make_world)
    rows = [{"id": n, "a": n, "b": "x"} for n in range(8_000)]
    world.post("things", rows)
    world.drain(seconds=LONG)
    ids = count(50_000)
    visited = Visited(monkeypatch)

    def work(times: int) -> Callable[[], None]:
        def drain() -> None:
            again = [{**row, "id": next(ids)} for row in rows[: 1_000 * times]]
            receipt = world.post("things", [*again, {"id": next(ids), "a": None}])
            visited.forget()
            world.drain(seconds=LONG)
            status = world.status(receipt)
            assert (status["applied"], status["rejected"]) == (1, 1_000 * times)

        return drain

    work(1)()
    statements = visited.statements
    assert statements < 20
    assert 1_000 < visited.rows < 10 * (len(rows) + 1_000)
    work(2)()
    assert visited.statements == statements
    assert growth(work) < LINEAR


def checked_things(make_world: MakeWorld) -> World:
    metadata = MetaData()
    Table(
        "things",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("n", Integer),
        info={"ordered": False},
    )
    world = make_world(metadata)
    world.execute("ALTER TABLE things ADD CHECK (n > 0)")
    return world


def test_a_batch_of_bad_rows_keeps_to_its_time_and_gets_done_in_parts(
    make_world: MakeWorld,
) -> None:
    world = checked_things(make_world)
    receipts = [
        world.post("things", [{"id": part * 100 + n, "n": -1} for n in range(100)])
        for part in range(6)
    ]
    parts = 0
    with pytest.MonkeyPatch.context() as monkeypatch:
        clock = ByStatements(monkeypatch, 0.5)
        for drain in (world.drain, *[world.drain_by_schedule] * 10):
            started = clock.now
            drain(seconds=LONG)
            assert clock.now < started + LONG
            parts += 1
            if not world.value("SELECT count(*) FROM decanter.waiting"):
                break

    assert parts > 1, "the batch has to be too much for one invocation"
    assert states(world, receipts) == ["rejected"] * 6


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg2://app:S3CRET@127.0.0.1/x",
        "postgres//app:S3CRET@127.0.0.1/x",
        "postgresql://app:S3@CRET@127.0.0.1:1/x",
        "postgresql://app:S3/CRET@127.0.0.1:1/x",
    ],
)
def test_a_malformed_url_is_reported_without_its_password(
    make_world: MakeWorld,
    url: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    metadata = MetaData()
    Table("things", metadata, Column("id", Integer, primary_key=True))
    world = make_world(metadata)
    world.post("things", {"id": 1})
    monkeypatch.setenv("DECANTER_DATABASE_URL", url)

    with caplog.at_level(logging.DEBUG), pytest.raises(NotConfigured) as caught:
        world.drain()

    shown = f"{caught.value} {caplog.text} {caught.value.__cause__} {caught.value.__context__}"
    assert "CRET" not in shown
    assert "DECANTER_DATABASE_URL" in shown


def tenants_things(type_: Any, default: dict[str, Any]) -> MetaData:
    """Things with a key of which a default makes the first part."""
    metadata = MetaData()
    Table(
        "things",
        metadata,
        Column("tenant", type_, primary_key=True, **default),
        Column("id", Integer, primary_key=True),
        Column("name", Text),
    )
    return metadata


@pytest.mark.parametrize(
    "default",
    [
        {"server_default": "main"},
        {"server_default": text("'main'")},
        {"server_default": text("'main'::text")},
        {"default": "main"},
    ],
)
def test_a_key_that_a_default_completes_shares_the_lane_of_the_whole_key(
    make_world: MakeWorld, default: dict[str, Any]
) -> None:
    world = make_world(tenants_things(Text, default))
    world.post("things", [{"id": n} for n in range(20)])
    created = {entry.lane for entry in world.queued}

    for n in range(20):
        world.patch("things", ("main", n), {"name": "changed"})

    lanes: dict[str | None, list[str]] = {}
    for entry in reversed(world.queued):  # each lane in order, lanes in any
        lanes.setdefault(entry.lane, []).insert(0, entry.body)
    for bodies in lanes.values():
        world.drain(bodies)
    assert set(lanes) == created
    assert world.value("SELECT count(*) FROM things WHERE name = 'changed'") == 20


def test_a_key_that_postgres_always_makes_cannot_be_put(make_world: MakeWorld) -> None:
    metadata = MetaData()
    Table(
        "things",
        metadata,
        Column("id", Integer, Identity(always=True), primary_key=True),
        Column("name", Text),
    )
    world = make_world(metadata)
    world.post("things", {"name": "made"})
    world.drain()

    with pytest.raises(Problem) as caught:
        world.put("things", 1, {"name": "put"})
    world.patch("things", 1, {"name": "patched"})
    world.drain()

    assert (caught.value.status, caught.value.type) == (405, "op-not-allowed")
    assert world.execute("SELECT * FROM things") == [(1, "patched")]


def test_a_system_column_of_the_models_is_read_and_never_written(make_world: MakeWorld) -> None:
    metadata = MetaData()
    Table(
        "things",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("n", Integer),
        Column("xmin", Text, system=True, server_default=FetchedValue()),  # version_id_col
    )
    world = make_world(metadata)
    receipts = [
        world.post("things", {"id": 1, "n": 1}),
        world.put("things", 1, {"n": 2}),
        world.patch("things", 1, {"n": 3}),
    ]

    world.drain()

    assert states(world, receipts) == ["applied"] * 3
    with pytest.raises(Problem):
        world.post("things", {"id": 2, "xmin": "1"})
    assert '"xmin":"' in world.row("things", id=1)
    assert list(resources.resource("things").filters) == ["id", "n"]
    with closing(psycopg2.connect(world.url)) as own, own.cursor() as cursor:
        assert mismatches(cursor, resources_of(metadata).values()) == []


@pytest.mark.parametrize("schema", [None, "elsewhere"])
def test_a_unique_value_that_a_namesake_refers_to_waits_for_no_parent(
    make_world: MakeWorld, schema: str | None
) -> None:
    metadata = MetaData()
    things = Table(
        "things",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("code", Text, unique=True),
        Column("above", Text, ForeignKey("things.code")),
    )
    if schema:
        own = [Column("id", Integer, primary_key=True), Column("c", ForeignKey(things.c.code))]
        Table("things", metadata, *own, schema=schema, info={"resource": "others"})
    world = make_world(metadata)
    world.execute("INSERT INTO things VALUES (1, 'a', NULL)")
    world.execute(
        "INSERT INTO elsewhere.things VALUES (1, 'a')"
        if schema
        else "INSERT INTO things VALUES (2, 'b', 'a')"
    )

    receipt = world.patch("things", 1, {"code": "c"})
    world.drain()

    assert states(world, [receipt]) == ["rejected"]
    assert world.rejections() == [(0, "still-referenced")]


def test_a_column_may_be_called_minus(make_world: MakeWorld) -> None:
    metadata = MetaData()
    columns = [Column("id", Integer, Identity(), primary_key=True)]
    Table("things", metadata, *columns, Column("-", Text, default=lambda: "made"))
    world = make_world(metadata)

    receipt = world.post("things", [{}, {}])
    world.drain()

    assert states(world, [receipt]) == ["applied"]
    assert world.execute('SELECT "-" FROM things') == [("made",)] * 2


def test_clients_choose_the_members_and_fill_no_memory(make_world: MakeWorld) -> None:
    metadata = MetaData()
    columns = [Column(f"c{n}", Integer) for n in range(11)]
    Table("things", metadata, *columns, info={"ordered": False})
    world = make_world(metadata)

    receipt = world.post("things", [{f"c{n}": 1 for n in range(11) if i >> n & 1}
                                    for i in range(1, 1_200)])  # fmt: skip
    world.drain(seconds=LONG)

    assert states(world, [receipt]) == ["applied"]
    assert statement.cache_info().currsize <= 1_000


class Color(enum.Enum):
    RED = "red"


VALUES = Enum(Color, name="color", values_callable=lambda colors: [each.value for each in colors])


@pytest.mark.parametrize(
    ("type_", "default", "spelled"),
    [
        (CHAR(4), {"server_default": "CH"}, "CH"),
        (INET, {"server_default": "10.0.0.1"}, "10.0.0.1/32"),
        (Float, {"server_default": text("1.5")}, "1.50"),
        (Time, {"server_default": "10:00:00"}, "10:00:00"),
        (Date, {"server_default": "2020-01-01"}, "2020-01-01"),
        (
            DateTime(timezone=True),
            {"server_default": "2020-01-01 02:00+02"},
            "2020-01-01T00:00:00Z",
        ),
        (DateTime, {"server_default": "2020-01-01"}, "2020-01-01T00:00:00"),
        (VALUES, {"default": Color.RED}, "red"),
    ],
)
def test_a_default_shares_the_lane_of_any_spelling_of_it(
    make_world: MakeWorld, type_: Any, default: dict[str, Any], spelled: str
) -> None:
    world = make_world(tenants_things(type_, default))
    for n in range(5):
        world.post("things", {"id": n})
        world.patch("things", (spelled, n), {"name": "changed"})
    lanes = [entry.lane for entry in world.queued]

    world.drain()

    assert lanes[::2] == lanes[1::2]
    assert world.value("SELECT count(*) FROM things WHERE name = 'changed'") == 5


def test_a_moment_that_is_another_one_each_time_is_no_constant(make_world: MakeWorld) -> None:
    metadata = MetaData()
    for name, type_ in (("a", Date), ("b", Time), ("c", DateTime), ("d", DateTime(timezone=True))):
        Table(name, metadata, Column("at", type_, primary_key=True, server_default="now"))
    make_world(metadata)

    assert [resources.resource(name).key[0].default for name in "abcd"] == [None] * 4


@pytest.mark.parametrize("made", ["constant", "callable"])
def test_defaults_of_python_that_json_does_not_know(make_world: MakeWorld, made: str) -> None:
    metadata = MetaData()
    values = {"colors": (ARRAY(VALUES), [Color.RED]), "most": (Float, float("inf"))}
    columns = [
        Column(name, type_, default=value if made == "constant" else lambda value=value: value)
        for name, (type_, value) in values.items()
    ]
    Table("things", metadata, Column("id", Integer, primary_key=True), *columns)
    world = make_world(metadata)

    receipt = world.post("things", {"id": 1})
    world.drain()

    assert states(world, [receipt]) == ["applied"]
    assert world.execute("SELECT colors::text, most FROM things") == [("{red}", float("inf"))]
