"""A stub of what reader and operate answer about acts of operators."""

import json
from typing import Any

import pytest

from chalicelib import asking
from chalicelib.messages.questions import OpsAnswer, OpsQuestion


class RecordedActs:
    """Acts by id, in place of the database; other questions are answered by `answers`, functions by
    the name of the question."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.kept: dict[str, dict[str, Any]] = {}
        self.answers: dict[str, Any] = {}
        self.asked: list[OpsQuestion] = []
        monkeypatch.setattr(asking, "ask", self.ask)

    def ask(self, question: Any, _deadline: float, _function: str = "") -> OpsAnswer:
        self.asked.append(question)
        given = question.given
        if answer := self.answers.get(question.what):
            return OpsAnswer(json.dumps(answer(**given)))
        match question.what:
            case "begin":
                return self._begin(**given)
            case "record":
                return self._record(**given)
            case "act":
                act = self.kept.get(given["id"])
                return OpsAnswer(json.dumps({"act": act, "fingerprint": ""}) if act else "")
            case "act-with-steps":
                return OpsAnswer(json.dumps(self.kept[given["id"]]))
        raise AssertionError(question.what)

    def _begin(self, id: str, kind: str, who: str, note: str, target: str, **_: Any) -> OpsAnswer:
        self.kept[id] = {
            "id": id, "kind": kind, "who": who, "note": note, "target": json.loads(target),
            "writes": None, "done": 0, "failed": 0, "state": "begun", "steps": 0, "detail": {},
            **dict.fromkeys(("begun_at", "last_at"), "2026-01-31T12:00:00.000+00:00"),
        }  # fmt: skip
        return OpsAnswer(json.dumps({"act": self.kept[id]}))

    def _record(
        self, id: str, done: int, failed: int, state: str, detail: Any, **_: Any
    ) -> OpsAnswer:
        act = self.kept[id]
        state = "stopped" if act["state"] == "stopped" else state
        act |= {
            "done": act["done"] + done, "failed": act["failed"] + failed, "state": state,
            "steps": act["steps"] + 1, "detail": dict(detail),
        }  # fmt: skip
        return OpsAnswer(json.dumps({"act": act}))
