"""Engines: what a connection knows of its server."""

from types import SimpleNamespace
from typing import Any

import pytest

from chalicelib.postgres.engine import ASK, CITUS, DSQL, ENGINES, POSTGRES, engine_of, told


def test_an_engine_is_found_by_its_name():
    assert [told([(name,)]) for name in ENGINES] == [POSTGRES, CITUS, DSQL]


def test_an_unknown_engine_is_not_taken_for_another():
    with pytest.raises(KeyError):
        told([("cockroach",)])


def test_a_connection_that_knows_its_engine_asks_nobody():
    connection: Any = SimpleNamespace(engine=DSQL)
    assert engine_of(connection) is DSQL


def test_no_catalog_is_asked_that_dsql_does_not_have():
    assert "pg_extension" not in ASK


def test_an_engine_without_settings_limits_transactions_itself():
    for engine in ENGINES.values():
        assert engine.settings or engine.transaction_seconds
