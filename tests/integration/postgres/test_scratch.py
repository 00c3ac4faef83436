"""Scratch servers: in memory where there is room, otherwise on disk."""

from pathlib import Path

import pytest

from decanter import POSTGRES_URL
from decanter.local import server
from decanter.local.postgres import Postgres
from tests.kit.databases import execute


@pytest.mark.parametrize(("folder", "is_used"), [("room", True), ("none", False)])
def test_data_are_in_memory_if_there_is_room_and_are_removed(
    folder: str, is_used: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(POSTGRES_URL, raising=False)
    (tmp_path / "room").mkdir()
    monkeypatch.setattr(server, "_MEMORY", tmp_path / folder)
    monkeypatch.setattr(server, "_LEAST_BYTES", 1)

    with server.scratch("test") as made:
        assert isinstance(made, Postgres)
        assert execute(made.url(), "SHOW fsync") == [("off",)]
        assert (tmp_path in made.home.parents) == is_used
    assert not made.home.exists()
