"""The Idempotency-Key header (draft-ietf-httpapi-idempotency-key-header)."""

import re
from collections.abc import Mapping

from chalicelib.errors import Problem

_MAX_CHARACTERS = 255
_QUOTED = re.compile(r'"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')
_BARE = re.compile(r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]+")  # no space, quote, comma, ; or \


def idempotency_key(headers: Mapping[str, str]) -> str | None:
    """The client's key: a structured-field string, or the bare text that many clients send.

    None without the header. Raises Problem 400 for an empty, malformed or too long one.
    """
    sent = next((v for name, v in headers.items() if name.lower() == "idempotency-key"), None)
    if sent is None:
        return None
    sent = sent.strip()
    quoted = _QUOTED.fullmatch(sent)
    if quoted:
        value = re.sub(r"\\(.)", r"\1", quoted[1])
    elif _BARE.fullmatch(sent):
        value = sent
    else:
        raise _refused('it has to be a quoted string, like "8e03978e-40d5-43dd-bc93-6894a57f9324"')
    if not value:
        raise _refused("it is empty")
    if len(value) > _MAX_CHARACTERS:
        raise _refused(f"it has {len(value)} characters; at most {_MAX_CHARACTERS} are taken")
    return value


def _refused(detail: str) -> Problem:
    return Problem("invalid-idempotency-key", detail)
