"""A first day with tables of one's own, in a shell that is set up for other work: the local cloud
asks nobody but itself, and the Postgres that was named."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import urllib3

from decanter import POSTGRES_URL, PROJECT
from decanter.deployment import packaging, stage
from decanter.local.postgres import Postgres, program
from decanter.package import layer
from tests.kit import citext
from tests.kit.databases import execute
from tests.kit.processes import gone
from tests.kit.waiting import LONG

PERSON = '''

from sqlalchemy.dialects.postgresql import CITEXT


class Person(Base):
    """Somebody, found by an address in upper or lower case."""

    __tablename__ = "people"

    email: Mapped[str] = mapped_column(CITEXT, primary_key=True)
    name: Mapped[str]
'''


class Proxy:
    """Notes who asked it."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.asked: list[bytes] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                taken, _ = self._socket.accept()
            except OSError:
                return
            with taken:
                self.asked.append(taken.recv(200))
                taken.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    made = Proxy()
    yield made
    made.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="decanter-shell-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def server(folder: Path) -> Iterator[Postgres]:
    """A Postgres of the user's, which has citext."""
    made = Postgres(folder / "server")
    made.start()
    try:
        citext.write(made.home)
        path = f"$system:{made.home}"
        for statement in (
            f"ALTER SYSTEM SET extension_control_path = '{path}'",
            "ALTER SYSTEM SET fsync = off",
            "SELECT pg_reload_conf()",
        ):
            psql = [program("psql"), made.url(), "-qc", statement]
            subprocess.run(psql, check=True, stdout=subprocess.DEVNULL)
        yield made
    finally:
        made.stop()


def hostile(proxy: Proxy, folder: Path) -> dict[str, str]:
    """What other work may have set."""
    broken = folder / "broken"
    broken.write_text("[profile = {")
    modules = folder / "modules"
    modules.mkdir()
    (modules / "ministack.py").write_text("raise SystemExit('the wrong one')")
    nowhere = str(folder / "nowhere")
    proxies = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
    endpoints = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS", "AWS_ENDPOINT_URL_S3")
    bundles = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "PGSSLROOTCERT")
    files = ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "BOTO_CONFIG")
    return {
        **dict.fromkeys((*proxies, *endpoints), proxy.url),
        **dict.fromkeys(files, str(broken)),
        **dict.fromkeys(bundles, nowhere),
        "AWS_PROFILE": "nosuch",
        "AWS_DEFAULT_PROFILE": "nosuch",
        "AWS_REGION": "eu-nowhere-1",
        "AWS_DEFAULT_REGION": "eu-nowhere-1",
        "AWS_ACCESS_KEY_ID": "others",
        "AWS_SECRET_ACCESS_KEY": "others",
        "AWS_SESSION_TOKEN": "expired",
        "AWS_USE_FIPS_ENDPOINT": "true",
        "AWS_USE_DUALSTACK_ENDPOINT": "true",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
        "PYTHONPATH": str(modules),
        "PGHOST": "example.com",
        "PGPORT": "1",
        "PGPASSWORD": "others",
        "PGSSLMODE": "verify-full",
        "PGOPTIONS": "-c nosuch=1",
        "DECANTER_AUTH": "iam",
        "DECANTER_QUEUES": "others",
        "DECANTER_DATABASE_URL": "postgresql://example.com/others",
        "LAMBDA_EXECUTOR": "docker",
        "MINISTACK_REGION": "eu-nowhere-1",
        "EDGE_PORT": "1",
    }


def test_models_that_need_an_extension_go_the_whole_way_in_any_shell(
    proxy: Proxy, server: Postgres, folder: Path, copy_project: Callable[[], Path]
) -> None:
    layer.build_cached(
        PROJECT, packaging.runtime(stage.load(PROJECT, "dev"))
    )  # pip would go through the proxy, as it should
    project, home = copy_project(), folder / "home"
    shutil.copy2(PROJECT / "requirements.in", project)
    (project / "build").mkdir()
    (project / "build" / "layers").symlink_to(PROJECT / "build" / "layers")
    with (project / "chalicelib" / "models.py").open("a") as models:
        models.write(PERSON)
    named = server.url("postgres")
    environment = {**os.environ, **hostile(proxy, folder), POSTGRES_URL: named}
    decanter = [sys.executable, "-m", "decanter"]

    def run(*arguments: object) -> None:
        done = subprocess.run(
            [*decanter, *map(str, arguments)], cwd=project, env=environment, capture_output=True
        )
        assert done.returncode == 0, done.stderr.decode()

    run("contract")
    run("migration", "people")
    process = subprocess.Popen(
        [*decanter, "cloud", "--data-dir", str(home)],
        cwd=project, env=environment, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        said: list[str] = []
        while not said or not said[-1].startswith("Serving"):
            said.append(process.stdout.readline())
            assert said[-1], "".join(said)
        given = dict(line.strip().split("=", 1) for line in said if line[:4] in ("API=", "TOKE"))
        with urllib3.PoolManager(retries=False, timeout=LONG) as pool:
            headers = {"Authorization": f"Bearer {given['TOKEN']}", "Prefer": "wait=20"}
            people, person = f"{given['API']}/people", {"name": "Ann"}
            sent = pool.request("PUT", f"{people}/Ann@example.ch", json=person, headers=headers)
            read = pool.request("GET", f"{people}/ANN@example.CH", headers=headers)

        assert sent.json()["state"] == "applied"
        assert read.json() == {"email": "Ann@example.ch", "name": "Ann"}
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=LONG)
        assert gone(home)
    finally:
        process.stdout.close()
        process.kill()
        process.wait()
    assert proxy.asked == []

    made = "SELECT datname FROM pg_database UNION SELECT rolname FROM pg_roles"
    kept = {name for (name,) in execute(named, made) if name.startswith("decanter_")}
    run("postgres", "drop", "--data-dir", home)
    assert {name.rsplit("_", 1)[1] for name in kept} > {"drain", "reader", "sweep"}
    assert not kept & {name for (name,) in execute(named, made)}
