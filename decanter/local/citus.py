"""Databases on a cluster of Citus that somebody has: each on all of its nodes, or on some.

A database is cloned from one with the ledger, and so are its parts on the workers, which know each
other. Nodes are reached by the names that the cluster has for them.
"""

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import count
from typing import Any

from sqlalchemy.engine import make_url

from chalicelib.errors import RefusedByDatabase
from chalicelib.migrate.handler import upgrade
from chalicelib.postgres import partitions
from chalicelib.postgres.connecting import session
from chalicelib.postgres.connecting.access import url_parts
from decanter.local.named import NAME, execute

_NODES = "SELECT nodename, nodeport, groupid FROM pg_dist_node WHERE noderole = 'primary'"
_LEDGER_WEEKS = 2
_LEFT_SECONDS = 10.0


class Cluster:
    """The nodes of a cluster, or its coordinator and the first ones of its workers, and the
    databases that are made on them."""

    def __init__(
        self,
        named: str,
        workers: int | None = None,
        fill: Callable[[str], None] | None = None,
    ) -> None:
        """named: the URL of CITUS_URL. fill: makes what each database has; by default the ledger.
        Raises DatabaseError."""
        nodes = sorted(execute(named, _NODES), key=lambda node: node[2])
        behind = [(host, port) for host, port, group in nodes if group][:workers]
        self._named = named
        self._coordinator = [(host, port) for host, port, group in nodes if not group]
        self._workers = behind
        self._servers = [named, *(at(named, host=host, port=port) for host, port in behind)]
        self._numbers = count(1)
        self._prefix = f"decanter_{secrets.token_hex(4)}_"
        self._template = f"{self._prefix}template"
        try:
            self._make_template(fill or make_ledger)
        except BaseException:
            self.close()
            raise

    def create(self) -> str:
        """The URL of a new database with the ledger."""
        return self._create(f"{self._prefix}{next(self._numbers)}", self._template)

    def drop(self, url: str) -> None:
        """Drop a database, with what its last transactions have left on workers. One that is still
        under way there cannot be recovered yet."""
        until = time.monotonic() + _LEFT_SECONDS
        while True:
            execute(url, "SELECT recover_prepared_transactions()")
            try:
                return self._drop(url_parts(url)["dbname"])
            except RefusedByDatabase:
                if time.monotonic() > until:
                    raise
            time.sleep(0.5)

    def close(self) -> None:
        self._drop(self._template)

    def _create(self, name: str, template: str) -> str:
        for server in self._servers:
            execute(server, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        return at(self._named, database=name)

    def _drop(self, name: str) -> None:
        for server in self._servers:
            execute(server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _make_template(self, fill: Callable[[str], None]) -> None:
        name = self._template
        url = self._create(name, "template0")
        for server in self._servers:
            execute(at(server, database=name), "CREATE EXTENSION citus")
        for place in self._coordinator:
            execute(url, "SELECT citus_set_coordinator_host(%s, %s)", place)
        for place in self._workers:
            execute(url, "SELECT citus_add_node(%s, %s)", place)
        fill(url)
        for server in self._servers:
            _leave(server, name)


def make_ledger(url: str) -> None:
    """Make Decanter's own tables in an empty database."""
    upgrade(url, "decanter@head")
    with closing(session.opened(url, NAME)) as connection:
        partitions.extend(connection, _LEDGER_WEEKS)


def workers_of(named: str) -> int:
    """The number of a cluster's workers. Raises DatabaseError."""
    return sum(group > 0 for *_, group in execute(named, _NODES))


@contextmanager
def database_on(named: str, workers: int | None = None) -> Iterator[str]:
    """The URL of a database with the ledger on the nodes of a cluster, see `Cluster`."""
    with closing(Cluster(named, workers)) as cluster:
        url = cluster.create()
        try:
            yield url
        finally:
            cluster.drop(url)


def _leave(server: str, name: str) -> None:
    """End the connections to a database, Citus' own ones too, as a template may have none."""
    execute(server, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = %s"
    while execute(server, ended, (name,)) != [(0,)]:
        time.sleep(0.1)


def at(url: str, **changed: Any) -> str:
    """A URL with another host, port or database."""
    return make_url(url).set(**changed).render_as_string(hide_password=False)
