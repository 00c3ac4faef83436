"""For all tests: the project they run on, and no example has a time of its own to be done in."""

import gc
import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

pytest.register_assert_rewrite("tests.kit")
if os.environ.get("DECANTER_TESTED") != "models":
    from tests.kit import project  # noqa: F401 - before anything of the project is imported

settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(scope="session", autouse=True)
def garbage() -> Iterator[None]:
    """What is there when the first test begins, thousands of collected tests among it, stays to the
    end: no search for garbage goes through it again."""
    gc.freeze()
    yield
    gc.unfreeze()
