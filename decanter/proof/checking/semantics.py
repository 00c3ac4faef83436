"""What each op does to a row of the proof's tables: docs/operating.md, *What each op does*."""

from typing import NamedTuple

from chalicelib.ops import OPS
from decanter.proof.history import Values, Write
from decanter.proof.tables import COLUMNS, KEYS


class Outcome(NamedTuple):
    """What a write does, given its row. after: the row then. rejections: the types of its faults,
    any of which may be the one that its client reads.

    changes: False for a write that is applied and changes nothing: there is no evidence of it.
    """

    after: Values | None = None
    changes: bool = False
    rejections: frozenset[str] = frozenset()


def outcome(write: Write, row: Values | None) -> Outcome:
    """The outcome of a write whose row is as given, None if there is none."""
    facts = OPS[write.op]
    if not facts.inserts:
        if row is None:
            return Outcome(rejections=frozenset({"missing"}))
        if facts.removes:
            return Outcome(changes=True)
    faults = {"check"} if _is_negative(write.values.get("a")) else set()
    if row is not None and write.op == "create":
        faults.add("conflict")
    if faults:
        return Outcome(row, rejections=frozenset(faults))
    after = written(write, row)
    return Outcome(after, changes=after is not row)


def written(write: Write, row: Values | None) -> Values | None:
    """The row after a write that nothing refuses; the same one if the write leaves it alone."""
    if OPS[write.op].removes:
        return None
    if row is None or write.op == "replace":
        return {**dict.fromkeys(COLUMNS[write.resource]), **write.values}
    if write.op == "create-or-ignore" or {*write.values} <= {*KEYS[write.resource]}:
        return row
    return {**row, **write.values}


def _is_negative(value: object) -> bool:
    return isinstance(value, int) and value < 0
