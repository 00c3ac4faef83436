"""The reader function: answers questions of the API function, read only, on one connection."""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from chalicelib.errors import DatabaseUnavailable
from chalicelib.messages.questions import (
    Answer,
    ListQuestion,
    OpsQuestion,
    PouredQuestion,
    RefusedQuestion,
    RejectionsQuestion,
    RowQuestion,
    RowsQuestion,
    StatusQuestion,
    Unavailable,
    from_event,
)
from chalicelib.postgres.connecting.connection import Transaction, reconnecting, transaction
from chalicelib.postgres.connecting.session import Connection
from chalicelib.reader import pages, poured, refused, rejections, requests, rows
from chalicelib.reader.answer import Ended
from chalicelib.reader.ops import table
from chalicelib.settings import DatabaseSettings

logger = logging.getLogger("decanter.reader")

_ROLE = "reader"
_MARGIN_SECONDS = 2.0
_QUICK_SECONDS = 5.0
"""For questions that take milliseconds in a healthy database."""

_ANSWERS: dict[type, Callable[[Transaction, Any], Answer]] = {
    StatusQuestion: requests.status,
    RejectionsQuestion: rejections.page,
    RowQuestion: rows.row,
    RowsQuestion: rows.rows,
    ListQuestion: pages.page,
    RefusedQuestion: refused.writes,
    PouredQuestion: poured.messages,
    OpsQuestion: table.answer,
}


def read(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Answer a question of the API function, with Unavailable when the database does not.

    The event says for how many `seconds` the client waits; the answer takes no longer, even if the
    server hangs. A connection that was closed while idle costs one reconnect.
    Raises SchemaMismatch if the database is not as the models say.
    """
    asked = from_event(event)
    deadline = time.monotonic() + _seconds(asked, event, context)
    url = DatabaseSettings.from_environment().url

    def answer(held: Connection) -> Answer:
        with transaction(held, deadline, read_only=True) as running:
            return _ANSWERS[type(asked)](running, asked)

    try:
        return vars(reconnecting(url, _ROLE, deadline, answer))
    except Ended as ended:
        return vars(ended.answer)
    except DatabaseUnavailable as error:
        logger.warning("the database is unavailable: %s", error)
        return vars(Unavailable(True))


def _seconds(asked: Any, event: Mapping[str, Any], context: Any) -> float:
    seconds: float = context.get_remaining_time_in_millis() / 1000 - _MARGIN_SECONDS
    if not isinstance(asked, ListQuestion | OpsQuestion):
        seconds = min(seconds, _QUICK_SECONDS)
    return min(seconds, float(event.get("seconds", seconds)))
