"""Checks of the queues: those that ``chalice deploy`` expects, and names that are in use."""

from collections.abc import Iterator
from typing import Any

from chalicelib.settings import message_bytes, queue_bytes
from decanter.deployment import functions
from decanter.deployment.aws import Aws
from decanter.deployment.findings import Finding
from decanter.deployment.functions import QUEUES
from decanter.deployment.references import Json
from decanter.deployment.stage import CONFIG_FILE


def visibility(document: Json, seconds: int, where: str = "") -> Iterator[Finding]:
    """Check a visibility timeout against the least one in the packaged template."""
    least = document["Parameters"]["VisibilityTimeout"]["MinValue"]
    if seconds < least:
        yield Finding(
            "visibility-below-timeout",
            f"VisibilityTimeout{where} is {seconds} s, less than a drain may run: a message would"
            f" be delivered again while it is being poured. Set it to {least} or more.",
        )


def existing(aws: Aws, document: Json, prefix: str) -> Iterator[Finding]:
    """Check the queues that ``chalice deploy`` expects. document: the packaged template."""
    for each in QUEUES:
        yield from _existing(aws("sqs"), document, f"{prefix}-{each.suffix}")


def taken(aws: Aws, prefix: str) -> Iterator[Finding]:
    """Check that no queue has a name that a new stack needs."""
    client = aws("sqs")
    for each in QUEUES:
        queue = f"{prefix}-{each.suffix}"
        if _url(client, queue):
            yield Finding(
                "queue-taken",
                f"the queue {queue} exists and is not the stack's: it was made by `python -m"
                " decanter queues`, or is left from a deleted stack. Import it into the stack, or"
                " delete it when it is empty, or choose another DECANTER_QUEUES.",
            )


def _existing(client: Any, document: Json, queue: str) -> Iterator[Finding]:
    if not (url := _url(client, queue)):
        yield Finding("queue-missing", _missing(client, queue))
        return
    found = client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    if "RedrivePolicy" not in found:
        yield Finding(
            "no-dead-letters",
            f"the queue {queue} has no dead-letter queue: a message that can never be poured would"
            " come back until it is lost. `python -m decanter queues` makes both.",
        )
    api = document["Resources"][functions.function("api").logical]["Properties"]
    needed = queue_bytes(message_bytes(api.get("Environment", {}).get("Variables", {})))
    if int(found["MaximumMessageSize"]) < needed:
        yield Finding(
            "message-size",
            f"the queue {queue} accepts messages of up to {found['MaximumMessageSize']} bytes, less"
            " than the API sends. Run `aws sqs set-queue-attributes --queue-url"
            f" {url} --attributes MaximumMessageSize={needed}`, also for its dead-letter queue; or"
            f" set DECANTER_MESSAGE_BYTES in {CONFIG_FILE} to 5 % less than it accepts.",
        )
    yield from visibility(document, int(found["VisibilityTimeout"]), f" of the queue {queue}")


def _missing(client: Any, queue: str) -> str:
    cure = "`python -m decanter queues` makes it."
    is_fifo = queue.endswith(".fifo")
    other = queue.removesuffix(".fifo") if is_fifo else f"{queue}.fifo"
    if not _url(client, other):
        return f"the queue {queue} does not exist. {cure}"
    kind = "FIFO" if is_fifo else "standard"
    return (
        f"the queue {queue} does not exist, and {other} is of the wrong type: it must be a {kind}"
        f" queue. {cure}"
    )


def _url(client: Any, queue: str) -> str | None:
    try:
        return str(client.get_queue_url(QueueName=queue)["QueueUrl"])
    except client.exceptions.QueueDoesNotExist:
        return None
