"""What every delivery must do: the drain's promise as a slow model, in which writes are applied to
dicts one by one.

What is promised of one batch:

1. A message is poured whole or not at all, and has one ledger row once it is poured.
2. Writes to one key take effect in the order in which they were accepted.
3. Everything else may be in any order. There must be *one* order of all writes of the batch that
   keeps 2 and in which each of them, applied alone to what is there at its turn, is taken or
   refused just as the drain took or refused it; the tables then hold what that order leaves.
   So two writes of one batch that want the same unique value may go either way, and so may a
   delete and a new reference to the row, but no outcome that no order explains is accepted.
4. Writes of one set (resource, op and members alike) may take effect at the same moment: rows that
   refer to each other in a circle then have their parents.
5. A refused write has the type of a constraint that it violates at its turn. If it violates
   several, either may be told; a value that its type does not take comes before all of them, and
   a missing row before any constraint. A delete whose cascades take away rows that hold on to
   what it deletes may go either way: Postgres asks and cascades in the order of its triggers.
6. A condition is judged at its write's turn, before everything but a mismatch. Whether the row is
   the one whose ETag was read is told by its values, except where a column is of type json, which
   remembers how a value was written: there, equal values may have another ETag.
7. A message waits only if one of its rows has no parent, and only until its deliveries are used up.

Of writes in different batches, and of creates into unordered resources, the order of pouring is
the order of effects. Not modelled: deferred constraints, triggers, exclusion constraints, circles
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
class Asked:
    """A condition. match, none: rows as they were when their ETags were read; a row may be any row
    that is there."""

    match: tuple[Values, ...] | None
    none: tuple[Values, ...] | None


ANY_ROW: Values = {}


@dataclass(frozen=True)
class Write:
    """One write as the model sees it.

    row: JSON text as sent, with the key. values: canonical, of members that Postgres can take.
    key: canonical, or a token of its own where the database makes it.
    is_bad: a value that its type does not take. is_mismatch: a member that is no column.
    """

    resource: str
    op: str
    texts: Mapping[str, str]
    key: Value
    values: Values
    is_bad: bool
    is_mismatch: bool
    asked: Asked | None = None


def write(rows: Rows, op: str, texts: Mapping[str, str], asked: Asked | None = None) -> Write:
    """texts: JSON text of each member, key included unless the database makes it."""
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
class Turn:
    """What one write does at its turn: the types of its faults, else the tables after it.

    doubts: types of faults that it may have or not.
    """

    faults: frozenset[str]
    after: Tables
    doubts: frozenset[str] = frozenset()


def _is_readable(text: str) -> bool:
    """Whether Postgres has characters for all that the JSON text escapes."""
    try:
        json.dumps(json.loads(text), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return "\\u0000" not in text


def turn(schema: Schema, tables: Tables, own: Write, lenient: bool = False) -> Turn:
    """Apply one write. lenient: parents and children are looked at by someone else."""
    rows = schema.rows(own.resource)
    old = tables[own.resource].get(own.key)
    if own.asked and not all(map(_is_readable, own.texts.values())):
        return Turn(frozenset({"value"}), tables)  # Postgres reads no row with it, for any question
    holds = _answers(rows, own.asked, old)
    if True not in holds:
        return Turn(frozenset({"precondition-failed"}), tables)
    done = _done(schema, tables, own, lenient)
    if False in holds:
        done = replace(done, doubts=done.doubts | {"precondition-failed"})
    return done


def _answers(rows: Rows, asked: Asked | None, now: Values | None) -> set[bool]:
    """Whether a condition holds; both if nobody can tell."""
    if asked is None:
        return {True}
    match = {True} if asked.match is None else _is_among(rows, asked.match, now)
    none = {False} if asked.none is None else _is_among(rows, asked.none, now)
    return {one and not other for one in match for other in none}


def _is_among(rows: Rows, read: Sequence[Values], now: Values | None) -> set[bool]:
    if now is None:
        return {False}
    if any(each is ANY_ROW for each in read):
        return {True}
    if now not in read:
        return {False}
    is_written = any(each.kind == "json" and now[each.name] is not None for each in rows.fields)
    return {True, False} if is_written else {True}


def _done(schema: Schema, tables: Tables, own: Write, lenient: bool) -> Turn:
    rows = schema.rows(own.resource)
    if own.is_bad:
        return Turn(frozenset({"value"}), tables)
    old = tables[own.resource].get(own.key)
    if old is None and own.op in ("merge", "delete"):
        return Turn(frozenset({"missing"}), tables)
    if own.op == "delete":
        after = _without(schema, tables, own.resource, own.key)
        if orphans(schema, after) and not lenient:
            return Turn(frozenset({"still-referenced"}), tables)
        is_held = _holds_what_goes(schema, tables, after)
        return Turn(frozenset(), after, frozenset({"still-referenced"} if is_held else ()))

    new = row_after(rows, own, old)
    faults = _own_faults(rows, new)
    if own.op in ("create-or-merge", "create-or-ignore"):
        # Postgres looks at the new row before it looks for the old one.
        faults |= _own_faults(rows, row_after(rows, own, None))
    if old is not None and own.op == "create-or-ignore":
        return Turn(faults, tables)
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
    return Turn(faults, tables if faults else after)


def _own_faults(rows: Rows, new: Values) -> frozenset[str]:
    """What is wrong with a row whatever else is there."""
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
    """Rows that refer to one that is not there."""
    return {
        (rows.resource, key)
        for rows in schema.tables
        for key, row in tables[rows.resource].items()
        for reference in rows.references
        if _is_orphan(tables, row, reference)
    }


def _without(schema: Schema, tables: Tables, resource: str, key: Value) -> Tables:
    """The tables without a row, cascades done."""
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
    """Whether a row that cascades take away refers to another such row and would keep it."""
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
