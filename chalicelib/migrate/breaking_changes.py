"""Changes of tables that would break queued messages, or the version that still runs.

Tables are compared as the catalog has them before and after the revisions: only the result counts,
not how a revision is written.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from chalicelib.postgres import relations
from chalicelib.postgres.relations import Column, Relation
from chalicelib.postgres.resources import ResourceTable
from chalicelib.postgres.sql.names import plain_name

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
_LISTED = 20


def find_breaks(
    before: Iterable[Relation], after: Iterable[Relation], unserved: Iterable[str] = ()
) -> list[str]:
    """Breaking changes, each in a sentence, sorted by table. unserved: names of tables that no
    message is for."""
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


def new_constraints(before: Iterable[Relation], after: Iterable[Relation]) -> list[str]:
    """New constraints of existing tables: queued writes that violate them are rejected."""
    by_name = {relation.name: relation for relation in after}
    return [
        f"{old.name} has a new constraint: {constraint}"
        for old in before
        if old.name in by_name
        for constraint in sorted(by_name[old.name].constraints - old.constraints)
    ]


def mismatches(cursor: Any, resources: Iterable[ResourceTable]) -> list[str]:
    """Differences between the tables of the database and these models that break writes."""
    served = {plain_name(resource.table): resource for resource in resources}
    present = relations.columns(cursor, served)
    found: list[str] = []
    for name, resource in served.items():
        if name not in present:
            found.append(f"{name} is in the models, but the table does not exist")
            continue
        known = {column.name for column in resource.table.columns if not column.system}
        found += [
            f"{name}.{column} is in the models, but the table has no such column"
            for column in sorted(known - {each.name for each in present[name]})
        ]
        found += [
            f"{name}.{column.name} must have a value, and the models do not know the column"
            for column in present[name]
            if column.name not in known and column.not_null and not column.optional
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
        return _is_wider(f"character varying({longest or 1})", new.type.removesuffix("[]"))
    return _is_wider((old.base or old.type).removesuffix("[]"), new.type.removesuffix("[]"))


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
        yield "can no longer be written: Postgres gives it its value"
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
        # A value padded with blanks is not the one that was sent.
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
    """Whether the new limit is at least the old one; no limit is the highest."""
    return not new or bool(old and new[0] >= old[0])


def _parsed(type_: str) -> tuple[str, tuple[int, ...]] | None:
    """Name and limits, such as ("numeric", (12, 2)) and ("timestamp with time zone", (3,))."""
    match = _TYPE.fullmatch(type_)
    if match is None:
        return None
    limits = tuple(int(each) for each in (match["limits"] or "").split(",") if each)
    return f"{match['name']}{match['rest'] or ''}", limits


def bullets(found: Sequence[str]) -> str:
    """The sentences as a bulleted list."""
    lines = [f"- {each}" for each in found[:_LISTED]]
    more = [f"- and {len(found) - _LISTED} more"] if len(found) > _LISTED else []
    return "\n".join([*lines, *more])


def unserved(metadatas: Iterable[Any], resources: Mapping[str, ResourceTable]) -> list[str]:
    """Names of tables that are not served."""
    served = {resource.table for resource in resources.values()}
    return [
        plain_name(table)
        for metadata in metadatas
        for table in metadata.tables.values()
        if table not in served
    ]
