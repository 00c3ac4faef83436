"""Tables and columns as the catalog has them."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

_RELATIONS = """
    SELECT c.oid, CASE WHEN n.nspname = 'public' THEN '' ELSE quote_ident(n.nspname) || '.' END
            || quote_ident(c.relname),
        coalesce((
            SELECT array_agg(attname::text ORDER BY place)
            FROM pg_index, unnest(indkey) WITH ORDINALITY AS part (number, place)
            JOIN pg_attribute ON attrelid = c.oid AND attnum = part.number
            WHERE indrelid = c.oid AND indisprimary), '{}'),
        coalesce((
            SELECT array_agg(conname || ' ' || pg_get_constraintdef(oid) ORDER BY conname)
            FROM pg_constraint WHERE conrelid = c.oid AND contype IN ('c', 'f', 'u', 'x')), '{}')
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace
    WHERE relkind IN ('r', 'p', 'f') AND NOT relispartition AND relpersistence <> 't'
        AND nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'decanter')
    ORDER BY 2
"""

# Of an array, what is said of a type is said of the type of its items.
_COLUMNS = """
    SELECT attrelid, attnum, attname::text, format_type(a.atttypid, a.atttypmod),
        attnotnull OR own.typnotnull,
        atthasdef OR attidentity <> '' OR coalesce(item.typdefault, own.typdefault) IS NOT NULL,
        attgenerated <> '' OR attidentity = 'a',
        CASE WHEN item.typtype = 'd' THEN format_type(item.typbasetype, item.typtypmod) END,
        CASE WHEN item.typtype = 'e' THEN (
            SELECT array_agg(enumlabel::text ORDER BY enumsortorder)
            FROM pg_enum WHERE enumtypid = item.oid) END,
        CASE WHEN item.typtype = 'd' THEN coalesce((
            SELECT array_agg(pg_get_constraintdef(oid)) FROM pg_constraint
            WHERE contypid = item.oid), '{}')
            || CASE WHEN item.typnotnull THEN '{NOT NULL}'::text[] ELSE '{}' END END
    FROM pg_attribute AS a
        JOIN pg_type AS own ON own.oid = atttypid
        JOIN pg_type AS item ON item.oid =
            CASE WHEN own.typcategory = 'A' AND own.typelem <> 0 THEN own.typelem ELSE own.oid END
    WHERE attrelid = ANY (%s::oid[]) AND attnum > 0 AND NOT attisdropped
    ORDER BY attrelid, attnum
"""


class Column(NamedTuple):
    """A column as the catalog has it.

    type: as SQL. optional: a row may leave it out. read_only: Postgres gives it its value, always.
    base: of a domain, the type beneath; labels: of an enum; checks: of a domain.
    """

    number: int
    name: str
    type: str
    not_null: bool
    optional: bool
    read_only: bool
    base: str | None
    labels: tuple[str, ...] | None
    checks: frozenset[str] | None


class Relation(NamedTuple):
    """A table as the catalog has it, by the name that SQL has for it."""

    oid: int
    name: str
    key: tuple[str, ...]
    constraints: frozenset[str]
    columns: tuple[Column, ...]


def tables(cursor: Any) -> list[Relation]:
    """All tables that are not Decanter's own, in the transaction of this cursor."""
    cursor.execute(_RELATIONS)
    found = cursor.fetchall()
    columns = _columns(cursor, [oid for oid, *_ in found])
    return [
        Relation(oid, name, tuple(key), frozenset(constraints), tuple(columns.get(oid, ())))
        for oid, name, key, constraints in found
    ]


def columns(cursor: Any, names: Iterable[str]) -> Mapping[str, tuple[Column, ...]]:
    """Of the tables of these names that are there."""
    oids: dict[str, int] = {}
    for name in names:
        cursor.execute("SELECT to_regclass(%s)::oid", (name,))
        ((oid,),) = cursor.fetchall()
        if oid is not None:
            oids[name] = oid
    found = _columns(cursor, oids.values())
    return {name: tuple(found[oid]) for name, oid in oids.items() if oid in found}


def _columns(cursor: Any, oids: Iterable[int]) -> dict[int, list[Column]]:
    cursor.execute(_COLUMNS, (list(oids),))
    found: dict[int, list[Column]] = {}
    for oid, *described in cursor.fetchall():
        column = Column(*described)
        labels = None if column.labels is None else tuple(column.labels)
        checks = None if column.checks is None else frozenset(column.checks)
        found.setdefault(oid, []).append(column._replace(labels=labels, checks=checks))
    return found
