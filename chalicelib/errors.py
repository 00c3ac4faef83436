"""Errors. Imports no other module of chalicelib."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

PROBLEMS: Mapping[str, tuple[int, str]] = MappingProxyType(
    {
        "malformed-json": (400, "Invalid JSON"),
        "malformed-csv": (400, "Invalid CSV"),
        "invalid-idempotency-key": (400, "Invalid Idempotency-Key"),
        "invalid-preference": (400, "Preference cannot be honoured"),
        "invalid-precondition": (400, "Invalid precondition"),
        "invalid-query": (400, "Invalid query"),
        "bad-request": (400, "Malformed request"),
        "unauthorized": (401, "Missing or invalid credentials"),
        "forbidden": (403, "Forbidden"),
        "missing-scope": (403, "Missing scope"),
        "unknown-resource": (404, "No such resource"),
        "unknown-path": (404, "No such path"),
        "unknown-receipt": (404, "No such receipt"),
        "no-such-row": (404, "No such row"),
        "no-such-entry": (404, "No such entry"),
        "write-rejected": (404, "Write rejected"),
        "op-not-allowed": (405, "Operation not allowed"),
        "conflict": (409, "Conflict"),
        "missing-parent": (409, "Missing parent"),
        "item-damaged": (409, "Row changed by other hands"),
        "receipt-expired": (410, "Receipt expired"),
        "precondition-failed": (412, "Precondition failed"),
        "body-too-large": (413, "Body too large"),
        "row-too-large": (413, "Row too large"),
        "unsupported-media-type": (415, "Unsupported media type"),
        "invalid-row": (422, "Invalid row"),
        "invalid-act": (422, "Invalid act"),
        "invalid-key": (422, "Invalid key"),
        "key-differs": (422, "Key mismatch"),
        "row-too-large-to-read": (422, "Row too large to read"),
        "key-reused": (422, "Idempotency-Key already used"),
        "backlog": (429, "Backlog too old"),
        "too-many-waiting": (429, "Too many writes waiting"),
        "throttled": (429, "Too many requests"),
        "internal": (500, "Internal error"),
        "queue-refuses": (500, "Queue refuses writes"),
        "front-refuses": (500, "Table in front refuses requests"),
        "not-configured": (503, "Not configured"),
        "queue-unavailable": (503, "Queue unavailable"),
        "resource-closed": (503, "Resource closed for now"),
        "front-unavailable": (503, "Table in front unavailable"),
        "reader-busy": (503, "Reader busy"),
        "not-yet-applied": (503, "Write not yet applied"),
        "unavailable": (503, "Service unavailable"),
    }
)
"""All types of problem, with HTTP status and title. docs/api.md describes them."""


def shortened(text: str, most: int) -> str:
    """The text; of a longer one, its beginning and end, and the number of characters left out."""
    if len(text) <= most:
        return text
    half = most // 2
    left_out = len(text) - 2 * half
    return f"{text[:half]} … ({left_out:,} more characters) … {text[-half:]}"


class Fault(NamedTuple):
    """An invalid part of a request.

    pointer: JSON Pointer (RFC 6901) into the body, `?name` of a query parameter, or a header.
    rule: the violated rule. detail: what is expected. line: of a body that has lines, from 1.
    """

    pointer: str
    rule: str
    detail: str
    line: int | None = None


class Problem(Exception):
    """An error answer: `application/problem+json` (RFC 9457).

    type: one of `PROBLEMS`, the last part of the problem's URN, stable for clients.
    faults: all invalid parts of the request, as far as they are known. members: further ones of
        the document.
    """

    def __init__(
        self,
        type: str,
        detail: str,
        faults: Sequence[Fault] = (),
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.type = type
        self.status, self.title = PROBLEMS[type]
        self.detail = detail
        self.faults = tuple(faults)
        self.headers = dict(headers or {})
        self.members = dict(members or {})


class NotConfigured(Exception):
    """An environment variable that this function needs is not set."""


class ForeignMessage(Exception):
    """A message on the queue that this version of Decanter cannot read; the text says why."""


class NewerMessage(Exception):
    """A message on the queue that a newer version of Decanter has written; the text says more."""


class Unfinished(Exception):
    """Messages of a batch are not poured yet. Raised so that the batch is delivered again."""


ErrorKind = Literal[
    "conflict", "exclusion", "missing-parent", "still-referenced", "null", "check", "value",
    "unsupported", "too-large", "out-of-memory", "no-right", "no-operator", "cancelled",
    "outside-transaction", "new-label", "other",
]  # fmt: skip
"""What Postgres refuses; chalicelib/postgres/errors.py says of which SQLSTATE."""


class DatabaseError(Exception):
    """Postgres refused; kind says what, the other attributes where, in Postgres' own terms.

    detail: of what may be shown to a client.
    """

    def __init__(
        self,
        message: str,
        *,
        kind: ErrorKind = "other",
        sqlstate: str = "",
        schema: str | None = None,
        table: str | None = None,
        constraint: str | None = None,
        column: str | None = None,
        detail: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.kind = kind
        self.sqlstate = sqlstate
        self.schema = schema
        self.table = table
        self.constraint = constraint
        self.column = column
        self.detail = detail

    @property
    def attributes(self) -> dict[str, Any]:
        """All but the message, to raise it as another error."""
        names = ("kind", "sqlstate", "schema", "table", "constraint", "column", "detail")
        return {name: getattr(self, name) for name in names}


class RefusedByDatabase(DatabaseError):
    """The data can never be accepted (constraint, type, range, trigger): a rejection."""


class RightMissing(RefusedByDatabase):
    """The role lacks a privilege that only some rows need, for a trigger or a default. Grant it."""


class DatabaseUnavailable(DatabaseError):
    """The database cannot serve now (down, restarting, failing over, deadlock): try again."""


class TransactionConflict(DatabaseUnavailable):
    """Another transaction has written what this one reads or writes: the same may succeed now."""


class OutOfTime(DatabaseUnavailable):
    """There is no time left for another statement."""


class StatementTimedOut(DatabaseUnavailable):
    """A statement took longer than it was given: it is slow, or the server is."""


class LockNotAvailable(DatabaseUnavailable):
    """Another session held a lock for longer than the statement was allowed to wait."""


class InternalError(DatabaseUnavailable):
    """The server, or a trigger, reported an internal error (class XX) and continues: it may be
    temporary, or permanent for this statement."""


class SchemaMismatch(DatabaseError):
    """The database is not as the models say (missing table, column, privilege): migrate."""


class MigrationRefused(Exception):
    """The migrate function refuses a migration; the text says why, where, and the cure."""
