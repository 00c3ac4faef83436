"""Stubs of the reader function and of the clock."""

import io
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from chalicelib import asking, aws
from chalicelib.api.http import request
from chalicelib.api.reads import waiting
from chalicelib.buffer.sqs import backlog, put
from chalicelib.messages.receipt import Receipt, issue, new_id
from tests.kit.api import RECEIPT_KEY

NEVER = math.inf


@dataclass
class Clock:
    """A clock on which neither sleeping nor a call takes real time; only `sleep` advances it."""

    now: float = 1_000.0
    sleeps: list[float] = field(default_factory=list)

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds

    def within(self, deadline: float, call: Callable[[], Any]) -> Any:
        """Replaces `aws.within`."""
        if self.now >= deadline:
            raise aws.Late
        try:
            return call()
        finally:
            if self.now > deadline:
                self.now = deadline
                raise aws.Late


def stop_time(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Replace the clock of the API function."""
    clock = Clock()
    for module in (asking, backlog, put, request, waiting):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(aws, "within", clock.within)
    return clock


class Body(io.BytesIO):
    """The body of an answer. breaks: the exception that reading it raises."""

    def __init__(self, content: bytes, breaks: Exception | None = None) -> None:
        super().__init__(content)
        self.breaks = breaks

    def read(self, size: int | None = -1) -> bytes:
        if self.breaks:
            raise self.breaks
        return super().read(size)


class Reader:
    """Answers Invoke like Lambda: each question with the next answer, and the last one repeatedly.
    An exception is raised, a function is called; bytes and a Body are sent unchanged.

    more: further members of the reply. asked: the questions so far. seconds: the time that each
    question gave the reader.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: Any, **more: Any) -> None:
        self.answers = list(answers)
        self.more = more
        self.asked: list[dict[str, Any]] = []
        self.seconds: list[float] = []
        monkeypatch.setattr(asking, "_client", lambda: self)

    def invoke(self, FunctionName: str, Payload: bytes) -> dict[str, Any]:
        assert FunctionName == "reader"
        question = json.loads(Payload)
        self.seconds.append(question.pop("seconds"))
        self.asked.append(question)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if callable(answer):
            answer = answer()
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, bytes):
            answer = Body(answer)
        if not isinstance(answer, Body):
            answer = Body(json.dumps(answer).encode())
        return {"Payload": answer, **self.more}


RECEIPT = Receipt(new_id(7), 7, 2, 5, "0" * 32)
TOKEN = issue(RECEIPT, RECEIPT_KEY.encode(), "me")
FIELDS = {
    "id": str(RECEIPT.id),
    "accepted_at": 7,
    "messages": 2,
    "writes": 5,
    "fingerprint": "0" * 32,
}
