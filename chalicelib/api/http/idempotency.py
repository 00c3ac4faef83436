"""The Idempotency-Key header (draft-ietf-httpapi-idempotency-key-header)."""

import re
from collections import OrderedDict
from collections.abc import Mapping
from uuid import UUID

from chalicelib.errors import Problem

_MAX_CHARACTERS = 255
_REMEMBERED = 10_000
_STRING = r'"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"'
_WORD = r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]+"  # no space, quote, comma, ; or \
_BARE = re.compile(_WORD)
# Parameters of a structured field (RFC 9651) are ignored.
_QUOTED = re.compile(rf"{_STRING}(?: *; *[a-z*][a-z0-9_.*-]*(?:=(?:{_STRING}|{_WORD}))?)*")


def idempotency_key(headers: Mapping[str, str]) -> str | None:
    """The client's key: a structured-field string, or the bare text that many clients send.

    headers: names in lower case. None without the header. Raises Problem 400 for an empty,
    malformed or too long one.
    """
    sent = headers.get("idempotency-key")
    if sent is None:
        return None
    sent = sent.strip()
    quoted = _QUOTED.fullmatch(sent)
    if quoted:
        value = re.sub(r"\\(.)", r"\1", quoted[1])
    elif _BARE.fullmatch(sent):
        value = sent
    else:
        raise _refused('it must be a quoted string, such as "8e03978e-40d5-43dd-bc93-6894a57f9324"')
    if not value:
        raise _refused("it is empty")
    if len(value) > _MAX_CHARACTERS:
        raise _refused(f"it has {len(value)} characters; at most {_MAX_CHARACTERS} are allowed")
    return value


_accepted: OrderedDict[UUID, str] = OrderedDict()


def check(request_id: UUID, fingerprint: str) -> bool:
    """Whether this container accepted the request before. Raises Problem 422 if it accepted another
    one with the same key.

    Requests in other containers are found by the drain, and the second receipt shows it.
    """
    accepted = _accepted.get(request_id)
    if accepted not in (None, fingerprint):
        raise reused()
    return accepted is not None


def remember(request_id: UUID, fingerprint: str) -> None:
    """Remember the request that was accepted under a key, for the latest keys."""
    _accepted[request_id] = fingerprint
    if len(_accepted) > _REMEMBERED:
        _accepted.popitem(last=False)


def reused() -> Problem:
    """The problem of a second request with the same key and different content."""
    detail = (
        "another request with different content was accepted under this Idempotency-Key; nothing"
        " of this one is applied. Send it with a new key"
    )
    return Problem("key-reused", detail)


def _refused(detail: str) -> Problem:
    return Problem("invalid-idempotency-key", detail)
