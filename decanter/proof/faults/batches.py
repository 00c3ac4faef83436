"""The batches that faults strike."""

from collections.abc import Iterable

from decanter.proof.faults.case import FaultCase
from decanter.proof.faults.load import ClientRequest
from decanter.proof.faults.steps import Batch


def write_batch(case: FaultCase, batch: Batch) -> None:
    """Write the requests of a batch, and have a new container for it."""
    case.replace_drain()
    if batch == Batch.MIXED:
        case.write(_bad(case))
    else:
        case.write(_good(case) if batch == Batch.PLAIN else small(case))


def small(case: FaultCase) -> Iterable[ClientRequest]:
    yield case.request("merge", "accounts", {"id": 1, "a": case.random.randint(1, 99)})


def _good(case: FaultCase) -> Iterable[ClientRequest]:
    numbers = [case.random.randint(1, 99) for _ in range(3)]
    yield case.request("merge", "accounts", {"id": 1, "a": numbers[0]})
    yield case.request("replace", "accounts", {"id": 2, "b": numbers[1]})
    yield case.request("create", "entries", {"account": 2, "number": 2})
    rows = [{"account": account, "number": 1, "a": numbers[2]} for account in (3, 4)]
    yield case.request("create-or-merge", "entries", *rows)
    yield case.request("delete", "entries", {"account": 1, "number": 1})


def _bad(case: FaultCase) -> Iterable[ClientRequest]:
    """A key that exists beside one that does not, a missing row, a missing parent, and good
    neighbours."""
    yield case.request("create", "accounts", {"id": 2}, {"id": 9, "b": 1})
    yield case.request("merge", "accounts", {"id": 8, "a": 1})
    yield case.request("replace", "entries", {"account": 7, "number": 1})
    yield case.request("merge", "accounts", {"id": 3, "a": case.random.randint(1, 99)})
    yield case.request("merge", "accounts", {"id": 2, "b": case.random.randint(1, 99)})
