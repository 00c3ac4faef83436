"""Containers as the proof sees them: started, invoked, killed and frozen."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from decanter.local import signals

_MODULE = "decanter.proof.faults.container"
_ANSWER_SECONDS = 60.0
_PAUSE_SECONDS = 0.001
_VARIABLES = {
    "DECANTER_ORDERED_QUEUE_URL": "ordered",
    "DECANTER_UNORDERED_QUEUE_URL": "unordered",
    "DECANTER_READER_FUNCTION": "reader",
    "DECANTER_RECEIPT_KEY": "k" * 32,
    "DECANTER_PARTIAL_RESPONSES": "1",
    "DECANTER_PARENT_PATIENCE_SECONDS": "0",
}


class ContainerProcess:
    """A process that runs handlers. Signals reach it alone: once it has ended, its number may soon
    be that of another process, which psutil notices."""

    def __init__(self, pid: int, own: socket.socket) -> None:
        self._process: psutil.Process | None = None
        with suppress(psutil.NoSuchProcess):  # it has ended already
            self._process = psutil.Process(pid)
        self._socket = own
        self._received = b""

    def send(self, do: str, **command: Any) -> None:
        """Invoke it. A killed container takes no more commands, and answers none."""
        with suppress(OSError):
            self._socket.sendall(json.dumps({"do": do, **command}).encode() + b"\n")

    def answer(self, seconds: float) -> dict[str, Any] | None:
        """The answer to what was sent first, None if there is none within so many seconds. Raises
        EOFError if the container has ended."""
        end = time.monotonic() + seconds
        while b"\n" not in self._received:
            self._socket.settimeout(max(0.001, end - time.monotonic()))
            try:
                if not (more := self._socket.recv(65_536)):
                    raise EOFError
                self._received += more
            except TimeoutError:
                if time.monotonic() >= end:
                    return None
            except OSError as error:
                raise EOFError from error
        line, _, self._received = self._received.partition(b"\n")
        return dict(json.loads(line))

    def ask(self, do: str, **command: Any) -> dict[str, Any]:
        """Invoke it and wait for the answer. Raises EOFError."""
        self.send(do, **command)
        if (answer := self.answer(_ANSWER_SECONDS)) is None:
            raise EOFError
        return answer

    def signal(self, number: int) -> None:
        if self._process is not None:
            with suppress(psutil.NoSuchProcess):
                self._process.send_signal(number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)

    def freeze(self) -> None:
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def close(self) -> None:
        """End it, in whatever state it is, and wait until all that it holds is closed."""
        end = time.monotonic() + _ANSWER_SECONDS
        self.kill()
        while self._is_running() and time.monotonic() < end:
            time.sleep(_PAUSE_SECONDS)
        self._socket.close()

    def _is_running(self) -> bool:
        return self._process is not None and self._process.is_running()


class Host:
    """The process that all containers are forked from, so that each starts in milliseconds."""

    def __init__(self, folder: Path, modules: Sequence[str]) -> None:
        self._lock = threading.Lock()
        self._own, other = socket.socketpair()
        with other, signals.deferred(), (folder / "containers.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", _MODULE, str(folder), *modules],
                stdin=other.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=log,
                env={**os.environ, **_VARIABLES, "PYTHONPATH": os.pathsep.join(sys.path)},
                start_new_session=True,  # not ended by Ctrl-C in the terminal, but by close()
            )

    def start(self, url: str = "", **variables: str) -> ContainerProcess:
        """A new container. url: of its database. variables: of its environment, beyond the usual
        ones. Raises EOFError if the host has ended."""
        own, other = socket.socketpair()
        settings: Mapping[str, str] = {"DECANTER_DATABASE_URL": url, **variables}
        with other, self._lock, suppress(OSError):
            socket.send_fds(self._own, [json.dumps(settings).encode()], [other.fileno()])
            if line := self._line():
                return ContainerProcess(int(line), own)
        own.close()
        raise EOFError

    def await_ready(self) -> None:
        """Wait until it has imported everything. Raises EOFError."""
        if self._line() != "ready":
            raise EOFError

    def close(self) -> None:
        """End it and all containers."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._own.close()

    def _line(self) -> str:
        found = b""
        while not found.endswith(b"\n"):
            if not (more := self._own.recv(64)):
                return ""
            found += more
        return found.decode().strip()


@contextmanager
def host(folder: Path, modules: Sequence[str] = ()) -> Iterator[Host]:
    """A host whose log and contract are in the folder. modules: each container imports them first,
    to change the product."""
    made = Host(folder, modules)
    try:
        made.await_ready()
        yield made
    finally:
        made.close()
