"""Dead letters: a look at them, and acts that move them back to their queue, at a pace.

A message keeps its identity on the way: what was poured before is not poured again. Its writes to
keys that have a newer one by then are rejected as superseded, by the drain.
"""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from chalicelib.api.http.answers import Answer
from chalicelib.api.http.request import Request, invalid_query, only
from chalicelib.api.ops import asking, bodies
from chalicelib.api.ops.act import Act, StepResult
from chalicelib.buffer.sqs import dead_letters
from chalicelib.buffer.sqs.dead_letters import DeadLetter, DeadLetterQueue, MoveTask
from chalicelib.errors import Fault, ForeignMessage, NewerMessage, Problem
from chalicelib.messages.message import Message, decode
from chalicelib.messages.place import moment
from chalicelib.settings import IntakeSettings

BUFFERS = ("ordered", "unordered")
"""Those with a dead-letter queue."""

_WHICH = (
    "it must be ordered or unordered. The stream of the front table has no dead-letter queue: what"
    " Postgres refuses of it is a rejection, everything else is tried again for 24 hours, and then"
    " `python -m decanter reconcile` pours it from the table"
)
_MOST = 100
_MOST_KEYS = 20_000
"""Keys for which the reader is asked for newer writes, of all messages together."""

_LOOK_SECONDS = 10.0
_STEP_SECONDS = 10.0
_PAUSE_SECONDS = 1.0


class _Read(NamedTuple):
    """A dead letter and what could be read of it. reason: why it could not be."""

    letter: DeadLetter
    message: Message | None
    reason: str | None

    @property
    def digests(self) -> list[int]:
        return (
            [digest for rows in self.message.sets for digest in rows.digests]
            if self.message
            else []
        )


def look(request: Request) -> Answer:
    """GET /ops/dead-letters?buffer="""
    buffer = only(request.query, "buffer").get("buffer")
    if buffer not in BUFFERS:
        raise invalid_query(Fault("?buffer", "query", _WHICH))
    queue = _queue(buffer)
    letters = dead_letters.look(queue.url, _MOST, request.until(_LOOK_SECONDS))
    read = [_read(each) for each in letters]
    outcomes, unknown = _outcomes(request, read)
    if len(letters) < queue.messages:
        of_lanes = " Of each lane, SQS shows the first ones alone." if buffer == "ordered" else ""
        why = f"{len(letters)} of some {queue.messages:,} dead letters are shown.{of_lanes}"
        unknown.append({"what": "messages", "why": why})
    return Answer(
        200,
        {
            "buffer": buffer,
            "count": max(queue.messages, len(letters)),
            "messages": [_shown(each, outcomes) for each in read],
            "unknown": unknown,
        },
    )


def begin(request: Request, body: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: ARG001
    """The dead letters to move, and at which pace. Raises Problem 409 if there are none, or are
    being moved already."""
    faults = bodies.others(body, "kind", "note", "buffer", "per_second")
    buffer, pace = body.get("buffer"), body.get("per_second")
    if buffer not in BUFFERS:
        faults.append(Fault("/buffer", "enum", _WHICH))
    if type(pace) is not int or not 1 <= pace <= dead_letters.MOST_PER_SECOND:
        most = dead_letters.MOST_PER_SECOND
        detail = f"it must be how many messages are moved a second, from 1 to {most}"
        faults.append(Fault("/per_second", "range", detail))
    bodies.refuse(faults)
    queue = _queue(str(buffer))
    if not queue.messages:
        raise Problem("conflict", f"the {buffer} buffer has no dead letters, by SQS' count")
    _refuse_running(queue)
    return {"buffer": buffer, "per_second": pace, "messages": queue.messages}


def step(request: Request, act: Act) -> StepResult:
    """Begin to move the dead letters, which is recorded at once, so that it can be stopped; or see
    how far that has come. `done` counts messages."""
    queue = _queue(str(act.target["buffer"]))
    deadline = request.until(_STEP_SECONDS)
    known = act.detail
    if not act.steps:
        known = {"after": _refuse_running(queue)}
        dead_letters.start(queue.url, int(act.target["per_second"]))
        return _result(act, known, _task(queue, known))
    while (found := _task(queue, known)) and found.is_running:
        if time.monotonic() + _PAUSE_SECONDS > deadline:
            break
        time.sleep(_PAUSE_SECONDS)
    return _result(act, known, found)


def stop(request: Request, act: Act) -> None:  # noqa: ARG001
    """Stop the move; what was moved is poured."""
    found = _task(_queue(str(act.target["buffer"])), act.detail) if act.steps else None
    if found and found.is_running:
        dead_letters.cancel(found)


def _queue(buffer: str) -> DeadLetterQueue:
    url = IntakeSettings.from_environment().queue_url(is_ordered=buffer == "ordered")
    return dead_letters.queue_of(url)


def _refuse_running(queue: DeadLetterQueue) -> int:
    """When the latest move has begun, 0 if there was none. Raises Problem 409 while one runs."""
    found = dead_letters.tasks(queue.url)
    for each in found:
        if each.is_running:
            since = moment(each.started_at * 1000)
            detail = f"these dead letters are being moved since {since}: wait, or stop that act"
            raise Problem("conflict", detail)
    return found[0].started_at if found else 0


def _task(queue: DeadLetterQueue, known: Mapping[str, Any]) -> MoveTask | None:
    """The move of an act; None if SQS does not list it, yet or any more. known: the detail of the
    act's last step: when the move has begun, or the one before it."""
    for each in dead_letters.tasks(queue.url):
        begun = known.get("started_at")
        if each.started_at == begun or (begun is None and each.started_at > known["after"]):
            return each
    return None


def _result(act: Act, known: Mapping[str, Any], task: MoveTask | None) -> StepResult:
    if task is None and "started_at" not in known:
        return StepResult(0, 0, "running", known)
    if task is None:
        why = "SQS does not list this move any more, so it is not known how it has ended"
        return StepResult(0, 0, "stopped", {**known, "reason": why})
    detail = {
        "started_at": task.started_at,
        "status": task.status,
        "moved": task.moved,
        "to_move": task.to_move,
        **({"reason": task.why} if task.why else {}),
    }
    moved = max(0, task.moved - int(act.detail.get("moved", 0)))
    if task.is_running:
        return StepResult(moved, 0, "running", detail)
    return StepResult(moved, 0, "done" if task.status == "COMPLETED" else "stopped", detail)


def _read(letter: DeadLetter) -> _Read:
    try:
        return _Read(letter, decode(letter.body), None)
    except (NewerMessage, ForeignMessage) as error:
        return _Read(letter, None, str(error))


def _outcomes(
    request: Request, read: Sequence[_Read]
) -> tuple[Mapping[str, Any], list[dict[str, str]]]:
    """What the database knows of the messages, by dedup ID, and what is not known."""
    known: list[list[Any]] = []
    keys = 0
    unknown: list[dict[str, str]] = []
    for each in read:
        if each.message is None:
            continue
        digests = each.digests
        keys += len(digests)
        if keys > _MOST_KEYS:
            digests = []
        message = each.message
        known.append([message.dedup_id, message.accepted_at, message.resource, digests])
    if keys > _MOST_KEYS:
        why = f"the messages have {keys:,} keys, and newer writes are looked for to {_MOST_KEYS:,}"
        unknown.append({"what": "messages.newer", "why": why})
    if not known:
        return {}, unknown
    try:
        found = json.loads(asking.read(request, "dead-letters", letters=known).body)
    except Problem as problem:
        why = f"the database was not asked: {problem.detail}"
        return {}, [*unknown, {"what": "messages.poured", "why": why},
                    {"what": "messages.newer", "why": why}]  # fmt: skip
    return found["outcomes"], [*unknown, *found["unknown"]]


def _shown(read: _Read, outcomes: Mapping[str, Any]) -> dict[str, Any]:
    message, letter = read.message, read.letter
    outcome = outcomes.get(message.dedup_id, {}) if message else {}
    return {
        "message_id": letter.message_id,
        "id": message and message.dedup_id,
        "resource": message and message.resource,
        "op": message and message.op,
        "writes": message and message.writes,
        "accepted_at": message and moment(message.accepted_at * 1000),
        "sent_at": moment(letter.sent_at * 1000),
        "receives": letter.receives,
        "poured": outcome.get("poured"),
        "newer": outcome.get("newer"),
        "reason": read.reason,
    }
