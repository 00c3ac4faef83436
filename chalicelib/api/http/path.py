"""The segments of a request's path, percent-encoded as they were sent.

They are taken from the path, because `pathParameters` may or may not be encoded. REST APIs of API
Gateway and `chalice local` pass the path on as it was sent. A request whose path was changed or
split otherwise on its way is refused: a key that is decoded twice is another key.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from chalicelib.errors import Problem

_ENCODED = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2})*")
_CURE = (
    "percent-encode every character of a key except letters, digits, - . _ and ~ exactly once, and"
    " send no empty segment"
)


def sent(event: Mapping[str, Any]) -> str:
    """The whole path as it was sent. event: of API Gateway or `chalice local`."""
    return str(event.get("path") or event["requestContext"]["path"])


def below(event: Mapping[str, Any]) -> str:
    """The path as it was sent, without the prefix of a stage or a domain's mapping."""
    return "/" + "/".join(_own(event, _route(event)))


def segments(event: Mapping[str, Any]) -> list[str]:
    """The segments of the route's parameters. Raises Problem 400 if they may not be those that were
    sent, or for a path that others on its way may read otherwise."""
    route = _route(event)
    own = _own(event, route)
    given = event.get("pathParameters") or {}
    read = [given.get(name[1:-1]) if name.startswith("{") else name for name in route]
    if len(own) < len(route):
        raise _refused(f"{sent(event)!r} does not have the segments of its route")
    for segment, text in zip(own, read, strict=True):
        if not segment or text not in (segment, unquote(segment)):
            raise _refused(f"{segment!r} in the path was read as {text!r} on its way here")
        if segment in (".", ".."):
            as_key = segment.replace(".", "%2E")
            raise _refused(f"{segment!r} is a step in a path; as a key, send {as_key!r}")
        if "%" in segment and not _ENCODED.fullmatch(segment):
            raise _refused(f"{segment!r} in the path is not percent-encoded, or only in part")
    return [each for name, each in zip(route, own, strict=True) if name.startswith("{")]


def _route(event: Mapping[str, Any]) -> list[str]:
    pattern: str = event["requestContext"]["resourcePath"]
    return pattern.split("/")[1:]


def _own(event: Mapping[str, Any], route: list[str]) -> list[str]:
    return sent(event).removesuffix("/").split("/")[1:][-len(route) :]


def _refused(what: str) -> Problem:
    return Problem("bad-request", f"{what}: {_CURE}")
