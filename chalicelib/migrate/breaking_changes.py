"""Which changes of tables would break messages that are queued, or the version that still runs.

Tables are compared as the catalog has them before and after the revisions: what counts is what
became of them, not how a revision says it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from chalicelib.postgres.resources import Resource
from chalicelib.postgres.sql.names import plain_name

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

_TYPE = re.compile(
    r"(?P<name>[^(]+?)(?:\((?P<limits>[-0-9,]+)\))?(?P<rest> with.*)?(?P<array>\[\])?"
)
_DIGITS = {"smallint": 5, "integer": 10, "bigint": 19}
_WIDER = {
    ("smallint", "integer"),
    ("smallint", "bigint"),
    ("integer", "bigint"),
    ("smallint", "real"),
    ("smallint", "double precision"),
    ("integer", "double precision"),
    ("real", "double precision"),
}
_TEXTS = ("text", "character varying", "character")
_FINEST = 6  # digits of a second


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
    cursor.execute(_COLUMNS, ([oid for oid, *_ in found],))
    columns: dict[int, list[Column]] = {}
    for oid, *described in cursor.fetchall():
        column = Column(*described)
        labels = None if column.labels is None else tuple(column.labels)
        checks = None if column.checks is None else frozenset(column.checks)
        columns.setdefault(oid, []).append(column._replace(labels=labels, checks=checks))
    return [
        Relation(oid, name, tuple(key), frozenset(constraints), tuple(columns.get(oid, ())))
        for oid, name, key, constraints in found
    ]


def breaks(
    before: Iterable[Relation], after: Iterable[Relation], unserved: Iterable[str] = ()
) -> list[str]:
    """What would break messages or the version that runs, each in a sentence; sorted by table.

    unserved: names of tables that no message is for.
    """
    now = list(after)
    by_oid = {relation.oid: relation for relation in now}
    by_name = {relation.name: relation for relation in now}
    found: list[str] = []
    for old in before:
        if old.name in {*unserved}:
            continue
        same = by_oid.get(old.oid)
        if same is not None and same.name != old.name:
            found.append(f"{old.name} is renamed to {same.name}")
        elif (new := same or by_name.get(old.name)) is None:
            found.append(f"{old.name} is dropped")
        else:
            found += [f"{old.name}{what}" for what in _changes(old, new)]
    return found


def tightened(before: Iterable[Relation], after: Iterable[Relation]) -> list[str]:
    """New constraints of tables that are there: queued writes that violate them are rejected."""
    by_name = {relation.name: relation for relation in after}
    return [
        f"{old.name} has a new constraint: {constraint}"
        for old in before
        if old.name in by_name
        for constraint in sorted(by_name[old.name].constraints - old.constraints)
    ]


def mismatches(cursor: Any, resources: Iterable[Resource]) -> list[str]:
    """Where the tables of the database are not as these models need them."""
    served = {plain_name(resource.table): resource for resource in resources}
    oids: dict[str, int] = {}
    for name in served:
        cursor.execute("SELECT to_regclass(%s)::oid", (name,))
        ((oid,),) = cursor.fetchall()
        oids[name] = oid
    cursor.execute(_COLUMNS, ([oid for oid in oids.values() if oid is not None],))
    present: dict[int, dict[str, tuple[bool, bool]]] = {}
    for oid, _, name, _, not_null, optional, *_ in cursor.fetchall():
        present.setdefault(oid, {})[name] = (not_null, optional)
    found: list[str] = []
    for name, resource in served.items():
        columns = present.get(oids[name])
        if columns is None:
            found.append(f"{name} is in the models, but there is no such table")
            continue
        known = {column.name for column in resource.table.columns if not column.system}
        found += [
            f"{name}.{column} is in the models, but the table has no such column"
            for column in sorted(known - columns.keys())
        ]
        found += [
            f"{name}.{column} must have a value, and the models do not know the column"
            for column, (not_null, optional) in columns.items()
            if column not in known and not_null and not optional
        ]
    return found


def widens(old: Column, new: Column) -> bool:
    """Whether the new column's type takes every value that the old one's takes, unchanged."""
    if old.type.endswith("[]") != new.type.endswith("[]"):
        return False
    if new.checks is not None:
        if old.checks is None or not new.checks <= old.checks:
            return False
        return _is_wider(str(old.base), str(new.base))
    if new.labels is not None:
        return old.labels is not None and {*old.labels} <= {*new.labels}
    if old.labels is not None:
        longest = max(map(len, old.labels), default=0)
        return _is_wider(f"character varying({longest or 1})", _bare(new.type))
    return _is_wider(_bare(old.base or old.type), _bare(new.type))


def _changes(old: Relation, new: Relation) -> Iterator[str]:
    if old.key != new.key:
        yield f" has the key ({', '.join(new.key)}) instead of ({', '.join(old.key)})"
    by_number = {column.number: column for column in new.columns}
    by_name = {column.name: column for column in new.columns}
    for column in old.columns:
        same = by_number.get(column.number) if old.oid == new.oid else None
        if same is not None and same.name != column.name:
            yield f".{column.name} is renamed to {same.name}"
        elif (now := by_name.get(column.name)) is None:
            yield f".{column.name} is dropped"
        else:
            yield from (f".{column.name} {what}" for what in _narrowed(column, now))
    known = {column.name for column in old.columns}
    renamed = {c.number for c in old.columns} if old.oid == new.oid else set()
    for column in new.columns:
        is_new = column.name not in known and column.number not in renamed
        if is_new and column.not_null and not column.optional:
            yield f".{column.name} is added NOT NULL and without a server default"


def _narrowed(old: Column, new: Column) -> Iterator[str]:
    if new.read_only and not old.read_only:
        yield "takes no value any more: Postgres gives it one"
        return
    if not widens(old, new):
        if old.labels is not None and new.labels is not None:
            yield f"loses the labels {', '.join(sorted({*old.labels} - {*new.labels}))}"
        elif old.type == new.type:
            yield f"is narrowed: {new.type} has more checks"
        else:
            yield f"is narrowed: {old.type} becomes {new.type}"
    if new.not_null and not old.not_null:
        yield "becomes NOT NULL"
    elif new.not_null and old.optional and not new.optional:
        yield "is NOT NULL and loses its server default"


def _is_wider(old: str, new: str) -> bool:
    if old == new:
        return True
    before, after = _parsed(old), _parsed(new)
    if before is None or after is None:
        return False
    (old_name, old_limits), (new_name, new_limits) = before, after
    if (old_name, new_name) in _WIDER:
        return True
    if old_name in _TEXTS and new_name in _TEXTS:
        # What is padded with blanks is not what was sent.
        pads = new_name == "character" and old_name != "character"
        return not pads and _at_least(new_limits, old_limits)
    if new_name == "numeric":
        if old_name in _DIGITS:
            return not new_limits or new_limits[0] - _scale(new_limits) >= _DIGITS[old_name]
        return old_name == "numeric" and _holds(new_limits, old_limits)
    if old_name != new_name:
        return False
    if old_name.startswith(("timestamp", "time ", "interval")):
        finest = (_FINEST,)
        return (new_limits or finest) >= (old_limits or finest)
    return old_name == "bit varying" and _at_least(new_limits, old_limits)


def _holds(new: tuple[int, ...], old: tuple[int, ...]) -> bool:
    """Whether numerics of the new precision and scale hold those of the old."""
    if not new or not old:
        return not new
    return _scale(new) >= _scale(old) and new[0] - _scale(new) >= old[0] - _scale(old)


def _scale(limits: Sequence[int]) -> int:
    return limits[1] if len(limits) > 1 else 0


def _at_least(new: tuple[int, ...], old: tuple[int, ...]) -> bool:
    """No limit is more than any."""
    return not new or bool(old and new[0] >= old[0])


def _parsed(type_: str) -> tuple[str, tuple[int, ...]] | None:
    """Name and limits, such as ("numeric", (12, 2)) and ("timestamp with time zone", (3,))."""
    match = _TYPE.fullmatch(type_)
    if match is None:
        return None
    limits = tuple(int(each) for each in (match["limits"] or "").split(",") if each)
    return f"{match['name']}{match['rest'] or ''}", limits


def _bare(type_: str) -> str:
    return type_.removesuffix("[]")


def listed(found: Sequence[str], most: int = 20) -> str:
    """The sentences, as a list for a message."""
    lines = [f"- {each}" for each in found[:most]]
    if len(found) > most:
        lines.append(f"- and {len(found) - most} more")
    return "\n".join(lines)


def unserved(metadatas: Iterable[Any], resources: Mapping[str, Resource]) -> list[str]:
    """Names of tables that the models keep to themselves."""
    served = {resource.table for resource in resources.values()}
    return [
        plain_name(table)
        for metadata in metadatas
        for table in metadata.tables.values()
        if table not in served
    ]
