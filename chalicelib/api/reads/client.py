"""What the API function asks the reader function."""

import json
from typing import Any

from chalicelib.asking import Busy, RowTooLarge, ask, invalid_answer
from chalicelib.contract import resources
from chalicelib.messages.questions import RowsQuestion, StatusQuestion
from chalicelib.messages.receipt import Receipt

__all__ = ["Busy", "RowTooLarge", "ask", "outcome", "rows"]


def outcome(receipt: Receipt, deadline: float) -> dict[str, Any] | None:
    """The document of a request's outcome; None while it is pending."""
    answer = ask(StatusQuestion(receipt), deadline)
    if answer.pending:
        return None
    try:
        document = json.loads(answer.body)
        if isinstance(document["state"], str) and isinstance(document["rejections"], list):
            return dict(document)
    except (ValueError, TypeError, KeyError):
        pass
    raise invalid_answer(answer.body.encode())


def rows(resource: resources.Resource, keys: str, deadline: float) -> list[str | None]:
    """JSON text of the rows with these keys (a JSON array of objects), None for a missing one."""
    return ask(RowsQuestion(resource.name, keys), deadline).rows
