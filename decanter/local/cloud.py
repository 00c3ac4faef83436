"""The local cloud as a whole, started and stopped together."""

import contextlib
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chalicelib.settings import ENGINES
from decanter import PROJECT
from decanter.deployment import packaging
from decanter.deployment.stage import load
from decanter.local import environment, events, ministack, signals, stack
from decanter.local.issuer import Issuer
from decanter.local.named import DATABASE
from decanter.local.postgres import Postgres
from decanter.local.server import Server, server
from decanter.local.supervisor import Supervisor, start_supervisor

STAGE = "dev"


@dataclass(frozen=True)
class Cloud:
    """A running local cloud, with the folder of its data."""

    home: Path
    postgres: Server
    ministack: ministack.MiniStack
    supervisor: Supervisor
    receipt_key: str

    @property
    def issuer(self) -> Issuer:
        """The issuer whose tokens the deployed stages accept."""
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
        database_url: str | None = None,
    ) -> stack.LocalStack:
        """Package a project, deploy it as a pipeline does, and migrate its database.

        A second project needs another prefix (of its stack and queues) and another database.
        parameters: of the template, overriding those of the local cloud. database_url: of a
        database that is there, on the engine that the stage declares; None: one of this cloud's
        Postgres.
        """
        stage = events.localized(load(project, STAGE))
        is_given = database_url is not None
        if not is_given and isinstance(self.postgres, Postgres) and stage.engine != ENGINES[0]:
            stage = stage.with_engine(ENGINES[0])  # which the embedded one is
        if prefix is not None:
            stage = stage.with_prefix(prefix)
        say("packaging the functions")
        packed = packaging.package(project, stage, self.home / "build" / stage.prefix / "package")
        if database_url is None:
            self.postgres.ensure_database(database)
            database_url = self.postgres.url(database)
        return stack.deploy(
            self.ministack,
            packed,
            stage,
            database_url,
            self.receipt_key,
            self.issuer,
            parameters,
            say,
        )


@contextlib.contextmanager
def local_cloud(
    home: Path, port: int | None = None, say: Callable[[str], None] = lambda _line: None
) -> Iterator[Cloud]:
    """Run Postgres and MiniStack on free ports of the loopback interface, with data in ``home``.

    However the block ends, no process remains. Queues and functions exist until then; the database
    stays in ``home``. Raise CloudBusyError, PostgresError and MiniStackError.
    """
    home = home.resolve()
    with environment.isolated():
        home.mkdir(parents=True, exist_ok=True)
        supervisor = start_supervisor(home)
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
            with signals.deferred():
                supervisor.close()
                if emulator is not None:
                    emulator.process.wait()


def _receipt_key(home: Path) -> str:
    """Return the key that signs receipts; it is kept, because receipts outlive the cloud."""
    path = home / "receipt.key"
    if not path.exists():
        path.touch(mode=0o600)
    key = path.read_text()
    if not key:
        key = secrets.token_urlsafe(48)
        path.write_text(key)
    return key
