"""Defaults that a request makes, as Postgres would when the row is poured."""

import os
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from chalicelib.contract.resources import Default
from chalicelib.messages.receipt import new_id

_LEFT_FOR_NUMBERS = 16  # bits of `new_id`


def made(default: Default, moment: datetime | None) -> Any:
    """The value of an absent member. moment: of the request, in UTC; not needed for constants."""
    if default.make is None or moment is None:
        return default.value
    return _MAKES[default.make](moment, default.digits)


def _uuid7() -> str:
    number = int.from_bytes(os.urandom(_LEFT_FOR_NUMBERS // 8), "big")
    return str(UUID(int=new_id(time.time_ns() // 1_000_000).int | number))


def _text(moment: datetime, digits: int) -> str:
    """A moment with so many digits of its second's fraction. The rest is cut off: rounding could
    give a moment to come."""
    text = moment.isoformat(timespec="microseconds")
    seconds, _, fraction = text.partition(".")
    micros, sign, offset = fraction.partition("+")
    kept = micros[:digits]
    return f"{seconds}{'.' if kept else ''}{kept}{sign}{offset}"


_MAKES: Mapping[str, Callable[[datetime, int], Any]] = {
    "uuid4": lambda *_: str(uuid4()),
    "uuid7": lambda *_: _uuid7(),
    "now": _text,
    "utcnow": lambda moment, digits: _text(moment.replace(tzinfo=None), digits),
    "today": lambda moment, _: moment.astimezone(UTC).date().isoformat(),
}
