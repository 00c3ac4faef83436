"""Tables with the same columns and other indexes. A number determines a row, in SQL, where millions
are made, as in Python, where some are written to.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import ModuleType
from unittest.mock import patch
from uuid import UUID

import sqlalchemy as sa

import chalicelib.models
from benchmarks.harness import Json
from chalicelib.drain import set_statement
from chalicelib.postgres import resources

TIMED, RANDOM, INDEXED = "timed", "random", "indexed"
"""Keys that grow with time, as UUIDv7 and numbers do; random keys, as UUIDv4; and keys that grow,
beside a unique index on a column whose values are random."""

_FIRST = datetime(2026, 1, 1, tzinfo=UTC)

_ROWS = """
    INSERT INTO {table} (id, code, reading, note, taken_at)
    SELECT {key}, md5('code ' || n), n % 100000 / 100.0, 'measured by sensor ' || n % 1000,
        timestamptz '2026-01-01T00:00:00Z' + n * interval '1 s'
    FROM {numbers} AS n
"""
_KEYS = {
    "grows": "(lpad(to_hex(n), 12, '0') || '70008' || left(md5(n::text), 15))::uuid",
    "random": "md5(n::text)::uuid",
}


def tables() -> sa.MetaData:
    metadata = sa.MetaData()
    sa.Table(TIMED, metadata, *_columns())
    sa.Table(RANDOM, metadata, *_columns())
    sa.Table(INDEXED, metadata, *_columns(), sa.UniqueConstraint("code", name="indexed_code"))
    return metadata


def _columns() -> list[sa.Column[object]]:
    return [
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("code", sa.String(32), nullable=False),
        sa.Column("reading", sa.Numeric(9, 3), nullable=False),
        sa.Column("note", sa.Text),
        sa.Column("taken_at", sa.DateTime(timezone=True), nullable=False),
    ]


def insert(table: str, numbers: str) -> str:
    """The statement that adds the rows of these numbers. numbers: a function of SQL that returns
    them."""
    return _ROWS.format(table=table, key=_KEYS[_kind(table)], numbers=numbers)


def row(table: str, number: int) -> Json:
    """Return the row of a number as a client sends it."""
    return {
        "id": _key(table, number),
        "code": _md5(f"code {number}"),
        "reading": number % 100_000 / 100,
        "note": f"measured by sensor {number % 1_000}",
        "taken_at": (_FIRST + timedelta(seconds=number)).isoformat(),
    }


def _key(table: str, number: int) -> str:
    is_random = _kind(table) == "random"
    text = _md5(str(number))
    return str(UUID(text if is_random else f"{number:012x}70008{text[:15]}"))


def _kind(table: str) -> str:
    return "random" if table == RANDOM else "grows"


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


@contextmanager
def poured() -> Iterator[None]:
    """Have the drain pour into these tables in the block, in place of the project's."""
    models = ModuleType("models")
    models.metadata = tables()  # type: ignore[attr-defined]
    with patch.object(chalicelib, "models", models):
        _forget()
        yield
    _forget()


def _forget() -> None:
    resources.resources.cache_clear()
    set_statement.ranks.cache_clear()
