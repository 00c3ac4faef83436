"""How answers to operators show lists, and what does not fit into them."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from chalicelib.errors import StatementTimedOut
from chalicelib.messages.questions import InvalidList
from chalicelib.reader import answer

SECONDS = 8.0
"""Most time for a query that may have to look at much."""

TEXT_BYTES = 4_000_000
"""Most bytes of rows and bodies in an answer."""


def dumps(value: Any) -> str:
    """JSON with characters as they are."""
    return json.dumps(value, ensure_ascii=False)


def fitting(texts: Sequence[str]) -> int:
    """How many of these texts an answer holds, one after the other."""
    left = answer.ANSWER_BYTES
    for place, text in enumerate(texts):
        left -= answer.sent_bytes(text)
        if left < 0:
            return place
    return len(texts)


@contextmanager
def in_time(cure: str) -> Iterator[None]:
    """A query that is given up after SECONDS: then the client is told the cure. Raises Ended."""
    try:
        yield
    except StatementTimedOut as error:
        why = f"the database needs longer than {SECONDS:g} s for this; {cure}"
        raise answer.Ended(InvalidList(why)) from error
