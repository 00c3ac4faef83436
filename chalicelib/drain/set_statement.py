"""The statement that pours a set, by what the database knows of the table, and its answer."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from chalicelib.drain.outcome import TimeLimit
from chalicelib.drain.sets import Set
from chalicelib.errors import RefusedByDatabase, RightMissing, SchemaMismatch
from chalicelib.messages.message import Condition
from chalicelib.ops import Op
from chalicelib.postgres.connecting.connection import Transaction, savepoint
from chalicelib.postgres.engine import Engine
from chalicelib.postgres.made_keys import Key, Made
from chalicelib.postgres.resources import ResourceTable, resources
from chalicelib.postgres.sql.names import plain_name
from chalicelib.postgres.sql.statements import TRIGGERED, Statement, condition_check, statement


@dataclass(frozen=True)
class TableTraits:
    """Resources by traits of their tables. triggered: a trigger may leave rows out. silent: the
    database might refuse an insert that returns keys."""

    triggered: frozenset[str]
    silent: frozenset[str]

    def may_return_keys(self, resource: str, compiled: Statement) -> bool:
        """Whether rows of the resource may get unknown keys, and the statement may return them."""
        if not compiled.returning_keys or resource in self.silent:
            return False
        is_triggered = resource in self.triggered
        if is_triggered:
            return not compiled.ignores and not compiled.takes_keys
        return not compiled.is_named


def traits(running: Transaction, among: Iterable[str]) -> TableTraits:
    """The traits of the tables of these resources."""
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


@dataclass(frozen=True)
class SetStatement:
    """The target of a set's rows. returns_keys: whether the statement may return keys."""

    resource: ResourceTable
    op: Op
    members: tuple[str, ...]
    statement: Statement
    has_trigger: bool = False
    returns_keys: bool = False

    @classmethod
    def of(cls, rows: Set, known: TableTraits) -> "SetStatement":
        resource, op, members = resources()[rows.resource], rows.op, rows.members
        compiled = statement(resource, op, members)
        is_triggered = resource.name in known.triggered
        returns_keys = known.may_return_keys(resource.name, compiled)
        return cls(resource, op, members, compiled, is_triggered, returns_keys)

    @property
    def counts(self) -> bool:
        """Whether a row that is missing after an insert was left out by a trigger."""
        return self.has_trigger and self.is_insert and not self.statement.ignores

    @property
    def is_insert(self) -> bool:
        return not self.statement.answers and not self.statement.checks_conditions

    def condition_check(self, engine: Engine) -> "SetStatement":
        """The statement that checks the conditions of the rows; it reads only their keys."""
        key = tuple(column.name for column in self.resource.key)
        check = condition_check(self.resource, self.op, engine)
        return SetStatement(self.resource, self.op, key, check)


def run(
    running: Transaction,
    target: SetStatement,
    rows: str,
    count: int,
    limit: TimeLimit,
    conditions: Sequence[Condition | None] = (),
) -> tuple[list[int], list[Key | None]]:
    """Run the statement of a set; returns its answer: places of rows, and keys.

    Some input functions, policies and triggers refuse a row with an SQLSTATE that otherwise means a
    schema mismatch. It is the row's fault if the statement succeeds without rows.
    """
    compiled = target.statement
    try:
        with savepoint(running):
            bound = compiled.bound(rows, count, conditions)
            if target.returns_keys:
                ((keys,),) = running.execute(compiled.returning_keys, bound, **limit.limits)
                left_out = _left_out(len(keys), count) if target.counts else []
                return left_out, keys if len(keys) == count else []
            # Where errors lose their names, an insert that returns nothing loses the SQLSTATE too.
            if target.counts or (target.is_insert and not running.engine.names_in_errors):
                ((written,),) = running.execute(compiled.counting, bound, **limit.limits)
                return _left_out(written, count) if target.counts else [], []
            is_watched = target.has_trigger and compiled.answers
            sql = compiled.distinguishing if is_watched else compiled.sql
            found = running.execute(sql, bound, **limit.limits)
            return [place for (places,) in found for place in places], []
    except SchemaMismatch as error:
        running.execute(compiled.sql, compiled.bound("[]", 0))
        kind = RightMissing if error.kind == "no-right" else RefusedByDatabase
        raise kind(error.message, **error.attributes) from error


def _left_out(written: int, count: int) -> list[int]:
    """Places of the rows that triggers have left out, if it is all or none of them."""
    if 0 < written < count:
        raise RefusedByDatabase("a trigger has left out some of the rows")
    return [] if written else [-1 - place for place in range(count)]


def keys_made(rows: Set, keys: Sequence[Key | None]) -> list[Made]:
    """The keys that a statement has returned, by message; none if triggers left out all rows."""
    found: list[Made] = []
    at = 0
    for message, part in rows.parts if keys else ():
        own = keys[at : at + len(part.items)]
        found.append(Made(message.dedup_id, rows.resource, part.items, own))
        at += len(own)
    return found
