"""The connection budget of a stage: how many connections its functions may hold.

Caps are read where they are set: of the queues' mappings in ``app.py``, of the functions in
``.chalice/config.json``. Whichever is lower binds.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chalicelib.settings import LANES
from decanter.deployment import functions
from decanter.deployment.findings import Finding
from decanter.deployment.stage import PLACE, Stage

OVERLAP = 2  # containers of the old and of the new version, for minutes after a deployment


@dataclass(frozen=True)
class Holder:
    """A function that may hold connections, one in each container.

    mapping: most invocations of its queue; reserved: of all. None: no limit.
    """

    function: functions.Function
    mapping: int | None
    reserved: int | None

    @property
    def cap(self) -> int | None:
        """Most containers that work at once."""
        return min((each for each in (self.mapping, self.reserved) if each), default=None)

    @property
    def most(self) -> int:
        """Most connections, those of idle containers of the version before included."""
        return OVERLAP * (self.cap or 0)

    @property
    def steady(self) -> int:
        """Connections when it has as much work as it can do: of a FIFO queue, Lambda takes no more
        batches at once than it has lanes."""
        if not self.function.is_steady:
            return 0
        is_in_lanes = self.function.queue is not None and self.function.queue.is_fifo
        limits = (self.cap, LANES if is_in_lanes else None)
        return min((each for each in limits if each), default=0)

    @property
    def set_by(self) -> str:
        """What sets the cap."""
        named = {"maximum_concurrency": self.mapping, "reserved_concurrency": self.reserved}
        return ", ".join(f"{name} {value}" for name, value in named.items() if value) or "nothing"


def holders(stage: Stage) -> list[Holder]:
    """All functions of a stage that may hold connections."""
    return [
        Holder(each, stage.mappings.get(each.name), stage.caps.get(each.name))
        for each in functions.holders()
    ]


def total(stage: Stage) -> int:
    """The connection budget: what all functions together may hold."""
    return sum(each.cap or 0 for each in holders(stage))


def steady(stage: Stage) -> int:
    """What they hold when all have as much work as they can do."""
    return sum(each.steady for each in holders(stage))


def of_role(stage: Stage, role: str) -> int:
    """Most connections of a database role, while two versions run side by side."""
    return max(1, sum(each.most for each in holders(stage) if each.function.role == role))


def findings(found: Sequence[Holder], granted: Mapping[str, Any] | None) -> list[Finding]:
    """Why the budget is none, or is more than the database grants.

    granted: what the migrate function answers to ``{"budget": true}``; None: nobody knows.
    """
    uncapped = [
        Finding(
            "no-cap",
            f"nothing limits how many containers of {each.function.name} there are: set"
            f" reserved_concurrency in {PLACE}.",
        )
        for each in found
        if each.cap is None
    ]
    if granted is None:
        return uncapped
    budget = sum(each.cap or 0 for each in found)
    return [*uncapped, *connections(granted, budget), *_of_owner(granted, found)]


def connections(granted: Mapping[str, Any], budget: int) -> Iterator[Finding]:
    """Whether the database grants the budget twice, for while two versions run side by side."""
    reserved = _reserved(granted)
    left = granted["max_connections"] - reserved - granted["others"]
    if granted.get("database_limit", -1) >= 0:
        left = min(left, granted["database_limit"] - granted["others_of_database"])
    if (wanted := OVERLAP * budget) > left:
        yield Finding(
            "budget",
            f"the functions may hold {budget} connections, and {wanted} while two versions run side"
            f" by side; the database has {left} left (max_connections"
            f" {granted['max_connections']}, {reserved} reserved, {granted['others']} of others)."
            f" Lower the caps in app.py and {PLACE}, or raise max_connections.",
        )


def _of_owner(granted: Mapping[str, Any], found: Sequence[Holder]) -> Iterator[Finding]:
    # Without roles of their own, all functions log in as the owner.
    is_only = not granted["role_limits"]
    needed = sum(each.most for each in found if is_only or each.function.role == functions.OWNER)
    if 0 <= granted["owner_limit"] < needed:
        yield Finding(
            "owner-limit",
            f"the role {granted['owner']} may have {granted['owner_limit']} connections, and the"
            f" functions that log in as it up to {needed}: ALTER ROLE {granted['owner']} CONNECTION"
            f" LIMIT {needed}.",
        )


def table(found: Sequence[Holder]) -> list[str]:
    """The functions with their caps, and the sums, in lines."""
    rows = [
        ("function", "cap", "deploying", "role", "set by"),
        *[
            (each.function.name, str(each.cap or "none"), str(each.most), each.function.role,
             each.set_by)
            for each in found
        ],
        ("sum", str(sum(each.cap or 0 for each in found)), str(sum(e.most for e in found)), "", ""),
    ]  # fmt: skip
    return [
        f"{function:<16}{cap:>5}{most:>11}  {role:<8}{set_by}".rstrip()
        for function, cap, most, role, set_by in rows
    ]


def grant(granted: Mapping[str, Any]) -> str:
    """What the database grants, in a line."""
    text = (
        f"the database: max_connections {granted['max_connections']}, {_reserved(granted)}"
        f" reserved, {granted['others']} of other programs"
    )
    limit = granted["database_limit"]
    return text if limit < 0 else f"{text}; {limit} for this database"


def _reserved(granted: Mapping[str, Any]) -> int:
    return int(granted["superuser_reserved_connections"] + granted["reserved_connections"])
