"""Pages in the browser of tests/kit/browser.py, and an operator of the deployed stage."""

from collections.abc import Iterator

import pytest

from tests.kit.browser import browser, context, page, said
from tests.kit.deployed_operator import Operator
from tests.kit.deployment import Deployment
from tests.kit.operator_commands import fixture_type

__all__ = ["browser", "context", "fixture_type", "page", "said"]


@pytest.fixture(name="operator")
def fixture_operator(deployed: Deployment) -> Iterator[Operator]:
    """An operator of the stage, who leaves no buffer paused."""
    found = Operator(deployed)
    yield found
    found.resume_all()
