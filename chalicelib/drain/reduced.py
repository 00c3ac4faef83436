"""Messages without some of their rows: those that are poured already, or must not be any more."""

from collections.abc import Callable

from chalicelib.drain.sets import Row, Set, row_set, taken_apart
from chalicelib.messages.message import Message, RowSet

Goes = Callable[[int, int | None], bool]
"""Whether a row goes, by its item and its key digest (None: unordered)."""


def without(message: Message, goes: Goes) -> tuple[Message, list[Row]]:
    """What is left of a message, which may be no set at all, and the rows that are gone.

    Of a set that is not as its header says, all is left, to be found broken.
    """
    left: list[RowSet] = []
    gone: list[Row] = []
    for part in message.sets:
        digests = part.digests or (None,) * len(part.items)
        going = [goes(*each) for each in zip(part.items, digests, strict=True)]
        whole = Set(message.resource, message.op, part.members, ((message, part),))
        rows, broken = taken_apart(whole) if any(going) else ([], [])
        if broken or not rows:
            left.append(part)
            continue
        gone += [row for row, is_going in zip(rows, going, strict=True) if is_going]
        if staying := [row for row, is_going in zip(rows, going, strict=True) if not is_going]:
            left.append(row_set(part.members, staying))
    return message._replace(sets=tuple(left)), gone
