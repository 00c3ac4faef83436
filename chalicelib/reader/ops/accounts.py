"""What became of accepted requests, for the audit."""

import json
from collections.abc import Sequence
from typing import Any

from chalicelib.messages.questions import OpsAnswer
from chalicelib.postgres import accounts, ledger
from chalicelib.postgres.connecting.connection import Transaction


def of_requests(transaction: Transaction, requests: Sequence[Sequence[Any]]) -> OpsAnswer:
    """The accounts of requests, each as poured, rejected, waiting, and whether its key was reused.

    requests: of each its id, number of messages and fingerprint. Beside them, `reconciled`: nothing
    that was accepted before that time, in milliseconds, is on its way from the front table.
    """
    found = accounts.accounts(transaction, [(str(a), int(b), str(c)) for a, b, c in requests])
    told = [(each.writes, each.rejected, each.waiting, each.reused) for each in found]
    answer = {"accounts": told, "reconciled": ledger.reconciled(transaction)}
    return OpsAnswer(json.dumps(answer, separators=(",", ":")), rows=len(found))


def of_resends(transaction: Transaction, since: int, until: int) -> OpsAnswer:
    """What became of what operators have resent through queues from a time on and before another,
    in milliseconds since the epoch: a list of ResentWrites."""
    found = accounts.resent(transaction, since, until)
    return OpsAnswer(json.dumps({"resent": found}, separators=(",", ":")), rows=len(found))
