"""Every SQLSTATE of Postgres, by what a caller can do about it."""

import psycopg2.errorcodes
import pytest

from chalicelib.errors import (
    DatabaseMisfit,
    DatabaseUnwell,
    InternalError,
    LockNotAvailable,
    RefusedByDatabase,
)
from chalicelib.postgres.errors import kind

KINDS = {
    "01": DatabaseMisfit,
    "02": DatabaseMisfit,
    "03": DatabaseMisfit,
    "08": DatabaseUnwell,
    "09": DatabaseMisfit,
    "0A": DatabaseMisfit,
    "0B": DatabaseMisfit,
    "0F": DatabaseMisfit,
    "0L": DatabaseMisfit,
    "0P": DatabaseMisfit,
    "0Z": DatabaseMisfit,
    "10": RefusedByDatabase,
    "20": RefusedByDatabase,
    "21": RefusedByDatabase,
    "22": RefusedByDatabase,
    "23": RefusedByDatabase,
    "24": DatabaseMisfit,
    "25": DatabaseUnwell,
    "26": DatabaseUnwell,
    "27": RefusedByDatabase,
    "28": DatabaseMisfit,
    "2B": DatabaseMisfit,
    "2D": DatabaseMisfit,
    "2F": RefusedByDatabase,
    "34": DatabaseMisfit,
    "38": RefusedByDatabase,
    "39": RefusedByDatabase,
    "3B": DatabaseUnwell,
    "3D": DatabaseMisfit,
    "3F": DatabaseMisfit,
    "40": DatabaseUnwell,
    "42": DatabaseMisfit,
    "42P05": DatabaseUnwell,
    "44": RefusedByDatabase,
    "53": DatabaseUnwell,
    "54": RefusedByDatabase,
    "55": DatabaseMisfit,
    "55006": DatabaseUnwell,
    "55P03": LockNotAvailable,
    "57": DatabaseUnwell,
    "58": DatabaseUnwell,
    "72": DatabaseUnwell,
    "F0": DatabaseUnwell,
    "HV": DatabaseMisfit,
    "HV001": DatabaseUnwell,
    "HV00L": DatabaseUnwell,
    "HV00M": DatabaseUnwell,
    "HV00N": DatabaseUnwell,
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
def test_every_error_of_postgres_is_of_the_kind_that_its_cure_asks_for(sqlstate: str) -> None:
    assert kind(sqlstate) is (KINDS.get(sqlstate) or KINDS[sqlstate[:2]])


@pytest.mark.parametrize("sqlstate", ["45000", "UE001", "PT409", "99999"])
def test_an_error_that_postgres_does_not_have_is_a_triggers(sqlstate: str) -> None:
    assert kind(sqlstate) is RefusedByDatabase


@pytest.mark.parametrize("sqlstate", KNOWN)
def test_an_error_that_takes_the_connection_with_it_is_passing(sqlstate: str) -> None:
    assert kind(sqlstate, lost=True) is DatabaseUnwell


@pytest.mark.parametrize("sqlstate", KNOWN)
def test_an_error_that_a_function_raises_says_nothing_of_the_server(sqlstate: str) -> None:
    found = kind(sqlstate, function="exec_stmt_raise")
    if kind(sqlstate) is DatabaseUnwell:
        assert found is InternalError
    else:
        assert found is (LockNotAvailable if sqlstate == "55P03" else RefusedByDatabase)


@pytest.mark.parametrize("file", ["varsup.c", "multixact.c"])
def test_a_server_that_has_no_transaction_numbers_left_refuses_no_write(file: str) -> None:
    assert kind("54000", file=file) is DatabaseUnwell
    assert kind("54000", file="nbtutils.c") is RefusedByDatabase


def test_a_value_that_takes_more_memory_than_there_can_be_is_refused() -> None:
    assert kind("XX000", file="mcxt.c", function="MemoryContextAlloc") is RefusedByDatabase
