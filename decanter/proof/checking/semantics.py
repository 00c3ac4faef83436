"""What each op does to a row of the proof's tables: docs/operating.md, *What each op does*."""

from typing import NamedTuple

from chalicelib.ops import OPS
from decanter.proof.history import Values, Write
from decanter.proof.tables import COLUMNS, KEYS


class Outcome(NamedTuple):
    """What a write does, given its row. after: the row then. rejection: its type.

    changes: False for a write that is applied and changes nothing: there is no evidence of it.
    """

    after: Values | None = None
    changes: bool = False
    rejection: str | None = None


def outcome(write: Write, row: Values | None) -> Outcome:
    """The outcome of a write whose row is as given, None if there is none.

    A row that is inserted is checked before Postgres looks for an existing one.
    """
    facts = OPS[write.op]
    if not facts.inserts:
        if row is None:
            return Outcome(rejection="missing")
        if facts.removes:
            return Outcome(changes=True)
    if _is_negative(write.values.get("a")):
        return Outcome(row, rejection="check")
    empty = dict.fromkeys(COLUMNS[write.resource])
    if row is None:
        return Outcome({**empty, **write.values}, changes=True)
    if write.op == "create":
        return Outcome(row, rejection="conflict")
    if write.op == "replace":
        return Outcome({**empty, **write.values}, changes=True)
    if write.op == "create-or-ignore" or {*write.values} <= {*KEYS[write.resource]}:
        return Outcome(row)
    return Outcome({**row, **write.values}, changes=True)


def _is_negative(value: object) -> bool:
    return isinstance(value, int) and value < 0
