"""Whether the buffers are poured, and acts that pause and resume that.

Writes go on being accepted by a paused buffer, and wait there. What already waits in the database
goes on being poured: it was taken from its buffer before.
"""

import time
from collections.abc import Mapping
from typing import Any

from chalicelib.api.http.answers import Answer
from chalicelib.api.http.request import Request, only
from chalicelib.api.ops import bodies
from chalicelib.api.ops.act import Act, StepResult
from chalicelib.buffer import mappings
from chalicelib.buffer.mappings import MappingState
from chalicelib.errors import Fault, Problem

_STEP_SECONDS = 10.0
_PAUSE_SECONDS = 0.5
_ON_THE_WAY = {"pause": "Disabling", "resume": "Enabling"}
"""Lambda's word until each kind of act is done."""


def listed(request: Request) -> Answer:
    """GET /ops/mappings."""
    only(request.query)
    found = mappings.states(request.until(_STEP_SECONDS))
    unknown = [
        {"what": f"mappings.{each.buffer}", "why": each.why} for each in found if each.state is None
    ]
    return Answer(200, {"mappings": [shown(each) for each in found], "unknown": unknown})


def shown(found: MappingState) -> dict[str, Any]:
    """The state of a mapping as operators see it."""
    return {
        "buffer": found.buffer,
        "state": found.state,
        "paused": found.paused,
        "changed_at": found.changed_at,
    }


def begin(request: Request, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The buffer to pause or to resume. Raises Problem 409 for one that is so already."""
    buffer = checked_buffer(body, mappings.buffers(), ("kind", "note", "buffer"))
    found = _state(buffer, request.until(_STEP_SECONDS))
    wants_pause = body["kind"] == "pause"
    if found.paused == wants_pause:
        since = f", changed at {found.changed_at}" if found.changed_at else ""
        what = "paused already" if wants_pause else "not paused"
        detail = f"the {buffer} buffer is {what}: its mapping is {found.state}{since}"
        raise Problem("conflict", detail)
    return {"buffer": buffer, "state": found.state}


def step(request: Request, act: Act) -> StepResult:
    """Tell Lambda, and wait until it has done so, or for the next step. Only the first step tells
    it: an old act must not undo what somebody has done since."""
    buffer, wants_pause = str(act.target["buffer"]), act.kind == "pause"
    deadline = request.until(_STEP_SECONDS)
    found = _state(buffer, deadline) if act.steps else _tell(buffer, wants_pause, deadline)
    while found.state == _ON_THE_WAY[act.kind] and time.monotonic() < deadline:
        time.sleep(_PAUSE_SECONDS)
        found = _state(buffer, deadline)
    if found.paused != wants_pause:
        why = f"somebody else has changed the mapping since: it is {found.state}"
        return StepResult(0, 0, "stopped", {**shown(found), "reason": why})
    is_done = found.state != _ON_THE_WAY[act.kind]
    return StepResult(0, 0, "done" if is_done else "running", shown(found))


def stop(request: Request, act: Act) -> None:
    """Nothing goes on by itself: to undo a pause, resume the buffer."""


def checked_buffer(body: Mapping[str, Any], known: list[str], members: tuple[str, ...]) -> str:
    """The buffer that a body names, one of these. members: that the body may have. Raises Problem
    422."""
    faults = bodies.others(body, *members)
    buffer = body.get("buffer")
    if buffer not in known:
        faults.append(Fault("/buffer", "enum", f"it must be one of: {', '.join(known)}"))
    bodies.refuse(faults)
    return str(buffer)


def _state(buffer: str, deadline: float) -> MappingState:
    """The state of a buffer's mapping. Raises Problem 503 if it is not known."""
    [found] = [each for each in mappings.states(deadline) if each.buffer == buffer]
    if found.state is None:
        raise Problem("unavailable", f"the state of the {buffer} buffer is not known: {found.why}")
    return found


def _tell(buffer: str, wants_pause: bool, deadline: float) -> MappingState:
    """Have Lambda pause a buffer, or resume it. Raises Problem 503 if it is busy with another
    change of the mapping all the time."""
    while True:
        found = mappings.set_enabled(buffer, not wants_pause, deadline)
        if found.paused == wants_pause:
            return found
        if time.monotonic() > deadline:
            detail = f"another change of the mapping of {buffer} is not done yet; try again"
            raise Problem("unavailable", detail, headers={"Retry-After": "5"})
        time.sleep(_PAUSE_SECONDS)
