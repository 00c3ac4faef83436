"""Pour 28,298 real writes through the local cloud."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from threading import Event, Thread
from typing import Any

from decanter import POSTGRES_URL
from decanter.local import issuer
from decanter.local.cloud import Cloud
from decanter.local.demo import airports
from decanter.local.demo.client import Client, Status
from decanter.local.named import NAME
from decanter.local.stack import LocalStack

SENDERS = 2  # each concurrent one costs a cold start
ASKERS = 2
POLL_SECONDS = 0.05
STALL_SECONDS = 20


@dataclass(frozen=True)
class Tally:
    """The outcome of the rows sent.

    statuses: of finished requests. new: rows that did not exist before. connections: the most
    database connections that Decanter's functions held at once.
    """

    accepted: int
    statuses: Sequence[Status]
    seconds: float
    new: int = 0
    connections: int = 0

    @property
    def applied(self) -> int:
        return sum(each.applied for each in self.statuses)

    @property
    def rejected(self) -> int:
        return sum(each.rejected for each in self.statuses)

    @property
    def rejections(self) -> list[dict[str, Any]]:
        return [rejection for each in self.statuses for rejection in each.rejections]

    @property
    def lag(self) -> float | None:
        """Seconds from the last acceptance until everything was poured; None without new rows."""
        accepted = _latest(each.accepted_at for each in self.statuses)
        poured = _latest(each.poured_at for each in self.statuses)
        return (poured - accepted).total_seconds() if self.new and poured and accepted else None


class Connections:
    """Samples the database connections of Decanter's functions. most: the highest count."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._done = Event()
        self._thread = Thread(target=self._sample, daemon=True)
        self.most = 0

    def __enter__(self) -> "Connections":
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._done.set()
        self._thread.join(timeout=5)

    def _sample(self) -> None:
        from chalicelib.errors import DatabaseError
        from chalicelib.postgres.connecting import session
        from chalicelib.postgres.errors import translated

        while not self._done.wait(0.1):
            # While the database is down, there is nothing to count.
            with (
                suppress(DatabaseError),
                translated(),
                closing(session.opened(self._url, NAME, connect_timeout=2)) as connection,
            ):
                connection.autocommit = True
                with connection.cursor() as cursor:
                    while not self._done.wait(0.05):
                        cursor.execute(
                            "SELECT count(*) FROM pg_stat_activity"
                            " WHERE application_name LIKE 'decanter-%'"
                        )
                        [(count,)] = cursor.fetchall()
                        self.most = max(self.most, count)


def pour(cloud: Cloud, stack: LocalStack) -> Tally:
    """Send all airports, wait until the last is poured, and show the progress."""
    token, stopped = cloud.issuer.token(seconds=issuer.DAY), Event()
    client = Client(stack.api_url, token, Event())
    before = client.count(airports.RESOURCE)
    with Connections(stack.database_url) as connections:
        tally = _send_all(Client(stack.api_url, token, stopped), stopped, _StallWatch(cloud))
    new = max(client.count(airports.RESOURCE) - before, 0)
    return replace(tally, new=new, connections=connections.most)


def _send_all(client: Client, stopped: Event, watchdog: "_StallWatch") -> Tally:
    started = time.monotonic()
    requests = list(airports.requests())
    total = sum(each.rows for each in requests)
    senders, askers = ThreadPoolExecutor(SENDERS), ThreadPoolExecutor(ASKERS)
    sent: list[Future[str]] = []
    asked: list[Future[Status]] = []

    def tally() -> Tally:
        accepted = zip(requests, sent, strict=False)
        return Tally(
            sum(request.rows for request, each in accepted if each.done() and each.result()),
            [each.result() for each in asked if each.done()],
            time.monotonic() - started,
        )

    try:
        with _progress_bars(total) as show:
            for each in requests:
                arguments = (airports.RESOURCE, each.body, each.idempotency_key)
                sent.append(senders.submit(client.create, *arguments))
            # In the order of sending, which is that of pouring.
            asked += [askers.submit(_outcome, client, stopped, each) for each in sent]
            while True:
                ended = all(each.done() for each in asked)
                current = tally()
                show(current)
                if ended:
                    return current
                watchdog.notice(current.accepted + current.applied + current.rejected)
                time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        current = tally()
        lost = current.accepted - current.applied - current.rejected
        print(
            f"\nStopped after {current.accepted:,} of {total:,} writes were accepted. Up to "
            f"{lost:,} of them are lost with the queues, which MiniStack keeps in memory (on AWS "
            "they would wait there for 14 days). The next run sends everything again under the "
            "same keys."
        )
        raise
    finally:
        stopped.set()
        senders.shutdown(cancel_futures=True)
        askers.shutdown(cancel_futures=True)


def _outcome(client: Client, stopped: Event, sent: Future[str]) -> Status:
    """Wait for the outcome of a request. Raise CancelledError when pouring is stopped."""
    receipt = sent.result()
    while not stopped.is_set():
        status = client.status(receipt)
        if status is not None and status.is_final:
            return status
        stopped.wait(POLL_SECONDS)
    raise CancelledError


class _StallWatch:
    """Prints the reason when there is no progress for a while, such as a database that is down."""

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
            start = (
                "python -m decanter postgres start" if self._cloud.postgres.log else POSTGRES_URL
            )
            return f"waiting for Postgres ({start}); nothing is lost"
        lines = self._cloud.ministack.log.read_text(errors="replace").splitlines()
        faults = [line for line in lines[-2000:] if "errorMessage=" in line]
        if faults:
            return f"the drain fails and will be retried: {faults[-1].split('errorMessage=')[1]}"
        return f"nothing was poured for {STALL_SECONDS} s; see {self._cloud.ministack.log}"


@contextmanager
def _progress_bars(total: int) -> Iterator[Callable[[Tally], None]]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    progress = Progress(
        TextColumn("{task.description:<9}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    )
    with progress:
        accepted = progress.add_task("accepted", total=total)
        poured = progress.add_task("poured", total=total)

        def show(tally: Tally) -> None:
            progress.update(accepted, completed=tally.accepted)
            progress.update(poured, completed=tally.applied + tally.rejected)

        yield show


def _latest(times: Iterator[datetime | None]) -> datetime | None:
    return max((each for each in times if each is not None), default=None)
