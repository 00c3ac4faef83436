"""A relay to Postgres that records what clients send, and can answer in place of the server."""

import re
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from psycopg2.extensions import parse_dsn


class Relay:
    """Accepts connections without TLS, and forwards what the client sends, message by message.

    startups: parameters of each start-up packet. queries: texts of all simple queries.
    refuses_options: refuse startup options, as RDS Proxy does. failure: the answer to matching
    queries, or None.
    """

    def __init__(self, url: str) -> None:
        self.startups: list[dict[str, str]] = []
        self.queries: list[str] = []
        self.refuses_options = False
        self.failure: Failure | None = None
        self._port = int(parse_dsn(url)["port"])
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        self.url = url.replace(f":{self._port}/", f":{port}/")
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                accepted, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(accepted,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError, EOFError), client:
            packet = _packet(client)
            pairs = packet[8:].rstrip(b"\0").decode().split("\0")
            self.startups.append(dict(zip(pairs[::2], pairs[1::2], strict=True)))
            if self.refuses_options and "options" in self.startups[-1]:
                client.sendall(_error("FATAL", "0A000", "command-line options are not supported"))
                return
            with socket.create_connection(("127.0.0.1", self._port)) as server:
                server.sendall(packet)
                threading.Thread(target=_forward, args=(server, client), daemon=True).start()
                self._forward_messages(client, server)

    def _forward_messages(self, client: socket.socket, server: socket.socket) -> None:
        while True:
            kind = _read(client, 1)
            message = kind + _packet(client)
            if kind == b"Q":
                query = message[5:-1].decode()
                self.queries.append(query)
                if self.failure and re.search(self.failure.pattern, query):
                    client.sendall(self.failure.answer)
                    if self.failure.closes:
                        return
                    continue
            server.sendall(message)


class Failure:
    """An error in place of the server's answer. closes: whether it closes the connection."""

    def __init__(self, pattern: str, sqlstate: str, *, closes: bool) -> None:
        self.pattern = pattern
        self.closes = closes
        ready = b"" if closes else b"Z" + struct.pack("!I", 5) + b"E"
        self.answer = _error("ERROR", sqlstate, "it failed") + ready


@contextmanager
def relay(url: str) -> Iterator[Relay]:
    made = Relay(url)
    try:
        yield made
    finally:
        made.close()


def _error(severity: str, sqlstate: str, message: str) -> bytes:
    fields = {"S": severity, "V": severity, "C": sqlstate, "M": message}
    body = b"".join(f"{name}{value}\0".encode() for name, value in fields.items()) + b"\0"
    return b"E" + struct.pack("!I", len(body) + 4) + body


def _packet(origin: socket.socket) -> bytes:
    head = _read(origin, 4)
    return head + _read(origin, struct.unpack("!I", head)[0] - 4)


def _read(origin: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        if not (more := origin.recv(count - len(found))):
            raise EOFError
        found += more
    return found


def _forward(origin: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := origin.recv(65_536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
