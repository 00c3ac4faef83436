"""The two ends between the simulation and a container."""

import pickle
import select
import socket
import struct
from typing import Any

_LENGTH = struct.Struct("!I")
_MOST_BYTES = 65_536  # of one read


class Link:
    """One end. As few system calls as can be, of which histories are full; and `poll` keeps to the
    real time, which `time.monotonic` of a container is not."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._read = b""
        self._poll = select.poll()
        self._poll.register(end.fileno(), select.POLLIN)

    def send(self, value: Any) -> None:
        content = pickle.dumps(value)
        self._end.sendall(_LENGTH.pack(len(content)) + content)

    def recv(self) -> Any:
        """Raise EOFError if the other end is closed."""
        (length,) = _LENGTH.unpack(self._take(_LENGTH.size))
        return pickle.loads(self._take(length))  # noqa: S301 from a process of ours

    def poll(self, seconds: float | None = 0.0) -> bool:
        """Whether there is something to receive, within so many seconds; None: wait for it."""
        return bool(self._read or self._poll.poll(None if seconds is None else seconds * 1000))

    def close(self) -> None:
        self._end.close()

    def _take(self, size: int) -> bytes:
        while len(self._read) < size:
            read = self._end.recv(_MOST_BYTES)
            if not read:
                raise EOFError
            self._read += read
        taken, self._read = self._read[:size], self._read[size:]
        return taken


def pair() -> tuple[Link, Link]:
    one, other = socket.socketpair()
    return Link(one), Link(other)
