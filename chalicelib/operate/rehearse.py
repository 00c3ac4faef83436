"""Writes tried as a drain would pour them now, in a transaction that is always rolled back."""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, Never

from chalicelib.buffer.delivery import Delivery, delivery
from chalicelib.drain.deferred_constraints import run_committed
from chalicelib.drain.outcome import TimeLimit, WaitingRow, WaveOutcome
from chalicelib.drain.pour_isolating import NewerVersionNeeded, claim_and_pour
from chalicelib.errors import LockNotAvailable, StatementTimedOut
from chalicelib.messages.place import moment
from chalicelib.messages.questions import OpsAnswer
from chalicelib.postgres import ledger
from chalicelib.postgres.connecting.connection import Transaction, transaction
from chalicelib.postgres.connecting.session import Connection
from chalicelib.postgres.ops import acts
from chalicelib.postgres.ops.acts import Origin
from chalicelib.postgres.resources import identifies_keys
from chalicelib.postgres.waiting import Reason

_ROWS_SHARE = 0.5  # of the time that is left: for the rows
_LOCK_SHARE = 0.15  # likewise: for one lock, and for deferred constraints
_CHANGES_SHARE = 0.3  # likewise: for the search for newer writes

_Told = Mapping[str, Any]

_APPLIED: _Told = {"outcome": "applied", "type": None, "reason": None}

_WAITS = {
    Reason.OTHER_ROW: "the row that it refers to, or another one, is in its way for now",
    Reason.LOCK: "another transaction holds its row",
    Reason.SLOW: "it takes long, and would be tried alone",
    Reason.SCHEMA: "a table, a column or a right that the models need is missing: migrate",
    Reason.KEY: "an earlier write to its key waits",
    Reason.TIME: "there was no time left to try it: try fewer writes at once",
}


class _RolledBack(Exception):
    """Ends a rehearsal, and has its transaction rolled back."""

    def __init__(self, outcome: WaveOutcome) -> None:
        super().__init__()
        self.outcome = outcome


def rehearse(connection: Connection, deadline: float, writes: Sequence[_Told]) -> OpsAnswer:
    """What would become of writes, and whether the rows of their rejections were changed since.

    writes: each with `id` of its rejection, `message` (a body; None: it is not to be tried) and
    `has_key`, whether clients know the key of the rejected row. The answer has the same order.
    """
    changes = _changes(connection, deadline, [each["id"] for each in writes if each["has_key"]])
    tried = {
        each["id"]: delivery(each["id"], None, each["message"])
        for each in writes
        if each["message"] is not None
    }
    outcomes = _outcomes(connection, deadline, tried) if tried else {}
    told = [
        {
            "id": each["id"],
            **outcomes.get(each["id"], {}),
            **changes.get(each["id"], {"changed_since": None, "changed_at": None}),
        }
        for each in writes
    ]
    return OpsAnswer(json.dumps({"outcomes": told}))


def _outcomes(
    connection: Connection, deadline: float, tried: Mapping[str, Delivery]
) -> dict[str, _Told]:
    """What would become of each write, by the id of its rejection."""
    ids = {each.dedup_id: id_ for id_, each in tried.items()}
    found: dict[str, _Told] = dict.fromkeys(tried, _APPLIED)
    try:
        outcome = _rolled_back(connection, deadline, [*tried.values()])
    except NewerVersionNeeded as newer:
        missing = {"outcome": "waiting", "type": None, "reason": _WAITS[Reason.SCHEMA]}
        return found | {ids[dedup_id]: missing for dedup_id in newer.dedup_ids}
    for each in outcome.rejections:
        found[ids[each.dedup_id]] = {
            "outcome": "rejected",
            "type": each.type,
            "reason": each.reason,
        }
    for row in outcome.waiting:
        found[ids[row.row.message.dedup_id]] = _waits(row)
    return found


def _rolled_back(
    connection: Connection, deadline: float, deliveries: Sequence[Delivery]
) -> WaveOutcome:
    """The outcome of a pour that nothing is left of. What only COMMIT finds is found too."""
    left = deadline - time.monotonic()
    limit = TimeLimit(time.monotonic() + left * _ROWS_SHARE)

    def work(running: Transaction) -> Never:
        outcome, _ = claim_and_pour(running, deliveries, deliveries, limit)
        running.check()
        raise _RolledBack(outcome)

    try:
        run_committed(connection, deadline, work, seconds=left * _LOCK_SHARE)
    except _RolledBack as end:
        return end.outcome


def _waits(waiting: WaitingRow) -> _Told:
    why = waiting.rejection
    reason = why.reason if why else _WAITS[waiting.reason]
    return {"outcome": "waiting", "type": why.type if why else None, "reason": reason}


def _changes(
    connection: Connection, deadline: float, ids: Sequence[str]
) -> dict[str, Mapping[str, Any]]:
    """For rejections with a key: whether a newer write to it was applied, and when that was
    accepted. Those of which that cannot be known are left out."""
    seconds = (deadline - time.monotonic()) * _CHANGES_SHARE
    try:
        with transaction(connection, deadline, read_only=True) as running:
            origins = [each for each in acts.origins(running, ids) if each.digest is not None]
            if not origins:
                return {}
            since = min(each.accepted_at for each in origins)
            digests = {each.digest for each in origins if each.digest is not None}
            newest = ledger.later_writes(running, digests, since, [], seconds)
    except (StatementTimedOut, LockNotAvailable):
        return {}
    return {
        each.id: change
        for each in origins
        if (change := _change(each, newest.get(each.digest or 0, 0)))
    }


def _change(origin: Origin, newest: int) -> Mapping[str, Any] | None:
    """newest: when the newest applied write with the digest of the key was accepted."""
    if newest <= origin.accepted_at:
        return {"changed_since": False, "changed_at": None}
    if not identifies_keys(origin.resource):  # it may be to another key
        return None
    return {"changed_since": True, "changed_at": moment(newest * 1000)}
