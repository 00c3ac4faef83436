"""Tables and columns as the catalog has them."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from chalicelib.postgres.engine import engine_of

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

# Facts of a type are those of the item type of an array.
_COLUMNS = """
    SELECT attrelid, attnum, attname::text, format_type(a.atttypid, a.atttypmod),
        attnotnull OR own.typnotnull,
        atthasdef OR attidentity <> '' OR coalesce(item.typdefault, own.typdefault) IS NOT NULL,
        attgenerated <> '' OR attidentity = 'a',
        CASE WHEN item.typtype = 'd' THEN format_type(item.typbasetype, item.typtypmod) END,
        {labels},
        CASE WHEN item.typtype = 'd' THEN coalesce((
            SELECT array_agg(pg_get_constraintdef(oid)) FROM pg_constraint
            WHERE contypid = item.oid), '{{}}')
            || CASE WHEN item.typnotnull THEN '{{NOT NULL}}'::text[] ELSE '{{}}' END END
    FROM pg_attribute AS a
        JOIN pg_type AS own ON own.oid = atttypid
        JOIN pg_type AS item ON item.oid =
            CASE WHEN own.typcategory = 'A' AND own.typelem <> 0 THEN own.typelem ELSE own.oid END
    WHERE attrelid = ANY (%s::oid[]) AND attnum > 0 AND NOT attisdropped
    ORDER BY attrelid, attnum
"""


_LABELS = """
    CASE WHEN item.typtype = 'e' THEN (
        SELECT array_agg(enumlabel::text ORDER BY enumsortorder)
        FROM pg_enum WHERE enumtypid = item.oid) END
"""


class Column(NamedTuple):
    """A column as the catalog has it.

    type: in SQL. optional: a row may leave it out. read_only: Postgres always gives it its value.
    base: the type beneath a domain; labels: of an enum; checks: of a domain.
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
    """A table as the catalog has it, by its name in SQL."""

    oid: int
    name: str
    key: tuple[str, ...]
    constraints: frozenset[str]
    columns: tuple[Column, ...]


def tables(cursor: Any) -> list[Relation]:
    """All tables but Decanter's, as this cursor's transaction sees them."""
    cursor.execute(_RELATIONS)
    found = cursor.fetchall()
    columns = _columns(cursor, [oid for oid, *_ in found])
    return [
        Relation(oid, name, tuple(key), frozenset(constraints), tuple(columns.get(oid, ())))
        for oid, name, key, constraints in found
    ]


def columns(cursor: Any, names: Iterable[str]) -> Mapping[str, tuple[Column, ...]]:
    """The columns of existing tables of these names."""
    query = "SELECT name, to_regclass(name)::oid FROM unnest(%s::text[]) AS name"
    cursor.execute(query, ([*names],))
    oids = {name: oid for name, oid in cursor.fetchall() if oid is not None}
    found = _columns(cursor, oids.values())
    return {name: tuple(found[oid]) for name, oid in oids.items() if oid in found}


def _columns(cursor: Any, oids: Iterable[int]) -> dict[int, list[Column]]:
    of_enum = _LABELS if engine_of(cursor.connection).own_types else "NULL::text[]"
    cursor.execute(_COLUMNS.format(labels=of_enum), (list(oids),))
    found: dict[int, list[Column]] = {}
    for oid, *described in cursor.fetchall():
        column = Column(*described)
        labels = None if column.labels is None else tuple(column.labels)
        checks = None if column.checks is None else frozenset(column.checks)
        found.setdefault(oid, []).append(column._replace(labels=labels, checks=checks))
    return found
