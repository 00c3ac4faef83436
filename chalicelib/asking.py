"""Questions to the functions that hold a database connection, for functions without one."""

import json
import logging
import time
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

from chalicelib import aws
from chalicelib.errors import Problem
from chalicelib.messages import questions
from chalicelib.messages.questions import Question
from chalicelib.settings import reader_function

logger = logging.getLogger("decanter.intake")

_Answer = TypeVar("_Answer")

_PATIENCE_SECONDS = 12.0
"""Longest wait for an answer of the reader function, including the start of a container."""

_TRANSFER_SECONDS = 1.0
_LEAST_SECONDS = 0.5
_LOGGED_BYTES = 500


class Busy(Problem):
    """The reader cannot answer now, but may in a moment."""

    def __init__(self, detail: str, seconds: int = 1) -> None:
        super().__init__("reader-busy", detail, headers={"Retry-After": str(seconds)})


class RowTooLarge(Problem):
    """A row is too large for an answer. next: where its list continues, if it is in one."""

    def __init__(self, next: str | None, headers: Mapping[str, str] | None = None) -> None:
        detail = "a row has more JSON than a Lambda response holds (6 MB)"
        super().__init__("row-too-large-to-read", detail, headers=headers)
        self.next = next


def ask(question: Question[_Answer], deadline: float, function: str = "") -> _Answer:
    """The answer of the reader, or of another function, by the deadline, a time.monotonic().

    The event says how long the client waits, so that the function stops working on questions whose
    clients are gone. Raises Problem `reader-busy` or `row-too-large-to-read`.
    """
    name = "operate" if function else "reader"
    function = function or reader_function()
    now = time.monotonic()
    deadline = min(deadline, now + _PATIENCE_SECONDS)
    seconds = max(_LEAST_SECONDS, deadline - now - _TRANSFER_SECONDS)
    text = _invoke(function, name, questions.to_event(question, seconds), deadline)
    try:
        payload = json.loads(text)
    except (ValueError, RecursionError):  # cut off, or not from the reader
        payload = None
    if not isinstance(payload, dict):
        raise invalid_answer(text)
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
        raise invalid_answer(text) from None


def _invoke(function: str, name: str, question: bytes, deadline: float) -> bytes:
    """The payload of a function's answer. name: as the project calls it. Raises Problem
    `reader-busy`."""
    from botocore.exceptions import ClientError

    def call() -> tuple[bytes, bool]:
        reply = _client().invoke(FunctionName=function, Payload=question)
        return reply["Payload"].read(), "FunctionError" in reply

    try:
        text, has_failed = aws.within(deadline, call)
    except aws.Late:
        raise Busy(f"the {name} function did not answer in time", 5) from None
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") == "TooManyRequestsException":
            raise Busy(f"the {name} function already handles as many calls as it may") from None
        logger.error("the %s function could not be called: %s", name, error)
        raise Busy(f"the {name} function could not be called", 5) from error
    except Exception as error:  # the SDK does not wrap all errors of its libraries
        logger.error("the %s function did not answer: %r", name, error)
        raise Busy(f"the {name} function did not answer", 5) from error
    if has_failed:
        logger.error("the %s function failed: %s", name, text.decode(errors="replace"))
        raise Problem(
            "reader-busy",
            f"the {name} function failed, and logged why: the database may not match the models."
            " Writes are still accepted",
            headers={"Retry-After": "30"},
        )
    return text


def invalid_answer(text: bytes) -> Problem:
    """The problem of an answer that the reader never gives."""
    logger.error("the reader function gave an invalid answer: %r", text[:_LOGGED_BYTES])
    return Busy("the reader function gave an invalid answer", 5)


@cache
def _client() -> Any:
    return aws.client("lambda", tries=1, read_timeout=_PATIENCE_SECONDS)
