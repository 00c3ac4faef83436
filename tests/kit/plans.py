"""Counts the work of Postgres for queries."""

from typing import Any

import pytest

from chalicelib.postgres.connecting.connection import Transaction

_CHANGES = ("INSERT ", "UPDATE ", "DELETE ", "MERGE ", "SET_CONFIG")


class Visited:
    """Counts statements that wait for their result, and the rows that Postgres visits for read-only
    ones: those that any node of a plan returns or removes, in each of its loops."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.forget()
        execute = Transaction.execute

        def counted(running: Transaction, sql: str, *values: Any, **limits: Any) -> list[Any]:
            self.statements += 1
            if sql.lstrip().startswith(("SELECT", "WITH")) and not any(
                word in sql.upper() for word in _CHANGES
            ):
                explain = f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {sql}"
                (((explained,),),) = execute(running, explain, *values, **limits)
                self.rows += _visited(explained["Plan"])
            return execute(running, sql, *values, **limits)

        monkeypatch.setattr(Transaction, "execute", counted)

    def forget(self) -> None:
        self.statements = 0
        self.rows = 0.0


def _visited(plan: dict[str, Any]) -> float:
    removed = sum(number for name, number in plan.items() if name.startswith("Rows Removed"))
    own = (plan["Actual Rows"] + removed) * plan["Actual Loops"]
    return float(own) + sum(map(_visited, plan.get("Plans", ())))
