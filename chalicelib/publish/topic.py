"""Events to an SNS topic."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from chalicelib import aws
from chalicelib.publish import refusals
from chalicelib.publish.event import Event
from chalicelib.publish.refusals import Refusal
from chalicelib.stage import Destination

_GROUP = re.compile(r"[!-~]{1,128}")
"""What SNS accepts as the name of a message group."""


def send(destination: Destination, events: Sequence[Event]) -> Mapping[int, Refusal]:
    """Send at most ten events; returns why some were not taken, by their number."""
    entries = [_entry(destination, number, event) for number, event in enumerate(events)]
    answer = _client().publish_batch(TopicArn=destination.arn, PublishBatchRequestEntries=entries)
    return {
        int(each["Id"]): refusals.of_entry(
            each["Code"], each.get("Message", ""), passes=not each["SenderFault"]
        )
        for each in answer.get("Failed", ())
    }


def _entry(destination: Destination, number: int, event: Event) -> dict[str, Any]:
    attributes = {
        name: {"DataType": "String", "StringValue": value}
        for name, value in event.attributes.items()
    }
    found = {"Id": str(number), "Message": event.text, "MessageAttributes": attributes}
    if destination.is_fifo:
        found |= {"MessageGroupId": _group(event.resource), "MessageDeduplicationId": event.id}
    return found


def _group(resource: str) -> str:
    """The message group of a resource. Names of tables may have any characters."""
    if _GROUP.fullmatch(resource):
        return resource
    return hashlib.blake2b(resource.encode(), digest_size=16).hexdigest()


@cache
def _client() -> Any:
    return aws.client("sns", tries=1, read_timeout=5)
