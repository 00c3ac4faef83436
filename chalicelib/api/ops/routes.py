"""What operators may call under /ops."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from chalicelib.api.http.answers import Answer, choose
from chalicelib.api.http.request import Request
from chalicelib.api.ops import (
    acts,
    audit,
    dead_letters,
    document,
    mappings,
    overview,
    rehearse,
    rejections,
    traffic,
    writes,
)
from chalicelib.errors import Problem


class _Call(NamedTuple):
    """A call. path: below /ops, `*` for a segment that the function takes. scope: of an operator.
    function: of the request and these segments."""

    method: str
    path: str
    scope: str
    function: Callable[..., Answer]


CALLS: Sequence[_Call] = (
    _Call("POST", "try", "write", rehearse.try_),
    _Call("GET", "acts", "read", acts.listed),
    _Call("POST", "acts", "write", acts.begin),
    _Call("GET", "acts/*", "read", acts.one),
    _Call("POST", "acts/*/steps", "write", acts.step),
    _Call("POST", "acts/*/stop", "write", acts.stop),
    _Call("GET", "audit", "read", audit.of_hour),
    _Call("GET", "dead-letters", "read", dead_letters.look),
    _Call("GET", "mappings", "read", mappings.listed),
    _Call("GET", "openapi.json", "read", document.served),
    _Call("GET", "overview", "read", overview.overview),
    _Call("GET", "lanes", "read", overview.lanes),
    _Call("GET", "rejections", "read", rejections.page),
    _Call("GET", "rejections/causes", "read", rejections.causes),
    _Call("GET", "rejections/*", "read", rejections.one),
    _Call("GET", "traffic", "read", traffic.of_days),
    _Call("GET", "writes", "read", writes.page),
    _Call("GET", "writes/*", "read", writes.one),
)
"""The first of two that match is called."""


def answer(request: Request, segments: Sequence[str]) -> Answer:
    """Answer a call. Raises Problem 404 and 405 for one that is not listed, and 403 for callers who
    are no operators."""
    calls = CALLS[::-1]
    found = {each.method: each for each in calls if _matches(each.path.split("/"), segments)}
    if not found:
        paths = ", ".join(dict.fromkeys(f"/ops/{each.path}" for each in CALLS))
        raise Problem("unknown-path", f"there is no such path; the paths are: {paths}")
    call = choose(found, request.method)
    request.caller.require_operator(call.scope)
    own = [text for name, text in zip(call.path.split("/"), segments, strict=True) if name == "*"]
    return call.function(request, *own)


def _matches(path: Sequence[str], segments: Sequence[str]) -> bool:
    return len(path) == len(segments) and all(
        name in ("*", text) for name, text in zip(path, segments, strict=True)
    )
