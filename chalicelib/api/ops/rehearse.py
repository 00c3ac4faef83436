"""POST /ops/try: what would become of rejected writes now, as they were or edited."""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from chalicelib.api.http.answers import Answer
from chalicelib.api.http.request import Request, only
from chalicelib.api.ops import asking, bodies, rewrites, targets
from chalicelib.api.ops.rewrites import Rewrite
from chalicelib.api.ops.targets import MAX_IDS, RejectedWrite
from chalicelib.api.writes import rows
from chalicelib.errors import Fault, Problem
from chalicelib.messages.message import Message, RowSet, encode
from chalicelib.messages.receipt import Receipt, fingerprint, new_id


def try_(request: Request) -> Answer:
    """Have writes poured by the drain's code, and rolled back. Edited rows are checked against the
    contract first, with the problem that a request with this row has."""
    only(request.query)
    edits = _edits(bodies.members(request))
    known = targets.rejected(request, [*edits], with_rows=True)
    if missing := [id_ for id_ in edits if id_ not in known]:
        raise Problem("no-such-entry", f"there is no rejection {missing[0]}; none was tried")
    refused: dict[str, Mapping[str, Any]] = {}
    found: dict[str, Rewrite] = {}
    for number, (id_, edit) in enumerate(edits.items()):
        try:
            found[id_] = _rewrite(known[id_], edit, f"/writes/{number}/row")
        except Problem as problem:
            if edit:
                raise
            type_ = known[id_].type if problem.type == "invalid-act" else problem.type
            refused[id_] = {"outcome": "rejected", "type": type_, "reason": problem.detail}
    asked = _asked(request, [known[id_] for id_ in edits], found)
    outcomes = json.loads(asking.act(request, "try", writes=asked).body)["outcomes"]
    told = [{**each, **refused.get(each["id"], {})} for each in outcomes]
    order = ("id", "outcome", "type", "reason", "changed_since", "changed_at")
    return Answer(200, {"outcomes": [{name: each[name] for name in order} for each in told]})


def _edits(given: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The ids of the writes to try, each with its edited row, if it has one. Raises Problem
    `invalid-act`."""
    faults = bodies.others(given, "writes")
    writes = given.get("writes")
    if not isinstance(writes, list) or not 1 <= len(writes) <= MAX_IDS:
        faults.append(Fault("/writes", "type", f"it must be an array of 1 to {MAX_IDS} writes"))
        writes = []
    found: dict[str, list[Any]] = {}
    for number, each in enumerate(writes):
        pointer = f"/writes/{number}"
        if not isinstance(each, dict) or each.keys() - {"id", "row"}:
            detail = "it must be an object with an id, and the edited row, if it is edited"
            faults.append(Fault(pointer, "type", detail))
        elif not targets.is_id(each.get("id")):
            faults.append(Fault(f"{pointer}/id", "id", targets.ABOUT_ID))
        elif each["id"] in found:
            faults.append(Fault(f"{pointer}/id", "unique", "this id appears more than once"))
        else:
            found[each["id"]] = [each["row"]] if "row" in each else []
    bodies.refuse(faults)
    return found


def _rewrite(rejected: RejectedWrite, edit: Sequence[Any], pointer: str) -> Rewrite:
    return rewrites.edited(rejected, edit[0], pointer) if edit else rewrites.rewrite(rejected)


def _asked(
    request: Request, known: Sequence[RejectedWrite], found: Mapping[str, Rewrite]
) -> list[dict[str, Any]]:
    """What the operate function is given. Each write is a message of its own, of a request that
    nobody has sent."""
    now_ms = time.time_ns() // 1_000_000
    mark = fingerprint(request.method, request.path, request.body)
    receipt = Receipt(new_id(now_ms), now_ms, len(known), len(known), mark)
    asked: list[dict[str, Any]] = []
    for number, each in enumerate(known):
        write = found.get(each.id)
        body = write and encode(_message(receipt, receipt.dedup_id(number), write))
        asked.append({"id": each.id, "message": body, "has_key": rewrites.has_key(each)})
    return asked


def _message(receipt: Receipt, dedup_id: str, write: Rewrite) -> Message:
    (row,) = rows.to_split(write.resource, write.op, [write.row], receipt.id)
    digests = () if row.digest is None else (row.digest,)
    part = RowSet(row.members, (0,), digests, row.text, row.documents)
    common = (receipt.fingerprint, receipt.accepted_at, write.resource.name, write.op)
    return Message(dedup_id, *common, (part,))
