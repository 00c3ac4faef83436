"""The relay of the proof: what passes it, and what does not."""

import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from decanter.proof.relay import Direction, Link, Loss, Point, Relay, relay
from tests.kit.waiting import LONG, until


def message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


STARTUP = message(b"", struct.pack("!I", 196608) + b"user\0me\0\0")
SENT = [STARTUP, message(b"Q", b"SELECT 1\0"), message(b"Q", b"COMMIT\0")]
ANSWERS = [message(b"R", b"\0\0\0\0"), message(b"C", b"SELECT\0"), message(b"Z", b"I")]


class Server:
    """Answers a start-up packet with all ANSWERS, and records what it is sent until the end."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"postgresql://me@127.0.0.1:{self._listener.getsockname()[1]}/it"
        self.received = b""
        self.has_ended = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection, self._listener:
            try:
                while data := connection.recv(1):
                    self.received += data
                    if self.received == STARTUP:
                        connection.sendall(b"".join(ANSWERS))
            finally:
                self.has_ended.set()


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def between(server: Server) -> Iterator[Relay]:
    with relay(server.url) as made:
        yield made


@pytest.fixture
def client(between: Relay) -> Iterator[socket.socket]:
    port = int(between.url.rpartition(":")[2].split("/")[0])
    with socket.create_connection(("127.0.0.1", port), timeout=LONG) as made:
        yield made


def everything(client: socket.socket) -> bytes:
    """What the client receives until the end."""
    found = b""
    try:
        while data := client.recv(1024):
            found += data
    except ConnectionError:
        pass
    return found


def bytes_to_server() -> range:
    return range(len(b"".join(SENT)))


@pytest.mark.parametrize("number", bytes_to_server())
def test_a_connection_is_cut_after_any_byte_to_the_server(server, between, client, number) -> None:
    between.arm(Point(Direction.TO_SERVER, number, "byte"), Link.cut)
    client.sendall(b"".join(SENT))

    everything(client)
    assert server.has_ended.wait(LONG)
    assert server.received == b"".join(SENT)[:number]


@pytest.mark.parametrize("number", range(len(b"".join(ANSWERS))))
def test_a_connection_is_cut_after_any_byte_to_the_client(between, client, number) -> None:
    between.arm(Point(Direction.TO_CLIENT, number, "byte"), Link.cut)
    client.sendall(STARTUP)

    assert everything(client) == b"".join(ANSWERS)[:number]


def test_an_action_happens_before_the_message_with_its_number(server, between, client) -> None:
    seen: list[Any] = []
    point = Point(Direction.TO_SERVER, 3)
    between.arm(point, lambda _: seen.append(between.traffic[Direction.TO_SERVER].messages))
    client.sendall(b"".join(SENT))

    until(lambda: server.received == b"".join(SENT))
    assert seen == [3]
    assert between.struck == 1


def test_what_is_swallowed_does_not_arrive_on_a_connection_that_stays(
    server, between, client
) -> None:
    between.arm(Point(Direction.TO_SERVER, 3), lambda link: link.swallowed.add(Direction.TO_SERVER))
    client.sendall(b"".join(SENT))

    until(lambda: between.struck)
    assert between.connections == 1
    client.close()
    assert server.has_ended.wait(LONG)
    assert server.received == b"".join(SENT[:2])


def test_nothing_passes_while_the_relay_is_stalled(server, between, client) -> None:
    between.arm(Point(Direction.TO_SERVER, 2), lambda _: between.flows.clear())
    client.sendall(b"".join(SENT))

    until(lambda: between.struck)
    until(lambda: server.received)  # what passed before
    assert server.received == STARTUP
    between.heal()
    until(lambda: server.received == b"".join(SENT))


def test_a_connection_that_the_client_has_closed_is_not_held_even_while_stalled(
    between, client
) -> None:
    between.arm(Point(Direction.TO_SERVER, 2), lambda _: between.flows.clear())
    client.sendall(b"".join(SENT[:2]))
    until(lambda: between.struck)
    assert between.connections == 1

    client.close()

    until(lambda: between.connections == 0)


def test_a_relay_that_refuses_connections_says_so_as_postgres_does(between, client) -> None:
    between.refuses_connections = True
    client.sendall(STARTUP)

    assert b"C53300\0" in everything(client)


@pytest.mark.parametrize("arrives", [True, False])
def test_a_connection_is_lost_at_the_first_query_that_matches(
    server, between, client, arrives
) -> None:
    between.loss = Loss("^COMMIT$", arrives)
    client.sendall(b"".join(SENT))

    assert everything(client) in (b"", b"".join(ANSWERS))  # the thread of answers may be later
    assert server.has_ended.wait(LONG)
    assert server.received == b"".join(SENT if arrives else SENT[:2])
    assert between.struck == 1
    assert between.loss is None


def test_a_client_that_asks_for_tls_is_told_that_there_is_none(server, between, client) -> None:
    client.sendall(struct.pack("!II", 8, 80877103))

    assert client.recv(1) == b"N"
    client.sendall(STARTUP)
    until(lambda: server.received == STARTUP)


def test_a_request_to_cancel_passes(server, between, client) -> None:
    sent = struct.pack("!IIII", 16, 80877102, 0xD2D3D4D5, 0xFFFEFDFC)
    client.sendall(sent)

    until(lambda: server.received == sent)
    assert between.startups == []
