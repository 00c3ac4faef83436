"""In which order the ordered queue accepted the writes."""

import base64
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from uuid import UUID

from chalicelib.messages.message import Message, decode
from chalicelib.messages.receipt import keyed_id
from chalicelib.ops import OPS
from decanter.proof.history import Attempt


def with_places(
    attempts: Sequence[Attempt], accepted: Iterable[tuple[str, int]], caller: str
) -> tuple[list[Attempt], bool]:
    """The attempts with the places of their writes, and whether all messages are known to be
    theirs.

    accepted: bodies of messages with their places. A retry has the place of the message that was
    accepted first; the queue drops the others. caller: who sent all requests.
    """
    requests = _requests(attempts, caller)
    places: dict[int, dict[int, int]] = defaultdict(dict)
    are_known = True
    for body, place in accepted:
        for request, item in _writes(decode(body), requests):
            if request is None:
                are_known = False
                continue
            earlier = places[request].get(item, place)
            places[request][item] = min(place, earlier)
    placed = [_placed(each, places.get(each.request, {})) for each in attempts]
    return placed, are_known


def _placed(attempt: Attempt, places: Mapping[int, int]) -> Attempt:
    return attempt._replace(place=min(places.values()), places=places) if places else attempt


def _writes(message: Message, requests: Mapping[UUID, int]) -> Iterator[tuple[int | None, int]]:
    """Request and item of each write. A delete names no token, so its message's id has to do."""
    for each in message.sets:
        if OPS[message.op].removes:
            yield from ((requests.get(UUID(message.dedup_id)), item) for item in each.items)
        else:
            for row, item in zip(json.loads(f"[{each.rows}]"), each.items, strict=True):
                yield int(row["token"].split(".")[0]), item


def _requests(attempts: Iterable[Attempt], caller: str) -> dict[UUID, int]:
    """Requests by id, as far as they have a receipt or an Idempotency-Key."""
    found = {}
    for each in attempts:
        if each.key:
            found[keyed_id(caller, each.key)] = each.request
        if each.receipt:
            found[_receipt_id(each.receipt)] = each.request
    return found


def _receipt_id(receipt: str) -> UUID:
    return UUID(bytes=base64.urlsafe_b64decode(receipt)[1:17])
