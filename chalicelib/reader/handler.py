"""The reader function: what the API may know of the database. Read only, on one connection."""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from chalicelib.errors import DatabaseUnwell
from chalicelib.postgres.connecting.connection import Transaction, connection, forget, transaction
from chalicelib.reader import pages, requests, rows
from chalicelib.reader.answer import Ended
from chalicelib.settings import DatabaseSettings

logger = logging.getLogger("decanter.reader")

_ROLE = "reader"
_MARGIN_SECONDS = 2.0
_QUICK_SECONDS = 5.0
"""For what takes milliseconds when the database is well."""

_ANSWERS: dict[str, Callable[[Transaction, Mapping[str, Any]], dict[str, Any]]] = {
    "status": requests.status,
    "row": rows.row,
    "rows": rows.rows,
    "part": rows.row,
    "list": pages.page,
    "search": pages.page,
    "counted": pages.counted,
}

_LISTS = ("list", "search", "counted")


def read(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Answer a question of the API function; `{"unwell": true}` when the database does not.

    The question says for how many `seconds` somebody waits: the answer takes no longer, even where
    the server is frozen. A connection that was closed while it sat idle costs one reconnect.
    Raises DatabaseMisfit if the database is not as the models say.
    """
    deadline = time.monotonic() + _seconds(event, context)
    url = DatabaseSettings.from_environment().url
    for last_try in (False, True):
        try:
            with transaction(connection(url, _ROLE, deadline), deadline, read_only=True) as running:
                return _ANSWERS[event["ask"]](running, event)
        except Ended as ended:
            return ended.answer
        except DatabaseUnwell as error:
            forget(_ROLE)
            if last_try or time.monotonic() >= deadline:
                logger.warning("the database is unwell: %s", error)
                break
    return {"unwell": True}


def _seconds(event: Mapping[str, Any], context: Any) -> float:
    seconds: float = context.get_remaining_time_in_millis() / 1000 - _MARGIN_SECONDS
    if event["ask"] not in _LISTS:
        seconds = min(seconds, _QUICK_SECONDS)
    return min(seconds, float(event.get("seconds", seconds)))
