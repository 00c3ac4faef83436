"""`make run`: the whole system on this machine, with 28,298 real writes poured through it."""

import shlex
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from chalicelib.contract.json_text import render
from decanter.contract import committed
from decanter.deployment import template
from decanter.local import issuer
from decanter.local.cloud import HOME, PROJECT, STAGE, Cloud, local_cloud
from decanter.local.demo import airports
from decanter.local.demo.client import Client, Status
from decanter.local.named import NAME, VARIABLE
from decanter.local.stack import Stack

SENDERS = 2  # each that is at work at once costs a cold start
ASKERS = 2
POLL_SECONDS = 0.05
STALL_SECONDS = 20
BEARER = '-H "Authorization: Bearer $TOKEN"'


@dataclass
class Outcome:
    """What became of the rows that were sent; filled while they are poured."""

    accepted: int = 0
    applied: int = 0
    rejected: int = 0
    seconds: float = 0.0
    accepted_at: datetime | None = None
    poured_at: datetime | None = None
    rejections: list[dict[str, Any]] = field(default_factory=list)

    def add(self, status: Status) -> None:
        self.applied += status.applied
        self.rejected += status.rejected
        self.rejections += status.rejections
        self.accepted_at = _latest(self.accepted_at, status.accepted_at)
        self.poured_at = _latest(self.poured_at, status.poured_at)


class Connections:
    """Counts the database connections of Decanter's functions, and remembers the most."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self.most = 0

    def __enter__(self) -> "Connections":
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._done.set()
        self._thread.join(timeout=5)

    def _sample(self) -> None:
        import psycopg2

        from chalicelib.postgres.connecting import session

        while not self._done.wait(0.1):
            try:
                connection = session.opened(self._url, NAME, connect_timeout=2)
            except psycopg2.Error:
                continue  # the database is away; so are its connections
            try:
                connection.autocommit = True
                with connection.cursor() as cursor:
                    while not self._done.wait(0.05):
                        cursor.execute(
                            "SELECT count(*) FROM pg_stat_activity "
                            "WHERE application_name LIKE 'decanter-%'"
                        )
                        found = cursor.fetchone()
                        self.most = max(self.most, found[0] if found else 0)
            except psycopg2.Error:
                continue
            finally:
                connection.close()


def main(home: Path, port: int | None, *, once: bool) -> int:
    """Start, send, summarise, and serve until Ctrl-C (or end, with ``once``).

    Returns 0, or 1 when something did not start or a row was not applied.
    """
    return _with_cloud(home, port, lambda cloud, stack: _pour_and_serve(cloud, stack, once=once))


def serve_only(home: Path, port: int | None) -> int:
    """`python -m decanter cloud`: start, deploy and serve until Ctrl-C."""

    def serve(cloud: Cloud, stack: Stack) -> int:
        _print_access(cloud, stack)
        return _serve(cloud, stack)

    return _with_cloud(home, port, serve)


def budget(project: Path = PROJECT) -> int:
    """The connection budget: the sum of the caps of the functions that hold a connection."""
    functions = template.stage_configuration(project, STAGE)["lambda_functions"]
    return sum(each.get("reserved_concurrency", 0) for each in functions.values())


def _with_cloud(home: Path, port: int | None, body: Callable[[Cloud, Stack], int]) -> int:
    begun = time.monotonic()
    with local_cloud(home, port, _say) as cloud:
        stack = cloud.deploy(say=_say)
        _say(f"ready after {time.monotonic() - begun:.1f} s")
        return body(cloud, stack)


def _pour_and_serve(cloud: Cloud, stack: Stack, *, once: bool) -> int:
    fault = 0
    if airports.fit(committed()):
        token = cloud.issuer.token(seconds=issuer.DAY)
        client = Client(stack.api_url, token, threading.Event())
        rows_before = client.count(airports.RESOURCE)
        with Connections(stack.database_url) as connections:
            outcome = _pour(cloud, stack)
        new = max(client.count(airports.RESOURCE) - rows_before, 0)
        _print_summary(outcome, new, connections.most)
        fault = int(outcome.applied != outcome.accepted)
    else:
        print(
            "\nThe airports are rows of the sample tables; the tables are others, so none is sent."
        )
    if once:
        return fault
    _print_access(cloud, stack)
    return _serve(cloud, stack)


def _pour(cloud: Cloud, stack: Stack) -> Outcome:
    """Send all airports and wait until the last of them is poured."""
    requests = list(airports.requests())
    total = sum(request.rows for request in requests)
    outcome = Outcome()
    stopped = threading.Event()
    client = Client(stack.api_url, cloud.issuer.token(seconds=issuer.DAY), stopped)
    begun = time.monotonic()
    senders, askers = ThreadPoolExecutor(SENDERS), ThreadPoolExecutor(ASKERS)
    stall = _Stall(cloud)
    sending: dict[Future[str], airports.Request] = {}
    try:
        with _bars(total) as show:
            sending |= {
                senders.submit(
                    client.create, airports.RESOURCE, request.body, request.idempotency_key
                ): request
                for request in requests
            }
            pending: deque[str] = deque()  # in the order of sending, so of pouring
            asking: dict[Future[Status | None], str] = {}
            while sending or pending or asking:
                pending += _accepted(sending, outcome)
                for question in [each for each in asking if each.done()]:
                    receipt, status = asking.pop(question), question.result()
                    if status is not None and status.is_final:
                        outcome.add(status)
                    else:
                        pending.appendleft(receipt)
                while pending and len(asking) < ASKERS:
                    receipt = pending.popleft()
                    asking[askers.submit(client.status, receipt)] = receipt
                show(outcome)
                stall.notice(outcome.accepted + outcome.applied + outcome.rejected)
                time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        _accepted(sending, outcome)
        lost = outcome.accepted - outcome.applied - outcome.rejected
        print(
            f"\nStopped after {outcome.accepted:,} of {total:,} writes were accepted. Up to "
            f"{lost:,} of them were not poured yet: they go with the queues, which MiniStack "
            "keeps in memory (on AWS they would wait there for 14 days). The next run sends "
            "everything again under the same keys."
        )
        raise
    finally:
        stopped.set()
        senders.shutdown(cancel_futures=True)
        askers.shutdown(cancel_futures=True)
    outcome.seconds = time.monotonic() - begun
    return outcome


def _accepted(sending: "dict[Future[str], airports.Request]", outcome: Outcome) -> list[str]:
    """Take the requests that were accepted out of those being sent; returns their receipts."""
    done = [each for each in sending if each.done()]
    receipts = [each.result() for each in done]
    outcome.accepted += sum(sending.pop(each).rows for each in done)
    return receipts


class _Stall:
    """Says why when nothing moves for a while: a database that is away, a drain that fails."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._progress = -1
        self._since = time.monotonic()

    def notice(self, progress: int) -> None:
        now = time.monotonic()
        if progress != self._progress:
            self._progress, self._since = progress, now
        elif now - self._since > STALL_SECONDS:
            self._since = now
            print(self._reason())

    def _reason(self) -> str:
        if not self._cloud.postgres.is_running():
            start = "python -m decanter postgres start" if self._cloud.postgres.log else VARIABLE
            return f"waiting for Postgres ({start}); nothing is lost"
        lines = self._cloud.ministack.log.read_text(errors="replace").splitlines()
        faults = [line for line in lines[-2000:] if "errorMessage=" in line]
        if faults:
            return f"the drain fails and will try again: {faults[-1].split('errorMessage=')[1]}"
        return f"nothing was poured for {STALL_SECONDS} s; see {self._cloud.ministack.log}"


@contextmanager
def _bars(total: int) -> Iterator[Callable[[Outcome], None]]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    progress = Progress(
        TextColumn("{task.description:<9}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    )
    with progress:
        accepted = progress.add_task("accepted", total=total)
        poured = progress.add_task("poured", total=total)

        def show(outcome: Outcome) -> None:
            progress.update(accepted, completed=outcome.accepted)
            progress.update(poured, completed=outcome.applied + outcome.rejected)

        yield show


def _print_summary(outcome: Outcome, new: int, most_connections: int) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False)
    lag = "none was new"
    if new and outcome.poured_at and outcome.accepted_at:
        lag = f"{(outcome.poured_at - outcome.accepted_at).total_seconds():.1f} s"
    rate = outcome.accepted / outcome.seconds if outcome.seconds else 0
    for name, value in (
        ("accepted", f"{outcome.accepted:,}"),
        ("applied", f"{outcome.applied:,}"),
        ("rejected", f"{outcome.rejected:,}"),
        ("already there before", f"{max(outcome.applied - new, 0):,}"),
        ("lag of the last write", lag),
        ("connections, most at once", f"{most_connections} of a budget of {budget()}"),
        ("time", f"{outcome.seconds:.1f} s, {rate:,.0f} writes/s"),
    ):
        table.add_row(name, value)
    Console().print(table)
    for rejection in outcome.rejections[:5]:
        print(f"rejected: {rejection.get('item')}: {rejection.get('reason')}")


def _print_access(cloud: Cloud, stack: Stack) -> None:
    elsewhere = f" --data-dir {cloud.home}" if cloud.home != PROJECT / HOME else ""
    logs = filter(None, (cloud.ministack.log, cloud.postgres.log))
    python = Path(sys.executable)
    if python.is_relative_to(PROJECT):
        python = python.relative_to(PROJECT)
    print(
        f"""
API={stack.api_url}
TOKEN={cloud.issuer.token(seconds=issuer.DAY)}

{_examples(committed())}
token     {python} -m decanter token{elsewhere} (this one is good for a day)
database  {python} -m decanter postgres psql{elsewhere} -- -c '\\dt *.*'
changes   {python} -m decanter redeploy{elsewhere}, in another terminal
logs      {", ".join(str(_shown(log)) for log in logs)}

Serving until Ctrl-C."""
    )


def _examples(contract: Mapping[str, Any]) -> str:
    """Requests to begin with, to resources that there are."""
    if airports.fit(contract):
        return f"""\
write     curl -i {BEARER} $API/stations/LSZH -X PATCH \\
            -H 'Content-Type: application/json' -d '{{"city": "Zürich"}}'
read      curl {BEARER} $API/stations/LSZH"""
    name = next(iter(contract["x-decanter"]["resources"]))
    body = contract["paths"][f"/{name}"]["post"]["requestBody"]["content"]["application/json"]
    row = shlex.quote(render(body["examples"]["row"]["value"]))
    return f"""\
write     curl -i {BEARER} -H 'Content-Type: application/json' -H 'Prefer: wait=10' \\
            $API/{name} -d {row}
contract  curl {BEARER} $API/openapi.json"""


def _serve(cloud: Cloud, stack: Stack) -> int:
    try:
        while cloud.ministack.is_running():
            time.sleep(0.5)
    except KeyboardInterrupt:
        waiting = _queued(cloud, stack)
        if waiting:
            print(f"\nStopping; {waiting:,} messages that were not poured yet go with the queues.")
        else:
            print("\nStopping; the queues are empty, everything accepted is in the database.")
        return 0
    print(f"\nMiniStack has ended; the reason is in {cloud.ministack.log}", file=sys.stderr)
    return 1


def _queued(cloud: Cloud, stack: Stack) -> int:
    client = cloud.client("sqs")
    count = 0
    for url in stack.queue_urls.values():
        attributes = client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        count += int(attributes["ApproximateNumberOfMessages"])
        count += int(attributes["ApproximateNumberOfMessagesNotVisible"])
    return count


def _shown(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _say(line: str) -> None:
    print(line, flush=True)


def _latest(first: datetime | None, second: datetime | None) -> datetime | None:
    known = [each for each in (first, second) if each is not None]
    return max(known, default=None)
