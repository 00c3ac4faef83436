"""The operate function: acts of operators that need the database, and the outbox, one at a time.

It logs in with the drains' role, so that a write is tried with the rights that it would have.
"""

import logging
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from chalicelib.errors import DatabaseUnavailable
from chalicelib.messages.questions import OpsAnswer, Unavailable, from_event
from chalicelib.operate import acts, outcomes, rehearse
from chalicelib.postgres.connecting.connection import reconnecting
from chalicelib.postgres.connecting.session import Connection
from chalicelib.settings import DatabaseSettings

logger = logging.getLogger("decanter.operate")

_ROLE = "operate"
_MARGIN_SECONDS = 2.0

_ACTS: Mapping[str, Callable[..., OpsAnswer]] = MappingProxyType(
    {
        "begin": acts.begin,
        "record": acts.record,
        "try": rehearse.rehearse,
        "outcomes": outcomes.outcomes,
    }
)
"""By their names: functions of a connection, a deadline, and what was given."""


def operate(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Do what an event asks, see OpsQuestion, within the `seconds` that its client waits. The
    answer is Unavailable when the database is; then nothing was done, or it may be asked again.

    A connection that was closed while idle costs one reconnect. Raises SchemaMismatch if the
    database is not as the models say.
    """
    asked = from_event(event)
    left = context.get_remaining_time_in_millis() / 1000 - _MARGIN_SECONDS
    deadline = time.monotonic() + min(left, float(event.get("seconds", left)))
    url = DatabaseSettings.from_environment().url

    def act(held: Connection) -> OpsAnswer:
        return _ACTS[asked.what](held, deadline, **asked.given)

    try:
        return vars(reconnecting(url, _ROLE, deadline, act))
    except DatabaseUnavailable as error:
        logger.warning("the database is unavailable: %s", error)
        return vars(Unavailable(True))
