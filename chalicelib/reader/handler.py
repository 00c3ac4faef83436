"""The reader function: what the API may know of the database. Read only, on one connection."""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from chalicelib.database.connection import Transaction, connection, forget, transaction
from chalicelib.errors import DatabaseUnwell
from chalicelib.reader import questions
from chalicelib.settings import DatabaseSettings

logger = logging.getLogger("decanter.reader")

_ROLE = "reader"
_MARGIN_SECONDS = 2.0

_ANSWERS: dict[str, Callable[[Transaction, Mapping[str, Any]], dict[str, Any]]] = {
    "status": questions.status,
    "row": questions.row,
}


def read(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Answer a question of the API function; `{"unwell": true}` when the database does not.

    A connection that was closed while it sat idle costs one reconnect.
    """
    deadline = time.monotonic() + context.get_remaining_time_in_millis() / 1000 - _MARGIN_SECONDS
    url = DatabaseSettings.from_environment().url
    for last_try in (False, True):
        try:
            with transaction(connection(url, _ROLE, deadline), deadline, read_only=True) as running:
                return _ANSWERS[event["ask"]](running, event)
        except DatabaseUnwell as error:
            forget(_ROLE)
            if last_try:
                logger.warning("the database is unwell: %s", error)
    return {"unwell": True}
