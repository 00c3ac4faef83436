"""Attempts → requests and their writes, with what their clients were promised."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from decanter.proof.history import Attempt, Effect, History, Reading, Violation, Write

Fate = Literal["applied", "rejected", "unknown", "none"]
"""How a write has to end, by what its client knows. none: its request was refused, so that it must
not have any effect. unknown: either way."""

RowName = tuple[str, str]
"""Resource and key."""

KEY_REUSED = "key-reused"

_ANSWER_SECONDS = 29.0
"""API Gateway waits no longer for the API function."""

_CLOCK_SECONDS = 2.0
"""Writes accepted within this time count as simultaneous if one comes late, see *Late writes* in
docs/operating.md."""


@dataclass(frozen=True, eq=False)
class TracedRequest:
    """A request with all its attempts. final: its last status, if it has one."""

    number: int
    attempts: tuple[Attempt, ...]
    final: Reading | None
    all_places_known: bool

    @property
    def writes(self) -> tuple[Write, ...]:
        return self.attempts[0].writes

    @property
    def key(self) -> str | None:
        return self.attempts[0].key

    @cached_property
    def is_accepted(self) -> bool:
        return any(attempt.is_accepted for attempt in self.attempts)

    @cached_property
    def is_refused(self) -> bool:
        return all(attempt.is_refused for attempt in self.attempts)

    @cached_property
    def is_key_reused(self) -> bool:
        return self.final is not None and self.final.rejections.get(None) == KEY_REUSED

    @cached_property
    def first_sent(self) -> float:
        return min(attempt.sent_at for attempt in self.attempts)

    @cached_property
    def accepted_at(self) -> float | None:
        """When its client first read that it was accepted."""
        times = [each.answered_at for each in self.attempts if each.is_accepted]
        return min((time for time in times if time is not None), default=None)

    @cached_property
    def latest(self) -> float:
        """The latest time at which one of its attempts may have been accepted."""
        return max(
            attempt.sent_at + _ANSWER_SECONDS if attempt.answered_at is None
            else attempt.answered_at
            for attempt in self.attempts
        )  # fmt: skip

    @cached_property
    def receipts(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(a.receipt for a in self.attempts if a.is_accepted and a.receipt))

    def place(self, item: int) -> int | None:
        """The first known place of an item: it was accepted there, or before."""
        places = [attempt.place_of(item) for attempt in self.attempts]
        return min((place for place in places if place is not None), default=None)

    def has_sure_place(self, item: int) -> bool:
        """Whether it cannot have been accepted before that place."""
        return self.place(item) is not None and (
            self.all_places_known
            or all(a.is_refused or a.place_of(item) is not None for a in self.attempts)
        )


@dataclass(frozen=True, eq=False)
class TracedWrite:
    """A write of a request. rejection: of the final status. effects: those of its row that carry
    its token."""

    request: TracedRequest
    write: Write
    fate: Fate
    rejection: str | None
    effects: tuple[Effect, ...]
    place: int | None
    has_sure_place: bool

    @property
    def row(self) -> RowName:
        return self.write.resource, self.write.key

    @property
    def may_change(self) -> bool:
        return self.fate in ("applied", "unknown")

    def __str__(self) -> str:
        item = f", item {self.write.item}" if len(self.request.writes) > 1 else ""
        return f"request {self.request.number}{item} ({self.write.op})"


def requests(history: History) -> list[TracedRequest]:
    attempts: dict[int, list[Attempt]] = defaultdict(list)
    for attempt in history.attempts:
        attempts[attempt.request].append(attempt)
    return [
        TracedRequest(number, tuple(own), _final(own, history.finals), history.is_ordered)
        for number, own in sorted(attempts.items())
    ]


def _final(attempts: Sequence[Attempt], finals: Mapping[str, Reading]) -> Reading | None:
    receipts = [attempt.receipt or "" for attempt in attempts if attempt.is_accepted]
    return next((finals[receipt] for receipt in receipts if receipt in finals), None)


def traced(request: TracedRequest, effects: Mapping[str, Sequence[Effect]]) -> list[TracedWrite]:
    """The writes of a request. effects: by token."""
    return [
        TracedWrite(
            request,
            write,
            *_fate(request, write.item),
            _of_row(write, effects.get(write.token, ()) if write.token else ()),
            request.place(write.item),
            request.has_sure_place(write.item),
        )
        for write in request.writes
    ]


def _of_row(write: Write, effects: Sequence[Effect]) -> tuple[Effect, ...]:
    row = (write.resource, write.key)
    return tuple(effect for effect in effects if (effect.resource, effect.key) == row)


def _fate(request: TracedRequest, item: int) -> tuple[Fate, str | None]:
    if not request.is_accepted:
        return "none" if request.is_refused else "unknown", None
    final = request.final
    if final is None or final.state in ("pending", "expired"):
        return "unknown", None
    if None in final.rejections:
        return "none", final.rejections[None]
    rejection = final.rejections.get(item)
    return ("rejected", rejection) if rejection else ("applied", None)


def precedes(one: TracedWrite, other: TracedWrite, dead_letters: frozenset[int]) -> bool:
    """Whether a write was certainly accepted before another one of its row, so that it has to be
    done before it."""
    if one.request.number in dead_letters and (
        other.fate == "rejected" or other.request.first_sent <= one.request.latest + _CLOCK_SECONDS
    ):
        return False  # a dead letter comes late; only newer writes that were applied supersede it
    if one.request is other.request:
        return one.write.item < other.write.item
    if one.place is not None and other.place is not None and other.has_sure_place:
        return one.place < other.place
    accepted_at = one.request.accepted_at
    return accepted_at is not None and accepted_at < other.request.first_sent


def may_supersede(one: TracedWrite, other: TracedWrite) -> bool:
    """Whether one of a write's attempts may have been accepted after another write of its row: what
    makes its effect may be the message of any of them.

    Of two requests that overlap, a drain takes the one that was sent first for the older one, also
    where its message came to the queue behind the other's.
    """
    if not precedes(one, other, frozenset()):
        return True
    again = [each for each in one.request.attempts if not each.is_refused]
    accepted_at = other.request.accepted_at or math.inf
    if any(other.request.first_sent < each.sent_at < accepted_at for each in again):
        return True
    places = [place for each in again if (place := each.place_of(one.write.item)) is not None]
    if other.place is not None and (places or one.request.all_places_known):
        return any(place > other.place for place in places)
    return one.request.latest > other.request.first_sent


def unfinished(
    found: Sequence[TracedRequest], left: int, overtaken: frozenset[int]
) -> Iterator[Violation]:
    """Requests that never end. overtaken: they need not."""
    if left:
        yield Violation("unfinished", f"{left} messages were never poured")
    for request in found:
        if not request.is_accepted or request.number in overtaken:
            continue
        if request.final is None:
            why = "has no final status"
        elif request.final.state in ("pending", "expired"):
            why = f"is still {request.final.state} when nothing is on its way any more"
        else:
            continue
        yield Violation("unfinished", f"request {request.number} was accepted and {why}")


def reused_keys(
    found: Sequence[TracedRequest], effects: Mapping[str, Sequence[Effect]]
) -> Iterator[Violation]:
    """Of several requests with one Idempotency-Key, exactly one is poured. effects: by token."""
    groups: dict[str, list[TracedRequest]] = defaultdict(list)
    for request in found:
        if request.is_key_reused and request.key is None:
            text = f"request {request.number} has no Idempotency-Key and is rejected as key-reused"
            yield Violation("wrong-rejection", text)
        if request.key is not None:
            groups[request.key].append(request)
    for key, group in groups.items():
        poured = [
            request
            for request in group
            if any(effects.get(write.token) for write in request.writes if write.token)
            or (request.is_accepted and request.final and not request.is_key_reused
                and request.final.state not in ("pending", "expired"))
        ]  # fmt: skip
        if len(poured) > 1:
            text = (
                f"requests {_numbers(poured)} have one Idempotency-Key, {key}, and all are poured"
            )
            yield Violation("doubled", text)
        reused = [request for request in group if request.is_key_reused]
        if reused and not any(r for r in group if r not in reused and not r.is_refused):
            text = (
                f"requests {_numbers(reused)} are rejected as key-reused, but no other request with"
                f" their Idempotency-Key, {key}, was accepted"
            )
            yield Violation("wrong-rejection", text)


def _numbers(found: Sequence[TracedRequest]) -> str:
    return ", ".join(str(request.number) for request in found)
