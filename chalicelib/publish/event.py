"""An event about a request that is done, as it is sent."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from chalicelib.settings import stage_prefix

_SHOWN = ("resource", "state", "caller")


class Event(NamedTuple):
    """An event. id: the same each time that it is sent. sequence: its place in the outbox. text:
    its JSON. attributes: what subscriptions may filter by."""

    id: str
    sequence: int
    resource: str
    text: str
    attributes: Mapping[str, str]

    @property
    def size(self) -> int:
        """Most bytes that it takes in a request: attributes are never longer than in the text."""
        return 2 * len(self.text)


def read(members: Mapping[str, Any]) -> Event:
    """The event with these members, and with the stage that it is of."""
    complete = {**members, "stage": stage_prefix()}
    return Event(
        id=members["id"],
        sequence=members["sequence"],
        resource=members["resource"],
        text=json.dumps(complete, separators=(",", ":")),
        # SQS refuses some characters in attributes, so that a raw delivery would fail.
        attributes={
            name: value
            for name in _SHOWN
            if (value := members.get(name)) and str(value).isprintable()
        },
    )
