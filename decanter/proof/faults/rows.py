"""Rows that cannot be poured now; their neighbours have to be."""

import time
from collections.abc import Iterable
from contextlib import closing

from decanter.proof.faults.case import LONG, FaultCase
from decanter.proof.faults.databases import SLOW
from decanter.proof.faults.load import ACCOUNTS
from decanter.proof.history import Violation

_UNKNOWN = 50  # an account that does not exist


def locked(case: FaultCase) -> None:
    """Somebody holds a lock on a row until its neighbours are poured."""
    with closing(case.database.connected()) as other, other.cursor() as cursor:
        cursor.execute("SELECT FROM accounts WHERE id = 1 FOR UPDATE")
        held = _write(case, {"id": 1, "a": 1})
        _write_neighbours(case)
        _pour_neighbours(case, held)


def slow(case: FaultCase) -> None:
    """A row takes most of an invocation."""
    late = _write(case, {"id": 1, "a": SLOW, "b": 1_500})
    _write_neighbours(case)
    _pour_neighbours(case, late)


def too_slow(case: FaultCase) -> None:
    """A row takes longer than any invocation, and ends as rejected."""
    late = _write(case, {"id": 1, "a": SLOW, "b": 60_000})
    _write_neighbours(case)
    _pour_neighbours(case, late)


def late_parent(case: FaultCase) -> None:
    """Rows come before their parent."""
    receipts = _write_orphans(case)
    _write_neighbours(case)
    _pour_neighbours(case, receipts)
    case.write([case.request("create", "accounts", {"id": _UNKNOWN})])


def no_parent(case: FaultCase) -> None:
    """Rows whose parent never comes."""
    _write_orphans(case)
    _write_neighbours(case)
    case.drain_to_the_end()


def _write_orphans(case: FaultCase) -> set[str]:
    """Write rows of an unknown account, and one more together with another account's; returns the
    receipts of those that have nothing else."""
    case.write(
        case.request("create", "entries", {"account": _UNKNOWN, "number": number})
        for number in (1, 2)
    )
    receipts = {str(each.receipt) for each in case.attempts[-2:]}
    rows = [{"account": _UNKNOWN, "number": 1, "a": 5}, {"account": 2, "number": 2}]
    case.write([case.request("create-or-merge", "entries", *rows)])
    return receipts


def _write(case: FaultCase, row: dict[str, int]) -> set[str]:
    case.write([case.request("merge", "accounts", row)])
    return {str(case.attempts[-1].receipt)}


def _write_neighbours(case: FaultCase) -> None:
    """Write to other rows, which nothing may delay: ordered ones, as others have a drain of their
    own, and here they would wait for their turn."""
    requests = [
        *[case.request("merge", "accounts", {"id": n, "a": n}) for n in range(2, ACCOUNTS + 1)],
        *[case.request("merge", "accounts", {"id": n, "b": n}) for n in range(2, ACCOUNTS + 1)],
        case.request("replace", "entries", {"account": 3, "number": 1}),
    ]
    case.innocent |= {each.number for each in requests}
    case.write(requests)


def _pour_neighbours(case: FaultCase, culprits: Iterable[str]) -> None:
    """Pour until all neighbours are done; the culprits must not be done before."""
    end = time.monotonic() + LONG
    waiting = [each.receipt for each in case.attempts if each.request in case.innocent]
    while waiting := [each for each in waiting if each and not case.is_done(each)]:
        if time.monotonic() > end or any(map(case.is_done, culprits)):
            text = f"{len(waiting)} writes waited for one to another key"
            case.violations.append(Violation("slow", text))
            return
        if not case.deliver():
            case.tick()
