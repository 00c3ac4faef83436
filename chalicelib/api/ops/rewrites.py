"""The write of a rejection once more, as it was or edited, checked as a request for it is."""

from collections.abc import Mapping
from itertools import islice
from typing import Any, NamedTuple

from chalicelib.api.ops.targets import RejectedWrite
from chalicelib.api.writes import rows
from chalicelib.api.writes.body import Body, ParsedRow, malformed
from chalicelib.contract import json_text, resources
from chalicelib.contract.resources import Resource
from chalicelib.errors import Fault, Problem
from chalicelib.ops import OPS, Op

_ONLY_EDITED = {
    "superseded": "a newer write to its key was applied, which it would undo",
    "precondition-failed": "its condition is not kept: it would change a row that the client did"
    " not mean",
}
"""Types of rejections that are not resent as they were, and why."""


class Rewrite(NamedTuple):
    """A valid write. rejected: the rejection that it comes from. row: its item is that of the
    rejection."""

    rejected: RejectedWrite
    resource: Resource
    op: Op
    row: ParsedRow


def rewrite(rejected: RejectedWrite) -> Rewrite:
    """The write of a rejection. Raises Problem if there is none, or the contract does not allow it,
    with the faults that a request with this row has."""
    op = next((name for name in OPS if name == rejected.op), None)
    if rejected.resource is None or op is None:
        raise _impossible("it is a message that could not be read: there is no row to send")
    if rejected.text is None:
        raise _impossible("its row is not kept, as Postgres cannot store its text: send it edited")
    if not rejected.is_edited and rejected.type in _ONLY_EDITED:
        raise _impossible(f"{_ONLY_EDITED[rejected.type]}. Send it with an edited row")
    resource = resources.resource(rejected.resource)
    resource.require_open()
    _require(resource, op)
    row = _checked(resource, op, rejected.text)
    return Rewrite(rejected, resource, op, row._replace(item=rejected.item))


def edited(rejected: RejectedWrite, row: Any, pointer: str) -> Rewrite:
    """The write of a rejection with another row. pointer: to the row, in the body. Raises Problem
    as `rewrite` does."""
    try:
        return rewrite(rejected._replace(text=json_text.render(row), is_edited=True))
    except Problem as problem:
        faults = [fault._replace(pointer=pointer + fault.pointer) for fault in problem.faults]
        detail = f"{pointer}: {problem.detail}"
        raise Problem(problem.type, detail, faults, problem.headers) from None


def has_key(rejected: RejectedWrite) -> bool:
    """Whether the row of a rejection names its key, as far as any client can; False where that is
    not known."""
    try:
        resource = resources.resource(rejected.resource or "")
        _, value = json_text.Scanner().value(rejected.text or "null")
    except (Problem, ValueError):
        return False
    return isinstance(value, dict) and value.keys() >= resource.unknowable


def _require(resource: Resource, op: Op) -> None:
    """Raises Problem 405 for an op that the resource does not have any more."""
    facts = OPS[op]
    if facts.names_row:
        resource.require(op)
    elif not resource.ordered and not facts.only_adds:
        detail = f"{resource.name} is unordered: rows are only added, and this is a {op}"
        raise Problem("op-not-allowed", detail)


def _checked(resource: Resource, op: Op, text: str) -> ParsedRow:
    scanner = json_text.Scanner()
    try:
        row = ParsedRow(*scanner.value(text))
    except ValueError as error:
        raise malformed(json_text.reason(error)) from None
    if not isinstance(row.value, dict):
        raise _invalid(resource, Fault("", "type", "the row must be an object"))
    facts = OPS[op]
    if facts.names_row:
        _require_key(resource, row.value)
    if facts.removes:
        _refuse_others(resource, row.value)
        return row
    (good,), _ = rows.check(resource, op, Body(False, [row], (), scanner.has_exponents), False)
    if facts.partial and len(row.value) == len(resource.key):
        detail = "name at least one member to change besides the key"
        raise _invalid(resource, Fault("", "minProperties", detail))
    return good


def _require_key(resource: Resource, value: Mapping[str, Any]) -> None:
    """Raises Problem 422 unless the row names its key, which the path of a request does."""
    faults = [
        Fault(f"/{json_text.pointer_token(column.name)}", "required", "it is missing: the key")
        for column in resource.key
        if column.name not in value
    ]
    if faults:
        raise _invalid(resource, *faults)
    for column in resource.key:
        for error in islice(column.validator.iter_errors(value[column.name]), 1):
            from chalicelib.contract.explain import detail  # only where something is wrong

            pointer = f"/{json_text.pointer_token(column.name)}"
            raise _invalid(resource, Fault(pointer, error.kind.name, detail(error, column.schema)))


def _refuse_others(resource: Resource, value: Mapping[str, Any]) -> None:
    """Raises Problem 422 if the row of a delete has more than a key."""
    others = value.keys() - {column.name for column in resource.key}
    if others:
        pointer = f"/{json_text.pointer_token(min(others))}"
        raise _invalid(resource, Fault(pointer, "unknown", "a delete names the key alone"))


def _invalid(resource: Resource, *faults: Fault) -> Problem:
    detail = f"{faults[0].pointer or 'the row'}: {faults[0].detail}"
    return Problem("invalid-row", f"not a row of {resource.name}: {detail}", faults)


def _impossible(detail: str) -> Problem:
    return Problem("invalid-act", detail)
