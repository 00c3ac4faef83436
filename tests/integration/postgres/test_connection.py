"""The connection to Postgres: its errors by what a caller can do about them."""

import time
from contextlib import closing
from typing import Any

import psycopg2
import pytest

from chalicelib.errors import (
    DatabaseError,
    DatabaseUnavailable,
    InternalError,
    LockNotAvailable,
    RefusedByDatabase,
    StatementTimedOut,
)
from chalicelib.postgres.connecting.connection import connection, forget, transaction
from decanter.proof.relay import Failure, relay
from tests.kit.databases import execute

ROLE = "test"


@pytest.fixture
def held(new_database):
    """`held() -> Connection`, of one database."""
    url = new_database()

    def connect(seconds: float = 60):
        return connection(url, ROLE, time.monotonic() + seconds)

    connect.url = url
    yield connect
    forget(ROLE)


def in_seconds(seconds: float) -> float:
    return time.monotonic() + seconds


def run(connection: Any, sql: str, **limits: float) -> None:
    with transaction(connection, in_seconds(60)) as running:
        running.execute(sql, **limits)


def test_a_statement_that_takes_longer_than_it_was_given_says_so(held):
    with pytest.raises(StatementTimedOut) as caught:
        run(held(), "SELECT pg_sleep(60)", seconds=0.2)
    assert caught.value.sqlstate == "57014"
    assert isinstance(caught.value, DatabaseUnavailable)


def test_a_statement_that_somebody_cancels_did_not_time_out(held):
    with pytest.raises(DatabaseUnavailable) as caught:
        run(held(), "SELECT pg_cancel_backend(pg_backend_pid())", seconds=50)
    assert caught.value.sqlstate == "57014"
    assert type(caught.value) is DatabaseUnavailable


@pytest.fixture
def locked(held):
    """Somebody else has a row of table `t`."""
    execute(held.url, "CREATE TABLE public.t AS SELECT 1 AS id")
    with closing(psycopg2.connect(held.url)) as other:
        other.cursor().execute("SELECT * FROM public.t FOR UPDATE")
        yield


UPDATE = "UPDATE public.t SET id = 1"


def test_a_lock_that_is_held_for_longer_than_a_statement_waits_says_so(held, locked):
    with pytest.raises(LockNotAvailable) as caught:
        run(held(), UPDATE, lock_seconds=0.1)
    assert caught.value.sqlstate == "55P03"
    assert isinstance(caught.value, DatabaseUnavailable)


def test_a_lock_that_is_held_for_longer_than_a_transaction_waits_says_so(held, locked):
    with (
        pytest.raises(LockNotAvailable),
        transaction(held(), in_seconds(60), lock_seconds=0.1) as running,
    ):
        running.execute(UPDATE)


def test_a_lock_is_not_waited_for_beyond_the_time_of_its_statement(held, locked):
    with pytest.raises(StatementTimedOut):
        run(held(), UPDATE, seconds=0.2, lock_seconds=60)


def test_limits_of_a_statement_are_not_those_of_the_next(held):
    with transaction(held(), in_seconds(60), lock_seconds=30) as running:
        running.execute("SELECT 1", seconds=0.5, lock_seconds=0.1)
        [(lock, statement)] = running.execute(
            "SELECT setting::int, (SELECT setting::int FROM pg_settings"
            " WHERE name = 'statement_timeout') FROM pg_settings WHERE name = 'lock_timeout'"
        )
    assert lock == 30_000
    assert lock < statement <= 60_000


@pytest.fixture
def behind_relay(held):
    """`behind_relay(sqlstate, closes)` runs a statement that fails like this."""
    with relay(held.url) as between:

        def fail(sqlstate: str, *, closes: bool) -> DatabaseError:
            between.failure = Failure("doomed", sqlstate, closes=closes)
            forget(ROLE)
            with pytest.raises(DatabaseError) as caught:
                run(connection(between.url, ROLE, in_seconds(60)), "SELECT 'doomed'")
            return caught.value

        yield fail


@pytest.mark.parametrize("sqlstate", ["XX000", "XX001", "57P01", "42P01", "22001", "08006"])
def test_an_error_with_which_the_connection_is_lost_is_passing(behind_relay, sqlstate):
    assert type(behind_relay(sqlstate, closes=True)) is DatabaseUnavailable


@pytest.mark.parametrize("sqlstate", ["XX000", "XX001", "XX002"])
def test_an_internal_error_of_a_server_that_goes_on_is_reported_as_such(behind_relay, sqlstate):
    error = behind_relay(sqlstate, closes=False)
    assert type(error) is InternalError
    assert error.sqlstate == sqlstate
    assert isinstance(error, DatabaseUnavailable)


@pytest.mark.parametrize("sqlstate", ["42501", "0A000", "55000", "XX000", "2BP01", "P0001"])
def test_an_error_that_a_function_raises_refuses_the_data(held, sqlstate):
    with pytest.raises(RefusedByDatabase) as caught:
        run(held(), f"DO $$ BEGIN RAISE 'no' USING ERRCODE = '{sqlstate}'; END $$")
    assert caught.value.sqlstate == sqlstate


@pytest.mark.parametrize("sqlstate", ["40001", "55P03", "57014"])
def test_a_passing_error_that_a_function_raises_is_passing(held, sqlstate):
    with pytest.raises(DatabaseUnavailable):
        run(held(), f"DO $$ BEGIN RAISE 'not now' USING ERRCODE = '{sqlstate}'; END $$")


def test_a_value_that_takes_more_than_a_gigabyte_refuses_the_data(held):
    with pytest.raises(RefusedByDatabase) as caught:
        run(held(), "SELECT array_fill(0, ARRAY[120000000]) || array_fill(0, ARRAY[250000000])")
    assert caught.value.sqlstate in ("XX000", "54000")
    assert caught.value.kind in ("out-of-memory", "too-large")
