"""Sets of any size are copied here, as far as they can be; in production only larger ones are."""

import pytest

from chalicelib.drain import pour_fast


@pytest.fixture(autouse=True)
def copies_all_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pour_fast, "_COPIED_ROWS", 1)
