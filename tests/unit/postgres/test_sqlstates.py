"""Every SQLSTATE of Postgres, by what a caller can do about it."""

import re

import psycopg2.errorcodes
import pytest

from chalicelib.errors import (
    DatabaseUnavailable,
    InternalError,
    LockNotAvailable,
    RefusedByDatabase,
    SchemaMismatch,
    TransactionConflict,
)
from chalicelib.postgres.errors import error_class
from tests.kit.project import HOME

KINDS = {
    "01": SchemaMismatch,
    "02": SchemaMismatch,
    "03": SchemaMismatch,
    "08": DatabaseUnavailable,
    "09": SchemaMismatch,
    "0A": SchemaMismatch,
    "0B": SchemaMismatch,
    "0F": SchemaMismatch,
    "0L": SchemaMismatch,
    "0P": SchemaMismatch,
    "0Z": SchemaMismatch,
    "10": RefusedByDatabase,
    "20": RefusedByDatabase,
    "21": RefusedByDatabase,
    "22": RefusedByDatabase,
    "23": RefusedByDatabase,
    "24": SchemaMismatch,
    "25": DatabaseUnavailable,
    "26": DatabaseUnavailable,
    "27": RefusedByDatabase,
    "28": SchemaMismatch,
    "2B": SchemaMismatch,
    "2D": SchemaMismatch,
    "2F": RefusedByDatabase,
    "34": SchemaMismatch,
    "38": RefusedByDatabase,
    "39": RefusedByDatabase,
    "3B": DatabaseUnavailable,
    "3D": SchemaMismatch,
    "3F": SchemaMismatch,
    "40": DatabaseUnavailable,
    "40001": TransactionConflict,
    "42": SchemaMismatch,
    "42P05": DatabaseUnavailable,
    "44": RefusedByDatabase,
    "53": DatabaseUnavailable,
    "54": RefusedByDatabase,
    "55": SchemaMismatch,
    "55006": DatabaseUnavailable,
    "55P03": LockNotAvailable,
    "57": DatabaseUnavailable,
    "58": DatabaseUnavailable,
    "72": DatabaseUnavailable,
    "F0": DatabaseUnavailable,
    "HV": SchemaMismatch,
    "HV001": DatabaseUnavailable,
    "HV00L": DatabaseUnavailable,
    "HV00M": DatabaseUnavailable,
    "HV00N": DatabaseUnavailable,
    "P0": RefusedByDatabase,
    "XX": InternalError,
}
KNOWN = sorted(
    {
        value
        for name, value in vars(psycopg2.errorcodes).items()
        if name.isupper() and len(value) == 5 and value != "00000"
    }
)


@pytest.mark.parametrize("sqlstate", KNOWN)
def test_every_error_of_postgres_is_of_the_class_that_its_cure_asks_for(sqlstate: str) -> None:
    assert error_class(sqlstate) is (KINDS.get(sqlstate) or KINDS[sqlstate[:2]])


@pytest.mark.parametrize("sqlstate", ["40001", "OC000", "OC001"])
def test_a_conflict_of_transactions_is_one_by_any_of_its_names(sqlstate: str) -> None:
    assert error_class(sqlstate) is TransactionConflict


@pytest.mark.parametrize("sqlstate", ["45000", "UE001", "PT409", "99999"])
def test_an_error_that_postgres_does_not_have_is_a_triggers(sqlstate: str) -> None:
    assert error_class(sqlstate) is RefusedByDatabase


@pytest.mark.parametrize("sqlstate", KNOWN)
def test_an_error_that_takes_the_connection_with_it_is_passing(sqlstate: str) -> None:
    assert error_class(sqlstate, lost=True) is DatabaseUnavailable


@pytest.mark.parametrize("sqlstate", KNOWN)
def test_an_error_that_a_function_raises_says_nothing_of_the_server(sqlstate: str) -> None:
    found = error_class(sqlstate, function="exec_stmt_raise")
    if error_class(sqlstate) in (DatabaseUnavailable, TransactionConflict):
        assert found is InternalError
    else:
        assert found is (LockNotAvailable if sqlstate == "55P03" else RefusedByDatabase)


@pytest.mark.parametrize("file", ["varsup.c", "multixact.c"])
def test_a_server_that_has_no_transaction_numbers_left_refuses_no_write(file: str) -> None:
    assert error_class("54000", file=file) is DatabaseUnavailable
    assert error_class("54000", file="nbtutils.c") is RefusedByDatabase


@pytest.mark.parametrize(
    ("sqlstate", "message"),
    [
        ("54000", "transaction row limit exceeded"),
        ("54000", "transaction size limit 10mb exceeded"),
        ("54000", "transaction age limit of 300s exceeded"),
    ],
)
def test_a_transaction_that_does_too_much_may_be_parted(sqlstate: str, message: str) -> None:
    assert error_class(sqlstate, message=message) is InternalError
    assert error_class("54000", message="maximum row size exceeded") is RefusedByDatabase
    read_only = "cannot execute INSERT in a read-only transaction"
    assert error_class("25006", message=read_only) is DatabaseUnavailable


def test_a_value_that_takes_more_memory_than_there_can_be_is_refused() -> None:
    assert error_class("XX000", file="mcxt.c", function="MemoryContextAlloc") is RefusedByDatabase


def test_sqlstates_stand_at_the_border_alone() -> None:
    border = HOME / "chalicelib/postgres"
    files = [each for each in (HOME / "chalicelib").rglob("*.py") if border not in each.parents]

    found = {
        (str(file), text)
        for file in files
        for text in re.findall(r"[\"']([0-9A-Z]{5})[\"']", file.read_text())
        if text in KNOWN
    }

    assert files
    assert found == set()
