"""Stands where the reader function is."""

import io
import json
from typing import Any

import pytest

from chalicelib.intake import reading
from chalicelib.receipt import Receipt, issue, new_id
from tests.unit.conftest import RECEIPT_KEY


class Reader:
    """Answers Invoke as Lambda does: each question with the next answer, the last one again and
    again. An exception is raised.

    more: what else the reply has. asked: the questions so far.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: Any, **more: Any) -> None:
        self.answers = list(answers)
        self.more = more
        self.asked: list[dict[str, Any]] = []
        monkeypatch.setattr(reading, "_client", lambda: self)

    def invoke(self, FunctionName: str, Payload: bytes) -> dict[str, Any]:
        assert FunctionName == "reader"
        self.asked.append(json.loads(Payload))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return {"Payload": io.BytesIO(json.dumps(answer).encode()), **self.more}


RECEIPT = Receipt(new_id(7), 7, 2, 5, "0" * 32)
TOKEN = issue(RECEIPT, RECEIPT_KEY.encode(), "me")
FIELDS = {
    "id": str(RECEIPT.id),
    "accepted_at": 7,
    "messages": 2,
    "writes": 5,
    "fingerprint": "0" * 32,
}
