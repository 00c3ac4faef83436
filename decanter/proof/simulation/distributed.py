"""The database of a simulation on the nodes of a cluster: a coordinator of Citus and its workers.

The rows of a distributed table change on workers, and so do the rows of evidence beside them. The
coordinator, which decides of each transaction, notes its ID and time as it commits.
"""

import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import psycopg2

from decanter.contract.placement import placement_of
from decanter.local.citus import at
from decanter.migration.statements import placing
from decanter.proof import evidence, tables
from decanter.proof.history import Effect
from decanter.proof.nodes import between_nodes, workers
from decanter.proof.simulation import database
from decanter.proof.simulation.citus import LOSSES
from decanter.proof.simulation.database import CLOCK, SCHEMA, Database

_SHARDS = 4
_OF_ONE_SHARD = ("accounts", "entries")  # so that one worker writes all of a set

_NOTED = """
    CREATE TABLE proof.transaction (
        number bigint DEFAULT (get_current_transaction_id()).transaction_number,
        id bigint DEFAULT pg_current_xact_id()::text::bigint,
        at float8 DEFAULT {clock}
    )
"""
_DISTRIBUTED = """
    ALTER TABLE proof.effect ADD distributed bigint NOT NULL
        DEFAULT (get_current_transaction_id()).transaction_number
"""
_EFFECTS = """
    SELECT distributed, transaction, at, resource, before::text, after::text
    FROM proof.effect ORDER BY number
"""
_NOTES = "SELECT number, id, at FROM proof.transaction"
_NOT_DECIDED = (0, 0.0)  # by the coordinator: no effect may be of such a transaction
_TRUNCATE = "TRUNCATE proof.effect RESTART IDENTITY"
_RECOVER = "SELECT recover_prepared_transactions()"

# The pid of the coordinator's backend is in the number of its connections to workers:
# https://docs.citusdata.com/en/stable/develop/api_metadata.html#distributed-query-activity
_ACTIVITY = """
    SELECT (substring(application_name FROM 'gpid=(\\d+)')::bigint % 10000000000)::int, pid,
        CASE WHEN wait_event_type = 'Lock' THEN pg_blocking_pids(pid) ELSE '{}' END
    FROM pg_stat_activity
    WHERE datname = current_database() AND application_name LIKE 'citus_internal gpid=%'
"""

_REFERENCES = {
    table.name
    for table in tables.with_front().sorted_tables
    if (placed := placement_of(table)) and placed.column is None
}


class DistributedDatabase(Database):
    """A database on the nodes of a cluster, whose coordinator reaches workers through relays."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._ends = ExitStack()
        self._workers = []
        for each in _workers_of(url):
            self._workers.append(self._ends.enter_context(closing(psycopg2.connect(each))))
            self._workers[-1].autocommit = True
        self._relays = self._ends.enter_context(between_nodes(url))
        self._paused: dict[int, list[int]] = {}

    def close(self) -> None:
        self._ends.close()
        super().close()

    def reset(self) -> None:
        self.recover()
        super().reset()
        self.execute("TRUNCATE proof.transaction")
        for each in self._workers:
            _ask(each, _TRUNCATE)

    def lose_commit(self, how: str) -> None:
        """Have the next commit on a worker be lost."""
        for each in self._relays:
            each.loss = LOSSES[how]

    def recover(self) -> None:
        """Do what Citus does once a minute."""
        for each in self._relays:
            each.heal()
        self.execute(_RECOVER)

    def blocked(self, pids: Sequence[int]) -> set[int]:
        on_workers = {own for own, _, blockers in self._behind() if blockers}
        return super().blocked(pids) | ({*pids} & on_workers)

    def blockers(self, pid: int) -> list[int]:
        behind = [*self._behind()]
        owners = {its: own for own, its, _ in behind}
        found = [each for own, _, blockers in behind if own == pid for each in blockers]
        return super().blockers(pid) + [owners.get(each, each) for each in found]

    def limits_waiting(self, pid: int) -> bool:
        """Whether the limit of time for a lock holds: settings of a transaction do not come to
        workers."""
        return pid in super().blocked([pid])

    def pause(self, pid: int) -> None:
        waiting = [its for own, its, blockers in self._behind() if own == pid and blockers]
        self._paused[pid] = waiting
        for each in waiting or [pid]:
            self._signal(each, signal.SIGSTOP)

    def resume(self, pid: int) -> None:
        for each in [*self._paused.pop(pid, ()), pid]:
            self._signal(each, signal.SIGCONT)

    def await_end(self, pid: int) -> None:
        """Its connections to workers end a moment later."""
        super().await_end(pid)
        self._await(lambda: any(own == pid for own, *_ in self._behind()), f"workers of {pid}")

    def effects(self) -> list[Effect]:
        noted = {number: (id_, at) for number, id_, at in self.execute(_NOTES)}
        found = [(id_, at, *row) for _, id_, at, *row in self.execute(_EFFECTS)]
        for each in self._workers:
            for number, _, _, resource, *row in _ask(each, _EFFECTS):
                if resource not in _REFERENCES:  # which the coordinator has too
                    found.append((*noted.get(number, _NOT_DECIDED), resource, *row))
        return [evidence.effect(number, *each) for number, each in enumerate(found, start=1)]

    def _behind(self) -> Iterator[tuple[int, int, list[int]]]:
        """Of each session on a worker: the coordinator's backend, its own, whom it waits for."""
        for each in self._workers:
            yield from _ask(each, _ACTIVITY)

    def _signal(self, pid: int, number: int) -> None:
        with suppress(OSError):
            # A server elsewhere has the process IDs of another machine.
            if self._own.info.dbname in Path(f"/proc/{pid}/cmdline").read_text(errors="replace"):
                super()._signal(pid, number)


def prepare(url: str) -> None:
    """Create the tables of the proof on all nodes, with evidence and virtual time."""
    _on_node(url, f"SET search_path = public; CREATE SCHEMA proof; {SCHEMA}")
    _on_node(url, evidence.recording(CLOCK), _DISTRIBUTED, _NOTED.format(clock=CLOCK))
    for each in _workers_of(url):
        _on_node(each, f"CREATE SCHEMA proof; {SCHEMA}", evidence.recording("0"), _DISTRIBUTED)
    with closing(psycopg2.connect(url)) as own:
        own.autocommit = True
        cursor = own.cursor()
        cursor.execute("SET search_path = public; SET citus.enable_unsafe_triggers = on")
        for table in tables.with_front().sorted_tables:
            placed = placement_of(table)
            assert placed is not None
            shards = 1 if table.name in _OF_ONE_SHARD else _SHARDS
            cursor.execute(f"SET citus.shard_count = {shards}")
            cursor.execute(database.created(table))
            cursor.execute(placing(table.name, placed.column))
        for table in tables.with_front().sorted_tables:
            for statement in database.referring(table):
                cursor.execute(statement)
            cursor.execute(evidence.trigger(table.name))
        database.keep_virtual_time(cursor)


def opened(url: str) -> Database:
    """The database of a simulation."""
    made = Database(url)
    if not made.engine.distributes:
        return made
    made.close()
    return DistributedDatabase(url)


def _workers_of(url: str) -> list[str]:
    return [at(url, host=host, port=port) for _, host, port in workers(url)]


def _on_node(url: str, *statements: str) -> None:
    """Run statements that stay on a node."""
    with closing(psycopg2.connect(url)) as own:
        own.autocommit = True
        with own.cursor() as cursor:
            cursor.execute("SET citus.enable_ddl_propagation = off")
            for each in statements:
                cursor.execute(each)


def _ask(connection: Any, statement: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []
