"""Places in lists that are ordered by time, and the cursors that name them."""

import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

_CURSOR = re.compile(r"([0-9]{1,16})\.([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.([0-9]{1,10})")
_LAST_ITEM = (1 << 31) - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Place(NamedTuple):
    """The place of a write, or of a message, among all. at: microseconds since the epoch."""

    at: int
    dedup_id: str
    item: int

    @property
    def cursor(self) -> str:
        """The text that names the place."""
        return f"{self.at}.{self.dedup_id}.{self.item}"


def moment(microseconds: int) -> str:
    """A time since the epoch, as answers show it."""
    return (_EPOCH + timedelta(microseconds=microseconds)).isoformat(timespec="milliseconds")


def place(cursor: str) -> Place | None:
    """The place that a cursor names; None for any other text."""
    match = _CURSOR.fullmatch(cursor)
    if match is None or int(match[3]) > _LAST_ITEM:
        return None
    return Place(int(match[1]), match[2], int(match[3]))
