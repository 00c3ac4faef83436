"""Sets by values are copied where that does what an INSERT does, and inserted elsewhere."""

import json
from collections.abc import Callable
from functools import cache
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Enum,
    Float,
    ForeignKey,
    Identity,
    Integer,
    Interval,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    Time,
    Uuid,
)
from sqlalchemy.dialects.postgresql import ARRAY, CHAR, DOMAIN, JSON, JSONB

from chalicelib.drain import pour, pour_fast
from chalicelib.messages.message import Message, RowSet, decode
from chalicelib.postgres.connecting.connection import Transaction
from chalicelib.postgres.resources import resources
from chalicelib.postgres.sql.copying import table_facts
from tests.kit.world import World, changed

OPTIONS = "(FORMAT csv, NULL 'null', ESCAPE E'\\\\')"
MakeWorld = Callable[[MetaData], World]

pytestmark = pytest.mark.needs("copy")


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every statement of a COPY. Sets of any size are copied."""
    monkeypatch.setattr(pour_fast, "_COPIED_ROWS", 1)
    seen: list[str] = []
    copy = Transaction.copy

    def noted(self: Transaction, sql: str, lines: str) -> int:
        seen.append(sql)
        return copy(self, sql, lines)

    monkeypatch.setattr(Transaction, "copy", noted)
    return seen


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No batch is poured in parts."""
    monkeypatch.delattr(pour, "pour_isolating")


def table(name: str, *columns: Any, ordered: bool = True) -> MetaData:
    metadata = MetaData()
    Table(name, metadata, *columns, info={"ordered": ordered})
    return metadata


@cache
def every_type() -> MetaData:
    columns = {
        "id": Integer,
        "big": BigInteger,
        "price": Numeric(12, 4),
        "exact": Numeric,
        "ratio": Float,
        "name": String(12),
        "note": Text,
        "code": CHAR(4),
        "is_on": Boolean,
        "day": Date,
        "at": DateTime(timezone=True),
        "local": DateTime,
        "hour": Time,
        "span": Interval,
        "token": Uuid,
        "mood": Enum("good", "so-so", name="mood"),
        "doc": JSONB,
        "raw": JSON,
        "odd 100%": Text,
    }
    return table(
        "things",
        *(
            Column(name, type_, primary_key=name == "id", autoincrement=False)
            for name, type_ in columns.items()
        ),
    )


PLAIN_ROWS: list[dict[str, Any]] = [
    {
        "id": 1,
        "big": 2**62,
        "price": 12.5,
        "exact": 1e-7,
        "ratio": 0.1,
        "name": "a,b;c",
        "note": "",
        "code": "x ",
        "is_on": True,
        "day": "2026-02-28",
        "at": "2026-01-01T00:00:00.123456+05:30",
        "local": "2026-01-01T00:00:00",
        "hour": "23:59:59",
        "span": "P1DT2H",
        "token": "6F9619FF-8B86-D011-B42D-00C04FC964FF",
        "mood": "so-so",
        "doc": {"q": [1.50, None, "x"]},
        "raw": [1, {"a": "}"}],
        "odd 100%": "50% %s",
    },
    {
        "id": 2,
        "big": -1,
        "price": 0,
        "exact": 0,
        "ratio": -1e300,
        "name": "null",
        "note": "NULL",
        "code": "",
        "is_on": False,
        "day": "2026-02-28",
        "at": "2026-01-01T00:00:00Z",
        "local": "2026-01-01T00:00:00",
        "hour": "00:00:00",
        "span": "P0D",
        "token": "6f9619ff-8b86-d011-b42d-00c04fc964ff",
        "mood": "good",
        "doc": "null",
        "raw": "text",
        "odd 100%": "ä€😀",
    },
    {
        "id": 3,
        "big": None,
        "price": None,
        "exact": None,
        "ratio": None,
        "name": None,
        "note": None,
        "code": None,
        "is_on": None,
        "day": None,
        "at": None,
        "local": None,
        "hour": None,
        "span": None,
        "token": None,
        "mood": None,
        "doc": None,
        "raw": None,
        "odd 100%": None,
    },
    {"id": 4, "note": "\u00a0 x", "doc": 12, "raw": None},
    {"id": 5, "note": "'", "doc": True, "raw": False},
    {"id": 6, "note": "a,b", "doc": {"a": ""}},
]
ROWS = [
    *PLAIN_ROWS,
    {"id": 7, "note": "two\nlines", "name": 'say "x"'},
    {"id": 8, "note": "tab\there \\. \\N", "doc": {"deep": [[[[[1]]]]], "esc": "\n"}},
    {"id": 9, "note": "\\.", "doc": True, "raw": False},
]  # fmt: skip


@pytest.mark.usefixtures("at_once")
def test_a_copy_stores_what_an_insert_stores(
    make_world: MakeWorld, copies: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(every_type())
    found = []
    for rows in (1, 10**9):
        monkeypatch.setattr(pour_fast, "_COPIED_ROWS", rows)
        world.execute("TRUNCATE things")
        receipt = world.post("things", json.dumps(ROWS, ensure_ascii=False).encode())
        sets = [each for entry in world.queued for each in decode(entry.body).sets]
        world.drain()
        assert world.status(receipt)["state"] == "applied"
        found.append(world.execute("SELECT things::text, doc::text, raw::text FROM things"))

    by_values = {item for each in sets if each.documents is not None for item in each.items}
    assert by_values == {*range(len(PLAIN_ROWS))}
    assert sorted(found[0]) == sorted(found[1])
    assert len(found[0]) == len(ROWS)
    assert copies
    assert all(each.startswith("COPY things ") for each in copies)


@pytest.mark.parametrize("rows", [99, 100])
def test_a_set_is_copied_from_a_hundred_rows_on(
    make_world: MakeWorld, copies: list[str], monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    world = make_world(table("log", KEYS["serial"](), Column("line", Text), ordered=False))
    monkeypatch.setattr(pour_fast, "_COPIED_ROWS", 100)

    for n in range(rows):
        world.post("log", {"line": str(n)})
    world.drain()

    assert world.value("SELECT count(DISTINCT line) FROM log") == rows
    assert len(copies) == (rows == 100)


KEYS: dict[str, Callable[[], Column[Any]]] = {
    "identity": lambda: Column("id", Integer, Identity(), primary_key=True),
    "always": lambda: Column("id", Integer, Identity(always=True, start=7), primary_key=True),
    "serial": lambda: Column("id", BigInteger, primary_key=True),
}


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.usefixtures("at_once")
def test_numbers_of_a_sequence_are_taken_before(
    make_world: MakeWorld, copies: list[str], kind: str, ordered: bool
) -> None:
    world = make_world(table("log", KEYS[kind](), Column("line", Text), ordered=ordered))
    receipts = [world.post("log", [{"line": f"{n}"}, {"line": f"{n}"}]) for n in range(2)]

    world.drain()

    keys = [(location["item"], location["location"]) for location in locations(world, receipts[1])]
    ((first, last),) = world.execute("SELECT min(id), max(id) FROM log WHERE line = '1'")
    assert copies == ["COPY log (id, line) FROM STDIN " + OPTIONS]
    assert (keys, last) == ([(0, f"/log/{first}")], first + 1)


def locations(world: World, receipt: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = world.status(receipt)["locations"]
    return found


@pytest.mark.parametrize(
    "default",
    [
        "ALTER TABLE log ALTER id SET DEFAULT 5",
        "ALTER TABLE log ALTER id SET DEFAULT nextval('log_id_seq') * 2",
        "ALTER TABLE log ALTER id TYPE smallint",
    ],
)
@pytest.mark.usefixtures("at_once")
def test_a_key_that_is_not_just_the_next_number_is_left_to_the_database(
    make_world: MakeWorld, copies: list[str], default: str
) -> None:
    world = make_world(table("log", KEYS["serial"](), Column("line", Text)))
    world.execute(default)

    receipt = world.post("log", {"line": "1"})
    world.drain()

    assert world.status(receipt)["location"] == f"/log/{world.value('SELECT id FROM log')}"
    assert copies == []


@pytest.mark.parametrize("kind", KEYS)
def test_numbers_are_taken_only_with_the_right_to_the_sequence(
    make_world: MakeWorld, kind: str
) -> None:
    world = make_world(table("log", KEYS[kind](), Column("line", Text)))
    query = table_facts(resources()["log"], takes_key=True).replace("%%", "%")
    role = f"writer_{uuid4().hex}"
    world.execute(f"CREATE ROLE {role}; GRANT ALL ON log TO {role}")
    as_role = f"BEGIN; SET LOCAL ROLE {role}; {query}"

    before = world.execute(as_role)[0][:2]
    world.execute(f"GRANT USAGE ON SEQUENCE log_id_seq TO {role}")

    assert (before, world.execute(as_role)[0][:2]) == ((True, None), (True, "log_id_seq"))


ODD = {
    "a trigger may leave rows out": """
        CREATE FUNCTION leave() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
        CREATE TRIGGER leave BEFORE INSERT ON things FOR EACH ROW EXECUTE FUNCTION leave()
    """,
    "a rule": "CREATE RULE nothing AS ON INSERT TO things WHERE NEW.id = 1 DO INSTEAD NOTHING",
    "a view": """
        ALTER TABLE things RENAME TO others; CREATE VIEW public.things AS SELECT * FROM others
    """,
    "another type": "ALTER TABLE things ALTER at TYPE timestamp",
    "a domain": "CREATE DOMAIN moment AS timestamptz; ALTER TABLE things ALTER at TYPE moment",
    "generated always": """
        ALTER TABLE things ALTER n SET NOT NULL, ALTER n ADD GENERATED ALWAYS AS IDENTITY
    """,
}


@pytest.mark.parametrize("change", ODD.values(), ids=list(ODD))
def test_into_another_table_than_the_model_says_rows_are_inserted(
    make_world: MakeWorld, copies: list[str], change: str
) -> None:
    world = make_world(
        table(
            "things",
            Column("id", Integer, primary_key=True, autoincrement=False),
            Column("at", DateTime(timezone=True)),
            Column("n", Integer),
        )
    )
    world.execute(change)

    world.post("things", [{"id": 1, "at": "2026-01-01T12:00:00+02:00"}, {"id": 2, "at": None}])
    world.drain()

    found = world.execute("SELECT at::text FROM things WHERE id = 1")
    assert found in ([], [("2026-01-01 10:00:00",)], [("2026-01-01 10:00:00+00",)])
    assert copies == []
    assert world.execute("SELECT id FROM things WHERE id = 2") or "trigger" in change


CHANGES = {
    **ODD,
    "a domain beside": "CREATE DOMAIN d AS text NOT NULL; ALTER TABLE things ADD d d",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_a_change_of_the_table_is_seen_at_once(
    make_world: MakeWorld, copies: list[str], change: str
) -> None:
    """Though what is known of it is up to half a minute old."""
    metadata = table(
        "things",
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("at", DateTime(timezone=True)),
        Column("n", Integer),
    )
    found = []
    for is_known in (True, False):
        world = make_world(metadata)
        if is_known:
            world.post("things", {"id": 7, "at": None, "n": 1})
            world.drain()
            world.execute("DELETE FROM things")
        world.execute(change)
        receipt = world.post("things", [{"id": 1, "at": "2026-01-01T12:00:00+02:00", "n": 1}])
        world.drain()
        status = world.status(receipt)
        found.append((status["state"], world.execute("SELECT id, at::text, n FROM things")))

    assert found[0] == found[1]
    assert len(copies) <= 2  # the first, and one that was refused


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("care", ["TRUNCATE things", "VACUUM FULL ANALYZE things"])
def test_care_for_a_table_changes_nothing(
    make_world: MakeWorld, copies: list[str], care: str
) -> None:
    key = Column("id", Integer, primary_key=True, autoincrement=False)
    world = make_world(table("things", key, Column("t", Text)))
    for id_ in range(2):
        world.post("things", {"id": id_, "t": "x"})
        world.drain()
        world.execute(care)

    assert len(copies) == 2


def test_a_key_that_was_sent_is_not_copied_into_one_that_is_generated_always(
    make_world: MakeWorld, copies: list[str]
) -> None:
    world = make_world(table("things", KEYS["serial"](), Column("t", Text)))
    world.execute("ALTER TABLE things ALTER id DROP DEFAULT")
    world.execute("ALTER TABLE things ALTER id ADD GENERATED ALWAYS AS IDENTITY")

    sent = world.post("things", {"id": 500, "t": "sent"})
    world.drain()
    world.post("things", {"t": "made"})
    world.drain()

    assert world.status(sent)["state"] != "applied"
    assert world.execute("SELECT id, t FROM things") == [(1, "made")]
    assert world.value("SELECT last_value FROM things_id_seq1") == 1  # not the old one
    assert copies == ["COPY things (id, t) FROM STDIN " + OPTIONS]


def test_a_column_with_a_domain_is_left_to_an_insert(
    make_world: MakeWorld, copies: list[str]
) -> None:
    key = Column("id", Integer, primary_key=True, autoincrement=False)
    domain = DOMAIN("strict", Text, not_null=True, metadata=MetaData())
    world = make_world(table("things", key, Column("d", domain), Column("t", Text)))

    world.post("things", {"id": 1, "d": "x", "t": "y"})
    world.drain()

    assert world.execute("SELECT t FROM things") == [("y",)]
    assert copies == []


@pytest.mark.parametrize("is_copied", [True, False])
def test_white_space_in_a_document_stays(
    make_world: MakeWorld, copies: list[str], monkeypatch: pytest.MonkeyPatch, is_copied: bool
) -> None:
    key = Column("id", Integer, primary_key=True, autoincrement=False)
    world = make_world(table("things", key, Column("doc", JSON)))
    monkeypatch.setattr(pour_fast, "_COPIED_ROWS", 1 if is_copied else 100)

    world.post("things", b'{"id":1,"doc":{"a":\t1 }}')
    world.post("things", b'{"id":2,"doc":"\xc2\xa0"}')
    world.drain()

    assert world.execute("SELECT doc::text FROM things ORDER BY id") == [
        ('{"a":\t1 }',),
        ('"\u00a0"',),
    ]


@pytest.mark.usefixtures("at_once")
def test_a_partitioned_table_is_copied_into(make_world: MakeWorld, copies: list[str]) -> None:
    world = make_world(table("things", Column("id", Integer, primary_key=True), Column("t", Text)))
    world.execute(
        "SET search_path = public; DROP TABLE things;"
        "CREATE TABLE things (id int PRIMARY KEY, t text) PARTITION BY LIST (id);"
        "CREATE TABLE one PARTITION OF things FOR VALUES IN (1);"
        "CREATE TABLE rest PARTITION OF things DEFAULT"
    )

    world.post("things", [{"id": 1, "t": "a"}, {"id": 2, "t": "b"}])
    world.drain()

    assert world.execute("SELECT t FROM one UNION ALL SELECT t FROM rest") == [("a",), ("b",)]
    assert len(copies) == 1


def test_rows_that_the_model_completes_stay_objects(make_world: MakeWorld) -> None:
    columns = [Column("id", Integer, primary_key=True, autoincrement=False)]
    world = make_world(
        table(
            "things",
            *columns,
            Column("made", Text, default=lambda: "made"),
            Column("list", ARRAY(Integer)),
        )
    )

    for row in ({"id": 1}, {"id": 2, "made": "sent"}, {"id": 3, "made": "sent", "list": [1]}):
        world.post("things", row)
    forms = [decode(each.body).sets[0].documents for each in world.queued]
    world.drain()

    assert forms == [None, (), None]
    assert world.execute("SELECT made, list FROM things ORDER BY id") == [
        ("made", None),
        ("sent", None),
        ("sent", [1]),
    ]


def test_of_an_unordered_table_no_key_is_copied(make_world: MakeWorld) -> None:
    """Two drains may have the same ones, in two orders."""
    key = Column("id", Integer, primary_key=True, autoincrement=False)
    world = make_world(table("things", key, Column("t", Text), ordered=False))

    world.post("things", [{"id": 1, "t": "a"}])

    assert decode(world.queued[0].body).sets[0].documents is None


def test_bad_rows_of_a_copied_set_cost_no_others(make_world: MakeWorld, copies: list[str]) -> None:
    metadata = MetaData()
    Table("parents", metadata, Column("id", Integer, primary_key=True, autoincrement=False))
    Table(
        "things",
        metadata,
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("parent", ForeignKey("parents.id", deferrable=True, initially="DEFERRED")),
        Column("n", Numeric(9, 2), CheckConstraint("n < 100", name="small")),
        Column("doc", JSONB),
    )
    world = make_world(metadata)
    world.post("parents", {"id": 1})
    receipt = world.post(
        "things",
        b'[{"id": 1, "parent": 1, "n": 1.50, "doc": {"a": "x"}},'
        b' {"id": 2, "parent": 9, "n": 2.50, "doc": null},'
        b' {"id": 3, "parent": 1, "n": 100.00, "doc": [1.0, "y"]},'
        b' {"id": 1, "parent": 1, "n": 4, "doc": "again"}]',
        Prefer="handling=strict",
    )

    world.drain_to_the_end()

    status = world.status(receipt)
    assert copies
    assert status["applied"] == 1
    assert {each["item"]: each["type"] for each in status["rejections"]} == {
        1: "missing-parent",
        2: "check",
        3: "conflict",
    }
    texts = dict(world.execute("SELECT item, row::text FROM decanter.rejection"))
    assert json.loads(texts[2]) == {"id": 3, "parent": 1, "n": 100.0, "doc": [1.0, "y"]}
    assert "100.00" in texts[2]
    assert json.loads(texts[3])["doc"] == "again"


@pytest.mark.usefixtures("at_once")
def test_two_sets_of_a_batch_are_both_copied(make_world: MakeWorld, copies: list[str]) -> None:
    metadata = MetaData()
    for name in ("a", "b%"):
        Table(name, metadata, Column("id", Integer, primary_key=True, autoincrement=False),
              Column("x%y", Text), info={"resource": name.strip("%")})  # fmt: skip
    world = make_world(metadata)
    for name in ("a", "b"):
        for n in range(3):
            world.post(name, {"id": n, "x%y": "%s"} if n else {"x%y": "%", "id": n})

    world.drain()

    assert len(copies) == 2  # whatever the order of members
    for name in ("a", "b%"):
        assert world.execute(f'SELECT count(*) FROM "{name}"') == [(3,)]


@pytest.mark.parametrize(
    "line", ["", "1", '1,"x",2', '1,"x', "\\.", '1,"x"\n\\.', '"a",', "1,\ud800", '1,"\0"']
)
def test_lines_that_are_broken_block_nobody(
    make_world: MakeWorld, copies: list[str], line: str
) -> None:
    key = Column("id", Integer, primary_key=True, autoincrement=False)
    world = make_world(table("things", key, Column("t", Text)))
    broken = world.post("things", {"id": 1, "t": "x"})
    good = world.post("things", {"id": 2, "t": "y"})

    def breaks(message: Message) -> Message:
        rows: RowSet = message.sets[0]._replace(text=line)
        return message._replace(sets=(rows,))

    first, second = world.queued
    answer = world.drain([changed(first, breaks), second])

    assert answer == {"batchItemFailures": []}
    assert world.status(good)["state"] == "applied"
    assert world.execute("SELECT id FROM things") == [(2,)]
    assert len(world.rejections()) == 1
    assert world.status(broken)["state"] != "applied"


def test_lines_that_are_broken_swallow_no_others(make_world: MakeWorld, copies: list[str]) -> None:
    key = Column("id", Integer, primary_key=True, autoincrement=False)
    world = make_world(table("things", key, Column("t", Text)))
    receipts = [world.post("things", {"id": n, "t": "x"}) for n in range(3)]
    sent = sorted(world.queued, key=lambda each: decode(each.body).sets[0].text)
    texts = ['0,"', '1,"x"', '2,"']
    entries = [
        changed(entry, lambda m, t=text: m._replace(sets=(m.sets[0]._replace(text=t),)))  # type: ignore[misc]
        for entry, text in zip(sent, texts, strict=True)
    ]

    world.drain(entries)

    states = [world.status(each)["state"] for each in receipts]
    assert states == ["rejected", "applied", "rejected"]
    assert world.execute("SELECT id, t FROM things") == [(1, "x")]


def test_messages_of_an_older_version_are_written_if_that_is_asked_for(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(table("log", KEYS["serial"](), Column("line", Text)))
    for version in ("4", "3", "1"):
        monkeypatch.setenv("DECANTER_MESSAGE_VERSION", version)
        world.post("log", {"line": version})

    headers = [json.loads(each.body.split("\n")[0]) for each in world.queued]
    world.drain()

    assert [each["v"] for each in headers] == [4, 1, 1]
    assert ["values" in each for each in headers] == [True, False, False]
    assert world.execute("SELECT line FROM log ORDER BY line DESC") == [("4",), ("3",), ("1",)]
