"""A fresh local cloud for the session, with the project deployed on it."""

import json
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import urllib3

from decanter.local import issuer
from decanter.local.cloud import Cloud, local_cloud
from decanter.local.demo.client import Client
from decanter.local.network import free_port
from decanter.local.server import server
from decanter.local.stack import Stack
from tests.kit.project import PROJECT
from tests.kit.waiting import LONG

from .chromium import chromium

HTTP = urllib3.PoolManager(retries=False, timeout=LONG, maxsize=24)


class Answer(NamedTuple):
    """What the API answers. body: parsed JSON, numbers with a fraction as text; else bytes."""

    status: int
    headers: urllib3.HTTPHeaderDict
    body: Any


@dataclass(frozen=True)
class Deployment:
    """A deployed project and all ways into it."""

    cloud: Cloud
    stack: Stack

    @property
    def api_url(self) -> str:
        return self.stack.api_url

    @property
    def database_url(self) -> str:
        return self.stack.database_url

    @property
    def queue_urls(self) -> dict[str, str]:
        return self.stack.queue_urls

    def aws(self, service: str) -> Any:
        """A boto3 client of the local cloud."""
        return self.cloud.client(service)

    def token(
        self,
        scope: str = issuer.ALL_SCOPES,
        subject: str = issuer.SUBJECT,
        seconds: int = issuer.HOUR,
        **claims: Any,
    ) -> str:
        """A token of the local cloud's issuer; claims: in place of the usual ones."""
        return self.cloud.issuer.token(scope, subject, seconds, **claims)

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        token: str | None = None,
    ) -> Answer:
        """Ask the API. body: bytes as they are, anything else as JSON. token: None: one that
        allows everything; empty: no credentials."""
        sent = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        named = {} if body is None else {"Content-Type": "application/json"}
        token = self._token if token is None else token
        named |= {"Authorization": f"Bearer {token}"} if token else {}
        answer = HTTP.request(
            method, self.api_url + path, body=sent, headers={**named, **(headers or {})}
        )
        kind = answer.headers.get("Content-Type", "")
        is_json = "json" in kind and answer.data
        parsed = json.loads(answer.data, parse_float=str) if is_json else answer.data
        return Answer(answer.status, answer.headers, parsed)

    @cached_property
    def _token(self) -> str:
        return self.token(seconds=issuer.DAY)

    def client(self) -> Client:
        """A client that may do everything."""
        return Client(self.api_url, self.token(), threading.Event())


@pytest.fixture(scope="session")
def cloud() -> Iterator[Cloud]:
    """Postgres and MiniStack on free ports, beside whatever else runs; gone at the end."""
    # Not pytest's folder: Postgres may run as another user, who must be able to enter it.
    home = Path(tempfile.mkdtemp(prefix="decanter-e2e-"))
    try:
        with local_cloud(home, port=free_port()) as running:
            yield running
    finally:
        server(home).drop()
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session", name="chromium")
def fixture_chromium() -> str:
    """Path of a Chromium."""
    return chromium()


@pytest.fixture(scope="session")
def deployed(cloud: Cloud) -> Deployment:
    """This project, deployed and migrated."""
    return Deployment(cloud, cloud.deploy())


@pytest.fixture(scope="session")
def token(deployed: Deployment) -> Callable[..., str]:
    """`token(scope=…, subject=…, seconds=…, **claims)`: a token of the local cloud's issuer."""
    return deployed.token


@pytest.fixture(scope="session")
def call(deployed: Deployment) -> Callable[..., Answer]:
    """`call(method, path, body=None, headers=None, token=None)`: ask the deployed API."""
    return deployed.call


@pytest.fixture(scope="session")
def deploy(cloud: Cloud) -> Callable[..., Deployment]:
    """Deploy another project folder under a name of its own: queues, functions and database.

    The folder needs app.py, chalicelib (with its contract and migrations), requirements.txt and
    .chalice; ``copy_project`` makes one.
    """

    def deploy(project: Path, name: str, parameters: Mapping[str, str] | None = None) -> Deployment:
        database = name.replace("-", "_")
        stack = cloud.deploy(project, prefix=name, database=database, parameters=parameters)
        return Deployment(cloud, stack)

    return deploy


@pytest.fixture
def copy_project(tmp_path: Path) -> Callable[[], Path]:
    """A copy of this project whose models, contract and migrations may be changed."""
    return lambda: _copied(tmp_path / "project")


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """The same for what a whole module uses."""
    return lambda: _copied(tmp_path_factory.mktemp("copied") / "project")


def _copied(target: Path) -> Path:
    target.mkdir()
    ignored = shutil.ignore_patterns("__pycache__", "deployments", "deployed")
    for folder in ("chalicelib", "decanter", ".chalice"):
        shutil.copytree(PROJECT / folder, target / folder, ignore=ignored)
    for file in ("app.py", "requirements.txt"):
        shutil.copy2(PROJECT / file, target / file)
    return target
