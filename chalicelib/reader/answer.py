"""What answers of the reader have in common: how large they may be, and how they end early."""

import json
from collections.abc import Mapping
from typing import Any

from chalicelib.errors import DatabaseError, RefusedByDatabase, SchemaMismatch
from chalicelib.messages.questions import Answer
from chalicelib.postgres.connecting.connection import Transaction

PAGE_BYTES = 5_000_000
"""Most text of a page, UTF-8. Its first row may have as many bytes as a row that is read alone."""

ROW_BYTES = 5_500_000
"""Most text of a row, or of all rows of one question, UTF-8."""

ANSWER_BYTES = 6_000_000
"""Most bytes of that text as Lambda sends it: a JSON string in ASCII. It takes 6 MiB in all."""


class Ended(Exception):
    """An answer that ends its transaction, which may be one with a statement that has failed."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer)
        self.answer = answer


def executed(
    transaction: Transaction, sql: str, values: Any, nothing: Mapping[str, Any], *limits: float
) -> list[Any]:
    """What a query of a client's values answers; where it fails, the transaction goes on.

    Some types refuse a value with an SQLSTATE that otherwise says that the schema is not as
    expected. It is if the query takes `nothing` in the place of the values. Raises DatabaseError.
    """
    transaction.ahead("SAVEPOINT asked")
    try:
        return transaction.execute(sql, values, *limits)
    except DatabaseError as error:
        transaction.ahead("ROLLBACK TO SAVEPOINT asked")
        transaction.forget_limits()
        if isinstance(error, SchemaMismatch):
            transaction.execute(sql, {**values, **nothing}, *limits)
            raise RefusedByDatabase(error.message, **error.attributes) from error
        raise


def is_too_large(error: DatabaseError) -> bool:
    """Whether Postgres gave up on a text of a gigabyte. It takes a few bytes of JSONB to make one:
    1e131071 is shown with all its digits."""
    return error.kind in ("too-large", "out-of-memory")


def sent_bytes(text: str) -> int:
    """Bytes of a text as Lambda sends it, whatever the version of Python."""
    return len(json.dumps(text))
