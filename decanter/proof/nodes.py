"""Relays between the coordinator of a database on Citus and its workers."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from sqlalchemy.engine import make_url

from decanter.local.citus import at
from decanter.local.named import execute
from decanter.local.network import LOOPBACK
from decanter.proof.relay import Relay, relay

_WORKERS = "SELECT groupid, nodename, nodeport FROM pg_dist_node WHERE groupid > 0 ORDER BY 1"
_MOVE = "UPDATE pg_dist_node SET nodename = %s, nodeport = %s WHERE groupid = %s"


def workers(url: str) -> list[tuple[int, str, int]]:
    """The number, host and port of each worker, as the coordinator knows them. Raises
    DatabaseError."""
    return execute(url, _WORKERS)


@contextmanager
def between_nodes(url: str) -> Iterator[list[Relay]]:
    """Have connections from the coordinator to each worker go through a relay, in this database.
    Only those to workers on this machine; there is no relay to others."""
    with ExitStack() as stack:
        found = []
        for group, name, port in workers(url):
            if name not in (LOOPBACK, "localhost"):
                continue
            made = stack.enter_context(relay(at(url, host=LOOPBACK, port=port)))
            execute(url, _MOVE, (LOOPBACK, make_url(made.url).port, group))
            stack.callback(execute, url, _MOVE, (name, port, group))
            found.append(made)
        yield found
