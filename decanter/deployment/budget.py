"""The connection budget of a stage: how many connections its functions may hold.

Caps are set in ``app.py``, for the queues' mappings, and in ``.chalice/config.json``, for the
functions. The lower one limits a function, unless a schedule invokes it beside its queue: that is
limited by reserved concurrency alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chalicelib.settings import LANES
from decanter.deployment import functions
from decanter.deployment.findings import Finding
from decanter.deployment.stage import CONFIG_FILE, Stage

OVERLAP = 2
"""Versions whose containers hold connections side by side, for minutes after a deployment."""

_WRITING = ("drain", functions.OWNER)
"""Kinds of database roles that write to tables."""


@dataclass(frozen=True)
class Holder:
    """A function that may hold connections, one for each container.

    mapping: most concurrent invocations by its queue. reserved: most of all. None: no limit.
    """

    function: functions.Function
    mapping: int | None
    reserved: int | None

    @property
    def cap(self) -> int | None:
        """Most concurrent invocations; None: no limit."""
        return _lowest(None if self.function.has_clock else self.mapping, self.reserved)

    @property
    def most(self) -> int:
        """Most connections, including those of idle containers of the previous version."""
        return OVERLAP * (self.cap or 0)

    @property
    def steady(self) -> int:
        """Connections under full load. Of a FIFO queue, Lambda takes at most one batch per lane at
        a time."""
        if not self.function.is_steady:
            return 0
        is_in_lanes = self.function.queue is not None and self.function.queue.is_fifo
        return _lowest(self.mapping, self.reserved, LANES if is_in_lanes else None) or 0

    def behind(self, shards: int) -> int:
        """Most connections to a worker of a cluster: an upsert needs one for each of its shards of
        the table, and all else one."""
        return (self.cap or 0) * (shards if self.function.role in _WRITING else 1)

    @property
    def set_by(self) -> str:
        """The limits, for the table."""
        named = {"maximum_concurrency": self.mapping, "reserved_concurrency": self.reserved}
        return ", ".join(f"{name} {value}" for name, value in named.items() if value) or "nothing"


def holders(stage: Stage) -> list[Holder]:
    """The functions of a stage that may hold connections."""
    return [
        Holder(each, stage.mappings.get(each.name), stage.caps.get(each.name))
        for each in stage.holders
    ]


def total(stage: Stage) -> int:
    """The connection budget: the most connections of all functions together."""
    return sum(each.cap or 0 for each in holders(stage))


def steady(stage: Stage) -> int:
    """Connections of all functions together under full load."""
    return sum(each.steady for each in holders(stage))


def of_role(stage: Stage, role: str) -> int | None:
    """Most connections of a database role while two versions run side by side; None: a function
    that logs in as it has no cap."""
    found = [each for each in holders(stage) if each.function.role == role]
    return sum(each.most for each in found) if all(each.cap for each in found) else None


def by_role(stage: Stage) -> dict[str, int]:
    """The connection budget by kind of database role."""
    found = holders(stage)
    kinds = dict.fromkeys(each.function.role for each in found)
    return {
        kind: sum(each.cap or 0 for each in found if each.function.role == kind) for kind in kinds
    }


def no_cap(function: functions.Function) -> Finding:
    """The finding for a function whose connections have no limit."""
    return Finding(
        "no-cap",
        f"{function.name} holds a database connection in each container, and nothing limits how"
        f" many containers it has. Set its reserved_concurrency in {CONFIG_FILE}.",
    )


def findings(found: Sequence[Holder], granted: Mapping[str, Any] | None) -> list[Finding]:
    """Functions without a cap, and a budget that is more than the database grants.

    granted: the migrate function's answer to ``{"budget": true}``; None: it cannot be asked.
    """
    uncapped = [no_cap(each.function) for each in found if each.cap is None]
    if granted is None:
        return uncapped
    budget = sum(each.cap or 0 for each in found)
    return [
        *uncapped,
        *connections(granted, budget),
        *_of_workers(granted, found),
        *_of_owner(granted, found),
    ]


def connections(granted: Mapping[str, Any], budget: int) -> Iterator[Finding]:
    """Check that the database grants the budget twice, as two versions run side by side while
    deploying."""
    if (wanted := OVERLAP * budget) > (left := _left(granted)):
        yield Finding(
            "budget",
            f"the functions may hold {budget} connections, and {wanted} while two versions run side"
            f" by side; the database has {left} left ({_use(granted)}). Lower the caps in app.py"
            f" and {CONFIG_FILE}, or raise max_connections.",
        )


def _of_workers(granted: Mapping[str, Any], found: Sequence[Holder]) -> Iterator[Finding]:
    """Check that each worker of a cluster grants what the coordinator opens there for the budget,
    twice."""
    for name, its in granted.get("workers", {}).items():
        if error := its.get("error"):
            yield Finding(
                "worker",
                f"the worker {name} could not be asked how many connections it grants: {error}."
                " Start it, or remove it from the cluster, and try again.",
            )
            continue
        most = sum(each.behind(granted["shards"]) for each in found)
        if (wanted := OVERLAP * most) > (left := _left(its)):
            yield Finding(
                "budget-of-worker",
                f"for the functions' sessions, the coordinator may open {most} connections to the"
                f" worker {name}, and {wanted} while two versions run side by side, as an upsert"
                f" needs one for each of the {granted['shards']} shards of a table there; it has"
                f" {left} left ({_use(its)}). Raise max_connections of {name}, lower the caps of"
                f" the drains in app.py and {CONFIG_FILE}, or distribute tables into fewer shards"
                " (citus.shard_count).",
            )


def _of_owner(granted: Mapping[str, Any], found: Sequence[Holder]) -> Iterator[Finding]:
    # Where there are no other roles, all functions log in as the owner.
    is_only = not granted["role_limits"]
    needed = sum(each.most for each in found if is_only or each.function.role == functions.OWNER)
    if 0 <= granted["owner_limit"] < needed:
        yield Finding(
            "owner-limit",
            f"the role {granted['owner']} is limited to {granted['owner_limit']} connections, and"
            f" the functions that log in as it need up to {needed}. Run ALTER ROLE"
            f" {granted['owner']} CONNECTION LIMIT {needed}.",
        )


def table(found: Sequence[Holder]) -> list[str]:
    """Lines of a table of the functions with their caps, and the sums."""
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
    """A line about the connections that the database grants."""
    limit = granted["database_limit"]
    text = f"the database: {_use(granted)}"
    return text if limit < 0 else f"{text}; {limit} for this database"


def _lowest(*limits: int | None) -> int | None:
    return min((each for each in limits if each), default=None)


def _reserved(granted: Mapping[str, Any]) -> int:
    return int(granted["superuser_reserved_connections"] + granted["reserved_connections"])


def _left(granted: Mapping[str, Any]) -> int:
    """Connections that a server has left for the functions."""
    left = granted["max_connections"] - _reserved(granted) - granted["others"]
    if granted.get("database_limit", -1) >= 0:
        left = min(left, granted["database_limit"] - granted["others_of_database"])
    return int(left)


def _use(granted: Mapping[str, Any]) -> str:
    return (
        f"max_connections {granted['max_connections']}, {_reserved(granted)} reserved,"
        f" {granted['others']} of other programs"
    )
