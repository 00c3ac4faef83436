"""Random requests, and random deliveries of their messages."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

from hypothesis import strategies as st

from tests.kit.engines import lacking, named_engine
from tests.kit.model.schema import KINDS, Field, Rows, Schema, metadata_of, random_schema

EXAMPLES = int(os.environ.get("DECANTER_EXAMPLES", "20"))
IS_LONG = EXAMPLES > 50
_MOST_SCHEMAS = 120 if IS_LONG else 30
SCHEMAS = [
    schema
    for schema in map(random_schema, range(4 * _MOST_SCHEMAS))
    if not lacking(named_engine(), metadata_of([schema]))
][:_MOST_SCHEMAS]
"""Those that the engine of the tests can hold."""


@dataclass(frozen=True)
class Request:
    """One HTTP request. rows: JSON text of each member. is_keyed: with an Idempotency-Key.

    match, none: kinds of ETags in its conditions; see ETAGS.
    """

    resource: str
    op: str
    rows: tuple[Mapping[str, str], ...]
    is_array: bool
    is_keyed: bool
    match: str | None = None
    none: str | None = None


@dataclass(frozen=True)
class Cut:
    """The loss of the connection before or after the nth statement of a batch."""

    statement: int
    after: bool


@dataclass(frozen=True)
class Batch:
    """lanes: the lanes to take a message from, in turn, modulo the number of non-empty lanes.

    again: indexes of earlier deliveries to repeat, before or after the batch.
    doubled: messages of the batch that are in it twice.
    idle_cut: whether the connection is lost before the batch.
    """

    lanes: tuple[int, ...]
    again: tuple[int, ...] = ()
    is_again_first: bool = False
    doubled: tuple[int, ...] = ()
    idle_cut: bool = False
    cut: Cut | None = None


@dataclass(frozen=True)
class Plan:
    """is_patient: whether writes wait for their parents."""

    schema: Schema
    is_partial: bool
    is_patient: bool
    lanes: int
    steps: tuple[Request | Batch, ...]


def texts(each: Field, flaw: str | None) -> st.SearchStrategy[str]:
    kind = KINDS[each.kind]
    if flaw == "value" and kind.bad:
        return st.sampled_from(kind.bad)
    if flaw == "check" and each.check:
        return st.just("1000")
    if flaw == "null" or (flaw is None and each.nullable and not each.is_key):
        return st.sampled_from((*each.good, "null") if flaw is None else ("null",))
    return st.sampled_from(each.good)


@cache
def _key_texts(rows: Rows) -> st.SearchStrategy[Mapping[str, str]]:
    return st.fixed_dictionaries({each.name: texts(each, "none") for each in rows.key})


CREATES = {"create": None, "create-or-merge": "merge-duplicates",
           "create-or-ignore": "ignore-duplicates"}  # fmt: skip
# Of any row, of none, of the row as it is when the request is made, of what it was before, of both.
ETAGS = st.sampled_from(["any", "any", "no", "now", "now", "now", "before", "now or before"])
BOTH = st.tuples(ETAGS, ETAGS)

FLAWS = st.sampled_from([None] * 12 + ["value", "check", "null", "absent", "schema-mismatch"])


def may_have(each: Field, flaw: str | None) -> bool:
    can = {"value": bool(KINDS[each.kind].bad), "check": each.check, "null": not each.nullable}
    return flaw is not None and can.get(flaw, True)


def needs(each: Field, op: str) -> bool:
    return op != "merge" and not each.nullable and not each.default


@st.composite
def row_texts(
    draw: st.DrawFn, rows: Rows, op: str, members: set[str], flaws: st.SearchStrategy[str | None]
) -> Mapping[str, str]:
    made = any(each.default for each in rows.key)
    is_new = op in CREATES and made and draw(st.booleans())
    row = {} if is_new else dict(draw(_key_texts(rows)))
    if op == "delete":
        return row
    flaw = draw(flaws)
    able = [each for each in rows.rest if may_have(each, flaw)]
    flawed = draw(st.sampled_from(able)).name if able else None
    for each in rows.rest:
        own_flaw = flaw if each.name == flawed else None
        if own_flaw != "absent" and (own_flaw or each.name in members):
            row[each.name] = draw(texts(each, own_flaw))
    if flaw == "schema-mismatch" and draw(st.booleans()):
        computed = [each.name for each in rows.fields if each.doubles]
        row[draw(st.sampled_from([*computed, "no such column"]))] = "1"
    if op == "merge" and len(row) == len(rows.key):
        each = draw(st.sampled_from(rows.rest))
        row[each.name] = draw(texts(each, None))
    return row


@st.composite
def requests(draw: st.DrawFn, schema: Schema) -> Request:
    rows = draw(st.sampled_from(schema.tables))
    ops = ["create", "create", "create-or-ignore"]
    if rows.ordered:
        ops += ["create-or-merge", "create-or-merge"]
        ops += ["replace", "replace", "delete", "delete"]
        ops += ["merge"] * 4 * bool(rows.rest)
    op = draw(st.sampled_from(ops))
    is_array = op in CREATES and draw(st.booleans())
    sent = draw(request(rows, op, is_array, FLAWS))
    if op in CREATES or not draw(st.sampled_from((False, False, True))):
        return sent
    match, none = draw(st.tuples(ETAGS, st.none()) | st.tuples(st.none(), ETAGS) | BOTH)
    return replace(sent, match=match, none=none)


@st.composite
def request(
    draw: st.DrawFn,
    rows: Rows,
    op: str,
    is_array: bool,
    flaws: st.SearchStrategy[str | None],
) -> Request:
    """Draw a request whose rows mostly have the same members, so that they form sets."""
    is_full = draw(st.booleans())
    members = {each.name for each in rows.rest if is_full or needs(each, op) or draw(st.booleans())}
    found = draw(
        st.lists(row_texts(rows, op, members, flaws), min_size=1, max_size=8 if is_array else 1)
    )
    is_keyed = draw(st.sampled_from([False] * 3 + [True]))
    return Request(rows.resource, op, tuple(found), is_array, is_keyed)


CUTS = st.builds(Cut, st.integers(1, 12), st.booleans())
BATCHES = st.builds(
    Batch,
    lanes=st.lists(st.integers(0, 15), min_size=1, max_size=10).map(tuple),
    again=st.lists(st.integers(0, 9), max_size=2).map(tuple),
    is_again_first=st.booleans(),
    doubled=st.lists(st.integers(0, 9), max_size=2).map(tuple),
    idle_cut=st.sampled_from([False] * 7 + [True]),
    cut=st.none() | CUTS,
)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    schema = draw(st.sampled_from(SCHEMAS))
    steps: list[Request | Batch] = [
        draw(request(each, "create", True, st.none())) for each in schema.tables
    ]
    for _ in range(draw(st.integers(1, 4))):
        steps += draw(st.lists(requests(schema), min_size=1, max_size=8))
        steps += draw(st.lists(BATCHES, max_size=2))
    lanes = draw(st.sampled_from((1, 3, 16)))
    return Plan(schema, draw(st.booleans()), draw(st.booleans()), lanes, tuple(steps))
