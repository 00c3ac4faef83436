"""The tables of the proof: small, and with everything that writes of one key or two may meet.

A deployed copy of this project has this file as its models, so it imports nothing else of them.
"""

from collections.abc import Mapping
from types import ModuleType

from sqlalchemy import CheckConstraint, Column, ForeignKeyConstraint, Integer, MetaData, Table, Text

metadata = MetaData()

accounts = Table(
    "accounts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("token", Text, nullable=False),
    Column("a", Integer),
    Column("b", Integer),
    CheckConstraint("a >= 0", name="accounts_a"),
)
"""Ordered, with all ops."""

entries = Table(
    "entries",
    metadata,
    Column("account", Integer, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("token", Text, nullable=False),
    Column("a", Integer),
    Column("b", Integer),
    CheckConstraint("a >= 0", name="entries_a"),
    ForeignKeyConstraint(["account"], ["accounts.id"]),
)
"""Ordered; a row needs its account."""

events = Table(
    "events",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("token", Text, nullable=False),
    Column("a", Integer),
    CheckConstraint("a >= 0", name="events_a"),
    info={"ordered": False},
)
"""Unordered; rows are only added."""

KEYS = {
    table.name: tuple(column.name for column in table.primary_key.columns)
    for table in (accounts, entries, events)
}

COLUMNS = {name: tuple(column.name for column in metadata.tables[name].columns) for name in KEYS}

UNORDERED = frozenset(name for name in KEYS if not metadata.tables[name].info.get("ordered", True))


def key_text(resource: str, values: Mapping[str, int | str | None]) -> str:
    """The key of a row: its columns, with a comma between them."""
    return ",".join(str(values[name]) for name in KEYS[resource])


def models(own: MetaData = metadata) -> ModuleType:
    """The tables as a module of models, for the compiler of contracts."""
    module = ModuleType("models")
    module.metadata = own  # type: ignore[attr-defined]
    return module


def earlier() -> MetaData:
    """The tables of an earlier version, which has no entries yet."""
    own = MetaData()
    for table in (accounts, events):
        table.to_metadata(own)
    return own
