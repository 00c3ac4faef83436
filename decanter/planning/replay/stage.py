"""A stage on a local cloud of its own, to which requests are sent, and of whose ledger it is read
when each message was poured."""

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any, NamedTuple

from chalicelib.postgres.connecting import session
from decanter import PROJECT, package
from decanter.deployment import functions
from decanter.local.cloud import Cloud, local_cloud
from decanter.local.postgres import Postgres
from decanter.local.stack import LocalStack
from decanter.planning.documents import PlanningError
from decanter.planning.replay.figures import PouredMessage, Run
from decanter.planning.replay.traffic import Planned, parents

NAME = "replay"
"""Of our own connections."""

_SENDERS = 8  # as many connections as a client of boto3 has at once are 10
_SOON_SECONDS = 1.0  # before the first request
_STALL_SECONDS = 120.0  # without a message that is poured
_PERIOD_SECONDS = 0.05
_TRACKED = (("track_commit_timestamp", "on"),)

# The time of a COMMIT is known by the transaction that has inserted the row.
_POURED = """
    SELECT ledger.dedup_id::text, date_part('epoch', pg_xact_commit_timestamp(ledger.xmin)),
        poured_at::text
    FROM decanter.ledger WHERE writes > 0 AND poured_at >= to_timestamp(%s)
"""
_COUNT = "SELECT count(*) FROM decanter.ledger WHERE writes > 0 AND poured_at >= to_timestamp(%s)"
_CONNECTIONS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name LIKE 'decanter-drain%'
"""
_STATION = """
    INSERT INTO stations (icao, name, country, elevation_ft, latitude, longitude, timezone)
    SELECT icao, name, country, elevation_ft, latitude, longitude, timezone
    FROM json_populate_recordset(NULL::stations, %s) ON CONFLICT DO NOTHING
"""


class Replayed(NamedTuple):
    """A replay. requests: with the seconds when they were sent. late_seconds: by how much the
    latest was sent after its time."""

    run: Run
    requests: tuple[Planned, ...]
    late_seconds: float


@dataclass(frozen=True)
class ReplayStage:
    """A deployed stage. connection: to its database, as the owner."""

    cloud: Cloud
    stack: LocalStack
    connection: Any

    def send(self, requests: Sequence[Planned]) -> Replayed:
        """Send requests, each at its time whatever becomes of the others, and wait until all are
        poured. Raises PlanningError if they are not."""
        client = self.cloud.client("sqs")
        begin = time.time() + _SOON_SECONDS
        sent: dict[str, tuple[str, float]] = {}

        def put(each: Planned) -> Planned:
            now = time.time()
            bodies = each.bodies(round(now * 1000))
            sent.update((id_, (each.buffer, now - begin)) for id_, _, _ in bodies)
            _put(client, self.stack.queue_urls[each.buffer], bodies)
            return each._replace(second=now - begin)

        with _Connections(self.stack.database_url) as connections:
            with ThreadPoolExecutor(_SENDERS) as pool:
                calls: list[Future[Planned]] = []
                for each in requests:
                    time.sleep(max(0.0, begin + each.second - time.time()))
                    calls.append(pool.submit(put, each))
                done = tuple(call.result() for call in calls)
            self._await(begin, len(sent))
        poured = tuple(
            PouredMessage(buffer, second, committed - begin, batch)
            for id_, committed, batch in self._query(_POURED, begin)
            for buffer, second in [sent[id_]]
        )
        late = max(
            (one.second - each.second for one, each in zip(done, requests, strict=True)), default=0
        )
        return Replayed(Run(poured, connections.most), done, late)

    def start_containers(self, counts: Mapping[str, int]) -> None:
        """End all containers of drains, with their connections, and start new ones: so many by
        buffer. They connect when they have something to pour."""
        client, code = self.cloud.client("lambda"), package.app_code(PROJECT)
        names = {queue.name: self.stack.function(drain.name) for drain, queue in functions.drains()}
        for name in names.values():
            client.update_function_code(FunctionName=name, ZipFile=code)
        deadline = time.monotonic() + _STALL_SECONDS
        while self._query(_CONNECTIONS)[0][0] and time.monotonic() < deadline:
            time.sleep(_PERIOD_SECONDS)
        wanted = [names[buffer] for buffer, count in counts.items() for _ in range(count)]
        with ThreadPoolExecutor(len(wanted)) as pool:
            calls = [
                pool.submit(client.invoke, FunctionName=name, Payload=json.dumps({"Records": []}))
                for name in wanted
            ]
            for call in calls:
                call.result()

    def stop_schedules(self) -> None:
        """Leave the functions of schedules alone: they start every minute, several at once."""
        client = self.cloud.client("events")
        for rule in client.list_rules()["Rules"]:
            client.disable_rule(Name=rule["Name"])

    def fill(self) -> None:
        """Add the rows that requests change or refer to."""
        with self.connection.cursor() as cursor:
            cursor.execute(_STATION, (json.dumps([*parents()]),))

    def _await(self, since: float, messages: int) -> None:
        most, changed = -1, time.monotonic()
        while (found := self._query(_COUNT, since)[0][0]) < messages:
            if found > most:
                most, changed = found, time.monotonic()
            if time.monotonic() > changed + _STALL_SECONDS:
                raise PlanningError(
                    f"Only {found} of {messages} messages were poured; the log of the local cloud"
                    f" is {self.cloud.ministack.log}"
                )
            time.sleep(4 * _PERIOD_SECONDS)

    def _query(self, sql: str, *values: Any) -> list[Any]:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, values or None)
            return list(cursor.fetchall())


@contextmanager
def deployed(say: Callable[[str], None]) -> Iterator[ReplayStage]:
    """Deploy the project on a local cloud of its own for the block."""
    home = Path(tempfile.mkdtemp(prefix="decanter-replay-"))
    server = Postgres(home, settings=_TRACKED)
    try:
        server.start()
        with local_cloud(home, say=say) as cloud:
            stack = cloud.deploy(say=say)
            with closing(session.opened(stack.database_url, NAME)) as connection:
                connection.autocommit = True
                found = ReplayStage(cloud, stack, connection)
                found.stop_schedules()
                found.fill()
                yield found
    finally:
        server.drop()
        shutil.rmtree(home, ignore_errors=True)


def _put(client: Any, url: str, bodies: Sequence[tuple[str, str | None, str]]) -> None:
    """Send messages as the API function does: one alone, or ten at once."""
    entries = [_entry(*each) for each in bodies]
    if len(entries) == 1:
        client.send_message(QueueUrl=url, **entries[0])
        return
    for start in range(0, len(entries), 10):
        some = [{"Id": str(n), **each} for n, each in enumerate(entries[start : start + 10])]
        if failed := client.send_message_batch(QueueUrl=url, Entries=some).get("Failed"):
            raise PlanningError(f"The local queue has refused a message: {failed[0]}")


def _entry(dedup_id: str, lane: str | None, body: str) -> Mapping[str, str]:
    if lane is None:
        return {"MessageBody": body}
    return {"MessageBody": body, "MessageGroupId": lane, "MessageDeduplicationId": dedup_id}


class _Connections:
    """Looks how many connections drains hold until the block ends; `most` at once."""

    def __init__(self, url: str) -> None:
        self.most = 0
        self._url = url
        self._done = Event()
        self._thread = Thread(target=self._look, daemon=True)

    def __enter__(self) -> "_Connections":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        with closing(session.opened(self._url, NAME)) as connection:
            connection.autocommit = True
            while not self._done.wait(_PERIOD_SECONDS):
                with connection.cursor() as cursor:
                    cursor.execute(_CONNECTIONS)
                    [(held,)] = cursor.fetchall()
                    self.most = max(self.most, held)
