"""A fresh local cloud for the session, with the project deployed on it."""

import fcntl
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from decanter.deployment import packaging
from decanter.deployment.stage import load
from decanter.local.cloud import STAGE, Cloud, local_cloud
from decanter.local.network import free_port
from decanter.local.server import server
from decanter.package import layer
from tests.kit.chromium import chromium
from tests.kit.deployment import Answer, Deployment
from tests.kit.project import PROJECT


@pytest.fixture(scope="session")
def built_layer() -> None:
    """The layer, built by the first of those that run at the same time; the others wait for it."""
    layer.CACHE.mkdir(parents=True, exist_ok=True)
    with (layer.CACHE / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        layer.build_cached(PROJECT, packaging.runtime(load(PROJECT, STAGE)))


@pytest.fixture(scope="session")
def cloud(built_layer: None) -> Iterator[Cloud]:
    """Postgres and MiniStack on free ports, removed at the end."""
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
    """Path of the Chromium executable."""
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
    """`call(method, path, body=None, headers=None, token=None)`: a request to the deployed API."""
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
    ignored = shutil.ignore_patterns("deployments", "deployed")
    for folder in ("chalicelib", "decanter", ".chalice"):
        shutil.copytree(PROJECT / folder, target / folder, ignore=ignored)
    for file in ("app.py", "requirements.txt"):
        shutil.copy2(PROJECT / file, target / file)
    return target
