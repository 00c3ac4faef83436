"""The whole local cloud: started together, and gone together."""

import contextlib
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decanter import PROJECT
from decanter.deployment import packaging
from decanter.deployment.stage import load
from decanter.local import environment, ministack, signals, stack
from decanter.local.issuer import Issuer
from decanter.local.named import DATABASE
from decanter.local.server import Server, server
from decanter.local.supervisor import Supervisor, engage

STAGE = "dev"


@dataclass(frozen=True)
class Cloud:
    """A running local cloud and the folder of its data."""

    home: Path
    postgres: Server
    ministack: ministack.MiniStack
    supervisor: Supervisor
    receipt_key: str

    @property
    def issuer(self) -> Issuer:
        """Makes the tokens that the deployed stages take."""
        return Issuer(self.home)

    def client(self, service: str) -> Any:
        """A boto3 client of this cloud."""
        return self.ministack.client(service)

    def deploy(
        self,
        project: Path = PROJECT,
        prefix: str | None = None,
        database: str = DATABASE,
        say: Callable[[str], None] = lambda _line: None,
        parameters: Mapping[str, str] | None = None,
    ) -> stack.LocalStack:
        """Package a project, deploy it as a pipeline does, and migrate its database.

        A second project needs a prefix (of its stack and queues) and a database of its own.
        parameters: of the template, in place of the local cloud's.
        """
        stage = load(project, STAGE)
        if prefix is not None:
            stage = stage.with_prefix(prefix)
        say("packaging the functions")
        packed = packaging.package(project, stage, self.home / "build" / stage.prefix / "package")
        self.postgres.ensure_database(database)
        url = self.postgres.url(database)
        return stack.deploy(
            self.ministack, packed, stage, url, self.receipt_key, self.issuer, parameters, say
        )


@contextlib.contextmanager
def local_cloud(
    home: Path, port: int | None = None, say: Callable[[str], None] = lambda _line: None
) -> Iterator[Cloud]:
    """Postgres and MiniStack on free ports of the loopback interface, data in ``home``.

    At the end of the block, however it ends, no process is left. Queues and functions live as
    long as the block; the database stays in ``home``. Raises CloudBusyError, PostgresError and
    MiniStackError.
    """
    with environment.alone():
        yield from _started(home.resolve(), port, say)


def _started(home: Path, port: int | None, say: Callable[[str], None]) -> Iterator[Cloud]:
    home.mkdir(parents=True, exist_ok=True)
    supervisor = engage(home)
    emulator = None
    try:
        say("starting MiniStack")
        emulator = ministack.launch(home, supervisor, port)
        say("starting Postgres")
        postgres = server(home)
        postgres.start()
        emulator.await_health()
        yield Cloud(home, postgres, emulator, supervisor, _receipt_key(home))
    finally:
        with signals.held():
            supervisor.close()
            if emulator is not None:
                emulator.process.wait()


def _receipt_key(home: Path) -> str:
    """Signs receipts; kept, so that they outlive the cloud as the rows do."""
    path = home / "receipt.key"
    if not path.exists():
        path.touch(mode=0o600)
    key = path.read_text()
    if not key:
        key = secrets.token_urlsafe(48)
        path.write_text(key)
    return key
