"""Parsed items → rows that fit the contract, and those that do not, with every fault."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import islice
from typing import Any
from uuid import UUID

from chalicelib.errors import Fault, Problem
from chalicelib.intake import body, check, contract, key
from chalicelib.intake.body import Body, Refused
from chalicelib.intake.split import Row, too_large
from chalicelib.message import Op
from chalicelib.settings import MAX_SHOWN_BYTES

MAX_LISTED = 50
"""Faults that a problem lists."""

_MAX_FAULTS_OF_A_ROW = 10
_LARGE = 100_000  # characters of a row


def checked(
    resource: contract.Resource, op: Op, found: Body, lenient: bool
) -> tuple[list[body.Row], list[Refused]]:
    """The rows that fit, and the items that do not, in their order.

    Not lenient: Raises Problem 400, 413 or 422 with the faults of the first of them. Raises
    Problem 413 for rows that are too large together where they are shown.
    """
    validator = resource.validator(op)
    schema = resource.schemas[op]
    good: list[body.Row] = []
    refused = [*found.broken]
    shown_bytes = 0
    for row in found.rows:
        faults = _faults(validator, schema, resource.made, row, found.many)
        if not faults and (found.has_exponents or not resource.shown.keys().isdisjoint(row.value)):
            faults, bytes_ = _shown(resource, row, found.many)
            shown_bytes += bytes_
        if faults:
            refused.append(Refused(row.item, tuple(faults), row.line))
            if not lenient and len(refused) >= MAX_LISTED:
                break
        else:
            good.append(row)
    if shown_bytes > MAX_SHOWN_BYTES:
        raise Problem(
            "body-too-large",
            f"the rows would take {shown_bytes} bytes where they are shown; at most"
            f" {MAX_SHOWN_BYTES} are taken in one request: send them in several",
        )
    refused.sort(key=lambda each: each.item)
    if refused and not (lenient and good):
        raise _problem(resource, found, refused)
    return good, refused


def with_key(resource: contract.Resource, members: Mapping[str, Any], row: body.Row) -> body.Row:
    """The row with the key that the path names. Raises Problem 422 for one that has another."""
    faults = [
        Fault(
            f"/{column.name}",
            "key",
            f"the path says {body.render(members[column.name])}",
        )
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
    text = body.render(missing)[:-1] + comma + row.text[1:]
    return body.Row(text, {**missing, **row.value})


def known_key(resource: contract.Resource, row: body.Row) -> dict[str, Any] | None:
    """The key that the row will have, None where the API function cannot know it."""
    named = {column.name: row.value.get(column.name, column.default) for column in resource.key}
    return None if None in named.values() else named


def to_split(resource: contract.Resource, row: body.Row, request_id: UUID) -> Row:
    """The row as it goes to the queue. Where its key will be one that no client can name yet, the
    digest is that of its place in the request."""
    text = row.text
    if any(_has_decimal(row.value.get(name)) for name in resource.integers):
        whole = {name: _whole(row.value[name]) for name in resource.integers if name in row.value}
        text = body.render({**row.value, **whole})
    digest = None
    if resource.ordered:
        is_unknowable = any(
            column.completed == "unknowable" and column.name not in row.value
            for column in resource.key
        )
        digest = (
            key.number(f"{request_id}/{row.item}")
            if is_unknowable
            else key.digest(resource, row.value)
        )
    return Row(row.item, tuple(sorted(row.value)), digest, text.replace("\n", " "))


def _faults(
    validator: Any, schema: Mapping[str, Any], made: Mapping[str, str], row: body.Row, many: bool
) -> list[Fault]:
    columns = len(schema["properties"])
    place = f"/{row.item}" if many else ""
    # First, because the validator raises for half of a surrogate pair instead of refusing it.
    if fault := body.unstorable(row):
        return [Fault(place + fault.pointer, fault.rule, fault.detail, row.line)]
    if validator.is_valid(row.value):
        # A shorter row fits a message, whatever its characters take there.
        if len(row.text) <= _LARGE:
            return []
        fault = too_large(Row(row.item, tuple(row.value), None, row.text), place)
        return [fault._replace(line=row.line)] if fault else []
    if isinstance(row.value, dict) and len(row.value) > columns:
        detail = f"the row has {len(row.value)} members; at most {columns} are taken"
        return [Fault(place, "maxProperties", detail, row.line)]
    if isinstance(row.value, dict) and len(row.text) > _LARGE:
        return _faults_of_large(schema, made, row, place)
    from chalicelib.intake import words  # only where something is wrong

    found = words.wrongs(validator.iter_errors(row.value), schema, made)
    return [
        Fault(
            place + "".join(f"/{body.escaped(str(part))}" for part in wrong.path),
            wrong.rule,
            wrong.detail,
            row.line,
        )
        for wrong in islice(found, _MAX_FAULTS_OF_A_ROW)
    ]


def _faults_of_large(
    schema: Mapping[str, Any], made: Mapping[str, str], row: body.Row, place: str
) -> list[Fault]:
    """Which members are wrong, without a copy of their values: it would take seconds to make."""
    from chalicelib.intake import words

    members: Mapping[str, Any] = schema["properties"]
    wrong = {
        **dict.fromkeys(set(schema.get("required", ())) - row.value.keys(), words.MISSING),
        **{name: made.get(name, words.UNKNOWN) for name in row.value.keys() - members.keys()},
    }
    for name in row.value.keys() & members.keys():
        if not check.compiled(members[name]).is_valid(row.value[name]):
            expected = members[name].get(words.EXPECTED, "what the contract says")
            wrong[name] = f"it is no value of this column; write {expected}"
    return [
        Fault(f"{place}/{body.escaped(name)}", "contract", detail, row.line)
        for name, detail in sorted(wrong.items())[:_MAX_FAULTS_OF_A_ROW]
    ] or [Fault(place, "contract", "it does not fit the contract", row.line)]


def _shown(resource: contract.Resource, row: body.Row, many: bool) -> tuple[list[Fault], int]:
    """What is wrong with a row that is too large where it is shown, and otherwise its bytes."""
    from chalicelib.intake import shown

    sizes = shown.sizes(resource, row.value)
    fault = shown.fault(sizes, f"/{row.item}" if many else "", row.line)
    return ([fault], 0) if fault else ([], sum(sizes.values()))


def _problem(resource: contract.Resource, found: Body, refused: Sequence[Refused]) -> Problem:
    faults = [fault for each in refused for fault in each.faults][:MAX_LISTED]
    line = "" if faults[0].line is None else f"line {faults[0].line}, "
    detail = f"{line}{faults[0].pointer or 'the body'}: {faults[0].detail}"
    if any(fault.rule == "json" for each in found.broken for fault in each.faults):
        return Problem("malformed-json", detail, faults)
    if faults[0].rule == "size":
        return Problem("row-too-large", detail, faults)
    return Problem("invalid-row", f"not a row of {resource.name}: {detail}", faults)


def _has_decimal(value: Any) -> bool:
    if isinstance(value, list):
        return any(map(_has_decimal, value))
    return isinstance(value, Decimal)


def _whole(value: Any) -> Any:
    """`1.0` and `1e3` are integers to JSON Schema, and not to Postgres."""
    if isinstance(value, list):
        return [_whole(part) for part in value]
    return int(value) if isinstance(value, Decimal) else value
