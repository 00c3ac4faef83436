"""The promise of the drain as a slow model, which applies writes to dicts one by one.

For one batch it promises:

1. A message is poured whole or not at all, and has one ledger row once it is poured.
2. Writes to one key take effect in the order in which they were accepted.
3. Everything else may happen in any order. There has to be *one* order of all writes of the batch
   that keeps 2 and in which each write, applied alone at its turn, is accepted or refused as the
   drain did; the tables then have the result of that order. So of two writes of the same unique
   value either may win, and likewise of a delete and a new reference to its row, but an outcome
   without such an order is an error.
4. Writes of one set (same resource, op and members) may take effect at the same moment: rows that
   refer to each other in a circle then have their parents.
5. A refused write has the type of a constraint that it violates at its turn. If it violates
   several, it may be any of them; an invalid value comes before all of them, and a missing row
   before any constraint. A delete whose cascades remove rows that still restrict it may go either
   way: Postgres checks and cascades in the order of its triggers.
6. A condition is checked at its write's turn, before everything but a schema mismatch. Equal values
   mean an equal ETag, except with a column of type json, which keeps the spelling of its values:
   there the ETag may differ.
7. A write waits only for a parent, or behind an earlier write to its key, or to one that may be
   equal, that waits itself. Where those of a message that is not in the batch wait no longer, it
   is applied or rejected with the next batch, and in the end every write is.

For writes of different batches, and for creates of unordered resources, the order of pouring is the
order of effects. Not modelled: deferred constraints, triggers, exclusion constraints, circles
of foreign keys between tables, and keys made by a constant default.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import count
from typing import Any

from tests.kit.model.schema import KINDS, Reference, Rows, Schema, Value, Values, document

_tokens = count(1)

Tables = dict[str, dict[Value, Values]]


@dataclass(frozen=True)
class Precondition:
    """A condition. match, none: rows as they were when their ETags were read; ANY_ROW is any
    existing row."""

    match: tuple[Values, ...] | None
    none: tuple[Values, ...] | None


ANY_ROW: Values = {}


@dataclass(frozen=True)
class Write:
    """One write in the model.

    texts: JSON texts as sent, with the key. values: canonical ones of all valid members.
    key: canonical, or a unique token where the database makes it.
    is_bad: whether a value is invalid for its type. is_mismatch: whether a member is not a column.
    """

    resource: str
    op: str
    texts: Mapping[str, str]
    key: Value
    values: Values
    is_bad: bool
    is_mismatch: bool
    asked: Precondition | None = None


def write(
    rows: Rows, op: str, texts: Mapping[str, str], asked: Precondition | None = None
) -> Write:
    """Return a write. texts: JSON text of each member, with the key unless the database makes
    it."""
    fields = {each.name: each for each in rows.fields if not each.doubles}
    values: dict[str, Value] = {}
    is_bad = False
    for name, text in texts.items():
        if name in fields:
            if text in KINDS[fields[name].kind].bad:
                is_bad = True
            else:
                values[name] = fields[name].canonical(json.loads(text, parse_float=Decimal))
    complete = rows.key and all(each.name in values for each in rows.key)
    key = rows.key_of(values) if complete else ("new", next(_tokens))
    is_mismatch = bool(set(texts) - set(fields))
    return Write(rows.resource, op, texts, key, values, is_bad, is_mismatch, asked)


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7396, section 2."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


@dataclass(frozen=True)
class Effect:
    """The effect of one write at its turn: the types of its faults, or else the tables after it.

    doubts: types of faults that it may have or not.
    """

    faults: frozenset[str]
    after: Tables
    doubts: frozenset[str] = frozenset()


def _is_readable(text: str) -> bool:
    """Whether Postgres can store all characters that the JSON text escapes."""
    try:
        json.dumps(json.loads(text), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return "\\u0000" not in text


def turn(schema: Schema, tables: Tables, own: Write, lenient: bool = False) -> Effect:
    """Apply one write. lenient: without checking parents and children."""
    rows = schema.rows(own.resource)
    old = tables[own.resource].get(own.key)
    if own.asked and not all(map(_is_readable, own.texts.values())):
        return Effect(frozenset({"value"}), tables)  # no query can contain it
    holds = _answers(rows, own.asked, old)
    if True not in holds:
        return Effect(frozenset({"precondition-failed"}), tables)
    done = _apply(schema, tables, own, lenient)
    if False in holds:
        done = replace(done, doubts=done.doubts | {"precondition-failed"})
    return done


def _answers(rows: Rows, asked: Precondition | None, now: Values | None) -> set[bool]:
    """Return whether a condition holds; both values if that is uncertain."""
    if asked is None:
        return {True}
    match = {True} if asked.match is None else _matches_any(rows, asked.match, now)
    none = {False} if asked.none is None else _matches_any(rows, asked.none, now)
    return {one and not other for one in match for other in none}


def _matches_any(rows: Rows, read: Sequence[Values], now: Values | None) -> set[bool]:
    if now is None:
        return {False}
    if any(each is ANY_ROW for each in read):
        return {True}
    if now not in read:
        return {False}
    is_written = any(each.kind == "json" and now[each.name] is not None for each in rows.fields)
    return {True, False} if is_written else {True}


def _apply(schema: Schema, tables: Tables, own: Write, lenient: bool) -> Effect:
    rows = schema.rows(own.resource)
    if own.is_bad:
        return Effect(frozenset({"value"}), tables)
    old = tables[own.resource].get(own.key)
    if old is None and own.op in ("merge", "delete"):
        return Effect(frozenset({"missing"}), tables)
    if own.op == "delete":
        after = _without(schema, tables, own.resource, own.key)
        if orphans(schema, after) and not lenient:
            return Effect(frozenset({"still-referenced"}), tables)
        is_held = _holds_what_goes(schema, tables, after)
        return Effect(frozenset(), after, frozenset({"still-referenced"} if is_held else ()))

    new = row_after(rows, own, old)
    faults = _row_faults(rows, new)
    if own.op in ("create-or-merge", "create-or-ignore"):
        # Postgres looks at the new row before it looks for the old one.
        faults |= _row_faults(rows, row_after(rows, own, None))
    if old is not None and own.op == "create-or-ignore":
        return Effect(faults, tables)
    if old is not None and own.op == "create":
        faults |= {"conflict"}
    others = [row for key, row in tables[own.resource].items() if key != own.key]
    for columns in rows.uniques:
        wanted = tuple(new[name] for name in columns)
        if None not in wanted and any(tuple(r[c] for c in columns) == wanted for r in others):
            faults |= {"conflict"}
    after = {**tables, own.resource: {**tables[own.resource], own.key: new}}
    if not lenient and any(_is_orphan(after, new, each) for each in rows.references):
        faults |= {"missing-parent"}
    return Effect(faults, tables if faults else after)


def _row_faults(rows: Rows, new: Values) -> frozenset[str]:
    """Return the faults of a row by itself."""
    faults = set()
    if any(new[each.name] is None for each in rows.fields if not each.nullable):
        faults.add("null")
    if any(each.check and _exceeds(new[each.name]) for each in rows.fields):
        faults.add("check")
    return frozenset(faults)


def row_after(rows: Rows, own: Write, old: Values | None) -> Values:
    new: dict[str, Value] = {}
    if old is not None and own.op in ("merge", "create-or-merge"):
        new |= old
        changed = [name for name in own.values if not rows.field(name).is_key]
        if changed:
            new |= {each.name: each.onupdate for each in rows.rest if each.onupdate}
        for name in changed:
            new[name] = own.values[name]
            if own.op == "merge" and rows.field(name).kind in ("json", "jsonb"):
                new[name] = _patched(old[name], own.values[name])
    else:
        new |= {each.name: each.default.value if each.default else None for each in rows.fields}
        new |= own.values
        if old is not None:
            new |= {each.name: old[each.name] for each in rows.key}
    for each in rows.fields:
        if each.doubles is not None:
            source: Any = new[each.doubles]
            new[each.name] = None if source is None else 2 * source
    return new


def _patched(old: Any, patch: Any) -> Value:
    if patch is None:
        return None
    return document(merge_patch(None if old is None else json.loads(old), json.loads(patch)))


def _exceeds(value: Any) -> bool:
    return value is not None and value >= 1000


def _is_orphan(tables: Tables, row: Values, reference: Reference) -> bool:
    parent = tuple(row[name] for name in reference.columns)
    return None not in parent and parent not in tables[reference.parent]


def orphans(schema: Schema, tables: Tables) -> set[tuple[str, Value]]:
    """Return rows that refer to a missing row."""
    return {
        (rows.resource, key)
        for rows in schema.tables
        for key, row in tables[rows.resource].items()
        for reference in rows.references
        if _is_orphan(tables, row, reference)
    }


def _without(schema: Schema, tables: Tables, resource: str, key: Value) -> Tables:
    """Return the tables without a row, after cascades."""
    if key not in tables[resource]:
        return tables
    after = {**tables, resource: {k: row for k, row in tables[resource].items() if k != key}}
    for rows, reference in schema.children(resource):
        for child, row in tables[rows.resource].items():
            if child == key and rows.resource == resource:
                continue
            if tuple(row[name] for name in reference.columns) != key:
                continue
            if reference.ondelete == "CASCADE":
                after = _without(schema, after, rows.resource, child)
            elif reference.ondelete == "SET NULL" and child in after[rows.resource]:
                held = after[rows.resource][child]
                cleared = {**held, **dict.fromkeys(reference.columns)}
                after = {**after, rows.resource: {**after[rows.resource], child: cleared}}
    return after


def _holds_what_goes(schema: Schema, tables: Tables, after: Tables) -> bool:
    """Whether a row removed by cascades restricts the removal of another one."""
    return any(
        reference.ondelete in (None, "RESTRICT")
        and parent != (key if reference.parent == rows.resource else None)
        and parent in tables[reference.parent]
        and parent not in after[reference.parent]
        for rows in schema.tables
        for reference in rows.references
        for key, row in tables[rows.resource].items()
        if key not in after[rows.resource]
        for parent in [tuple(row[name] for name in reference.columns)]
    )
