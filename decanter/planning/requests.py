"""Sample requests of a profile, and the messages that they become.

They are made by the code that is deployed: rows of the given size, with keys as the profile spreads
them, are split and encoded as the API function does it. The simulation draws from these samples.
"""

import json
import random
from bisect import bisect
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import accumulate
from typing import NamedTuple

from chalicelib.buffer.dynamodb.table import MAX_ACTIONS
from chalicelib.buffer.sqs.put import QueueEntry, in_batches
from chalicelib.contract.resources import Resource
from chalicelib.messages.message import Message, encode
from chalicelib.messages.split import KeyedRow, split
from chalicelib.ops import Op
from decanter.planning.profile import Profile, Traffic
from decanter.planning.service import Service

_SAMPLE_ROWS, _SAMPLE_BYTES = 16_384, 16_000_000
_FEWEST, _MOST = 4, 2_048
"""Sample requests of a kind."""

BY_VALUES = 0.55
"""What new rows take in a message, where they travel by their values, of what they take as JSON. It
was measured for the tables of the sample."""

_RANKS = 100_000
"""Keys whose share is computed one by one; what is beyond them is spread evenly."""

_HOTTEST = -1
_ID, _FINGERPRINT = "00000000-0000-7000-8000-000000000000", "0" * 32
_MILLISECONDS = 1 << 40
_CALLER = "profile"


class SentMessage(NamedTuple):
    """A message of a request.

    lane: in which it is poured; 0 where there is no order. seconds: that it adds to its batch.
    batch_seconds: of a batch with it, however small. kind: place of its kind of request.
    """

    lane: int
    rows: int
    bytes: int
    seconds: float
    batch_seconds: float
    kind: int


class SentRequest(NamedTuple):
    """A request. rows, bytes: of all its messages. puts: calls that put these into their buffer."""

    messages: tuple[SentMessage, ...]
    rows: int
    bytes: int
    puts: int


def request(messages: Sequence[SentMessage], puts: int) -> SentRequest:
    """A request of these messages."""
    rows, bytes_ = sum(each.rows for each in messages), sum(each.bytes for each in messages)
    return SentRequest(tuple(messages), rows, bytes_, puts)


class RequestKind(NamedTuple):
    """Requests of one resource and op. resource: its place in the profile. share: of all requests.
    buffer: that they go to."""

    resource: int
    buffer: str
    share: float
    samples: tuple[SentRequest, ...]


def buffer_of(resource: Resource) -> str:
    """The buffer that writes of a resource wait in."""
    if resource.is_fronted:
        return "stream"
    return "ordered" if resource.ordered else "unordered"


def kinds(
    profile: Profile,
    buffers: Sequence[str],
    lanes: Sequence[int],
    services: Sequence[Service],
    seed: int,
) -> list[RequestKind]:
    """All kinds of requests of a profile.

    buffers: of each of its resources, in its order; lanes: of that buffer, 0 where it has no order;
    services: times of its drain.
    """
    found: list[RequestKind] = []
    for place, traffic in enumerate(profile.resources):
        for op, share in traffic.ops.items():
            draw = random.Random(f"{seed}/{traffic.resource}/{op}")
            made = _Samples(traffic, op, len(found), buffers[place], lanes[place]).drawn(
                services[place], draw
            )
            found.append(RequestKind(place, buffers[place], traffic.share * share, made))
    return found


class _Samples(NamedTuple):
    """Samples of one kind, to be drawn. kind: its place. lanes: of its buffer."""

    traffic: Traffic
    op: Op
    kind: int
    buffer: str
    lanes: int

    def drawn(self, service: Service, draw: random.Random) -> tuple[SentRequest, ...]:
        """Requests whose keys are as the profile spreads them."""
        rows = self.traffic.rows
        size = rows * self.traffic.row_bytes
        count = max(_FEWEST, min(_MOST, _SAMPLE_ROWS // rows, _SAMPLE_BYTES // size))
        digests = _digests(self.traffic, count * rows, draw) if self.lanes else []
        text = json.dumps({"row": "x" * max(0, self._sent_bytes - len('{"row": ""}'))})
        found = []
        for number in range(count):
            first = number * rows
            keyed = [
                KeyedRow(item, ("row",), digests[first + item] if digests else None, text)
                for item in range(rows)
            ]
            made = [*self._messages(keyed)]
            sent = [self._sent(lane, message, service) for lane, message in made]
            found.append(request(sent, _puts(self.buffer, made)))
        return tuple(found)

    @property
    def _sent_bytes(self) -> int:
        """Of a row in a message."""
        by_values = self.op == "create" and self.buffer != "stream"
        return round(self.traffic.row_bytes * (BY_VALUES if by_values else 1))

    def _messages(self, rows: Sequence[KeyedRow]) -> Iterator[tuple[str | None, Message]]:
        """The messages of a request, each with its lane. In front of a table, a row is one."""
        for group in [[row] for row in rows] if self.buffer == "stream" else [rows]:
            for lane, sets in split(group, self.lanes or 1):
                yield (
                    lane,
                    Message(
                        _ID,
                        _FINGERPRINT,
                        _MILLISECONDS,
                        self.traffic.resource,
                        self.op,
                        sets,
                        caller=_CALLER,
                    ),
                )

    def _sent(self, lane: str | None, message: Message, service: Service) -> SentMessage:
        known, size = service.op(self.op), len(encode(message))
        seconds = (
            known.message_seconds + message.writes * known.row_seconds + size * known.byte_seconds
        )
        return SentMessage(
            int(lane or 0), message.writes, size, seconds, known.batch_seconds, self.kind
        )


def _puts(buffer: str, made: Sequence[tuple[str | None, Message]]) -> int:
    if buffer == "stream":
        return -(-len(made) // MAX_ACTIONS)
    if len(made) == 1:
        return 1
    return len(in_batches([QueueEntry(_ID, lane, encode(each)) for lane, each in made]))


def _digests(traffic: Traffic, count: int, draw: random.Random) -> list[int]:
    """Digests of so many keys, each key as often as the profile says: the places of the draws are
    spread evenly, so that few samples show the skew as it is. The rows of a request have any."""
    places = [(each + draw.random()) / count for each in range(count)]
    if traffic.rows > 1:
        draw.shuffle(places)
    weights = ranks(traffic)
    return [_digest(traffic.resource, rank(place, traffic, weights)) for place in places]


def ranks(traffic: Traffic) -> list[float]:
    """Cumulative weights of the keys by Zipf's law, the last one of all keys that are beyond
    these. Empty if all keys are alike."""
    if not traffic.zipf:
        return []
    known = min(traffic.keys, _RANKS)
    weights = [rank**-traffic.zipf for rank in range(1, known + 1)]
    beyond = (traffic.keys - known) * ((known + traffic.keys) / 2) ** -traffic.zipf
    return [*accumulate([*weights, beyond])]


def rank(place: float, traffic: Traffic, ranks: Sequence[float]) -> int:
    """The key at a place from 0 to 1 in the order of all writes."""
    if place < traffic.hottest:
        return _HOTTEST
    rest = (place - traffic.hottest) / (1 - traffic.hottest)
    if not ranks:
        return int(rest * traffic.keys)
    found = bisect(ranks, rest * ranks[-1])
    if found < len(ranks) - 1 or traffic.keys <= _RANKS:
        return min(found, traffic.keys - 1)
    # Any of the keys beyond: of those, no two need to be the same.
    return _RANKS + int(rest * 1e12) % (traffic.keys - _RANKS)


def _digest(resource: str, rank: int) -> int:
    return int.from_bytes(blake2b(f"{resource}/{rank}".encode(), digest_size=8).digest())
