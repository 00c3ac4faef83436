"""What the database knows of tables that decides how their rows are poured."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from chalicelib.postgres.connecting.connection import Transaction
from chalicelib.postgres.resources import resources
from chalicelib.postgres.sql.names import plain_name
from chalicelib.postgres.sql.statements import TRIGGERED, Statement


@dataclass(frozen=True)
class TableTraits:
    """Resources whose tables have triggers that may leave rows out; and those that might refuse an
    insert that asks for the keys."""

    triggered: frozenset[str]
    silent: frozenset[str]

    def make(self, resource: str, compiled: Statement) -> bool:
        """Whether rows of the resource may get keys that are not known, and may be returned."""
        if not compiled.returning_keys or resource in self.silent:
            return False
        is_triggered = resource in self.triggered
        return not compiled.ignores if is_triggered else not compiled.is_named


def traits(running: Transaction, among: Iterable[str]) -> TableTraits:
    """Those of the tables of these resources."""
    names = {plain_name(resources()[name].table): name for name in among}
    found = running.execute(TRIGGERED, ([*names],)) if names else []
    return TableTraits(
        frozenset(names[name] for name, is_triggered, _ in found if is_triggered),
        frozenset(names[name] for name, _, is_silent in found if is_silent),
    )


@cache
def ranks() -> Mapping[str, int]:
    """Each resource's place among the tables: parents have a lower one than their children."""
    return {name: rank for rank, name in enumerate(resources())}
