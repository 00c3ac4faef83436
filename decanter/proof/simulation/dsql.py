"""Aurora DSQL in a simulation: its rules before each statement of a container, and its plans.

The database behind it runs transactions as repeatable read, so that of two that write a row the
later one is refused; and who would wait for a lock is refused at once, see `Engine`.
"""

from dataclasses import replace
from random import Random
from types import MappingProxyType

from ministack.core import pgproxy  # type: ignore[import-untyped]

from chalicelib.postgres import engine
from decanter.proof.simulation.plan import Fault, Plan

NAME = engine.DSQL.name

MOST_ROWS = 30
"""Of a transaction, instead of thousands: requests are small here, and batches are to be poured in
parts."""

WRITTEN = """
    SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)
    FROM pg_stat_xact_user_tables WHERE schemaname <> 'proof'
"""
"""The rows that the transaction has written, after `FORGET` behind the one before."""

FORGET = "SELECT pg_stat_force_next_flush()"

CONFLICT = "40001"


class Rules:
    """What DSQL says to the statements of one connection."""

    def __init__(self) -> None:
        self._state = pgproxy.TxnState()

    def refusal(self, text: bytes) -> str:
        """Why it does not take these statements; empty if it does."""
        for statement in pgproxy.split_statements(text.decode()):
            found = pgproxy.validate(statement, self._state)
            if found is not None:
                return f"{getattr(found, 'message', found)}: {statement}"
            self._state.apply(statement)
        return ""


def narrow() -> None:
    """Have this process know DSQL by the fewer rows."""
    own = replace(engine.DSQL, most_rows=MOST_ROWS)
    engine.ENGINES = MappingProxyType({**engine.ENGINES, NAME: own})


def planned(plan: Plan) -> Plan:
    """A plan without locks, which nobody has to wait for, and often with more conflicts."""
    draw = Random(f"dsql {plan.seed}")
    kinds = draw.choices(("drain", "reader", "sweep"), (8, 2, 1), k=draw.choice((0, 4, 12)))
    conflicts = [Fault(kind, draw.randint(0, 8), draw.randint(0, 18), CONFLICT) for kind in kinds]
    return replace(plan, locks=(), faults=(*conflicts, *plan.faults))
