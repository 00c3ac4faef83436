"""Which messages these models and this ledger can take."""

import time
from collections.abc import Iterable
from functools import lru_cache

from chalicelib.messages.message import Message
from chalicelib.ops import OPS, Op
from chalicelib.postgres.resources import ResourceTable, resources
from chalicelib.settings import LEDGER_DAYS

Kind = tuple[str, Op, tuple[str, ...]]


def is_expired(message: Message) -> bool:
    """Whether it is older than the ledger remembers: it may have been poured before."""
    return message.accepted_at < (time.time() - LEDGER_DAYS * 86_400) * 1000


def kinds(messages: Iterable[Message]) -> set[Kind]:
    """Resource, op and members of the rows of messages."""
    return {(each.resource, each.op, part.members) for each in messages for part in each.sets}


def fit(kinds: Iterable[Kind]) -> bool:
    """Whether the models take all of them."""
    return not any(_mismatch_of(*kind) for kind in kinds)


def mismatch(message: Message) -> str:
    """Why these models cannot take a message; empty if they can."""
    reasons = (_mismatch_of(message.resource, message.op, part.members) for part in message.sets)
    return next(filter(None, reasons), "")


def withdrawn_op(resource: ResourceTable, op: Op) -> str:
    """Why a resource does not take an op that a version before has accepted; empty if it does. Such
    writes are poured all the same while the role may still do it."""
    if resource.ordered or OPS[op].only_adds:
        return ""
    return f"{resource.name} is unordered: rows are only added, and this is a {op}"


@lru_cache(maxsize=1_000)
def _mismatch_of(name: str, op: Op, members: tuple[str, ...]) -> str:
    """Why these models cannot take rows with these members, if so.

    Such rows are of a foreign message, or were accepted under other models.
    """
    resource = resources().get(name)
    if resource is None:
        return f"there is no table {name!r} that is served"
    key = {column.name for column in resource.key}
    writable = {column.name for column in resource.writable}
    facts = OPS[op]
    if unknown := {*members} - (writable if facts.inserts else writable | key):
        return f"{name} has no column {', '.join(sorted(unknown))} to write to"
    if facts.names_row and not (key and key <= {*members}):
        return f"a {op} has to name the key of {name}"
    if facts.partial and key == {*members}:
        return f"a {op} has to change something"
    is_keyed = facts.resolution is not None and not key.isdisjoint(members)
    if is_keyed and resource.table.primary_key.deferrable:
        return f"the key of {name} is deferrable: Postgres cannot tell by it which rows are there"
    return ""
