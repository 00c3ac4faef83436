"""For all tests: the project they run on, and no example has a time of its own to be done in."""

import atexit
import gc
import os
import shutil
import tempfile

import pytest
from hypothesis import HealthCheck, settings

# Not the folder that all runs of pytest share: each closes it to other users as it starts, and a
# Postgres of another run may be one.
os.environ["PYTEST_DEBUG_TEMPROOT"] = _FOLDER = tempfile.mkdtemp(prefix="t-")
atexit.register(shutil.rmtree, _FOLDER, ignore_errors=True)

pytest.register_assert_rewrite("tests.kit")
if os.environ.get("DECANTER_TESTED") != "models":
    from tests.kit import project  # noqa: F401 - before anything of the project is imported

from decanter.local import signals  # noqa: E402 - of the project under test

signals.listen()  # so that what tests have started ends with them, if they are terminated too

gc.disable()  # what is imported and collected stays; the first test turns it on

settings.register_profile(
    "patient",
    deadline=None,
    max_examples=int(os.environ.get("DECANTER_EXAMPLES", "40")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("patient")


@pytest.fixture(scope="session", autouse=True)
def garbage() -> None:
    """What is there when the first test begins, thousands of collected tests among it, stays: no
    search for garbage goes through it again, nor do those that pytest makes at the end."""
    gc.freeze()
    gc.enable()
