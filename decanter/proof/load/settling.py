"""The end of a run: what is still on its way is poured, and everything is read."""

import json
import logging
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from decanter.deployment.deploy import count_queued
from decanter.deployment.functions import QUEUES, drains
from decanter.proof.history import Reading, Values, Violation
from decanter.proof.load.client import Calls
from decanter.proof.load.observation import read
from decanter.proof.load.system import System
from decanter.proof.tables import QUEUED, key_text

logger = logging.getLogger("decanter.proof")

_PAUSE_SECONDS = 0.5
_SCHEDULED = {
    **dict.fromkeys(("version", "account", "region", "detail-type", "source", "time", "id"), ""),
    "detail": {},
    "resources": [],
}
_READ_TRIES = 60


class Settled(NamedTuple):
    """left: messages and waiting writes that are on their way for ever. redriven: dead letters."""

    left: int
    redriven: int


def settle(system: System, seconds: float) -> Settled:
    """Wait until no write is on its way any more, or for so many seconds there have not become
    fewer, and no message was poured, whose writes may all have to wait. Dead letters are sent to
    their queues again."""
    redriven, least, most, end = 0, math.inf, -1, 0.0
    while left := _left(system):
        poured = _count(system, "ledger")
        if left < least or poured > most:
            least, most, end = left, poured, time.monotonic() + seconds
        if time.monotonic() > end:
            break
        redriven += redrive(system)
        _wake_up(system)
        time.sleep(_PAUSE_SECONDS)
    return Settled(left, redriven)


def sweep(system: System) -> list[Violation]:
    """Invoke the sweep as its schedule does every day; a failure is a violation."""
    answer = system.cloud.client("lambda").invoke(
        FunctionName=system.stack.function("sweep"), Payload=json.dumps(_SCHEDULED)
    )
    said = answer["Payload"].read().decode()
    return [Violation("sweep", said[:500])] if "FunctionError" in answer else []


def heal(system: System) -> None:
    """Undo what a fault could not, because it met another."""
    system.cloud.postgres.start()
    client = system.cloud.client("lambda")
    for function, _ in drains():
        client.update_event_source_mapping(UUID=system.mapping(function.name), Enabled=True)


def redrive(system: System) -> int:
    """Move all dead letters back to their queues; returns their number."""
    client, moved = system.cloud.client("sqs"), 0
    for queue in QUEUES:
        dead = system.stack.queue_urls[f"{queue.name}_dlq"]
        while found := _received(client, dead):
            for message in found:
                _send(client, system.stack.queue_urls[queue.name], message)
                client.delete_message(QueueUrl=dead, ReceiptHandle=message["ReceiptHandle"])
                moved += 1
    return moved


def finals(clients: Sequence[Calls], receipts: Iterable[str]) -> dict[str, Reading]:
    """The status of each receipt, read by several clients at once."""
    shares = [list(receipts)[place :: len(clients)] for place in range(len(clients))]
    with ThreadPoolExecutor(len(clients)) as pool:
        found = pool.map(lambda pair: [*_read_all(*pair)], zip(clients, shares, strict=True))
        return {reading.receipt: reading for each in found for reading in each}


def rows(cursor: Any) -> dict[tuple[str, str], Values]:
    """All rows of the tables, by resource and key."""
    found = {}
    for name in QUEUED:
        cursor.execute(f"SELECT row_to_json({name})::text FROM {name}")
        for (text,) in cursor.fetchall():
            values = json.loads(text)
            found[name, key_text(name, values)] = values
    return found


def _read_all(client: Calls, receipts: Sequence[str]) -> Iterator[Reading]:
    for receipt in receipts:
        for _ in range(_READ_TRIES):
            if (reading := read(client, receipt)) is not None:
                yield reading
                break
            time.sleep(_PAUSE_SECONDS)
    client.close()


def _left(system: System) -> int:
    queued = count_queued(system.cloud.client, system.stack.outputs)
    return queued + _count(system, "waiting")


def _count(system: System, table: str) -> int:
    """How many rows a table of Decanter's has."""
    with system.session() as cursor:
        cursor.execute(f"SELECT count(*) FROM decanter.{table}")
        [(rows,)] = cursor.fetchall()
    return int(rows)


def _wake_up(system: System) -> None:
    """Invoke the ordered drain as its schedule does every minute."""
    client = system.cloud.client("lambda")
    answer = client.invoke(
        FunctionName=system.stack.function("drain_ordered"), Payload=json.dumps(_SCHEDULED)
    )
    if "FunctionError" in answer:
        logger.info("the drain failed: %s", answer["Payload"].read()[:500])


def _received(client: Any, url: str) -> list[dict[str, Any]]:
    answer = client.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, AttributeNames=["All"], VisibilityTimeout=30
    )
    return list(answer.get("Messages", []))


def _send(client: Any, url: str, message: dict[str, Any]) -> None:
    """As SQS moves it: with the message group, and with another identity."""
    attributes = message["Attributes"]
    sent: dict[str, str] = {}
    if group := attributes.get("MessageGroupId"):
        sent = {"MessageGroupId": group}
    if url.endswith(".fifo"):
        sent |= {"MessageDeduplicationId": message["MessageId"]}
    client.send_message(QueueUrl=url, MessageBody=message["Body"], **sent)
