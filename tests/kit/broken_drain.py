"""Imported by containers of the proof: the drain claims and pours in two transactions."""

from collections.abc import Callable
from typing import Any

from chalicelib.postgres import ledger
from chalicelib.postgres.connecting.connection import Transaction


def _committed(claim: Callable[..., Any]) -> Callable[..., Any]:
    def claim_and_commit(running: Transaction, *given: Any) -> Any:
        found = claim(running, *given)
        running.execute("COMMIT")
        running.ahead("BEGIN")
        return found

    return claim_and_commit


ledger.claim = _committed(ledger.claim)
ledger.claim_fresh = _committed(ledger.claim_fresh)
