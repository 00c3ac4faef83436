"""Workers side by side, each with a database of its own on one scratch server."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

import psycopg2

from decanter import CITUS_URL, PROJECT
from decanter.local.dsql import REPEATABLE_READ, dsql_before
from decanter.proof.simulation import citus, database, distributed, dsql, nearby
from decanter.proof.simulation.container import EPOCH

Job = Mapping[str, Any]
Answer = dict[str, Any]
WORKER = "decanter.proof.worker"
_LEAVES = 2  # weeks: all tables are emptied before each history


class WorkerEnded(Exception):
    """A worker of the proof ended before its job was done; its errors are above."""


@contextmanager
def workers(count: int, module: str = WORKER, engine: str = "postgres") -> Iterator[list["Worker"]]:
    """Start a server and so many workers; all of it ends with the block. module: what they run.
    engine: of their databases."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="decanter-contract-"))
        contract = database.compile_contract(Path(folder))
        databases = _on_cluster(count) if engine == citus.NAME else _on_one_server(count, engine)
        made = []
        for number, url in enumerate(stack.enter_context(databases)):
            worker = stack.enter_context(closing(Worker(url, contract, module)))
            nearby.keep(worker.pid, number)
            made.append(worker)
        yield made


@contextmanager
def _on_one_server(count: int, engine: str) -> Iterator[list[str]]:
    from decanter.local.server import scratch

    with scratch("proof") as server, closing(psycopg2.connect(server.url())) as own:
        own.autocommit = True
        cursor = own.cursor()
        # Its locks would make two runs of a history different.
        cursor.execute("ALTER SYSTEM SET autovacuum = off")
        cursor.execute("SELECT pg_reload_conf()")
        template = server.url("proof_template")
        cursor.execute(f'CREATE DATABASE "{_name(template)}"')
        _migrate(template, engine)
        database.prepare(template)
        made = [server.url(f"proof_{number}") for number in range(count)]
        for url in made:
            cursor.execute(f'CREATE DATABASE "{_name(url)}" TEMPLATE "{_name(template)}"')
            database.find_no_deadlocks(cursor, _name(url))
            if engine == dsql.NAME:
                cursor.execute(REPEATABLE_READ.format(name=f'"{_name(url)}"'))
        yield made


@contextmanager
def _on_cluster(count: int) -> Iterator[list[str]]:
    """On the nodes of the cluster that is named."""
    from decanter.local.citus import Cluster

    def fill(url: str) -> None:
        _migrate(url, citus.NAME)
        distributed.prepare(url)

    with closing(Cluster(os.environ[CITUS_URL], fill=fill)) as cluster, ExitStack() as stack:
        made = []
        for _ in range(count):
            made.append(cluster.create())
            stack.callback(cluster.drop, made[-1])
            with closing(psycopg2.connect(made[-1])) as own:
                own.autocommit = True
                database.find_no_deadlocks(own.cursor(), _name(made[-1]))
        yield made


def _migrate(url: str, engine: str) -> None:
    """Make Decanter's own tables in an empty database."""
    from chalicelib.migrate.handler import upgrade
    from chalicelib.postgres import partitions

    if engine == dsql.NAME:
        with dsql_before(url) as server:
            upgrade(server.url, "decanter@head")
        return
    upgrade(url, "decanter@head")
    # Histories begin in leaves, and go on in the rest of the ledger after a leap.
    with closing(psycopg2.connect(url)) as its:
        partitions.extend(its, _LEAVES, datetime.fromtimestamp(EPOCH, UTC).date())


def _name(url: str) -> str:
    from chalicelib.postgres.connecting.access import url_parts

    return url_parts(url)["dbname"]


class Worker:
    """A worker's process."""

    def __init__(self, url: str, contract: Path, module: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, url, str(contract)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(PROJECT),
            env={**os.environ, "PYTHONHASHSEED": "0"},
            start_new_session=True,  # with its containers; and Ctrl-C is for us
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def run(self, job: Job) -> Answer:
        """Run a job. Raise WorkerEnded if the worker cannot."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise WorkerEnded
        answer: Answer = json.loads(line)
        return answer

    def close(self) -> None:
        """End the worker and its containers."""
        if self._process.poll() is None:  # its number is not that of another process by now
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()


def end_with_parent() -> None:
    """End this worker and its containers, whatever they do, when the process that started it has
    ended."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.killpg(os.getpgrp(), signal.SIGKILL)

    Thread(target=watch, daemon=True).start()


def run_all(pool: Sequence[Worker], jobs: Iterator[Job]) -> Iterator[Answer]:
    """Yield the answers to jobs as they come. The workers take the next job when they are free."""
    answers: SimpleQueue[Answer | BaseException | None] = SimpleQueue()
    take = _locked(jobs)

    def work(worker: Worker) -> None:
        try:
            while (job := take()) is not None:
                answers.put(worker.run(job))
        except BaseException as error:  # raised where the answers are read
            answers.put(error)
        finally:
            answers.put(None)

    for each in pool:
        Thread(target=work, args=(each,), daemon=True).start()
    left = len(pool)
    while left:
        answer = answers.get()
        if answer is None:
            left -= 1
        elif isinstance(answer, BaseException):
            raise answer
        else:
            yield answer


def _locked(jobs: Iterator[Job]) -> Callable[[], Job | None]:
    from threading import Lock

    lock = Lock()

    def take() -> Job | None:
        with lock:
            return next(jobs, None)

    return take
