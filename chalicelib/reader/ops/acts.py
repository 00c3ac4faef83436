"""Acts of operators, and the rejections that they are about."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from chalicelib.messages.questions import OpsAnswer
from chalicelib.postgres.connecting.connection import Transaction
from chalicelib.postgres.ops import acts
from chalicelib.postgres.ops.acts import OrderedPlace


def one(transaction: Transaction, id: str) -> OpsAnswer:
    """An act as its next step needs it, and the fingerprint of the request that has begun it; empty
    if there is none."""
    found = acts.find(transaction, id)
    if found is None:
        return OpsAnswer("")
    return OpsAnswer(f'{{"act": {found.text}, "fingerprint": {json.dumps(found.fingerprint)}}}')


def with_steps(transaction: Transaction, id: str) -> OpsAnswer:
    """An act as operators see it; empty if there is none."""
    found = acts.find(transaction, id, with_steps=True)
    return OpsAnswer(found.text if found else "")


def listed(
    transaction: Transaction, filter: Mapping[str, str], after: str | None, limit: int
) -> OpsAnswer:
    """A page of acts. after: `next` of the page before."""
    at, _, id_ = (after or "").partition(".")
    found = acts.listed(transaction, filter, (int(at), id_) if after else None, limit + 1)
    page = found[:limit]
    next_ = f"{page[-1].at}.{page[-1].id}" if len(found) > limit else None
    texts = ", ".join([each.text for each in page])
    return OpsAnswer(f'{{"acts": [{texts}], "next": {json.dumps(next_)}}}', next_, len(page))


def next_rejected(
    transaction: Transaction,
    act: str,
    after: Sequence[Any] | None,
    most: int,
    bytes: int,
    with_rows: bool,
) -> OpsAnswer:
    """The next rejections of an act, and whether there are more; nothing more than it was begun
    for."""
    target, left = acts.left(transaction, act)
    place = OrderedPlace(*after) if after else OrderedPlace()
    wanted = max(0, min(most, left))
    found, has_more = (
        acts.next_rejected(transaction, act, target, place, wanted, bytes, with_rows)
        if wanted
        else ([], False)
    )
    is_last = not has_more and (len(found) < wanted or wanted == left)
    return OpsAnswer(json.dumps({"rejections": found, "is_last": is_last}))


def rejected(transaction: Transaction, ids: Sequence[str], bytes: int) -> OpsAnswer:
    """Rejections in any order, with their rows if these have at most so many bytes together, which
    are told; 0 for no rows."""
    found, size = acts.rejected(transaction, ids, bytes)
    return OpsAnswer(json.dumps({"rejections": found, "bytes": size if bytes else 0}))
