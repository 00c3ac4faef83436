"""The deployed system under load, as faults and observers reach it."""

import signal
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import psutil
import psycopg2

from decanter.local.cloud import Cloud
from decanter.local.dsql import Dsql
from decanter.local.stack import LocalStack
from decanter.proof.load.aws_proxy import AwsProxy
from decanter.proof.load.conflicts import Conflicts

NAME = "decanter proof"
_CONNECT_SECONDS = 3


@dataclass(frozen=True)
class System:
    """A deployed stage, and how to reach its parts.

    is_own: nobody else uses its cloud, so its server and MiniStack may be stopped. stopped: set
    when the run ends; what waits ends then. dsql: the rules by way of which its functions reach the
    database; None: they reach it without any. conflicts: with which these rules refuse statements.
    """

    cloud: Cloud
    stack: LocalStack
    proxy: AwsProxy
    is_own: bool
    stopped: threading.Event
    dsql: Dsql | None = None
    conflicts: Conflicts = field(default_factory=Conflicts)

    @property
    def database(self) -> str:
        return urlsplit(self.stack.database_url).path[1:]

    def pause(self, seconds: float) -> None:
        """Wait, but no longer than the run lasts."""
        self.stopped.wait(seconds)

    @contextmanager
    def session(self, database: str | None = None) -> Iterator[Any]:
        """A cursor of a new connection of the owner, with autocommit, that may always write.

        database: None for the one under load. Raises psycopg2.OperationalError.
        """
        url = self.cloud.postgres.url(database) if database else self.stack.database_url
        connection = psycopg2.connect(
            url,
            application_name=NAME,
            connect_timeout=_CONNECT_SECONDS,
            options="-c default_transaction_read_only=off",
        )
        connection.autocommit = True
        with closing(connection), connection.cursor() as cursor:
            yield cursor

    def processes(self, function: str) -> list[psutil.Process]:
        """The processes that run a function, by its name in app.py."""
        folder = f"ministack-lambda-{self.stack.function(function)}-"
        found = []
        for each in psutil.Process(self.cloud.ministack.process.pid).children():
            try:
                is_here = any(f"/{folder}" in argument for argument in each.cmdline())
                if is_here and each.status() != psutil.STATUS_ZOMBIE:
                    found.append(each)
            except psutil.Error:
                continue
        return found

    def ports(self, function: str) -> Iterator[tuple[int, psutil.Process]]:
        """The local ports of a function's connections, as the database knows them, each with its
        process."""
        known = self.dsql.ports if self.dsql else {}
        for each in self.processes(function):
            try:
                connections = each.net_connections("tcp")
            except psutil.Error:
                continue
            for one in connections:
                yield known.get(one.laddr.port, one.laddr.port), each

    def mapping(self, function: str) -> str:
        """The id of the event source mapping of a drain."""
        found = self.cloud.client("lambda").list_event_source_mappings(
            FunctionName=self.stack.function(function)
        )
        return str(found["EventSourceMappings"][0]["UUID"])


@contextmanager
def frozen(processes: list[psutil.Process]) -> Iterator[None]:
    """Stop processes in the block; they go on after it, whatever happens."""
    try:
        for each in processes:
            _send(each, signal.SIGSTOP)
        yield
    finally:
        for each in reversed(processes):
            _send(each, signal.SIGCONT)


def kill(process: psutil.Process) -> None:
    _send(process, signal.SIGKILL)


def _send(process: psutil.Process, number: signal.Signals) -> None:
    """Signal a process, and never another one that has its number by now."""
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)
