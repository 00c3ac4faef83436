"""Checks of messages against the models and the ledger of this version."""

import time
from collections.abc import Iterable
from functools import lru_cache

from chalicelib.messages.message import Message
from chalicelib.ops import OPS, Op
from chalicelib.postgres.resources import ResourceTable, resources
from chalicelib.settings import LEDGER_DAYS

Kind = tuple[str, Op, tuple[str, ...]]


def is_expired(message: Message) -> bool:
    """Whether the ledger may have forgotten the message: it may have been poured before."""
    return message.accepted_at < (time.time() - LEDGER_DAYS * 86_400) * 1000


def kinds(messages: Iterable[Message]) -> set[Kind]:
    """The distinct resources, ops and members of the rows of messages."""
    return {(each.resource, each.op, part.members) for each in messages for part in each.sets}


def are_compatible(kinds: Iterable[Kind]) -> bool:
    """Whether the models allow all of them."""
    return not any(_mismatch_of(*kind) for kind in kinds)


def mismatch(message: Message) -> str:
    """Why these models do not allow a message; empty if they do."""
    reasons = (_mismatch_of(message.resource, message.op, part.members) for part in message.sets)
    return next(filter(None, reasons), "")


def withdrawn_op(resource: ResourceTable, op: Op) -> str:
    """Why these models do not allow an op that former ones did; empty if they do. Queued writes
    with it are poured for as long as the role has the right."""
    if resource.ordered or OPS[op].only_adds:
        return ""
    return f"{resource.name} is unordered: rows can only be added, and this is a {op}"


@lru_cache(maxsize=1_000)
def _mismatch_of(name: str, op: Op, members: tuple[str, ...]) -> str:
    """Why these models do not allow rows with these members, which were accepted under other models
    or are of a foreign message; empty if they do."""
    resource = resources().get(name)
    if resource is None:
        return f"there is no resource {name!r}"
    key = {column.name for column in resource.key}
    writable = {column.name for column in resource.writable}
    facts = OPS[op]
    if unknown := {*members} - (writable if facts.inserts else writable | key):
        return f"{name} has no writable column {', '.join(sorted(unknown))}"
    if facts.names_row and not (key and key <= {*members}):
        return f"a {op} must name the key of {name}"
    if facts.partial and key == {*members}:
        return f"a {op} must change something"
    is_keyed = facts.resolution is not None and not key.isdisjoint(members)
    if is_keyed and resource.table.primary_key.deferrable:
        return f"the key of {name} is deferrable: Postgres cannot find existing rows by it"
    return ""
