"""Half of the tests copy sets of any size, as far as they can be copied; the others only those of a
hundred rows or more, as in production, and insert what travels by its values otherwise."""

from zlib import crc32

import pytest

from chalicelib.drain import pour_fast


@pytest.fixture(autouse=True)
def smallest_copied_set(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    copies_all = crc32(request.node.name.encode()) % 2
    monkeypatch.setattr(pour_fast, "_COPIED_ROWS", 1 if copies_all else pour_fast._COPIED_ROWS)
