"""Parsed items → valid rows, and invalid ones with every fault."""

import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache, partial
from itertools import compress, islice, repeat
from typing import Any
from uuid import UUID

from chalicelib.api.http.answers import MAX_LISTED
from chalicelib.api.writes import body
from chalicelib.api.writes.body import MAX_FAULTS_OF_A_ROW, Body, ParsedRow, RefusedItem
from chalicelib.contract import json_text, key
from chalicelib.contract.resources import Resource
from chalicelib.contract.validator import Check, compiled
from chalicelib.errors import Fault, Problem
from chalicelib.messages import values
from chalicelib.messages.message import SINCE, VERSION
from chalicelib.messages.split import KeyedRow, too_large
from chalicelib.messages.values import Columns
from chalicelib.ops import Op
from chalicelib.settings import LEAST_MESSAGE_BYTES, MAX_SHOWN_BYTES, message_version

_MAX_DESCRIBED = 10_000  # refused rows, about as many as an answer holds
_LARGE = 100_000  # characters of a row, or of rows that are checked together
_BLOCK = 200  # rows that are checked together
_PART = 50  # rows that are checked one by one if not all are valid
_SHORT = LEAST_MESSAGE_BYTES // 2  # characters of a row that surely fits into a message
_HELD_BYTES = 20  # of a header, for the member that has the names of documents
_PERHAPS_NOT_WHOLE = {Decimal, list}
_keyed = partial(tuple.__new__, KeyedRow)  # takes half as long as its constructor


def check(
    resource: Resource, op: Op, found: Body, lenient: bool, until: float = math.inf
) -> tuple[list[ParsedRow], list[RefusedItem]]:
    """The valid rows and the invalid items, in their order. Invalid items beyond those that an
    answer lists come without their faults.

    until: see `body.check_time`. Raises Problem 400, 413 or 422 with the first faults unless
    lenient; 413 for rows that together are too large to be read.
    """
    validator = resource.validator(op)
    schema = resource.schema(op)
    good: list[ParsedRow] = []
    refused = [*found.broken]
    shown_bytes = 0
    described = 0
    may_grow = found.has_exponents or bool(resource.shown)
    for block, are_good in _checked_in_blocks(validator, found.rows, until, may_grow):
        if are_good and not may_grow:
            good += block
            continue
        (row,) = block
        faults: Sequence[Fault] = ()
        is_good = are_good
        if not is_good:
            is_plain = "\\u" not in row.text and len(row.text) <= _LARGE
            is_good = is_plain and validator.is_valid(row.value)
            if not is_good and (described < _MAX_DESCRIBED or not is_plain):
                faults = _faults(validator, schema, resource.made, row, found.many, is_plain)
                is_good = not faults
        if is_good and may_grow:
            faults, bytes_ = _shown(resource, row, found)
            shown_bytes += bytes_
            is_good = not faults
        if is_good:
            good.append(row)
        else:
            described += 1
            refused.append(RefusedItem(row.item, tuple(faults), row.line))
            if not lenient and described >= MAX_LISTED:
                break
    if shown_bytes > MAX_SHOWN_BYTES:
        raise Problem(
            "body-too-large",
            f"the rows would take {shown_bytes} bytes when they are read; at most {MAX_SHOWN_BYTES}"
            " are accepted in one request: send them in several",
        )
    refused.sort(key=lambda each: each.item)
    if refused and not (lenient and good):
        raise _problem(resource, found, refused)
    return good, refused


def with_key(resource: Resource, members: Mapping[str, Any], row: ParsedRow) -> ParsedRow:
    """The row with the key of the path. Raises Problem 422 for a row with another key."""
    faults = [
        Fault(f"/{column.name}", "key", f"the path has {json_text.render(members[column.name])}")
        for column in resource.key
        if column.name in row.value
        and not key.same(column, row.value[column.name], members[column.name])
    ]
    if faults:
        detail = "the key in the body is not the key in the path; leave it out of the body"
        raise Problem("key-differs", detail, faults)
    missing = {name: value for name, value in members.items() if name not in row.value}
    if not missing:
        return row
    comma = "," if row.value else ""
    text = json_text.render(missing)[:-1] + comma + row.text[1:]
    return ParsedRow(text, {**missing, **row.value})


def known_key(resource: Resource, row: ParsedRow) -> dict[str, Any] | None:
    """The key that the row will have; None where only the database knows it."""
    named = {column.name: row.value.get(column.name, column.default) for column in resource.key}
    return None if None in named.values() else named


def to_split(
    resource: Resource, op: Op, rows: Sequence[ParsedRow], request_id: UUID
) -> Sequence[KeyedRow]:
    """The rows as they go to the queue. Where no client can name the key of one yet, its digest is
    that of its place in the request."""
    texts = [row.text for row in rows]
    if resource.integers:
        texts = [_with_integers(resource, row) for row in rows]
    if "\n" in "".join(texts):
        texts = [text.replace("\n", " ") for text in texts]
    digests: Sequence[int | None] = [None] * len(rows)
    if resource.ordered:
        digests = _digests(resource, rows, request_id)
    items = [row.item for row in rows]
    orders = [tuple(row.value) for row in rows]
    made = zip(items, _members(orders), digests, texts, repeat(None), strict=False)
    return by_values(resource.by_values, op, orders, [*map(_keyed, made)])


def by_values(
    columns: Columns | None, op: Op, orders: Sequence[tuple[str, ...]], sent: Sequence[KeyedRow]
) -> Sequence[KeyedRow]:
    """The rows as they are sent, by their values where these can be copied. columns: see
    `Resource.by_values`. orders: the members of each row, in its own order."""
    if columns is None or op != "create" or message_version(VERSION) < SINCE["values"]:
        return sent
    found = [*sent]
    for order, places in _places(orders).items():
        documents = columns.documents_of(order)
        if documents is None:
            continue
        own = sent if len(places) == len(sent) else [sent[place] for place in places]
        valued = _valued(order, documents, own)
        if len(valued) == len(sent):
            return valued
        for place, each in zip(places, valued, strict=True):
            found[place] = each
    return found


def _valued(
    order: tuple[str, ...], documents: tuple[str, ...], rows: Sequence[KeyedRow]
) -> Sequence[KeyedRow]:
    """Rows of these members, by their values unless these are longer: a document of many short
    strings is so in a string, and the header names the documents."""
    items, members, digests, texts, _ = zip(*rows, strict=True)
    lines = values.lines(order, documents, texts)
    kinds = repeat((*sorted(documents),))
    valued = [*map(_keyed, zip(items, members, digests, lines, kinds, strict=False))]
    if not documents and None not in lines:
        return valued
    more = len(json.dumps(documents)) + _HELD_BYTES
    return [
        row
        if line is None or len(line) + (more if len(row.text) > _SHORT else 0) > len(row.text)
        else each
        for row, each, line in zip(rows, valued, lines, strict=True)
    ]


def _places(orders: Sequence[tuple[str, ...]]) -> Mapping[tuple[str, ...], Sequence[int]]:
    """The places of rows by their members, in their order."""
    if orders.count(orders[0]) == len(orders):  # as in most requests
        return {orders[0]: range(len(orders))}
    found: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for place, order in enumerate(orders):
        found[order].append(place)
    return found


def _members(orders: Sequence[tuple[str, ...]]) -> Sequence[tuple[str, ...]]:
    """The sorted names of each row's members."""
    if orders.count(orders[0]) == len(orders):
        return [_sorted(orders[0])] * len(orders)
    return [*map(_sorted, orders)]


def _with_integers(resource: Resource, row: ParsedRow) -> str:
    """The text of a row, with integers where Postgres wants them."""
    whole = whole_numbers(resource, row.value)
    return json_text.render({**row.value, **whole}) if whole else row.text


def _digests(resource: Resource, rows: Sequence[ParsedRow], request_id: UUID) -> list[int]:
    if not resource.unknowable:
        return key.digests(resource, [row.value for row in rows])
    are_named = [row.value.keys() >= resource.unknowable for row in rows]
    found = key.digests(resource, [row.value for row in compress(rows, are_named)])
    if len(found) == len(rows):
        return found
    of_keys = iter(found)
    return [
        next(of_keys) if is_named else key.number(f"{request_id}/{row.item}")
        for row, is_named in zip(rows, are_named, strict=True)
    ]


def whole_numbers(resource: Resource, value: Mapping[str, Any]) -> Mapping[str, Any]:
    """The members that Postgres wants as integers, and are decimals in the row."""
    # No loop over the members unless one of them may be a decimal.
    if _PERHAPS_NOT_WHOLE.isdisjoint(map(type, map(value.get, resource.integers))):
        return {}
    return {
        name: int(part) if type(part) is Decimal else _whole(part)
        for name in resource.integers
        if type(part := value.get(name)) is Decimal or (type(part) is list and _has_decimal(part))
    }


def _checked_in_blocks(
    validator: Check, rows: Sequence[ParsedRow], until: float, singly: bool
) -> Iterator[tuple[Sequence[ParsedRow], bool]]:
    """Blocks of rows, and whether all rows of each are known to be valid, as nearly always.
    Otherwise, and if they are wanted singly, it is a block of one row."""
    for start in range(0, len(rows), _BLOCK):
        body.check_time(until, start)
        for block, are_good in _parts(validator, rows[start : start + _BLOCK]):
            if are_good and not singly:
                yield block, True
            else:
                yield from zip(([row] for row in block), repeat(are_good))


def _parts(
    validator: Check, block: Sequence[ParsedRow]
) -> Iterator[tuple[Sequence[ParsedRow], bool]]:
    """A block that is valid as a whole, or its parts and whether each is."""
    if _are_good(validator, block):
        yield block, True
        return
    for start in range(0, len(block), _PART):
        part = block[start : start + _PART]
        yield part, _are_good(validator, part)


def _are_good(validator: Check, block: Sequence[ParsedRow]) -> bool:
    texts = [row.text for row in block]
    joined = "".join(texts)
    if len(joined) > _LARGE:
        return False
    if "\\" in joined and any("\\u" in row.text and body.unstorable(row) for row in block):
        return False
    return validator.are_valid([row.value for row in block])


def _faults(
    validator: Check,
    schema: Mapping[str, Any],
    made: Mapping[str, str],
    row: ParsedRow,
    many: bool,
    is_invalid: bool,
) -> list[Fault]:
    """The faults of a row that is known to be invalid, or may be; none if it is valid."""
    columns = len(schema["properties"])
    place = f"/{row.item}" if many else ""
    # First, because the validator raises an error for half of a surrogate pair.
    if fault := body.unstorable(row):
        return [Fault(place + fault.pointer, fault.rule, fault.detail, row.line)]
    if not is_invalid and validator.is_valid(row.value):
        # A shorter row fits into a message, whatever its characters take there.
        if len(row.text) <= _LARGE:
            return []
        fault = too_large(KeyedRow(row.item, tuple(row.value), None, row.text), place)
        return [fault._replace(line=row.line)] if fault else []
    if isinstance(row.value, dict) and len(row.value) > columns + MAX_FAULTS_OF_A_ROW:
        detail = f"the row has {len(row.value)} members; at most {columns} are allowed"
        return [Fault(place, "maxProperties", detail, row.line)]
    if isinstance(row.value, dict) and len(row.text) > _LARGE:
        return _faults_of_large(schema, made, row, place)
    from chalicelib.contract import explain  # only where something is wrong

    found = explain.wrongs(validator.iter_errors(row.value), schema, made)
    return [
        Fault(
            place + "".join(f"/{json_text.pointer_token(str(part))}" for part in wrong.path),
            wrong.rule,
            wrong.detail,
            row.line,
        )
        for wrong in islice(found, MAX_FAULTS_OF_A_ROW)
    ]


def _faults_of_large(
    schema: Mapping[str, Any], made: Mapping[str, str], row: ParsedRow, place: str
) -> list[Fault]:
    """The invalid members, found without copying their values, which would take seconds."""
    from chalicelib.contract import explain

    members: Mapping[str, Any] = schema["properties"]
    wrong = {
        **dict.fromkeys(set(schema.get("required", ())) - row.value.keys(), explain.MISSING),
        **{name: made.get(name, explain.UNKNOWN) for name in row.value.keys() - members.keys()},
    }
    for name in row.value.keys() & members.keys():
        if not compiled(members[name]).is_valid(row.value[name]):
            expected = members[name].get(explain.EXPECTED, "what the contract says")
            wrong[name] = f"it is not a value of this column; expected: {expected}"
    return [
        Fault(f"{place}/{json_text.pointer_token(name)}", "contract", detail, row.line)
        for name, detail in sorted(wrong.items())[:MAX_FAULTS_OF_A_ROW]
    ] or [Fault(place, "contract", "it does not match the contract", row.line)]


def _shown(resource: Resource, row: ParsedRow, found: Body) -> tuple[list[Fault], int]:
    """The fault of a row that is too large to be shown; otherwise its bytes when it is shown, if
    they may be more than it takes in a message."""
    from chalicelib.contract import row_size

    if not found.has_exponents and not row_size.grows(resource, row.text, row.value):
        return [], 0
    sizes = row_size.sizes(resource, row.value)
    fault = row_size.fault(sizes, f"/{row.item}" if found.many else "", row.line)
    return ([fault], 0) if fault else ([], sum(sizes.values()))


def _problem(resource: Resource, found: Body, refused: Sequence[RefusedItem]) -> Problem:
    faults = [fault for each in refused for fault in each.faults]
    line = "" if faults[0].line is None else f"line {faults[0].line}, "
    detail = f"{line}{faults[0].pointer or 'the body'}: {faults[0].detail}"
    if any(fault.rule == "json" for each in found.broken for fault in each.faults):
        return Problem("malformed-json", detail, faults)
    if faults[0].rule == "size":
        return Problem("row-too-large", detail, faults)
    return Problem("invalid-row", f"not a row of {resource.name}: {detail}", faults)


@lru_cache(maxsize=1_000)
def _sorted(members: tuple[str, ...]) -> tuple[str, ...]:
    """Cached, because most rows have the same members as another one."""
    return tuple(sorted(members))


def _has_decimal(value: Any) -> bool:
    if isinstance(value, list):
        return any(map(_has_decimal, value))
    return isinstance(value, Decimal)


def _whole(value: Any) -> Any:
    """`1.0` and `1e3` are integers in JSON Schema, but not in Postgres."""
    if isinstance(value, list):
        return [_whole(part) for part in value]
    return int(value) if isinstance(value, Decimal) else value
