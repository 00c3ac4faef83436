"""The way from one engine to another in docs/engines.md: no write is lost or applied twice."""

import re
from collections.abc import Callable, Iterator
from contextlib import closing

import psycopg2
import pytest
from sqlalchemy import MetaData

from tests.kit.databases import create_tables
from tests.kit.dsql import Dsql, tables
from tests.kit.project import PROJECT
from tests.kit.world import World, serve, without_patience

TEXT = (PROJECT / "docs/engines.md").read_text()
ROWS_AT_ONCE = 1_000


@pytest.fixture
def engine_name() -> str:
    """Where the way begins."""
    return "postgres"


def queries() -> Iterator[tuple[str, str, str]]:
    """What is copied: a query, the table, and its columns."""
    for name in ("things", "parts", "made"):
        yield f"SELECT * FROM {name}", name, ""
    [block] = re.findall(r"```sql\n(.*?)```", TEXT, re.S)
    found = re.findall(r"^ *(SELECT (.+) FROM (decanter\.\w+).*);$", block, re.M)
    assert len(found) == len(block.split(";")) - 1
    for query, columns, name in found:
        yield query, name, re.sub(r"::\w+", "", columns)


def move(old: str, new: str) -> None:
    with closing(psycopg2.connect(old)) as source, closing(psycopg2.connect(new)) as target:
        target.autocommit = True
        for query, name, columns in queries():
            with source.cursor() as cursor:
                cursor.execute(f"SELECT row_to_json(own)::text FROM ({query}) AS own")
                rows = [row for (row,) in cursor.fetchall()]
            for first in range(0, len(rows), ROWS_AT_ONCE):
                part = f"[{','.join(rows[first : first + ROWS_AT_ONCE])}]"
                into, taken = (f"({columns})", columns) if columns else ("", "*")
                with target.cursor() as cursor:
                    cursor.execute(
                        f"INSERT INTO {name} {into} SELECT {taken}"
                        f" FROM json_populate_recordset(NULL::{name}, %s::json)",
                        (part,),
                    )


def test_no_write_is_lost_or_doubled_on_the_way_to_dsql(
    make_world: Callable[[MetaData], World], dsql: Dsql, monkeypatch: pytest.MonkeyPatch
) -> None:
    metadata = tables()
    world = make_world(metadata)
    old = world.url
    poured = [
        world.post("things", [{"id": f"{n}", "n": n} for n in range(40)]),
        world.post("made", [{"a": 1}, {"a": 2}], Idempotency_Key="once"),
        world.patch("things", "1", {"n": -1}),
        world.delete("things", "2"),
    ]
    refused = world.post("things", [{"id": "x", "u": 1}, {"id": "y", "u": 1}])
    waiting = world.post("parts", {"id": 1, "thing": "late"})
    delivered = [*world.queued]
    world.drain()
    before = [world.status(each) for each in (*poured, refused)]
    assert world.value("SELECT count(*) FROM decanter.waiting") == 1
    queued = [
        world.post("things", [{"id": f"new {n}", "n": n} for n in range(20)]),
        world.patch("things", "3", {"n": -3}),
        world.put("things", "2", {"n": 22}),
        world.post("things", {"id": "late"}),
    ]

    create_tables(dsql.behind, metadata)
    move(old, dsql.url)
    serve(world, dsql.url, monkeypatch)
    world.url = dsql.behind

    again = [*world.queued]
    world.drain([*delivered, *again])
    world.drain([*delivered, *again])
    world.make_due()
    with without_patience():
        world.drain([])

    assert [world.status(each) for each in (*poured, refused)] == before
    assert {world.status(each)["state"] for each in (*queued, waiting)} == {"applied"}
    things = dict(world.execute("SELECT id, n FROM things"))
    assert len(things) == 40 + 20 + 2
    assert {id_: things[id_] for id_ in ("1", "2", "3")} == {"1": -1, "2": 22, "3": -3}
    assert world.execute("SELECT id, thing FROM parts") == [(1, "late")]
    assert world.value("SELECT count(*) FROM made") == 2
    assert world.rejections() == [(1, "conflict")]
    assert world.value("SELECT count(*) FROM decanter.waiting") == 0
