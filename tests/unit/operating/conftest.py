"""The command line of operators against a server that answers as a test says."""

from collections.abc import Iterator

import pytest

from decanter.operating import acting, client
from tests.kit.ops_server import OpsServer, ops_server


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpsServer]:
    with ops_server() as served:
        monkeypatch.setenv("DECANTER_URL", served.url)
        monkeypatch.setenv("DECANTER_TOKEN", "secret-token")
        monkeypatch.setattr(client.time, "sleep", lambda _seconds: None)
        monkeypatch.setattr(acting.time, "sleep", lambda _seconds: None)
        yield served
