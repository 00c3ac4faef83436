"""Types that Postgres makes by themselves: enums and domains.

Alembic leaves them out. Revisions get plain SQL for them, so that nothing but Alembic is needed to
apply one.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import ARRAY, Connection, MetaData, inspect, text
from sqlalchemy.dialects.postgresql import (
    DOMAIN,
    ENUM,
    CreateDomainType,
    CreateEnumType,
)
from sqlalchemy.dialects.postgresql.psycopg2 import dialect as psycopg2_dialect
from sqlalchemy.types import TypeEngine, UserDefinedType

from chalicelib.database.migrate import SCHEMA
from chalicelib.database.resources import postgres_type, sql_type

NamedType = ENUM | DOMAIN
Name = tuple[str, str]
"""Schema and name."""

_DIALECT = psycopg2_dialect(paramstyle="named")  # type: ignore[no-untyped-call]

_NOT_THE_USERS = (SCHEMA, "information_schema", "pg_catalog")

_USES = text(
    """
    SELECT c.oid::regclass::text, quote_ident(a.attname), t.typcategory = 'A',
        pg_get_expr(d.adbin, d.adrelid)
    FROM pg_attribute a
    JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p')
    JOIN pg_type t ON t.oid = a.atttypid
    JOIN pg_type enum ON enum.oid IN (t.oid, t.typelem)
    JOIN pg_namespace n ON n.oid = enum.typnamespace
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE n.nspname = :schema AND enum.typname = :name AND NOT a.attisdropped
    ORDER BY 1, a.attnum
    """
)


@dataclass(frozen=True)
class Step:
    """One statement of a revision. alone: it must be committed before others can rely on it."""

    sql: str
    alone: bool = False


@dataclass(frozen=True)
class Changes:
    """What a revision does about types: before the tables change, and after."""

    before: tuple[Step, ...]
    after: tuple[Step, ...]


def schemas(metadata: MetaData) -> list[str]:
    """The Postgres schemas that tables, types and sequences of the metadata name, sorted."""
    tables = {table.schema for table in metadata.tables.values()}
    types = {type_.schema for type_ in named_types([metadata]).values()}
    return sorted({schema for schema in tables | types if schema})


def named_types(metadatas: Iterable[MetaData]) -> dict[Name, NamedType]:
    """Enums and domains that columns have, by schema ("public" if none is given) and name."""
    return {
        (type_.schema or "public", str(type_.name)): type_
        for metadata in metadatas
        for table in metadata.tables.values()
        for column in table.columns
        for type_ in _parts(column.type)
    }


def changes(connection: Connection, metadatas: Sequence[MetaData]) -> tuple[Changes, Changes]:
    """What brings the types of the database to those of the models, and back."""
    wanted = named_types(metadatas)
    present = _present(connection)
    up_before: list[Step] = []
    up_after: list[Step] = []
    down_before: list[Step] = []
    down_after: list[Step] = []
    for name in sorted({*wanted, *present}):
        new, old = wanted.get(name), present.get(name)
        if new is not None and old is None:
            up_before.append(_create(new))
            down_after.append(_drop(new))
        elif old is not None and new is None:
            up_after.append(_drop(old))
            down_before.append(_create(old))
        elif isinstance(new, ENUM) and isinstance(old, ENUM) and new.enums != old.enums:
            uses = _uses(connection, name)
            up_before += _relabel(old, new, uses)
            down_after += _rebuild(new, old, uses)
    return (
        Changes(tuple(up_before), tuple(up_after)),
        Changes(tuple(down_before), tuple(down_after)),
    )


def _parts(type_: TypeEngine[object]) -> Iterator[NamedType]:
    bare = postgres_type(type_)
    if isinstance(bare, ARRAY):
        yield from _parts(bare.item_type)
    elif isinstance(bare, DOMAIN):
        yield from _parts(bare.data_type)
        yield bare
    elif isinstance(bare, ENUM):
        yield bare


def _present(connection: Connection) -> dict[Name, NamedType]:
    inspector = inspect(connection)
    found: dict[Name, NamedType] = {}
    for enum in inspector.get_enums(schema="*"):  # type: ignore[attr-defined]
        if enum["schema"] in _NOT_THE_USERS:
            continue
        found[enum["schema"], enum["name"]] = ENUM(
            *enum["labels"], name=enum["name"], schema=_shown(enum["schema"])
        )
    for domain in inspector.get_domains(schema="*"):  # type: ignore[attr-defined]
        if domain["schema"] in _NOT_THE_USERS:
            continue
        checks = [constraint["check"] for constraint in domain["constraints"]]
        found[domain["schema"], domain["name"]] = DOMAIN(
            domain["name"],
            _Sql(domain["type"]),
            schema=_shown(domain["schema"]),
            default=text(domain["default"]) if domain["default"] else None,
            not_null=not domain["nullable"],
            check=" AND ".join(f"({check})" for check in checks) or None,
        )
    return found


class _Sql(UserDefinedType[object]):
    """A type as Postgres spells it."""

    cache_ok = True

    def __init__(self, sql: str) -> None:
        self.sql = sql

    def get_col_spec(self, **_: object) -> str:
        return self.sql


def _shown(schema: str) -> str | None:
    return None if schema == "public" else schema


def _create(type_: NamedType) -> Step:
    make = CreateEnumType(type_) if isinstance(type_, ENUM) else CreateDomainType(type_)
    return Step(str(make.compile(dialect=_DIALECT)).strip())


def _drop(type_: NamedType) -> Step:
    return Step(f"DROP {'TYPE' if isinstance(type_, ENUM) else 'DOMAIN'} {sql_type(type_)}")


def _relabel(old: ENUM, new: ENUM, uses: Sequence[tuple[str, str, bool, str | None]]) -> list[Step]:
    """Add labels in their places; rebuild the type when one went or moved."""
    if [label for label in new.enums if label in old.enums] != old.enums:
        return _rebuild(old, new, uses)
    steps: list[Step] = []
    for place, label in enumerate(new.enums):
        if label not in old.enums:
            where = f"AFTER {_quoted(new.enums[place - 1])}"
            if place == 0:
                where = f"BEFORE {_quoted(old.enums[0])}" if old.enums else ""
            add = f"ALTER TYPE {sql_type(new)} ADD VALUE IF NOT EXISTS {_quoted(label)} {where}"
            steps.append(Step(add.strip(), alone=True))
    return steps


def _rebuild(old: ENUM, new: ENUM, uses: Sequence[tuple[str, str, bool, str | None]]) -> list[Step]:
    """Postgres cannot take a label away: make the type anew and move its columns over.

    It fails, as it should, while a row still has a label that is gone.
    """
    quote = _DIALECT.identifier_preparer.quote
    steps = [Step(f"ALTER TYPE {sql_type(old)} RENAME TO {quote(f'{old.name}_before')}")]
    steps.append(_create(new))
    for table, column, is_array, default in uses:
        suffix = "[]" if is_array else ""
        alter = f"ALTER TABLE {table} ALTER COLUMN {column}"
        if default is not None:
            steps.append(Step(f"{alter} DROP DEFAULT"))
        target = f"{sql_type(new)}{suffix}"
        steps.append(Step(f"{alter} TYPE {target} USING {column}::text{suffix}::{target}"))
        if default is not None:
            steps.append(Step(f"{alter} SET DEFAULT {default}"))
    schema = f"{quote(old.schema)}." if old.schema else ""
    steps.append(Step(f"DROP TYPE {schema}{quote(f'{old.name}_before')}"))
    return steps


def _uses(connection: Connection, name: Name) -> list[tuple[str, str, bool, str | None]]:
    """Columns of the type in the database: table, column, whether an array, default."""
    schema, type_ = name
    rows = connection.execute(_USES, {"schema": schema, "name": type_})
    return [(row[0], row[1], row[2], row[3]) for row in rows]


def _quoted(label: str) -> str:
    return "'" + re.sub("'", "''", label) + "'"
