"""The API function with resources behind a front table."""

from collections.abc import Iterator
from typing import Any

import pytest

from chalicelib.buffer.dynamodb import table
from tests.kit import fronted

MODELS = fronted.models()


@pytest.fixture
def front(compile_contract: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of DynamoDB; the contract has the tables of `fronted.models`."""
    compile_contract(MODELS)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("DECANTER_FRONT_TABLE", fronted.NAME)
    with fronted.front_table() as client:
        yield client


@pytest.fixture
def meddler(front: Any, monkeypatch: pytest.MonkeyPatch) -> fronted.Meddler:
    """Between the API function and the table."""
    found = fronted.Meddler(front)
    monkeypatch.setattr(table, "_client", lambda: found)
    monkeypatch.setattr(table, "_PAUSE_SECONDS", 0)
    monkeypatch.setattr("chalicelib.api.front.write._PAUSE_SECONDS", 0)
    return found
