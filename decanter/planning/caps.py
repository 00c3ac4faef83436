"""Caps that a plan has found → the settings of a stage in ``.chalice/config.json``.

The file is edited as text, so that everything else in it stays as it was written.
"""

import json
import re
from collections.abc import Mapping, Sequence
from difflib import unified_diff
from pathlib import Path
from typing import Any, NamedTuple

from chalicelib.stage import cap_variable
from decanter.deployment import functions
from decanter.deployment.budget import OVERLAP
from decanter.deployment.stage import CONFIG_FILE
from decanter.planning.documents import PlanningError
from decanter.planning.plan import Plan

_SPACE = re.compile(r"[ \t\n\r]*")
_decode = json.JSONDecoder().raw_decode


def write(project: Path, stage: str, plan: Plan) -> str:
    """Set the caps of a stage to those of a plan; return the difference, empty if there is none.
    Raises PlanningError, and changes nothing, if they do not suffice."""
    _refuse(plan)
    path = project / CONFIG_FILE
    before = path.read_text(encoding="utf-8")
    after = before
    for place, value in _settings(stage, plan):
        after = edited(after, place, value)
    path.write_text(after, encoding="utf-8")
    old, new = (each.splitlines(keepends=True) for each in (before, after))
    return "".join(unified_diff(old, new, CONFIG_FILE, CONFIG_FILE, n=1))


def _refuse(plan: Plan) -> None:
    if unmet := [name for name, cap in plan.caps.items() if cap is None]:
        raise PlanningError(
            f"Nothing is written: with no cap does the buffer {' or '.join(unmet)} meet the goal."
        )
    drains = plan.capacity.drains
    budget = sum(plan.capacity.others.values()) + sum(
        plan.caps[name] or 0 if _is_used(plan, name) else each.connections
        for name, each in drains.items()
    )
    granted = plan.profile.connections
    if granted is not None and OVERLAP * budget > granted:
        raise PlanningError(
            f"Nothing is written: with these caps the functions may hold {budget} connections, and"
            f" {OVERLAP * budget} while two versions run side by side; the database grants"
            f" {granted}."
        )


def _is_used(plan: Plan, buffer: str) -> bool:
    """Whether the profile has traffic for a buffer; the others keep their caps."""
    return any(each.messages for each in plan.outcome.buffers if each.name == buffer)


def _settings(stage: str, plan: Plan) -> list[tuple[tuple[str, ...], Any]]:
    found: list[tuple[tuple[str, ...], Any]] = []
    for name, drain in plan.capacity.drains.items():
        if not _is_used(plan, name):
            continue
        place, cap = ("stages", stage), plan.caps[name]
        function = functions.function(drain.function)
        if function.queue:
            found.append(((*place, "environment_variables", cap_variable(name)), str(cap)))
        own = (*place, "lambda_functions", function.chalice_name, "reserved_concurrency")
        found.append((own, cap))
    return found


class _Object(NamedTuple):
    """An object in a text. members: where the value of each begins and ends. first: where its first
    name begins; None if it is empty. begin: behind its brace."""

    members: Mapping[str, tuple[int, int]]
    first: int | None
    begin: int


def edited(text: str, place: Sequence[str], value: Any) -> str:
    """A JSON text with another value at a place, which is made if it does not exist."""
    at = _past_space(text, 0)
    for depth, name in enumerate(place):
        found = _object(text, at)
        if name not in found.members:
            for each in reversed(place[depth + 1 :]):
                value = {each: value}
            return _with_member(text, found, name, value)
        at, end = found.members[name]
    return text[:at] + json.dumps(value) + text[end:]


def _object(text: str, at: int) -> _Object:
    members: dict[str, tuple[int, int]] = {}
    begin = at = at + 1
    first = None
    while True:
        at = _past_space(text, at)
        if text[at] == ",":
            at = _past_space(text, at + 1)
        if text[at] == "}":
            return _Object(members, first, begin)
        first = at if first is None else first
        name, at = _decode(text, at)
        at = _past_space(text, _past_space(text, at) + 1)
        _, end = _decode(text, at)
        members[name] = at, end
        at = end


def _with_member(text: str, found: _Object, name: str, value: Any) -> str:
    """A text where an object has one more member, behind the others and written as they are."""
    member = f"{json.dumps(name)}: {json.dumps(value)}"
    if found.first is None:
        return text[: found.begin] + member + text[found.begin :]
    end = max(end for _, end in found.members.values())
    return f"{text[:end]},{text[found.begin : found.first]}{member}{text[end:]}"


def _past_space(text: str, at: int) -> int:
    return _SPACE.match(text, at).end()  # type: ignore[union-attr]  # it matches anything
