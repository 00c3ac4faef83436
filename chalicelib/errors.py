"""What can go wrong, as facts. Imports nothing of the rest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Fault:
    """One place in a request that is wrong: JSON Pointer (RFC 6901), rule, what would be right."""

    pointer: str
    rule: str
    detail: str


class Problem(Exception):
    """An answer that is an error: `application/problem+json` (RFC 9457).

    type: the last part of the problem's URN, stable for clients.
    faults: every place that is wrong, as far as it could be told.
    """

    def __init__(
        self,
        status: int,
        type: str,
        title: str,
        detail: str,
        faults: Sequence[Fault] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.type = type
        self.title = title
        self.detail = detail
        self.faults = tuple(faults)
        self.headers = dict(headers or {})


class NotConfigured(Exception):
    """An environment variable that this function needs is not set."""


class ForeignMessage(Exception):
    """A message on the queue that this version of Decanter cannot read; the text says why."""


class Unfinished(Exception):
    """Messages of a batch are not poured yet. Raised so that SQS delivers the batch again."""


class DatabaseError(Exception):
    """Postgres refused; the attributes say what, in Postgres' own terms."""

    def __init__(
        self,
        message: str,
        *,
        sqlstate: str = "",
        table: str | None = None,
        constraint: str | None = None,
        column: str | None = None,
        detail: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.sqlstate = sqlstate
        self.table = table
        self.constraint = constraint
        self.column = column
        self.detail = detail

    @property
    def attributes(self) -> dict[str, Any]:
        """All but the message, to raise it as another kind."""
        names = ("sqlstate", "table", "constraint", "column", "detail")
        return {name: getattr(self, name) for name in names}


class RefusedByDatabase(DatabaseError):
    """The data can never be taken (constraint, type, range, trigger): a rejection."""


class DatabaseUnwell(DatabaseError):
    """The database cannot serve now (down, restarting, failing over, deadlock): try again."""


class DatabaseMisfit(DatabaseError):
    """The database is not as the models say (missing table, column, privilege): migrate."""
