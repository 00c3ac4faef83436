"""What models need and a stage's engine does not have.

Citus: see `placement`. Aurora DSQL: https://docs.aws.amazon.com/aurora-dsql/latest/userguide/, in
its chapters on supported types, subsets of commands, and quotas and limits.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import (
    ARRAY,
    Column,
    Computed,
    DefaultClause,
    Index,
    MetaData,
    Table,
    UniqueConstraint,
)
from sqlalchemy import Sequence as SqlSequence
from sqlalchemy.dialects.postgresql import DOMAIN, ENUM, ExcludeConstraint
from sqlalchemy.schema import Constraint, ForeignKeyConstraint
from sqlalchemy.sql.operators import desc_op

from chalicelib.postgres.engine import ENGINES, Engine
from chalicelib.postgres.resources import ModelError, postgres_type, sql_type
from decanter.contract import placement

_MOST_INDEXES, _MOST_KEY_COLUMNS, _MOST_COLUMNS = 24, 8, 255
_LEAST_CACHE = 65_536  # of a sequence, unless it is 1
_TYPES = frozenset(
    {
        *("SMALLINT", "INTEGER", "BIGINT", "REAL", "FLOAT", "DOUBLE PRECISION", "NUMERIC", "CHAR"),
        *("CHARACTER", "VARCHAR", "CHARACTER VARYING", "TEXT", "DATE", "TIME", "TIMESTAMP"),
        *("TIME WITH TIME ZONE", "TIME WITHOUT TIME ZONE", "TIMESTAMP WITH TIME ZONE"),
        *("TIMESTAMP WITHOUT TIME ZONE", "INTERVAL", "BOOLEAN", "BYTEA", "UUID", "JSON", "JSONB"),
    }
)
_SIZED = re.compile(r"(VARCHAR|CHAR)\((\d+)\)")
_MOST_BYTES = {"VARCHAR": 65_535, "CHAR": 4_096}
_LIMITS = re.compile(r"\s*\([^)]*\)")
_UUID = 'a UUID: mapped_column(primary_key=True, server_default=text("gen_random_uuid()"))'


def check(metadatas: Sequence[MetaData], name: str) -> None:
    """Raises ModelError, which names everything that the engine of that name cannot hold, with the
    cure."""
    if found := objections(metadatas, name):
        raise ModelError(
            f"A stage in .chalice/config.json has DECANTER_ENGINE {name!r}, which cannot hold these"
            " models:\n" + "\n".join(f"- {each}" for each in found)
        )


def objections(metadatas: Sequence[MetaData], name: str) -> list[str]:
    """What the engine of that name cannot hold, each in a sentence with the cure."""
    engine = ENGINES[name]
    return [objection for metadata in metadatas for objection in _of_metadata(metadata, engine)]


def _of_metadata(metadata: MetaData, engine: Engine) -> Iterator[str]:
    if not engine.own_types:
        yield from _of_extensions(metadata)
    for table in metadata.tables.values():
        if not engine.own_types:
            yield from _of_table(table, engine)
        if engine.distributes:
            yield from placement.objections(table)


def _of_extensions(metadata: MetaData) -> Iterator[str]:
    if extensions := metadata.info.get("extensions"):
        yield f"extensions ({', '.join(extensions)}): it has none. Do without them."


def _of_table(table: Table, engine: Engine) -> Iterator[str]:
    where = f"table {table.fullname}"
    if len(table.columns) > _MOST_COLUMNS:
        yield f"{where} has {len(table.columns)} columns; {_MOST_COLUMNS} are the most. Divide it."
    if table.dialect_options["postgresql"].get("partition_by"):
        yield f"{where} is partitioned. Leave postgresql_partition_by out."
    if any(prefix.upper() in ("UNLOGGED", "TEMPORARY", "TEMP") for prefix in table._prefixes):
        yield f"{where} has no log. Leave its prefixes out."
    unique = [each for each in table.constraints if isinstance(each, UniqueConstraint)]
    if (indexes := len(table.indexes) + len(unique)) >= _MOST_INDEXES:
        yield (
            f"{where} has {indexes} indexes, those of unique constraints among"
            f" them, and that of its key; {_MOST_INDEXES} are the most. Leave some out."
        )
    for column in table.columns:
        if not column.system:
            yield from _of_column(column)
    for constraint in sorted(table.constraints, key=lambda each: str(each.name or "")):
        yield from _of_constraint(where, constraint)
    for index in sorted(table.indexes, key=lambda each: str(each.name or "")):
        yield from _of_index(where, index, engine)


def _of_column(column: Column[Any]) -> Iterator[str]:
    where = f"column {column.table.fullname}.{column.name}"
    bare = postgres_type(column.type)
    collation = getattr(column.type, "collation", None)
    shown = sql_type(column.type).partition(" COLLATE ")[0]
    if isinstance(bare, ARRAY) or shown.endswith("[]"):
        yield f"{where} is an array. Use JSONB, or a table of its own."
    elif isinstance(bare, ENUM):
        yield f"{where} is an enum. Use Enum(…, native_enum=False), a text with a check."
    elif isinstance(bare, DOMAIN):
        yield f"{where} has a domain. Use the type beneath it, with a CheckConstraint."
    elif _LIMITS.sub("", shown).upper() not in _TYPES and not shown.upper().startswith("INTERVAL"):
        yield f"{where} has the type {shown}. Use text, numeric, bytea or JSONB."
    elif shown.upper() == "NUMERIC":
        yield (
            f"{where} is a number without a precision, of which it keeps 18 digits, 6 behind the"
            " point. Name the digits, as in Numeric(38, 10)."
        )
    elif (sized := _SIZED.fullmatch(shown)) and int(sized[2]) > (most := _MOST_BYTES[sized[1]]):
        yield f"{where} has the type {shown}; {most:,} are the most. Use Text."
    if collation:
        yield f"{where} has a collation. Leave it out: all texts are compared by their bytes."
    if column.computed is not None and column.computed.persisted is False:
        yield f"{where} is computed as it is read. Make it Computed(…, persisted=True)."
    if column.identity is not None:
        cache = column.identity.cache
        if shown.upper() != "BIGINT":
            yield f"{where} is an identity of type {shown}. Make it a BigInteger, or {_UUID}."
        elif cache not in (None, 1) and cache < _LEAST_CACHE:
            yield f"{where}: the cache of its identity is {cache}. Make it 1, or {_LEAST_CACHE:,}."
    elif _is_numbered(column):
        yield (
            f"{where} is numbered by a sequence. Make it BigInteger with Identity(), or {_UUID};"
            " or say autoincrement=False if clients give its value."
        )


def _is_numbered(column: Column[Any]) -> bool:
    """Whether a sequence of its own, or one that is named, numbers it."""
    made = column.default if column.default is not None else column.server_default
    if isinstance(made, SqlSequence):
        return True
    if isinstance(made, DefaultClause):
        return "nextval(" in str(made.arg).lower()
    is_computed = isinstance(column.computed, Computed)
    return made is None and not is_computed and column is column.table.autoincrement_column


def _of_constraint(where: str, constraint: Constraint) -> Iterator[str]:
    name = f"{where}: constraint {constraint.name or 'without a name'}"
    if isinstance(constraint, ExcludeConstraint):
        yield f"{name} excludes. Do without it."
        return
    if constraint.deferrable and not isinstance(constraint, ForeignKeyConstraint):
        yield f"{name} is deferrable, which only foreign keys may be. Leave deferrable out."
    columns = len(getattr(constraint, "columns", ()))
    if constraint.__visit_name__ in ("primary_key_constraint", "unique_constraint") and (
        columns > _MOST_KEY_COLUMNS
    ):
        yield f"{name} has {columns} columns; {_MOST_KEY_COLUMNS} are the most. Leave some out."


def _of_index(where: str, index: Index, engine: Engine) -> Iterator[str]:
    name = f"{where}: index {index.name}"
    options = index.dialect_options["postgresql"]
    method = str(options.get("using") or "btree").lower()
    if method not in engine.index_methods:
        yield f"{name} uses {method}. Leave postgresql_using out."
    if given := [each for each in ("ops", "with", "tablespace") if options.get(each)]:
        yield f"{name} has options. Leave postgresql_{' and postgresql_'.join(given)} out."
    if any(getattr(each, "modifier", None) is desc_op for each in index.expressions):
        yield f"{name} descends. Leave desc() out: it is read in both directions."
    if len(index.expressions) > _MOST_KEY_COLUMNS:
        columns = len(index.expressions)
        yield f"{name} has {columns} columns; {_MOST_KEY_COLUMNS} are the most. Leave some out."
