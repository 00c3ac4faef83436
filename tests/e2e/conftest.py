"""A fresh local cloud for the session, with the project deployed on it."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from decanter.client import Client
from decanter.cloud.local import PROJECT, Cloud, local_cloud
from decanter.cloud.network import free_port
from decanter.cloud.stack import Stack


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

    def client(self) -> Client:
        """A client that signs its requests."""
        import threading

        return Client(self.api_url, threading.Event())


@pytest.fixture(scope="session")
def cloud() -> Iterator[Cloud]:
    """Postgres and MiniStack on free ports, beside whatever else runs; gone at the end."""
    # Not pytest's folder: Postgres may run as another user, who must be able to enter it.
    home = Path(tempfile.mkdtemp(prefix="decanter-e2e-"))
    try:
        with local_cloud(home, port=free_port()) as running:
            yield running
    finally:
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def deployed(cloud: Cloud) -> Deployment:
    """This project, deployed and migrated."""
    return Deployment(cloud, cloud.deploy())


@pytest.fixture(scope="session")
def deploy(cloud: Cloud) -> Callable[[Path, str], Deployment]:
    """Deploy another project folder under a name of its own: queues, functions and database.

    The folder needs app.py, chalicelib (with its contract and migrations), requirements.txt and
    .chalice; ``copy_project`` makes one.
    """

    def deploy(project: Path, name: str) -> Deployment:
        database = name.replace("-", "_")
        return Deployment(cloud, cloud.deploy(project, prefix=name, database=database))

    return deploy


@pytest.fixture
def copy_project(tmp_path: Path) -> Callable[[], Path]:
    """A copy of this project whose models, contract and migrations may be changed."""

    def copy_project() -> Path:
        target = tmp_path / "project"
        target.mkdir()
        ignored = shutil.ignore_patterns("__pycache__", "deployments", "deployed")
        for folder in ("chalicelib", "decanter", ".chalice"):
            shutil.copytree(PROJECT / folder, target / folder, ignore=ignored)
        for file in ("app.py", "requirements.txt"):
            shutil.copy2(PROJECT / file, target / file)
        return target

    return copy_project
