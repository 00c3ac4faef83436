"""Acts of operators in the database: each, and each of its steps, is recorded once."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from chalicelib.messages.questions import OpsAnswer
from chalicelib.postgres.connecting.connection import Transaction, transaction
from chalicelib.postgres.connecting.session import Connection
from chalicelib.postgres.ops import acts
from chalicelib.postgres.ops.acts import RecordedStep

_NAMED = 5
"""Most rejections that a refusal names."""


def begin(
    connection: Connection,
    deadline: float,
    id: str,
    kind: str,
    who: str,
    note: str,
    target: str,
    fingerprint: str,
) -> OpsAnswer:
    """Record an act, unless the request that it comes from has done so before: then it is that
    one. target: JSON, with `ids` or `checked`, a checked filter, if it is about rejections, and
    `expect`, how many of them the operator was shown.

    The answer is `{"act"}`, or `{"problem", "detail"}` if nothing was begun.
    """
    aim = json.loads(target)
    with transaction(connection, deadline) as running:
        acts.lock(running, id)
        known = acts.find(running, id)
        if known is None:
            writes, refusal = _writes(running, aim)
            if refusal:
                return refusal
            kept = f'{{"fingerprint": {json.dumps(fingerprint)}, {target[1:]}'
            act = {"id": id, "kind": kind, "who": who, "note": note, "target": kept}
            acts.begin(running, {**act, "writes": writes})
            known = acts.find(running, id)
        if known is None or known.fingerprint != fingerprint:
            return _problem(
                "key-reused",
                "another act was begun with this Idempotency-Key; send this one with a new key",
            )
        return OpsAnswer(f'{{"act": {known.text}}}')


def record(
    connection: Connection,
    deadline: float,
    id: str,
    number: int,
    who: str,
    done: int,
    failed: int,
    state: str,
    detail: Mapping[str, Any],
    corrections: Sequence[tuple[str, str | None, int | None]],
) -> OpsAnswer:
    """Record a step of an act, and the rejections that it corrects.

    number: of the steps that were recorded when it began. If the same step was recorded meanwhile,
    by another operator who did it too, only corrections that it lacks are added. An act that was
    stopped meanwhile remains stopped.
    """
    with transaction(connection, deadline) as running:
        acts.lock(running, id)
        steps = acts.steps(running, id)
        meanwhile = [each for each in steps if each.number >= number]
        is_repeated = any(each.writes or each.state != "stopped" for each in meanwhile)
        new, others = acts.correct(running, id, corrections)
        if not (is_repeated and not new):
            refused = [] if is_repeated else _of_others(others)
            lost = 0 if is_repeated else failed + len(refused)
            step = {
                "act": id,
                "step": steps[-1].number + 1 if steps else 0,
                "who": who,
                "done": len(new) if corrections else done,
                "failed": lost,
                "state": _state(steps, state),
                "detail": _detail(detail, refused, meanwhile),
            }
            acts.add_step(running, step)
        found = acts.find(running, id)
        return OpsAnswer(f'{{"act": {found.text if found else "null"}}}')


def _writes(running: Transaction, target: Mapping[str, Any]) -> tuple[int | None, OpsAnswer | None]:
    """How many writes an act is to be done to, None if it is not about rejections; or why it may
    not begin."""
    if "ids" in target:
        return len(target["ids"]), _closed(running, target["ids"])
    if "checked" not in target:
        return None, None
    writes = acts.count(running, target)
    if writes == target["expect"]:
        return writes, None
    detail = (
        f"{writes} open rejections match now, and you were shown {target['expect']}: look at them"
        " again, and send the new number as `expect`"
    )
    return None, _problem("conflict", detail)


def _closed(running: Transaction, ids: Sequence[str]) -> OpsAnswer | None:
    """The problem of ids that are no open rejections."""
    closed = acts.closed(running, ids)
    if not closed:
        return None
    missing = [id_ for id_, act in closed if act is None]
    if missing:
        names = ", ".join(missing[:_NAMED])
        return _problem("no-such-entry", f"there is no rejection {names}; nothing was begun")
    names = ", ".join([f"{id_} (by act {act})" for id_, act in closed[:_NAMED]])
    detail = f"{len(closed)} of these rejections were corrected before: {names}; nothing was begun"
    return _problem("conflict", detail)


def _state(steps: Sequence[RecordedStep], state: str) -> str:
    return "stopped" if any(each.state == "stopped" for each in steps) else state


def _detail(
    detail: Mapping[str, Any],
    refused: Sequence[Mapping[str, str]],
    meanwhile: Sequence[RecordedStep],
) -> Mapping[str, Any]:
    """The detail of a step, with what the database has refused, and never a place before one that
    the act has come to."""
    found = dict(detail)
    if refused:
        found["failed"] = [*found.get("failed", []), *refused[:_NAMED]]
    places = [each.after for each in meanwhile if each.after]
    places += [found["after"]] if found.get("after") else []
    if places:
        found["after"] = max(places, key=tuple)
    return found


def _of_others(others: Mapping[str, str]) -> list[dict[str, str]]:
    return [
        {"id": id_, "reason": f"act {act} has corrected it meanwhile"}
        for id_, act in others.items()
    ]


def _problem(type_: str, detail: str) -> OpsAnswer:
    return OpsAnswer(json.dumps({"problem": type_, "detail": detail}))
