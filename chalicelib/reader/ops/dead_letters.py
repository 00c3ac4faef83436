"""What became of dead letters, and what has been poured since."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from chalicelib.errors import LockNotAvailable, StatementTimedOut
from chalicelib.messages.questions import OpsAnswer
from chalicelib.postgres import ledger
from chalicelib.postgres.connecting.connection import Transaction, savepoint
from chalicelib.postgres.ledger import CLOCK_MILLISECONDS
from chalicelib.postgres.resources import identifies_keys

_SECONDS = 5.0

_TOO_LONG = (
    "the ledger has too many rows since these messages were accepted to look for newer ones, or"
    " leaves are being added to it"
)


class _Letter(NamedTuple):
    """A dead letter. digests: of its keys; none where nobody asks for newer writes."""

    id: str
    accepted_at: int
    resource: str
    digests: Sequence[int]


def outcomes(transaction: Transaction, letters: Sequence[Sequence[Any]]) -> OpsAnswer:
    """For each dead letter, by dedup ID: whether it is poured, and whether a newer write to one of
    its keys is, so that the drain would reject its own as superseded; None if that is not known.

    letters: of each its dedup ID, time of acceptance in milliseconds, resource and digests.
    """
    asked = [_Letter(*each) for each in letters]
    poured = ledger.known(transaction, [each.id for each in asked])
    newest = _newest(transaction, [each for each in asked if _has_order(each)])
    found = {
        each.id: {"poured": each.id in poured, "newer": _is_overtaken(each, newest)}
        for each in asked
    }
    unknown = [{"what": "messages.newer", "why": _TOO_LONG}] if newest is None else []
    return OpsAnswer(json.dumps({"outcomes": found, "unknown": unknown}))


def _newest(transaction: Transaction, letters: Sequence[_Letter]) -> Mapping[int, int] | None:
    """When the newest poured write to each key was accepted; None if one cannot look."""
    if not letters:
        return {}
    since = min(each.accepted_at for each in letters)
    digests = {digest for each in letters for digest in each.digests}
    try:
        with savepoint(transaction):
            # A letter that is poured counts: it is newer than another one, never than itself.
            return ledger.later_writes(transaction, digests, since, [], _SECONDS)
    except (StatementTimedOut, LockNotAvailable):
        return None


def _is_overtaken(letter: _Letter, newest: Mapping[int, int] | None) -> bool | None:
    if newest is None or not _has_order(letter):
        return None
    latest = max(newest.get(digest, 0) for digest in letter.digests)
    return latest > letter.accepted_at + CLOCK_MILLISECONDS


def _has_order(letter: _Letter) -> bool:
    return bool(letter.digests) and identifies_keys(letter.resource)
