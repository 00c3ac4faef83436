"""A TCP relay to Postgres: it records what clients send, can answer in place of the server, and
disturbs the connection at any message or byte.

It forwards the messages of Postgres' protocol one by one in both directions, without TLS.
"""

import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import BinaryIO, NamedTuple, NoReturn

from psycopg2.extensions import parse_dsn

from decanter.local.network import LOOPBACK

_GOODBYE = b"X"  # the kind of the message Terminate
_READY = b"Z"  # of ReadyForQuery
_TLS_WANTED = struct.pack("!II", 8, 80877103)
_CANCEL = struct.pack("!I", 80877102)


class Direction(StrEnum):
    """Which way a message goes."""

    TO_SERVER = "to the server"
    TO_CLIENT = "to the client"


class Point(NamedTuple):
    """A place in what passes: before the message with this number, from 1; or, with `unit` byte,
    after so many bytes. Both are counted from when the relay was armed."""

    direction: Direction
    number: int
    unit: str = "message"

    def __str__(self) -> str:
        return f"{self.unit} {self.number} {self.direction}"


@dataclass
class Passed:
    """What has passed in one direction since the relay was armed. ready: the numbers of messages
    that end the server's answers."""

    messages: int = 0
    bytes: int = 0
    ready: list[int] = field(default_factory=list)


Traffic = Mapping[Direction, Passed]


@dataclass
class Link:
    """A client's connection and the relay's own to the server.

    server: None until it is made. swallowed: directions of which nothing is forwarded any more.
    """

    client: socket.socket
    server: socket.socket | None = None
    swallowed: set[Direction] = field(default_factory=set)
    is_cut: bool = False

    def cut(self) -> None:
        """Close both connections at once."""
        self.is_cut = True
        for end in (self.client, self.server):
            if end is not None:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def is_held(self) -> bool:
        """Whether the client holds it, and has not said goodbye in what it has sent."""
        try:
            head = self.client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            head = None
        except OSError:
            head = b""
        return self.server is not None and not self.is_cut and head not in (b"", _GOODBYE)

    def target(self, direction: Direction) -> socket.socket:
        assert self.server
        return self.server if direction == Direction.TO_SERVER else self.client


Action = Callable[[Link], object]
"""What happens at a point, before what follows is forwarded."""


class Failure:
    """An error in place of the server's answer. closes: whether it closes the connection."""

    def __init__(self, pattern: str, sqlstate: str, *, closes: bool) -> None:
        self.pattern = pattern
        self.closes = closes
        ready = b"" if closes else _READY + struct.pack("!I", 5) + b"E"
        self.answer = _error("ERROR", sqlstate, "it failed") + ready


class Loss(NamedTuple):
    """A connection that is cut at the first query that matches. arrives: whether the server still
    has the query, and only its answer is lost."""

    pattern: str
    arrives: bool


class Relay:
    """Accepts connections, and tells clients that there is no TLS.

    startups: parameters of each start-up packet. queries: texts of all
    simple queries. refuses_options: refuse startup options, as RDS Proxy does. refuses_connections:
    refuse every connection, as a server that has none free. failure: the answer to matching
    queries, or None. loss: of the next connection, or None. delay_seconds: for each message. flows:
    while it is not set, nothing is forwarded. traffic: by direction, since the relay was armed.
    struck: how many actions and losses have happened.
    """

    def __init__(self, url: str) -> None:
        self.startups: list[dict[str, str]] = []
        self.queries: list[str] = []
        self.traffic: Traffic = {direction: Passed() for direction in Direction}
        self.struck = 0
        self.flows = threading.Event()
        self.refuses_options = False
        self._armed: tuple[Point, Action] | None = None
        self._counting = threading.Lock()
        self._links: list[Link] = []
        self.heal()
        self._server_port = int(parse_dsn(url)["port"])
        self._listener = socket.create_server((LOOPBACK, 0))
        port = self._listener.getsockname()[1]
        self.url = url.replace(f":{self._server_port}/", f":{port}/")
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def connections(self) -> int:
        """How many connections clients hold."""
        return sum(link.is_held() for link in list(self._links))

    def arm(self, point: Point, action: Action) -> None:
        """Have an action happen once, at a point; bytes and messages are counted from now on."""
        self.count()
        self._armed = (point, action)

    def count(self) -> None:
        """Count from now on."""
        with self._counting:
            self._armed = None
            self.traffic = {direction: Passed() for direction in Direction}

    def heal(self) -> None:
        """Forward everything, without delay, on new connections."""
        self.refuses_connections = False
        self.failure: Failure | None = None
        self.loss: Loss | None = None
        self.delay_seconds = 0.0
        self._armed = None
        self.flows.set()

    def cut(self) -> None:
        """Cut all connections."""
        for link in list(self._links):
            link.cut()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listener.close()
        self.heal()
        self.cut()

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                accepted, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(accepted,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        link = Link(client)
        self._links.append(link)
        try:
            with suppress(OSError, EOFError), client, client.makefile("rb") as sent:
                self._serve_link(link, sent)
        finally:
            self._links.remove(link)

    def _serve_link(self, link: Link, sent: BinaryIO) -> None:
        link.client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while (packet := _packet(sent)) == _TLS_WANTED:
            link.client.sendall(b"N")
        if packet[4:8] != _CANCEL:
            pairs = packet[8:].rstrip(b"\0").decode().split("\0")
            self.startups.append(dict(zip(pairs[::2], pairs[1::2], strict=True)))
        if refusal := self._refusal():
            link.client.sendall(refusal)
            return
        with socket.create_connection((LOOPBACK, self._server_port)) as server:
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link.server = server
            self._forward_both(link, packet, sent)

    def _refusal(self) -> bytes:
        if self.refuses_connections:
            return _error("FATAL", "53300", "sorry, too many clients already")
        if self.refuses_options and "options" in self.startups[-1]:
            return _error("FATAL", "0A000", "command-line options are not supported")
        return b""

    def _forward_both(self, link: Link, startup: bytes, sent: BinaryIO) -> None:
        """Forward until either side closes; then both are closed."""
        back = threading.Thread(target=self._forward_answers, args=(link,), daemon=True)
        back.start()
        try:
            with suppress(OSError, EOFError):
                self._pass(link, Direction.TO_SERVER, startup)
                while message := _message(sent):
                    if not self._answered(link, message):
                        self._pass(link, Direction.TO_SERVER, message)
        finally:
            link.cut()
            back.join()

    def _forward_answers(self, link: Link) -> None:
        assert link.server
        with suppress(OSError, EOFError), link.server.makefile("rb") as answers:
            while message := _message(answers):
                self._pass(link, Direction.TO_CLIENT, message)
        link.cut()

    def _answered(self, link: Link, message: bytes) -> bool:
        """Whether the relay has answered in place of the server. Raises EOFError if that closes the
        connection."""
        if message[:1] != b"Q":
            return False
        query = message[5:-1].decode()
        self.queries.append(query)
        if self.loss and re.search(self.loss.pattern, query):
            self._lose(link, message, self.loss.arrives)
        if not self.failure or not re.search(self.failure.pattern, query):
            return False
        link.client.sendall(self.failure.answer)
        if self.failure.closes:
            raise EOFError
        return True

    def _lose(self, link: Link, message: bytes, arrives: bool) -> NoReturn:
        self.loss = None
        self.struck += 1
        link.swallowed.add(Direction.TO_CLIENT)
        if arrives:
            self._send(link, Direction.TO_SERVER, message)
        raise EOFError

    def _pass(self, link: Link, direction: Direction, message: bytes) -> None:
        """Forward a message, with what is to happen in or before it."""
        if self.delay_seconds:
            time.sleep(self.delay_seconds)
        self.flows.wait()
        first, action = self._due(direction, message)
        self._send(link, direction, message[:first])
        if action:
            action(link)
            self.flows.wait()
            self._send(link, direction, message[first:])

    def _due(self, direction: Direction, message: bytes) -> tuple[int, Action | None]:
        """Count a message; returns how many of its bytes pass before the action that is due, if any
        is."""
        with self._counting:
            traffic = self.traffic[direction]
            begun = traffic.bytes
            traffic.messages += 1
            traffic.bytes += len(message)
            traffic.ready += [traffic.messages] if message[:1] == _READY else []
            if self._armed is None or self._armed[0].direction != direction:
                return len(message), None
            point, action = self._armed
            is_byte = point.unit == "byte"
            if not (is_byte or traffic.messages == point.number):
                return len(message), None
            if is_byte and traffic.bytes < point.number:
                return len(message), None
            self._armed = None
            self.struck += 1
            return point.number - begun if is_byte else 0, action

    def _send(self, link: Link, direction: Direction, data: bytes) -> None:
        if link.is_cut:
            raise EOFError
        if data and direction not in link.swallowed:
            link.target(direction).sendall(data)


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


def _message(origin: BinaryIO) -> bytes:
    return _read(origin, 1) + _packet(origin)


def _packet(origin: BinaryIO) -> bytes:
    head = _read(origin, 4)
    return head + _read(origin, struct.unpack("!I", head)[0] - 4)


def _read(origin: BinaryIO, count: int) -> bytes:
    found = origin.read(count)
    if len(found) < count:
        raise EOFError
    return found
