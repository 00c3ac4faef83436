"""The tables of the proof: small, and with everything that writes of one key or two may meet.

A deployed copy of this project has this file as its models, so it imports nothing else of them.
"""

from collections.abc import Mapping
from types import ModuleType

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()

accounts = Table(
    "accounts",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("token", Text, nullable=False),
    Column("a", Integer),
    Column("b", Integer),
    CheckConstraint("a >= 0", name="accounts_a"),
    info={"distribute_by": "id"},
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
    info={"distribute_by": "account"},
)
"""Ordered; a row needs its account."""

events = Table(
    "events",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("token", Text, nullable=False),
    Column("a", Integer),
    CheckConstraint("a >= 0", name="events_a"),
    info={"ordered": False, "distribute_by": "id"},
)
"""Unordered; rows are only added."""


def with_front() -> MetaData:
    """These tables and three behind the front table: tags, of which each has another `b`, notes,
    each of which needs its tag, and marks, which have neither. In a function, so that a deployed
    copy has none of them."""
    own = MetaData()
    for table in metadata.sorted_tables:
        table.to_metadata(own)
    Table(
        "tags",
        own,
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("token", Text, nullable=False),
        Column("a", Integer),
        Column("b", Integer),
        CheckConstraint("a >= 0", name="tags_a"),
        UniqueConstraint("b", name="tags_b_key"),
        info={"front": "dynamodb", "reference": True},
    )
    Table(
        "notes",
        own,
        Column("tag", Integer, primary_key=True, autoincrement=False),
        Column("number", Integer, primary_key=True, autoincrement=False),
        Column("token", Text, nullable=False),
        Column("a", Integer),
        Column("b", Integer),
        CheckConstraint("a >= 0", name="notes_a"),
        ForeignKeyConstraint(["tag"], ["tags.id"], name="notes_tag_fkey"),
        info={"front": "dynamodb", "distribute_by": "tag"},
    )
    Table(
        "marks",
        own,
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("token", Text, nullable=False),
        Column("a", Integer),
        Column("b", Integer),
        CheckConstraint("a >= 0", name="marks_a"),
        info={"front": "dynamodb", "distribute_by": "id"},
    )
    return own


QUEUED = (accounts.name, entries.name, events.name)
"""The tables behind SQS."""

COLUMNS = {
    table.name: tuple(column.name for column in table.columns)
    for table in with_front().tables.values()
}

KEYS = {
    table.name: tuple(column.name for column in table.primary_key.columns)
    for table in with_front().tables.values()
}

FRONTED = frozenset(KEYS) - frozenset(QUEUED)

PARENTS = {"entries": "accounts", "notes": "tags"}
"""By child, whose key begins with that of its parent."""

UNORDERED = frozenset({events.name})


def key_text(resource: str, values: Mapping[str, int | str | None]) -> str:
    """The key of a row: its columns, with a comma between them."""
    return ",".join(str(values[name]) for name in KEYS[resource])


def models(own: MetaData = metadata) -> ModuleType:
    """The tables as a module of models, for the compiler of contracts."""
    module = ModuleType("models")
    module.metadata = own  # type: ignore[attr-defined]
    return module


def earlier() -> MetaData:
    """The tables of an earlier version, which has no entries, notes and marks yet."""
    own, known = MetaData(), with_front()
    for name in (accounts.name, events.name, "tags"):
        known.tables[name].to_metadata(own)
    return own
