"""Operators' calls without the database: acts are kept by a stub of reader and operate."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.kit.api import Answered
from tests.kit.recorded_acts import RecordedActs


@pytest.fixture
def acts(monkeypatch: pytest.MonkeyPatch) -> RecordedActs:
    """The acts that reader and operate know."""
    return RecordedActs(monkeypatch)


@pytest.fixture
def ops(api: Callable[..., Answered]) -> Callable[..., Answered]:
    """`ops("GET", "/ops/…", body)`: a call of an operator who may do everything."""

    def call(method: str, path: str, body: Any = None, **more: Any) -> Answered:
        return api(method, path, body, **{"scopes": "ops:read ops:write", **more})

    return call
