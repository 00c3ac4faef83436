"""Every row has an address: what a list shows of its key finds it, reads it and deletes it."""

import io
import json
from typing import Any
from urllib.parse import quote

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from chalicelib import asking
from chalicelib.api.http.caller import Caller
from chalicelib.api.http.request import Request
from chalicelib.api.reads import calls
from tests.kit.raw import Raw
from tests.kit.world import World

ENDS = ("infinity", "-infinity")
MOMENTS = (*ENDS, "10000-01-01", "294276-12-31", "0044-03-15 BC", "4714-11-24 BC", "0001-01-01",
           "2026-01-31 12:00:00.5")  # fmt: skip
KEYS: list[tuple[Any, tuple[str, ...]]] = [
    (sa.Date, (*ENDS, "5874897-12-31", "4714-11-24 BC", "2026-01-31", "0001-01-01")),
    (sa.DateTime, MOMENTS),
    (sa.DateTime(timezone=True), MOMENTS),
    (pg.TIMESTAMP(precision=0), (*ENDS, "99999-01-01 23:59:59")),
    (pg.DOMAIN("moment", sa.DateTime(timezone=True)), ("-infinity", "10000-01-01")),
    (sa.Time, ("24:00:00", "00:00:00", "23:59:59.999999")),
    (sa.Time(timezone=True), ("24:00:00+00", "12:00:00-03:30", "12:00:00.5+15:59:59")),
    (pg.INTERVAL, (*ENDS, "1 mon -1 days -00:00:01.5", "-1 years", "0")),
    (sa.Numeric, ("NaN", "Infinity", "-Infinity", "-0.0", "1e100", "1e-30", "1.50")),
    (sa.Numeric(5, 2), ("NaN", "999.99", "-0.00")),
    (sa.Numeric(5, 0), ("NaN", "99999")),
    (sa.Double, ("NaN", *ENDS, "-0", "1e22", "5e-324", "1.7976931348623157e308", "0.1")),
    (sa.REAL, ("NaN", "Infinity", "1e-45", "3.4028235e38", "0.1")),
    (pg.MONEY, ("12.50", "-92233720368547758.08", "1234567.89")),
    (sa.BigInteger, ("-9223372036854775808", "9223372036854775807")),
    (sa.Boolean, ("true", "false")),
    (sa.Text, (" ", "a/b", "100%41", "\n", "..", "é", "null", "infinity", "/", "x" * 2_000)),
    (sa.CHAR(5), ("ab", "a/b%")),
    (sa.LargeBinary, ("\\x00ff", "\\x")),
    (sa.Uuid, ("6ba7b812-9dad-11d1-80b4-00c04fd430c8",)),
    (pg.INET, ("10.0.0.0/8", "::1", "::ffff:1.2.3.4", "fe80::1/64")),
    (pg.CIDR, ("10.0.0.0/8", "::/0")),
    (pg.MACADDR8, ("08:00:2b:01:02:03:04:05",)),
    (pg.BIT(3), ("101",)),
    (pg.OID, ("0", "4294967295")),
    (Raw("xid8"), ("18446744073709551615",)),
    (Raw("pg_lsn"), ("16/B374D848",)),
    (pg.INT4RANGE, ("[1,5)", "empty", "(,)")),
    (pg.NUMRANGE, ("[1.5,NaN]", "(,Infinity]")),
    (pg.DATERANGE, ("[2026-01-01,infinity)", "[-infinity,10000-01-01)", "(,0044-03-15 BC)")),
    (pg.TSRANGE, ('["2026-01-01 00:00:00.5","10000-01-01 00:00:00")', "[,infinity]")),
    (pg.TSTZRANGE, ('["0044-03-15 00:00:00+00 BC","2026-01-01 00:00:00+00"]', "(,infinity)")),
    (pg.INT8MULTIRANGE, ("{[1,5),[7,9)}", "{}")),
    (pg.ARRAY(sa.Text), ("{}", '{a,NULL,"b c","{x}"}')),
    (pg.JSONB, ("1", '"1"', '{"a": [1.50]}', '"a/b"', "true", "[]")),
]  # fmt: skip


def test_every_key_that_postgres_holds_has_an_address(
    make_world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    metadata = sa.MetaData()
    for number, (type_, _) in enumerate(KEYS):
        key = sa.Column("id", type_, primary_key=True, autoincrement=False)
        sa.Table(f"t{number}", metadata, key, sa.Column("n", sa.Integer, server_default="1"))
    world = make_world(metadata)

    class Reader:
        def invoke(self, FunctionName: str, Payload: bytes) -> dict[str, Any]:
            answer = World("").read(json.loads(Payload))
            return {"Payload": io.BytesIO(json.dumps(answer).encode())}

    monkeypatch.setattr(asking, "_client", Reader)
    request = Request("GET", "/", {}, b"", Caller("me", frozenset({"*:read"})))

    for number, (type_, values) in enumerate(KEYS):
        name = f"t{number}"
        world.execute(_insert(world, name), [*values])
        rows = json.loads(calls.rows(request, name).body, parse_float=str, parse_int=str)
        shown = {row["id"] if isinstance(row["id"], str) else json.dumps(row["id"]) for row in rows}
        if type_ is pg.JSONB:
            shown = {text for (text,) in world.execute(f"SELECT id::text FROM {name}")}
        assert len(shown) == len(values)
        for key_ in shown:
            found = calls.row(request, name, [quote(key_, safe="")])
            assert json.loads(found.body, parse_float=str, parse_int=str) in rows, (type_, key_)
            world.patch(name, key_, {"n": 2})
        world.drain()
        assert world.value(f"SELECT count(*) FROM {name} WHERE n = 2") == len(values), type_
        for key_ in shown:
            world.delete(name, key_)
        world.drain()
        assert world.value(f"SELECT count(*) FROM {name}") == 0, type_
    assert world.rejections() == []


def _insert(world: World, name: str) -> str:
    type_ = world.value(
        "SELECT format_type(atttypid, atttypmod) FROM pg_attribute"
        " WHERE attrelid = %s::regclass AND attname = 'id'",
        name,
    )
    return f"INSERT INTO {name} (id) SELECT value::{type_} FROM unnest(%s::text[]) AS value"
