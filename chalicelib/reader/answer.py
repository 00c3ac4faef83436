"""The sizes of the reader's answers, and queries with values from clients."""

import json
from collections.abc import Mapping
from typing import Any

from chalicelib.errors import DatabaseError, RefusedByDatabase, SchemaMismatch
from chalicelib.messages.questions import Answer
from chalicelib.postgres.connecting.connection import Transaction, savepoint

PAGE_BYTES = 5_000_000
"""Most text of a page, UTF-8. Its first row may be as large as a row that is read alone."""

ROW_BYTES = 5_500_000
"""Most text of a row, or of all rows of one question, UTF-8."""

ANSWER_BYTES = 6_000_000
"""Most bytes of that text as Lambda sends it, a JSON string in ASCII, of 6 MiB in all."""


class Ended(Exception):
    """Ends the transaction with an answer; a statement in it may have failed."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer)
        self.answer = answer


def execute(
    transaction: Transaction, sql: str, values: Any, nothing: Mapping[str, Any], *limits: float
) -> list[Any]:
    """The result of a query with values from a client. If it fails, the transaction can continue.

    Some types refuse a value with an SQLSTATE that usually means that the schema is not as
    expected. The schema is fine if the query works with `nothing` in place of the values. Raises
    DatabaseError.
    """
    try:
        with savepoint(transaction):
            return transaction.execute(sql, values, *limits)
    except SchemaMismatch as error:
        transaction.execute(sql, {**values, **nothing}, *limits)
        raise RefusedByDatabase(error.message, **error.attributes) from error


def is_too_large(error: DatabaseError) -> bool:
    """Whether Postgres failed to build a text of a gigabyte, for which a few bytes of JSONB are
    enough: 1e131071 is shown with all its digits."""
    return error.kind in ("too-large", "out-of-memory")


def sent_bytes(text: str) -> int:
    """Bytes of a text as Lambda sends it, in all versions of Python."""
    return len(json.dumps(text))
