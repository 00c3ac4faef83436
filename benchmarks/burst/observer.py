"""What a superuser sees of a database during a burst: connections, and rows as they come."""

import time
from collections import Counter
from contextlib import closing
from threading import Event, Thread
from typing import NamedTuple

from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from chalicelib.postgres.connecting import session

PERIOD_SECONDS = 0.02
CONNECTIONS = """
SELECT count(*) FROM pg_stat_activity
WHERE backend_type = 'client backend' AND datname = current_database() AND usename <> current_user
"""
ROWS = """
SELECT (report ->> 'write')::int, count(*) FROM observations
WHERE id > %s AND report ->> 'run' = %s GROUP BY 1
"""


class Sample(NamedTuple):
    """at: when it was begun, on the monotonic clock. connections: those of other roles than the
    owner. new: the writes whose rows were seen for the first time."""

    at: float
    connections: int
    new: list[int]


class Observer:
    """Samples until the block ends. run: the name of the burst in its rows, which are seen from the
    block's beginning on.

    rows: how many each write has, by its number.
    """

    def __init__(self, url: str, run: str) -> None:
        self._url, self._run = url, run
        self._done = Event()
        self._error: BaseException | None = None
        self.samples: list[Sample] = []
        self.rows: Counter[int] = Counter()

    def __enter__(self) -> "Observer":
        connection = session.opened(self._url, "burst")
        connection.autocommit = True
        cursor = connection.cursor()
        # Not in the thread: it may first run when rows of the burst are there already.
        cursor.execute("SELECT coalesce(max(id), 0) FROM observations")
        [(before,)] = cursor.fetchall()
        self._thread = Thread(target=self._observe, args=(connection, cursor, before), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def await_rows(self, writes: set[int], stall_seconds: float) -> None:
        """Wait until these are stored, or none has come for so long. Raise what stopped it."""
        seen, since = -1, time.monotonic()
        while time.monotonic() - since < stall_seconds:
            if self._error:
                raise self._error
            stored = self.rows.keys()
            if writes <= stored:
                break
            if len(stored) != seen:
                seen, since = len(stored), time.monotonic()
            time.sleep(PERIOD_SECONDS)

    def _observe(self, connection: Connection, cursor: Cursor, before: int) -> None:
        try:
            with closing(connection):
                while not self._done.wait(PERIOD_SECONDS):
                    self._sample(cursor, before)
        except BaseException as error:
            self._error = error

    def _sample(self, cursor: Cursor, before: int) -> None:
        at = time.monotonic()
        cursor.execute(CONNECTIONS)
        [(connections,)] = cursor.fetchall()
        cursor.execute(ROWS, (before, self._run))
        rows = Counter(dict(cursor.fetchall()))
        self.samples.append(Sample(at, connections, list(rows.keys() - self.rows.keys())))
        self.rows = rows
