"""Requests with an Idempotency-Key: the first answer is kept in the front table, and repeated."""

import json
import time
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from chalicelib.api.http import idempotency
from chalicelib.api.http.answers import Answer
from chalicelib.buffer.dynamodb import entries, table
from chalicelib.buffer.dynamodb.entries import Entry
from chalicelib.buffer.dynamodb.table import Action
from chalicelib.errors import Fault, Problem

KEPT = frozenset({"conflict", "missing-parent", "no-such-row", "precondition-failed"})
"""Types of problems that are kept as an answer: the row as it was decided them. After others, the
same request may be sent again."""


def keep(pk: str, fingerprint: str, answer: Answer | Problem | None) -> Action:
    """The action that keeps the answer to a request under its key record's name; None for an answer
    that is made again."""
    now = int(time.time())
    text = None if answer is None else json.dumps(_described(answer), ensure_ascii=False)
    record = entries.key_record(pk, fingerprint, text, now)
    return Action("Put", entries.record_entry(record), table.is_forgotten(now))


def kept(entry: Entry | None, fingerprint: str) -> Answer | None:
    """The answer that was kept for the same request; None if none was. Raises Problem: the kept
    one, or 422 if another request had the key."""
    if entry is None:
        return None
    try:
        record = entries.read_record(entry)
        described = json.loads(record.answer or "null")
    except ValueError:
        raise _unreadable() from None
    if record.ttl < time.time():
        return None
    if record.fingerprint != fingerprint:
        raise idempotency.reused()
    return _answer(described)


def answered(entry: Entry | None, fingerprint: str) -> Answer | None:
    """As `kept`, for a resource that answers at once. Raises Problem also where the same request
    was sent while the resource was behind SQS: what became of it is not known here."""
    answer = kept(entry, fingerprint)
    if answer is None and entry is not None and entries.read_record(entry).ttl >= time.time():
        raise Problem(
            "conflict",
            "this request was sent before, when the resource was behind a queue: its receipt tells"
            " the outcome. Read the row, and send what is missing with a new Idempotency-Key",
        )
    return answer


def take(request: UUID, fingerprint: str, deadline: float) -> Answer | None:
    """Take an Idempotency-Key for a request to a resource behind SQS, whose receipt is the same
    each time; returns the answer that the request got while the resource was behind the front
    table, if it did. Raises Problem: that one, or 422 if another request had the key."""
    pk = entries.record_pk(request)
    outcome = table.write([keep(pk, fingerprint, None)], deadline)
    return kept(outcome.refused[0], fingerprint) if outcome.refused else None


def _described(answer: Answer | Problem) -> Mapping[str, Any]:
    if isinstance(answer, Problem):
        faults = [list(fault) for fault in answer.faults]
        return {"problem": answer.type, "detail": answer.detail, "faults": faults}
    return {"status": answer.status, "headers": dict(answer.headers), "body": answer.body}


def _answer(described: Any) -> Answer | None:
    if described is None:
        return None
    try:
        if "problem" not in described:
            return Answer(described["status"], described["body"], described["headers"])
        faults = [Fault(*fault) for fault in described["faults"]]
        problem = Problem(described["problem"], described["detail"], faults)
    except (KeyError, TypeError):
        raise _unreadable() from None
    raise problem


def _unreadable() -> Problem:
    return Problem(
        "item-damaged",
        "what is kept under this Idempotency-Key was changed in DynamoDB by other hands; read the"
        " row, and send what is missing with a new key",
    )
