"""Acts of operators: begun, done step by step by whoever asks for the next one, stopped, listed."""

import json
import re
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from uuid import uuid4

from chalicelib.api.http import idempotency
from chalicelib.api.http.answers import Answer
from chalicelib.api.http.request import Request, invalid_query, only
from chalicelib.api.ops import (
    asking,
    bodies,
    dead_letters,
    discard,
    filters,
    mappings,
    pages,
    resend,
)
from chalicelib.api.ops.act import Act, Kind, StepResult, read
from chalicelib.contract.json_text import render
from chalicelib.errors import Fault, Problem
from chalicelib.messages.receipt import fingerprint, keyed_id

_KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "resend": resend,
        "discard": discard,
        "pause": mappings,
        "resume": mappings,
        "redrive": dead_letters,
    }
)
"""Modules by the kind of act."""

_IN_PAGES = frozenset({"resend", "discard"})
"""Kinds whose steps follow each other at once, while there is time."""

_STEP_SECONDS = 5.0
"""After this time no further step begins in an answer."""

_FILTERS = ("kind", "who", "since", "until")
_UUID = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_CURSOR = re.compile(rf"[0-9]{{1,16}}\.{_UUID.pattern}")


def begin(request: Request) -> Answer:
    """POST /ops/acts: nothing is done yet but to record the act. With an Idempotency-Key, the same
    request is the same act, however often it is sent."""
    only(request.query)
    given = bodies.members(request)
    kind, note = _kind_and_note(given)
    retry_key = idempotency.idempotency_key(request.headers)
    mark = fingerprint(request.method, request.path, request.body)
    id_ = str(uuid4() if retry_key is None else keyed_id(request.caller.name, retry_key))
    if retry_key is not None and (known := _known(request, id_)):
        if known["fingerprint"] != mark:
            raise idempotency.reused()
        return _begun(known["act"])
    target = render(dict(_KINDS[kind].begin(request, given)))
    facts = {"id": id_, "kind": kind, "who": request.caller.name, "note": note}
    answer = asking.act(request, "begin", **facts, target=target, fingerprint=mark)
    return _begun(_done(answer.body)["act"])


def step(request: Request, id_: str) -> Answer:
    """POST /ops/acts/{id}/steps: the next step, or as many as fit into some 15 s. Of an act that is
    over, there is none, and the answer is the act as it is."""
    only(request.query)
    bodies.refuse(bodies.others(bodies.members(request)))
    found = _found(request, id_)["act"]
    while not (act := read(found)).is_over:
        result = _kind(act).step(request, act)
        found = _record(request, act, result)
        if result.state == "running" and (stopped := read(found)).state == "stopped":
            _kind(act).stop(request, stopped)  # meanwhile, when this step was not known yet
        if act.kind not in _IN_PAGES or time.monotonic() > request.until(_STEP_SECONDS):
            break
    return Answer(200, _shown(found))


def stop(request: Request, id_: str) -> Answer:
    """POST /ops/acts/{id}/stop: no further step is done. What was done stays done."""
    only(request.query)
    bodies.refuse(bodies.others(bodies.members(request)))
    found = _found(request, id_)["act"]
    act = read(found)
    if act.state == "done":
        raise Problem("conflict", f"the act {id_} is done: there is nothing left to stop")
    if act.state != "stopped":
        _kind(act).stop(request, act)
        found = _record(request, act, StepResult(0, 0, "stopped"))
    return Answer(200, _shown(found))


def listed(request: Request) -> Answer:
    """GET /ops/acts?kind=&who=&since=&until=&cursor=&limit=: the latest first."""
    sent = only(request.query, *_FILTERS, "cursor", "limit")
    faults: list[Fault] = []

    def report(name: str, detail: str) -> None:
        faults.append(Fault(f"?{name}", "query", detail))

    if "kind" in sent and sent["kind"] not in _KINDS:
        report("kind", f"it must be one of: {', '.join(_KINDS)}")
    if not filters.is_text(sent.get("who", "")):
        report("who", "it must be the name of a caller, as acts show it")
    texts = {name: text for name, text in sent.items() if name in ("kind", "who")}
    checked = texts | filters.times(sent, report)
    if faults:
        raise invalid_query(*faults)
    cursor = sent.get("cursor")
    if cursor is not None and not _CURSOR.fullmatch(cursor):
        raise pages.invalid_cursor()
    found = asking.read(request, "acts", filter=checked, after=cursor, limit=pages.limit(sent))
    return Answer(200, found.body, pages.link(request, found.next))


def one(request: Request, id_: str) -> Answer:
    """GET /ops/acts/{id}: with its last 100 steps, and with edited rows."""
    only(request.query)
    if not _UUID.fullmatch(id_):
        raise _no_such_act(id_)
    found = asking.read(request, "act-with-steps", id=id_)
    if not found.body:
        raise _no_such_act(id_)
    return Answer(200, found.body)


def _kind_and_note(given: Mapping[str, Any]) -> tuple[str, str]:
    kind = given.get("kind")
    faults: list[Fault] = []
    if not isinstance(kind, str) or kind not in _KINDS:
        faults.append(Fault("/kind", "enum", f"it must be one of: {', '.join(_KINDS)}"))
    note = bodies.note(given, faults)
    bodies.refuse(faults)
    return str(kind), note


def _kind(act: Act) -> Kind:
    """What is known to do. Raises Problem 409 for an act that another version has begun."""
    if act.kind not in _KINDS:
        raise Problem("conflict", f"this version of Decanter knows no acts of the kind {act.kind}")
    return _KINDS[act.kind]


def _known(request: Request, id_: str) -> dict[str, Any] | None:
    """An act, and the fingerprint of the request that has begun it; None if there is none."""
    text = asking.read(request, "act", id=id_).body if _UUID.fullmatch(id_) else ""
    known: dict[str, Any] | None = json.loads(text) if text else None
    return known


def _found(request: Request, id_: str) -> dict[str, Any]:
    """As `_known`. Raises Problem `no-such-entry`."""
    if known := _known(request, id_):
        return known
    raise _no_such_act(id_)


def _record(request: Request, act: Act, result: StepResult) -> dict[str, Any]:
    """The act with this step."""
    step = {
        "id": act.id,
        "number": act.steps,
        "who": request.caller.name,
        "done": result.done,
        "failed": result.failed,
        "state": result.state,
        "detail": dict(result.detail),
        "corrections": [*result.corrections],
    }
    recorded: dict[str, Any] = _done(asking.act(request, "record", **step).body)["act"]
    return recorded


def _done(text: str) -> dict[str, Any]:
    """What the operate function has done. Raises Problem where it has refused."""
    found: dict[str, Any] = json.loads(text)
    if "problem" in found:
        raise Problem(found["problem"], found["detail"])
    return found


def _begun(act: Mapping[str, Any]) -> Answer:
    return Answer(201, _shown(act), {"Location": f"/ops/acts/{act['id']}"})


def _shown(act: Mapping[str, Any]) -> dict[str, Any]:
    """The act without what only its next step needs."""
    return {name: value for name, value in act.items() if name not in ("detail", "steps")}


def _no_such_act(id_: str) -> Problem:
    return Problem("no-such-entry", f"there is no act {id_[:100]!r}; GET /ops/acts lists them")
