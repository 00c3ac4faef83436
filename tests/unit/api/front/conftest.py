"""The API function with resources behind a front table."""

from collections.abc import Iterator
from typing import Any

import pytest

from chalicelib.buffer.dynamodb import table
from tests.kit import fronted

MODELS = fronted.models()


@pytest.fixture(scope="module")
def dynamodb() -> Iterator[Any]:
    with fronted.dynamodb() as client:
        yield client


@pytest.fixture
def front(dynamodb: Any, compile_contract: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of DynamoDB with an empty front table; the contract has the tables of
    `fronted.models`."""
    compile_contract(MODELS)
    monkeypatch.setenv("AWS_DEFAULT_REGION", fronted.REGION)
    monkeypatch.setenv("DECANTER_FRONT_TABLE", fronted.NAME)
    fronted.make_table(dynamodb)
    yield dynamodb
    dynamodb.delete_table(TableName=fronted.NAME)


@pytest.fixture
def meddler(front: Any, monkeypatch: pytest.MonkeyPatch) -> fronted.Meddler:
    """Between the API function and the table."""
    found = fronted.Meddler(front)
    monkeypatch.setattr(table, "_client", lambda: found)
    monkeypatch.setattr(table, "_PAUSE_SECONDS", 0)
    monkeypatch.setattr("chalicelib.api.front.write._PAUSE_SECONDS", 0)
    return found
