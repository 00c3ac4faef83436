"""Worlds in which calls of operators reach a real reader and operate function."""

from collections.abc import Callable

import pytest
from sqlalchemy import MetaData

from tests.kit.operators import connect
from tests.kit.world import World


@pytest.fixture
def make_operated(
    make_world: Callable[[MetaData], World], monkeypatch: pytest.MonkeyPatch
) -> Callable[[MetaData], World]:
    """`make_operated(metadata)`: a world with these tables."""

    def make(metadata: MetaData) -> World:
        made = make_world(metadata)
        connect(made, monkeypatch)
        return made

    return make
