"""Names of constraints: those of the models, and those that Postgres makes where they give none."""

from collections.abc import Mapping

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    PrimaryKeyConstraint,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import ExcludeConstraint
from sqlalchemy.schema import ColumnCollectionConstraint, Constraint

_LABELS: Mapping[type, str] = {
    PrimaryKeyConstraint: "pkey",
    UniqueConstraint: "key",
    ForeignKeyConstraint: "fkey",
    CheckConstraint: "check",
    ExcludeConstraint: "excl",
}

_LONGEST = 63  # bytes of a name


def label_of(constraint: Constraint) -> str:
    """The end of the name that Postgres makes for a constraint; empty if it has none."""
    return next((label for kind, label in _LABELS.items() if isinstance(constraint, kind)), "")


def name_of(constraint: ColumnCollectionConstraint) -> str:
    """The name of a constraint of a model."""
    if isinstance(constraint.name, str):
        return str(constraint.name)
    label, of = label_of(constraint), constraint.parent
    if isinstance(of, Column):
        return made_name(of.table.name, of.name, label)
    columns = [column.name for column in constraint.columns] if label != "pkey" else []
    return made_name(constraint.table.name, "_".join(columns), label)


def made_name(table: str, columns: str, label: str) -> str:
    """The name that Postgres makes: the longer of its parts is cut until the whole is short
    enough."""
    parts = [table.encode(), columns.encode()]
    room = _LONGEST - len(f"_{label}") - bool(columns)
    while sum(map(len, parts)) > room:
        longer = 0 if len(parts[0]) > len(parts[1]) else 1
        parts[longer] = parts[longer][:-1]
    texts = (part.decode(errors="ignore") for part in parts if part)
    return "_".join([*texts, label])
