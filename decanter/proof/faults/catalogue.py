"""The faults by name, and where each strikes."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from decanter.proof.faults import processes, rows, servers
from decanter.proof.faults.case import FaultCase
from decanter.proof.faults.steps import Points

_PATIENT_SECONDS = 60


class InjectedFault(NamedTuple):
    """text: what happens. run: writes and pours around the fault, which is over at its end.
    points: where it strikes. needs_server: it disturbs all databases of the server.
    is_quick: it is in the short variant. patience_seconds: how long rows wait for their parents.
    allowed: types of rejections that it explains."""

    text: str
    run: Callable[[FaultCase], None]
    points: Points = Points.ONCE
    needs_server: bool = False
    is_quick: bool = False
    patience_seconds: int = 0
    allowed: frozenset[str] = frozenset()


FAULTS: Mapping[str, InjectedFault] = MappingProxyType(
    {
        "drain-killed": InjectedFault(
            "SIGKILL of the drain at any statement, and at the end of any answer",
            processes.killed, Points.STEPS, is_quick=True,
        ),
        "drain-killed-after-return": InjectedFault(
            "SIGKILL of the drain before its answer arrives",
            processes.killed_after_return, is_quick=True,
        ),
        "drain-frozen": InjectedFault(
            "the drain is frozen past its visibility timeout, wakes and goes on",
            processes.frozen_drain, Points.FEW, is_quick=True,
        ),
        "connection-cut": InjectedFault(
            "the connection is cut before any message",
            processes.cut, Points.MESSAGES, is_quick=True,
        ),
        "connection-cut-at-byte": InjectedFault(
            "the connection is cut at any byte",
            processes.cut_at_bytes, Points.BYTES, is_quick=True,
        ),
        "connection-swallowed": InjectedFault(
            "what is sent does not arrive, and no end of the connection shows it",
            processes.swallowed, Points.FEW,
        ),
        "connection-stalled": InjectedFault(
            "nothing passes for longer than an invocation", processes.stalled, Points.FEW
        ),
        "connection-slowed": InjectedFault("each message is delayed", processes.slowed),
        "connection-refused": InjectedFault(
            "no connection is accepted for a while",
            processes.refused_connections, is_quick=True,
        ),
        "disk-full": InjectedFault(
            "statements that write fail for a while, as on a full disk", processes.full_disk
        ),
        "clock-forward": InjectedFault(
            "the drain's clock steps an hour forward, between and within batches",
            processes.clock_forward, Points.FEW, is_quick=True,
        ),
        "clock-back": InjectedFault(
            "the drain's clock steps an hour back, between and within batches",
            processes.clock_back, Points.FEW,
        ),
        "backend-terminated": InjectedFault(
            "the drain's backend is terminated before any statement",
            servers.terminated, Points.STATEMENTS, is_quick=True,
        ),
        "backend-terminated-in-statement": InjectedFault(
            "the drain's backend is terminated in a statement", servers.terminated_in_a_statement
        ),
        "backend-cancelled": InjectedFault("the drain's statement is cancelled", servers.cancelled),
        "server-stopped": InjectedFault(
            "Postgres ends at once, and comes back after the invocation",
            servers.stopped, Points.FEW, needs_server=True,
        ),
        "server-restarted": InjectedFault(
            "Postgres restarts within the invocation",
            servers.restarted, Points.FEW, needs_server=True, is_quick=True,
        ),
        "server-read-only": InjectedFault(
            "Postgres is read only for a while", servers.read_only, Points.FEW, needs_server=True
        ),
        "server-out-of-connections": InjectedFault(
            "others hold all connections of Postgres for a while",
            servers.out_of_connections, Points.FEW, needs_server=True,
        ),
        "role-out-of-connections": InjectedFault(
            "the drains' role may have no connection for a while",
            servers.limited_connections, Points.FEW, needs_server=True,
        ),
        "server-frozen": InjectedFault(
            "all processes of Postgres are frozen for longer than an invocation",
            servers.frozen, Points.FEW, needs_server=True,
        ),
        "row-locked": InjectedFault("somebody holds a lock on a row", rows.locked, is_quick=True),
        "row-slow": InjectedFault("a row takes most of an invocation", rows.slow),
        "row-too-slow": InjectedFault(
            "a row takes longer than any invocation",
            rows.too_slow, allowed=frozenset({"timeout"}),
        ),
        "parent-late": InjectedFault(
            "rows come before their parent",
            rows.late_parent, is_quick=True, patience_seconds=_PATIENT_SECONDS,
        ),
        "parent-missing": InjectedFault(
            "rows come without a parent", rows.no_parent, patience_seconds=1
        ),
    }
)  # fmt: skip
