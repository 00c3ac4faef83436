"""What operators ask of the database, by the name of the question."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from chalicelib.messages.questions import OpsAnswer, OpsQuestion
from chalicelib.postgres.connecting.connection import Transaction
from chalicelib.reader.ops import (
    accounts,
    acts,
    dead_letters,
    overview,
    rejections,
    traffic,
    writes,
)

_ANSWERS: Mapping[str, Callable[..., OpsAnswer]] = MappingProxyType(
    {
        "act": acts.one,
        "act-with-steps": acts.with_steps,
        "acts": acts.listed,
        "next-rejected": acts.next_rejected,
        "rejected": acts.rejected,
        "overview": overview.everything,
        "lanes": overview.lanes,
        "dead-letters": dead_letters.outcomes,
        "accounts": accounts.of_requests,
        "resent": accounts.of_resends,
        "rejections": rejections.page,
        "rejection": rejections.one,
        "causes": rejections.causes,
        "traffic": traffic.of_days,
        "writes": writes.page,
        "message": writes.message,
        "request": writes.request,
    }
)
"""Functions of a transaction and what was given."""


def answer(transaction: Transaction, question: OpsQuestion) -> OpsAnswer:
    """The answer to an operator's question. Raises KeyError for an unknown one."""
    return _ANSWERS[question.what](transaction, **question.given)
