"""Bodies of operators' calls: a JSON object, parsed with all digits of its numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

from chalicelib.api.http.request import Request
from chalicelib.api.writes import body
from chalicelib.contract.json_text import pointer_token
from chalicelib.errors import Fault, Problem

MAX_BYTES = 2_000_000
"""Largest body. A row of it goes to the operate function as text within text, where quotes and
backslashes double twice, and Lambda takes 6 MB."""

_LONGEST_NOTE = 1_000


def members(request: Request) -> dict[str, Any]:
    """The members of the body. Raises Problem 400, 413, and 422 for anything but an object that
    Postgres can store."""
    if len(request.body) > MAX_BYTES:
        raise Problem(
            "body-too-large",
            f"the body has {len(request.body)} bytes; at most {MAX_BYTES} are accepted: name fewer"
            " writes at once, or use a filter",
        )
    found = body.json_body(request.body or b"{}")
    (row,) = found.rows if not found.many else [body.ParsedRow("[]", [])]
    if not isinstance(row.value, dict):
        raise invalid(Fault("", "type", "send a JSON object"))
    if fault := body.unstorable(row):
        raise invalid(fault)
    return row.value


def note(given: Mapping[str, Any], faults: list[Fault]) -> str:
    """The operator's note, empty without one."""
    text = given.get("note", "")
    if not isinstance(text, str) or len(text) > _LONGEST_NOTE:
        detail = f"it must be a text of at most {_LONGEST_NOTE} characters"
        faults.append(Fault("/note", "note", detail))
    return str(text)


def others(given: Mapping[str, Any], *known: str) -> list[Fault]:
    """A fault for each member that is not known."""
    return [
        Fault(
            f"/{pointer_token(name)}",
            "unknown",
            f"there is no such member; the members are: {', '.join(known)}",
        )
        for name in given
        if name not in known
    ]


def invalid(*faults: Fault) -> Problem:
    """The problem of a body that does not describe an act."""
    return Problem("invalid-act", f"{faults[0].pointer or 'the body'}: {faults[0].detail}", faults)


def refuse(faults: Sequence[Fault]) -> None:
    """Raises Problem 422 if there are faults."""
    if faults:
        raise invalid(*faults)
