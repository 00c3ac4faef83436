"""The outbox in the database, by way of the operate function."""

import json
import time
from collections.abc import Sequence
from typing import NamedTuple

from chalicelib.asking import Busy, ask
from chalicelib.messages.questions import InvalidList, OpsQuestion
from chalicelib.publish import event
from chalicelib.publish.event import Event
from chalicelib.settings import operate_function


class Taken(NamedTuple):
    """What the outbox had at a time.

    events: the first, in order. places: of all rows that were looked at. behind: how many rows
    there are behind these, as far as they are counted. oldest_at: when its oldest row was entered,
    by time.monotonic(); None if there is none.
    """

    events: Sequence[Event]
    places: Sequence[int]
    behind: int
    oldest_at: float | None

    def until(self, events: int) -> Sequence[int]:
        """The places that are finished once the first so many events are."""
        if events == len(self.events):
            return self.places
        next_ = self.events[events].sequence
        return [place for place in self.places if place < next_]


def take(published: Sequence[int], limit: int, deadline: float) -> Taken:
    """Delete the rows at these places, and look at the first ones of the rest. Raises Problem."""
    asked = OpsQuestion("outcomes", {"published": [*published], "limit": limit})
    reply = ask(asked, deadline, operate_function())
    if isinstance(reply, InvalidList):  # it would take too long
        raise Busy(reply.unfit)
    answer = json.loads(reply.body)
    oldest = answer["oldest_seconds"]
    return Taken(
        [*map(event.read, answer["events"])],
        answer["places"],
        answer["left"],
        None if oldest is None else time.monotonic() - oldest,
    )
