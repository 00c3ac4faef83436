"""Writes with SQLAlchemy, as its documentation has them: an engine for each container, a Session
for each transaction, and the upserts of its Postgres dialect."""

import os
from collections.abc import Mapping
from typing import Any

import psycopg2
from sqlalchemy import Engine, create_engine, delete, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.orm import Session

from chalicelib.ops import OPS, Op
from chalicelib.postgres.connecting import access
from decanter.proof import tables

LASTING = (IntegrityError, DataError)
"""Errors of a write that no retry cures."""

_TYPES = {"23505": "conflict", "23514": "check"}
_FOREIGN_KEY = "23503"


class MissingRow(Exception):
    """The row to change or delete is not there."""


def engine() -> Engine:
    """The engine of a container: one connection, which is tested before each use."""
    return create_engine(
        "postgresql+psycopg2://",
        creator=_connect,
        pool_size=1,
        max_overflow=0,
        pool_pre_ping=True,
        use_native_hstore=False,
    )


def _connect() -> Any:
    given: dict[str, Any] = {**access.parameters(os.environ["DECANTER_DATABASE_URL"])}
    return psycopg2.connect(**given)


def write(session: Session, resource: str, op: Op, row: Mapping[str, Any]) -> None:
    """Write one row. Raises MissingRow, and the errors of SQLAlchemy."""
    table = tables.metadata.tables[resource]
    keys = tables.KEYS[resource]
    others = {name: value for name, value in row.items() if name not in keys}
    is_row = [table.c[name] == row[name] for name in keys]
    if OPS[op].inserts:
        inserts = insert(table).values(dict(row))
        if op == "replace":
            columns = [name for name in tables.COLUMNS[resource] if name not in keys]
            others = {name: row.get(name) for name in columns}
        if op in ("replace", "create-or-merge") and others:
            inserts = inserts.on_conflict_do_update(index_elements=keys, set_=others)
        elif op != "create":
            inserts = inserts.on_conflict_do_nothing()
        session.execute(inserts)
        return
    changes = delete(table) if OPS[op].removes else update(table).values(others)
    if not session.execute(changes.where(*is_row)).rowcount:  # type: ignore[attr-defined]
        raise MissingRow


def rejection(error: Exception, op: Op) -> str:
    """The type of the rejection that a lasting error is."""
    if isinstance(error, MissingRow):
        return "missing"
    state = getattr(getattr(error, "orig", None), "pgcode", "")
    if state == _FOREIGN_KEY:
        return "still-referenced" if OPS[op].removes else "missing-parent"
    return _TYPES.get(state, state)
