"""Parts of a transaction that may fail, while the transaction goes on."""

from collections.abc import Iterator
from contextlib import contextmanager

from chalicelib.errors import (
    InternalError,
    LockNotAvailable,
    RefusedByDatabase,
    SchemaMismatch,
    StatementTimedOut,
)
from chalicelib.postgres.connecting.connection import Transaction

SURVIVED = (RefusedByDatabase, SchemaMismatch, StatementTimedOut, LockNotAvailable, InternalError)
"""Errors after which the connection can be used as before."""


@contextmanager
def savepoint(running: Transaction) -> Iterator[None]:
    """Of a block that fails, nothing is done, and the transaction goes on."""
    running.ahead("SAVEPOINT rows")
    try:
        yield
    except SURVIVED:
        running.ahead("ROLLBACK TO SAVEPOINT rows")
        running.forget_limits()
        raise
    finally:
        running.ahead("RELEASE SAVEPOINT rows")
