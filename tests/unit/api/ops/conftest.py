"""Operators' calls without the database: acts are kept by a stub of reader and operate."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.kit.api import Answered
from tests.kit.described_answers import check
from tests.kit.recorded_acts import RecordedActs


@pytest.fixture
def acts(monkeypatch: pytest.MonkeyPatch) -> RecordedActs:
    """The acts that reader and operate know."""
    return RecordedActs(monkeypatch)


@pytest.fixture
def ops(api: Callable[..., Answered]) -> Callable[..., Answered]:
    """`ops("GET", "/ops/…", body)`: a call of an operator who may do everything; its answer is as
    described."""

    def call(method: str, path: str, body: Any = None, **more: Any) -> Answered:
        answer = api(method, path, body, **{"scopes": "ops:read ops:write", **more})
        type_ = answer.headers.get("Content-Type", "")
        check(method, path.partition("?")[0], answer.status_code, type_, answer.body)
        return answer

    return call
