"""The two ends between the simulation and a container."""

import pickle
import select
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any


class Link:
    """One end. Half the cost of a Connection's own `send`, `recv` and `poll`; and `poll` keeps to
    the real time, which `time.monotonic` of a container is not."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._poll = select.poll()
        self._poll.register(connection.fileno(), select.POLLIN)

    def send(self, value: Any) -> None:
        self._connection.send_bytes(pickle.dumps(value))

    def recv(self) -> Any:
        """Raise EOFError if the other end is closed."""
        return pickle.loads(self._connection.recv_bytes())  # noqa: S301 from a process of ours

    def poll(self, seconds: float | None = 0.0) -> bool:
        """Whether there is something to receive, within so many seconds; None: wait for it."""
        return bool(self._poll.poll(None if seconds is None else seconds * 1000))

    def close(self) -> None:
        self._connection.close()


def pair() -> tuple[Link, Link]:
    one, other = Pipe()
    return Link(one), Link(other)
