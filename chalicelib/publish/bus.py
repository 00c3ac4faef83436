"""Events to an EventBridge bus."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from chalicelib import aws
from chalicelib.publish import refusals
from chalicelib.publish.event import Event
from chalicelib.publish.refusals import Refusal
from chalicelib.stage import Destination

SOURCE = "decanter"
DETAIL_TYPE = "Request done"


def send(destination: Destination, events: Sequence[Event]) -> Mapping[int, Refusal]:
    """Send at most ten events; returns why some were not taken, by their number."""
    entries = [
        {
            "EventBusName": destination.arn,
            "Source": SOURCE,
            "DetailType": DETAIL_TYPE,
            "Detail": event.text,
        }
        for event in events
    ]
    answer = _client().put_events(Entries=entries)
    return {
        number: refusals.of_entry(each["ErrorCode"], each.get("ErrorMessage", ""))
        for number, each in enumerate(answer["Entries"])
        if each.get("ErrorCode")
    }


@cache
def _client() -> Any:
    return aws.client("events", tries=1, read_timeout=5)
