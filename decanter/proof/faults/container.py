"""Processes like Lambda's containers, which run the real handlers, one invocation at a time.

`python -m decanter.proof.faults.container FOLDER [MODULE]` imports everything once, and forks a
process for each container that it is asked for. A container takes commands as lines of JSON and
answers each with a line. Its API function has no queue: an answer holds the messages. SIGUSR1 sets
its clock an hour forward, SIGUSR2 an hour back. MODULE: imported first, to change the product.
"""

import importlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import chalicelib
from chalicelib.api.http import idempotency
from chalicelib.api.http.caller import Caller
from chalicelib.api.http.request import Request
from chalicelib.api.writes import calls
from chalicelib.buffer.sqs import put, take
from chalicelib.contract import resources
from chalicelib.drain import handler as drain_handler
from chalicelib.drain import pour_fast
from chalicelib.errors import Problem
from chalicelib.messages.receipt import verify
from chalicelib.postgres.connecting import connection
from chalicelib.reader import handler as reader_handler
from chalicelib.settings import IntakeSettings
from decanter.proof import tables
from decanter.proof.simulation.container import COPIED_ROWS
from decanter.proof.simulation.database import compile_contract

CALLER = "me"
STEP_SECONDS = 3600.0
_COMMAND_BYTES = 65_536
_CALLS: Mapping[str, Callable[..., Any]] = {
    "POST": calls.create,
    "PUT": calls.replace,
    "PATCH": calls.merge,
    "DELETE": calls.delete,
}

Command = Mapping[str, Any]
Answer = dict[str, Any]


@dataclass(frozen=True)
class Invocation:
    """A Lambda context with the remaining time of a function."""

    seconds: float

    def get_remaining_time_in_millis(self) -> int:
        return int(self.seconds * 1000)


def _write(command: Command) -> Answer:
    """A request of a client → the answer, and the messages that were put on the queue."""
    sent: list[put.QueueEntry] = []
    put.send = lambda _queue, entries, *_: sent.extend(entries)
    idempotency._accepted.clear()  # as if each request reached another container
    resource, *segments = command["path"]
    request = Request(
        method=command["method"],
        path="/".join(["", *command["path"]]),
        headers=command["headers"],
        body=command["body"].encode(),
        caller=Caller(CALLER, frozenset({"*:read", "*:write"})),
    )
    try:
        answer = _CALLS[command["method"]](request, resource, *([segments] if segments else []))
    except Problem as problem:
        return {"status": problem.status, "receipt": None, "entries": []}
    return {"status": answer.status, "receipt": answer.body["receipt"], "entries": sent}


def _drain(command: Command) -> Answer:
    """An event → the drain's answer, or the name of the error that it raised."""
    try:
        return drain_handler.drain(command["event"], Invocation(command["seconds"]), take)
    except Exception as error:
        return {"raised": type(error).__name__, "text": str(error)}


def _read(command: Command) -> Answer:
    """A receipt → the status, empty if the database is unavailable."""
    receipt = verify(command["receipt"], IntakeSettings.from_environment().receipt_keys[0], CALLER)
    assert receipt
    question = {"ask": "status", **receipt._asdict(), "id": str(receipt.id)}
    body = reader_handler.read(question, Invocation(command["seconds"])).get("body")
    return dict(json.loads(body)) if body else {}


def _forget(_: Command) -> Answer:
    """The next batch opens a new connection, as in a new container."""
    connection.forget("drain")
    return {}


_ANSWERS: Mapping[str, Callable[[Command], Answer]] = {
    "write": _write,
    "drain": _drain,
    "read": _read,
    "forget": _forget,
}


def _serve(own: socket.socket, variables: Mapping[str, str]) -> None:
    """Be a container until the other side closes the socket."""
    os.environ.update(variables)
    _listen_for_clock_steps()
    with own, own.makefile("r", encoding="utf-8") as commands:
        for line in commands:
            command = json.loads(line)
            answer = _ANSWERS[command["do"]](command)
            own.sendall(json.dumps(answer).encode() + b"\n")


def _listen_for_clock_steps() -> None:
    true_time, offset = time.time, 0.0

    def step(number: int, _frame: object) -> None:
        nonlocal offset
        offset += STEP_SECONDS if number == signal.SIGUSR1 else -STEP_SECONDS

    signal.signal(signal.SIGUSR1, step)
    signal.signal(signal.SIGUSR2, step)
    time.time = lambda: true_time() + offset


def _use_proof_tables(folder: Path) -> None:
    """Have chalicelib serve the tables of the proof, whatever the models of the project are."""
    resources._FILE = compile_contract(folder)
    models = tables.models()
    sys.modules["chalicelib.models"] = models
    chalicelib.models = models


def _fork_for_each(host: socket.socket) -> None:
    """Fork a container for each request, and answer with its process id. Returns when the other
    side closes the socket."""
    while True:
        text, sockets, *_ = socket.recv_fds(host, _COMMAND_BYTES, 1)
        if not text:
            return
        own = socket.socket(fileno=sockets[0])
        if not (pid := os.fork()):
            status = 1
            try:
                host.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _serve(own, json.loads(text))
                status = 0
            finally:
                os._exit(status)
        own.close()
        host.sendall(f"{pid}\n".encode())


def main() -> None:
    folder, *modules = sys.argv[1:]
    _use_proof_tables(Path(folder))
    pour_fast._COPIED_ROWS = COPIED_ROWS
    for module in modules:
        importlib.import_module(module)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for containers
    with socket.socket(fileno=sys.stdin.fileno()) as host:
        host.sendall(b"ready\n")
        _fork_for_each(host)
    os.killpg(0, signal.SIGKILL)  # with all containers, frozen ones too


if __name__ == "__main__":
    main()
