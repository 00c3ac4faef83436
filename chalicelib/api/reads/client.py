"""The client of the reader function, which alone may hold a connection for what the API reads."""

import json
import logging
import time
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

from chalicelib import aws
from chalicelib.contract import resources
from chalicelib.errors import Problem
from chalicelib.messages import questions
from chalicelib.messages.questions import Question, RowsQuestion, StatusQuestion
from chalicelib.messages.receipt import Receipt
from chalicelib.settings import IntakeSettings

logger = logging.getLogger("decanter.intake")

_Answer = TypeVar("_Answer")

_PATIENCE_SECONDS = 12.0
"""Longest wait for one answer of the reader function, the start of a container included."""

_ON_THE_WAY_SECONDS = 1.0
_LEAST_SECONDS = 0.5
_LOGGED_BYTES = 500


class Busy(Problem):
    """The reader cannot answer now, and may in a moment."""

    def __init__(self, detail: str, seconds: int = 1) -> None:
        super().__init__("reader-busy", detail, headers={"Retry-After": str(seconds)})


class RowTooLarge(Problem):
    """A row cannot be shown. next: where a list goes on behind it, if it was on one."""

    def __init__(self, next: str | None, headers: Mapping[str, str] | None = None) -> None:
        detail = "a row has more JSON text than an answer of Lambda holds (6 MB)"
        super().__init__("row-too-large-to-read", detail, headers=headers)
        self.next = next


def ask(question: Question[_Answer], deadline: float) -> _Answer:
    """What the reader answers, at the latest at the deadline, a time.monotonic().

    The question says how long somebody waits for its answer: nobody's questions are to take the
    place of others'. Raises Problem `reader-busy` or `row-too-large-to-read`.
    """
    function = IntakeSettings.from_environment().reader_function
    now = time.monotonic()
    deadline = min(deadline, now + _PATIENCE_SECONDS)
    seconds = max(_LEAST_SECONDS, deadline - now - _ON_THE_WAY_SECONDS)
    text = _invoked(function, questions.to_event(question, seconds), deadline)
    try:
        payload = json.loads(text)
    except (ValueError, RecursionError):  # it was cut, or is none of the reader's
        payload = None
    if not isinstance(payload, dict):
        raise _senseless(text)
    match questions.read_refusal(payload):
        case questions.Unavailable():
            raise Busy("the database does not answer now; writes are still accepted", 5)
        case questions.PageTooLarge(next=next_):
            raise RowTooLarge(next_)
        case questions.TooLarge():
            raise RowTooLarge(None)
    try:
        return question.read_answer(payload)
    except ValueError:
        raise _senseless(text) from None


def outcome(receipt: Receipt, deadline: float) -> dict[str, Any] | None:
    """The document that describes what became of a request; None while it is pending."""
    answer = ask(StatusQuestion(receipt), deadline)
    if answer.pending:
        return None
    try:
        document = json.loads(answer.body)
        if isinstance(document["state"], str) and isinstance(document["rejections"], list):
            return dict(document)
    except (ValueError, TypeError, KeyError):
        pass
    raise _senseless(answer.body.encode())


def rows(resource: resources.Resource, keys: str, deadline: float) -> list[str | None]:
    """JSON text of the rows with these keys (a JSON array of objects), None for a missing one."""
    return ask(RowsQuestion(resource.name, keys), deadline).rows


def _invoked(function: str, question: bytes, deadline: float) -> bytes:
    """What the reader function gives, as it came. Raises Problem `reader-busy`."""
    from botocore.exceptions import ClientError

    def call() -> tuple[bytes, bool]:
        reply = _client().invoke(FunctionName=function, Payload=question)
        return reply["Payload"].read(), "FunctionError" in reply

    try:
        text, has_failed = aws.within(deadline, call)
    except aws.Late:
        raise Busy("the reader function did not answer in time", 5) from None
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") == "TooManyRequestsException":
            raise Busy("the reader already answers as many reads as it may at once") from None
        logger.error("the reader function could not be called: %s", error)
        raise Busy("the reader function could not be called", 5) from error
    except Exception as error:  # the SDK lets through much of what its libraries raise
        logger.error("the reader function did not answer: %r", error)
        raise Busy("the reader function did not answer", 5) from error
    if has_failed:
        logger.error("the reader function failed: %s", text.decode(errors="replace"))
        raise Problem(
            "reader-busy",
            "the reader function failed, which was logged: the database may not be as the models"
            " say. Writes are still accepted",
            headers={"Retry-After": "30"},
        )
    return text


def _senseless(text: bytes) -> Problem:
    logger.error("the reader function answered what is no answer: %r", text[:_LOGGED_BYTES])
    return Busy("the reader function did not answer as it should", 5)


@cache
def _client() -> Any:
    return aws.client(
        "lambda",
        connect_timeout=2,
        read_timeout=_PATIENCE_SECONDS,
        retries={"mode": "standard", "total_max_attempts": 1},
    )
