"""Parts of a transaction that may be refused, on a server without savepoints.

There, a refusal ends the whole transaction. So that is done again, and what was refused is refused
again without a statement: as if it had been rolled back to a savepoint. A transaction sends the
same statements again for as long as it gets the same answers; from a part on that begins with
another one, all that was known of parts is forgotten.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

from chalicelib.errors import DatabaseError

# Values that a model makes in Python, by the first word of their names, see `Statement`.
_MADE_ANEW = ("each", "once", "touched")


class Undone(Exception):
    """A part was refused, and with it the transaction, which is to be done again."""


@dataclass
class _Part:
    """A part that has begun. number: its place among the parts of the transaction. first: its first
    statement. refusal: what it is known to end with."""

    number: int
    sent: int
    first: int | None = None
    refusal: DatabaseError | None = None


class Parts:
    """What is known of the parts of a transaction from the times when it was undone."""

    def __init__(self) -> None:
        self._refused: dict[int, tuple[int | None, DatabaseError]] = {}
        self.restart()

    def restart(self) -> None:
        """To be called when the transaction begins."""
        self._numbers = count()
        self._open: list[_Part] = []
        self._sent = 0

    @contextmanager
    def part(self, survived: tuple[type[DatabaseError], ...]) -> Iterator[None]:
        """A part that may end with one of these errors. Raises Undone at the first time."""
        own = _Part(next(self._numbers), self._sent)
        self._open.append(own)
        try:
            yield
        except survived as error:
            if self._sent == own.sent:  # it is known, or nothing was sent that is to be undone
                raise
            self._refused[own.number] = own.first, error
            raise Undone from error
        finally:
            self._open.pop()

    def send(self, sql: str, values: Any) -> None:
        """To be called before a statement is sent. Raises the error that its part is known to end
        with."""
        name = None
        for part in self._open:
            if part.first is None:
                part.first = name = name or _name(sql, values)
                first, refusal = self._refused.get(part.number, (None, None))
                if first == name:
                    part.refusal = refusal
                elif refusal:
                    known = self._refused.items()
                    self._refused = {at: each for at, each in known if at < part.number}
            if part.refusal:
                raise part.refusal
        self._sent += 1


def _name(sql: str, values: Any) -> int:
    if isinstance(values, Mapping):
        values = sorted(each for each in values.items() if each[0].split("_")[0] not in _MADE_ANEW)
    return hash((sql, repr(values)))
