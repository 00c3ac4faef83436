"""If-Match and If-None-Match (RFC 9110): conditions on a row, checked when a write is poured."""

import re
from collections.abc import Mapping

from chalicelib.errors import Fault, Problem
from chalicelib.messages.message import Condition

ANY = "*"

_MAX_TAGS = 20
_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')


def condition(headers: Mapping[str, str]) -> Condition | None:
    """The condition of a write to one row, if there is one. headers: names in lower case.

    Raises Problem 400 for anything but a list of entity tags, or `*`.
    """
    match = tags(headers, "If-Match")
    none_match = tags(headers, "If-None-Match")
    if match is None and none_match is None:
        return None
    if none_match is not None and none_match != ((ANY, False),):
        detail = "a write accepts only If-None-Match: *, which means that the row must not exist"
        raise _refused("If-None-Match", detail)
    if match is not None and none_match is not None:
        raise _refused(
            "If-Match", "it requires that the row exists, and If-None-Match that it does not"
        )
    # If-Match compares strongly (RFC 9110): a weak tag matches nothing.
    strong = None if match is None else tuple(tag for tag, is_weak in match if not is_weak)
    return Condition(strong, None if none_match is None else (ANY,))


def refuse(headers: Mapping[str, str]) -> None:
    """Raises Problem 400 if a create has a condition: its rows have no address yet."""
    detail = "it is for PUT, PATCH and DELETE; a create of an existing row is rejected anyway"
    for name in ("If-Match", "If-None-Match"):
        if name.lower() in headers:
            raise _refused(name, detail)


def tags(headers: Mapping[str, str], name: str) -> tuple[tuple[str, bool], ...] | None:
    """Entity tags of a header without their quotes, and whether each is weak; `*` alone for any.
    None without the header. Raises Problem 400."""
    sent = headers.get(name.lower())
    if sent is None:
        return None
    if sent.strip() == ANY:
        return ((ANY, False),)
    found: list[tuple[str, bool]] = []
    at = 0
    while match := _TAG.match(sent.strip(), at):
        if match[2] != ANY:  # "*" in quotes is an ETag, which no row has
            found.append((match[2], match[1] is not None))
        rest = sent.strip()[match.end() :].lstrip()
        if not rest and len(found) > _MAX_TAGS:
            raise _refused(name, f"it has {len(found)} ETags; at most {_MAX_TAGS} are allowed")
        if not rest:
            return tuple(found)
        if not rest.startswith(","):
            break
        at = len(sent.strip()) - len(rest[1:].lstrip())
    raise _refused(name, 'it must be * or a list of ETags, such as "5f8a…"')


def _refused(name: str, detail: str) -> Problem:
    return Problem("invalid-precondition", detail, (Fault(name, "header", detail),))
