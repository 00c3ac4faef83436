"""Where the tables of the models are on the nodes of a cluster.

A table says `info={"distribute_by": "column"}`, and is divided by the values of that column, or
`info={"reference": True}`, and is on every node. Any other is on the node that is connected to.
What Citus refuses: https://docs.citusdata.com/en/stable/develop/reference_ddl.html and
https://docs.citusdata.com/en/stable/develop/api_udf.html
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Column, Index, MetaData, Table
from sqlalchemy.dialects.postgresql import ExcludeConstraint
from sqlalchemy.schema import ColumnCollectionConstraint, ForeignKeyConstraint

from chalicelib.postgres.resources import (
    DIALECT,
    DISTRIBUTED_BY,
    ModelError,
    postgres_type,
    sql_type,
)

REFERENCE = "reference"
"""The member of `Table.info` that says so."""

_KINDS = {"primary_key_constraint": "primary key", "unique_constraint": "unique constraint"}
_UNHASHED = re.compile(
    r"(?:JSON|XML|MONEY|BIT|CIDR|POINT|LINE|BOX|PATH|POLYGON|TSVECTOR|TSQUERY|JSONPATH|REG\w+)\b.*",
    re.IGNORECASE,
)
_CALL = re.compile(r"\w\s*\(|\b(?:CURRENT|LOCAL)_?(?:TIME|DATE|USER|ROLE)", re.IGNORECASE)
_NO_KEY = ("SET NULL", "SET DEFAULT")


class Placement(NamedTuple):
    """column: that a table is distributed by; None: it is a reference table."""

    column: str | None


def placement_of(table: Table) -> Placement | None:
    """Return what a table declares, which `check` has found right; None: nothing."""
    if table.info.get(REFERENCE):
        return Placement(None)
    column = table.info.get(DISTRIBUTED_BY)
    return None if column is None else Placement(column)


def check(metadatas: Sequence[MetaData]) -> None:
    """Raises ModelError, which says of which table the declaration is wrong, and the cure."""
    for metadata in metadatas:
        for table in metadata.tables.values():
            for objection in _wrong(table):
                raise ModelError(f"Table {table.fullname}: {objection}")


def _wrong(table: Table) -> Iterator[str]:
    column, reference = table.info.get(DISTRIBUTED_BY), table.info.get(REFERENCE, False)
    if not isinstance(reference, bool):
        yield f'info["{REFERENCE}"] is {reference!r}. Make it True, or leave it out.'
    if column is None:
        return
    if reference:
        yield (
            f'info has "{DISTRIBUTED_BY}" and "{REFERENCE}". Leave one out: a table is divided by a'
            " column, or whole on every node."
        )
    names = [each.name for each in table.columns if not each.system]
    if not isinstance(column, str) or column not in names:
        yield (
            f'info["{DISTRIBUTED_BY}"] is {column!r}, which is none of its columns. Name one of'
            f" {', '.join(names)}."
        )


def objections(table: Table) -> Iterator[str]:
    """What Citus refuses of a table's placement, each in a sentence with the cure."""
    placement = placement_of(table)
    if placement is not None:
        if placement.column is not None:
            yield from _of_distributed(table, table.columns.get(placement.column))
        elif _may_be_empty(table):
            yield (
                f"table {table.fullname} is a reference table that takes a row without any value,"
                " and Citus cannot insert one into it. Give a column a default, or make it"
                " nullable=False."
            )
        yield from _of_changes(table)
        for constraint in sorted(table.constraints, key=lambda each: str(each.name or "")):
            if (constraint.initially or "").upper() == "DEFERRED":
                # SET CONSTRAINTS does not reach the nodes, so the row at fault would not be found.
                name = constraint.name or "without a name"
                yield f"table {table.fullname}: constraint {name} is deferred. Leave initially out."
    for key in sorted(table.foreign_key_constraints, key=lambda each: str(each.name or "")):
        why = _of_foreign_key(table, key)
        if why:
            columns = ", ".join(key.column_keys)
            yield f"table {table.fullname}: its foreign key over {columns} {why}"


def _of_distributed(table: Table, by: Column[Any] | None) -> Iterator[str]:
    where = f"table {table.fullname}"
    if by is None:  # `check` says so
        return
    shown = sql_type(postgres_type(by.type))
    if _UNHASHED.fullmatch(shown):
        yield f"{where} is distributed by {by.name}, which is {shown}. Take another column."
    if by.computed is not None:
        yield f"{where} is distributed by {by.name}, which is generated. Take another column."
    if by.nullable:
        yield (
            f"{where} is distributed by {by.name}, which may be null, and such a row has no place."
            " Make it nullable=False."
        )
    cure = f"Add {by.name} to it, distribute the table by one of its columns, or make it a"
    cure += ' reference table: info={"reference": True}.'
    for constraint in sorted(table.constraints, key=lambda each: str(each.name or "")):
        kind = _KINDS.get(constraint.__visit_name__)
        if isinstance(constraint, ExcludeConstraint):
            if constraint.operators.get(by.name) != "=":
                name = constraint.name or "without a name"
                yield f"{where}: its exclusion constraint {name} has no {by.name} with =. {cure}"
        elif kind and isinstance(constraint, ColumnCollectionConstraint):
            columns = [each.name for each in constraint.columns]
            if columns and by.name not in columns:
                yield f"{where}: its {kind} over {', '.join(columns)} has no {by.name}. {cure}"
    for index in sorted(table.indexes, key=lambda each: str(each.name or "")):
        if index.unique and not _has(index, by):
            yield f"{where}: its unique index {index.name} has no {by.name}. {cure}"


def _may_be_empty(table: Table) -> bool:
    """Whether an INSERT may name no column, and the server has no value for any."""
    return all(
        column.nullable and column.default is None and column.server_default is None
        for column in table.columns
    )


def _of_changes(table: Table) -> Iterator[str]:
    for column in table.columns:
        made: Any = column.onupdate
        if made is None or not (made.is_clause_element or made.is_sequence):
            continue
        expression = made.next_value() if made.is_sequence else made.arg
        if _CALL.search(sql := str(expression.compile(dialect=DIALECT))):
            yield (
                f"column {table.fullname}.{column.name} has the onupdate {sql}; where an upsert"
                " meets a row, only constants and immutable functions may be set. Make it a"
                " function in Python, such as onupdate=lambda: datetime.now(UTC)."
            )


def _has(index: Index, column: Column[Any]) -> bool:
    """Whether the column itself, not an expression of it, is part of an index."""
    return any(each is column for each in index.expressions)


def _of_foreign_key(table: Table, key: ForeignKeyConstraint) -> str | None:
    """Why Citus refuses a foreign key, and the cure."""
    parent = key.referred_table
    own, other = placement_of(table), placement_of(parent)
    if own is None and (other is None or other.column is None):
        return None
    to = f"to {parent.fullname}, which"
    make = f'{parent.fullname} a reference table: info={{"reference": True}}'
    if other is None:
        return f"is {to} is on one node only. Make {make}, or do without the foreign key."
    if own is None or own.column is None:
        if other.column is None:
            return None
        what = "on one node only" if own is None else "a reference table"
        return (
            f"is {to} is distributed, and {table.fullname} is {what}. Make {make}, or do without"
            " the foreign key."
        )
    pairs = {each.parent.name: each.column for each in key.elements}
    if other.column is not None and (
        own.column not in pairs or pairs[own.column].name != other.column
    ):
        return (
            f"is {to} is distributed by {other.column}. Have it refer from {own.column} to"
            f" {other.column}, among others; make {make}; or do without the foreign key."
        )
    if other.column is not None and _unlike(table.columns[own.column], pairs[own.column]):
        return (
            f"is {to} is distributed by a {sql_type(pairs[own.column].type)}. Give {own.column} of"
            f" {table.fullname} that type."
        )
    if own.column in pairs and (key.ondelete or "").upper().startswith(_NO_KEY):
        return f"has ON DELETE {key.ondelete}, which would change {own.column}. Leave it out."
    if own.column in pairs and (key.onupdate or "").upper().startswith((*_NO_KEY, "CASCADE")):
        return f"has ON UPDATE {key.onupdate}, which would change {own.column}. Leave it out."
    return None


def _unlike(one: Column[Any], other: Column[Any]) -> bool:
    """Whether rows of equal values may be on different nodes: lengths do not matter for that."""
    bare = [sql_type(postgres_type(each.type)).partition("(")[0] for each in (one, other)]
    return bare[0] != bare[1]
