"""The statement that pours a set, and what it answers."""

from collections.abc import Sequence
from dataclasses import dataclass

from chalicelib.drain.outcome import TimeLimit
from chalicelib.drain.sets import Set
from chalicelib.errors import RefusedByDatabase, RightMissing, SchemaMismatch
from chalicelib.messages.message import Condition
from chalicelib.ops import Op
from chalicelib.postgres.connecting.connection import Transaction, savepoint
from chalicelib.postgres.made_keys import Key, Made
from chalicelib.postgres.resources import ResourceTable
from chalicelib.postgres.sql.preconditions import condition_check
from chalicelib.postgres.sql.statements import Statement


@dataclass(frozen=True)
class SetStatement:
    """Where the rows of a set go. makes: whether it answers with keys."""

    resource: ResourceTable
    op: Op
    members: tuple[str, ...]
    statement: Statement
    has_trigger: bool = False
    makes: bool = False

    @property
    def counts(self) -> bool:
        """Whether a row that is not there after an insert was left out by a trigger."""
        is_insert = not self.statement.answers and not self.statement.checks_conditions
        return self.has_trigger and is_insert and not self.statement.ignores

    @property
    def condition_check(self) -> "SetStatement":
        """What tells whether the conditions of its rows hold. It reads their keys alone."""
        key = tuple(column.name for column in self.resource.key)
        return SetStatement(self.resource, self.op, key, condition_check(self.resource, self.op))


def run(
    running: Transaction,
    target: SetStatement,
    rows: str,
    count: int,
    given: TimeLimit,
    conditions: Sequence[Condition | None] = (),
) -> tuple[list[int], list[Key | None]]:
    """The statement of a set; returns the places, and the keys, that it answers with.

    Some input functions, policies and triggers refuse a row with an SQLSTATE that otherwise says
    that the schema is not as expected. It is if the statement does without rows.
    """
    compiled = target.statement
    try:
        with savepoint(running):
            bound = compiled.bound(rows, count, conditions)
            if target.makes:
                ((keys,),) = running.execute(compiled.returning_keys, bound, **given.limits)
                left_out = _left_out(len(keys), count) if target.counts else []
                return left_out, keys if len(keys) == count else []
            if target.counts:
                ((there,),) = running.execute(compiled.counting, bound, **given.limits)
                return _left_out(there, count), []
            sql = (
                compiled.distinguishing if target.has_trigger and compiled.answers else compiled.sql
            )
            found = running.execute(sql, bound, **given.limits)
            return [place for (places,) in found for place in places], []
    except SchemaMismatch as error:
        running.execute(compiled.sql, compiled.bound("[]", 0))
        kind = RightMissing if error.kind == "no-right" else RefusedByDatabase
        raise kind(error.message, **error.attributes) from error


def _left_out(there: int, count: int) -> list[int]:
    """The places of the rows that triggers have left out, if it is all or none of them."""
    if 0 < there < count:
        raise RefusedByDatabase("a trigger has left out some of the rows")
    return [] if there else [-1 - place for place in range(count)]


def keys_made(rows: Set, keys: Sequence[Key | None]) -> list[Made]:
    """Keys that a statement has returned; none if triggers have left out all rows."""
    found: list[Made] = []
    at = 0
    for message, part in rows.parts if keys else ():
        own = keys[at : at + len(part.items)]
        found.append(Made(message.dedup_id, rows.resource, part.items, own))
        at += len(own)
    return found
