"""The engine that tests of drain, reader and sweep run on, named by DECANTER_TEST_ENGINE.

postgres: the embedded server, or the one of DECANTER_POSTGRES_URL. dsql: the rules of Aurora DSQL
before it, see `dsql`. citus: the cluster of DECANTER_CITUS_URL. Tests that need what an engine
does not have do not run on it, and say so.
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from ministack.core import pgproxy  # type: ignore[import-untyped]
from sqlalchemy import MetaData

from chalicelib.postgres.engine import ENGINES
from decanter.contract.engines import objections
from decanter.local.citus import Cluster
from tests.kit import citus
from tests.kit.databases import create_tables, drop, name_of
from tests.kit.dsql import dsql_before

VARIABLE = "DECANTER_TEST_ENGINE"

# Of a sequence, the drain sees no more than that a key is made by the server; and the server behind
# the rules keeps all digits of a number. On Citus, only rows without values are refused by such a
# table.
_HELD_HERE = re.compile(
    "numbered by a sequence|an identity of type|number without a precision"
    "|takes a row without any value"
)
_OF_SCHEMA = re.compile(r"\s*(CREATE|ALTER|DROP)\b", re.IGNORECASE)


def named_engine() -> str:
    """The name that the variable has."""
    name = os.environ.get(VARIABLE, "postgres")
    assert name in ENGINES, f"{VARIABLE} is {name!r}; set it to one of {', '.join(ENGINES)}"
    return name


@pytest.fixture
def engine_name() -> str:
    """The name of the engine that the test runs on."""
    return named_engine()


@pytest.fixture(autouse=True)
def needed(engine_name: str, request: pytest.FixtureRequest) -> None:
    """Skip the test if the engine lacks what its markers `needs` name."""
    for mark in request.node.iter_markers("needs"):
        if not getattr(ENGINES[engine_name], *mark.args):
            pytest.skip(f"did not run: {engine_name} does without {mark.args[0]}")


@pytest.fixture
def reach(engine_name: str) -> Iterator[Callable[[str], str]]:
    """`reach(url)` is the URL by which functions reach the database of a URL."""
    with ExitStack() as stack:

        def before(url: str) -> str:
            return stack.enter_context(dsql_before(url)).url if engine_name == "dsql" else url

        yield before


@pytest.fixture(scope="session")
def templates() -> dict[MetaData, str]:
    """Names of databases with the ledger and the tables of a MetaData, for all tests that share it;
    an empty one for a MetaData that one test has had."""
    return {}


@pytest.fixture
def make_database(
    new_database: Callable[..., str],
    templates: dict[MetaData, str],
    engine_name: str,
    request: pytest.FixtureRequest,
) -> Iterator[Callable[[MetaData], str]]:
    """`make_database(metadata) -> url` creates a database with the ledger and those tables."""

    def make(metadata: MetaData) -> str:
        require(engine_name, metadata)
        if engine_name == "citus":
            cluster: Cluster = request.getfixturevalue("citus_cluster")
            url = cluster.create()
            ends.callback(cluster.drop, url)
            citus.make_tables(url, metadata)
            return url
        if not (template := templates.get(metadata, "")):
            ledger = "dsql_template" if engine_name == "dsql" else "ledger_template"
            url = new_database(request.getfixturevalue(ledger))
            create_tables(url, metadata)
            # The first test may be the only one with these tables.
            if metadata not in templates:
                templates[metadata] = ""
                ends.callback(drop, url)
                return url
            template = templates[metadata] = name_of(url)
        url = new_database(template)
        ends.callback(drop, url)
        return url

    with ExitStack() as ends:
        yield make


def require(engine_name: str, metadata: MetaData) -> None:
    """Skip the test if the engine cannot hold its tables."""
    for each in lacking(engine_name, metadata):
        pytest.skip(f"did not run: {engine_name} cannot hold {each}")


def lacking(engine_name: str, metadata: MetaData) -> list[str]:
    """What the engine lacks for tables of tests, each in a sentence."""
    if engine_name == "citus":
        citus.declare(metadata)
    found = objections([metadata], engine_name)
    return [each for each in found if not _HELD_HERE.search(each)]


def require_taken(engine_name: str, statement: str, error: Exception) -> None:
    """Skip the test if the engine has refused a statement with which it changes its tables."""
    if engine_name == "citus" and _OF_SCHEMA.match(statement):
        pytest.skip(f"did not run: {engine_name} refuses {statement}: {error}")


def require_statement(engine_name: str, statement: str) -> None:
    """Skip the test if the engine refuses a statement with which it changes its tables."""
    if engine_name == "dsql" and _OF_SCHEMA.match(statement):
        refused = pgproxy.validate(statement)
        if isinstance(refused, pgproxy.DsqlError) and refused.sqlstate == "0A000":
            pytest.skip(f"did not run: {engine_name} refuses {statement}: {refused.message}")
