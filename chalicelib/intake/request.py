"""What the API function needs of an HTTP request."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from chalicelib.errors import Fault, Problem
from chalicelib.intake.caller import Caller


class Request(NamedTuple):
    """One request.

    path: as sent, percent-encoded. headers: names in lower case; the values of one that came
    several times joined by commas (RFC 9110). query: decoded, with every value of each parameter.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    caller: Caller
    query: Mapping[str, Sequence[str]] = MappingProxyType({})


def only(query: Mapping[str, Sequence[str]], *known: str) -> dict[str, str]:
    """The query's parameters, each at most once. Raises Problem 400 for others than `known`."""
    if not query:
        return {}
    faults = [
        Fault(f"?{name}", "query", f"there is no such parameter here; {_told(known)}")
        for name in query
        if name not in known
    ]
    faults += [
        Fault(f"?{name}", "query", "it is there twice; which one is meant?")
        for name, values in query.items()
        if name in known and len(values) > 1
    ]
    if faults:
        raise Problem("invalid-query", f"{faults[0].pointer}: {faults[0].detail}", faults)
    return {name: values[-1] for name, values in query.items()}


def _told(known: Sequence[str]) -> str:
    return f"there are: {', '.join(known)}" if known else "none is taken"
