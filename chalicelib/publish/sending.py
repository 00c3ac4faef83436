"""Events in order to a topic or a bus, each until the service has it."""

import logging
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from chalicelib import aws
from chalicelib.publish import refusals
from chalicelib.publish.event import Event
from chalicelib.publish.refusals import Refusal
from chalicelib.stage import Destination

logger = logging.getLogger("decanter.publish")

_BATCH = 10
_BATCH_BYTES = 250_000  # both services take 262,144
_FIRST_PAUSE, _LAST_PAUSE = 0.2, 5.0


class Unpublishable(Exception):
    """The service takes no events, and that does not pass by itself."""


class Send(Protocol):
    def __call__(self, destination: Destination, events: Sequence[Event]) -> Mapping[int, Refusal]:
        """Send a batch; returns why some were not taken, by their number. Raises what the SDK
        does."""


@dataclass
class Sender:
    """Sends events to one destination, until the deadline, a time.monotonic().

    published: how many the service has taken. refused: how many it will never take.
    """

    destination: Destination
    send: Send
    deadline: float
    published: int = 0
    refused: int = 0

    def finish(self, events: Sequence[Event]) -> Iterator[int]:
        """Send events in order; yields how many from the first on are finished, after each batch.
        The last number is smaller than theirs where the time did not suffice. Raises
        Unpublishable."""
        done = 0
        for batch in _batches(events):
            left = self._finish_batch(batch)
            done += batch.index(left[0]) if left else len(batch)
            yield done
            if left:
                return

    def _finish_batch(self, batch: Sequence[Event]) -> Sequence[Event]:
        """Send a batch, and again what was not taken, before anything later is sent. Returns what
        is left when the time is over."""
        pause = _FIRST_PAUSE
        while batch and time.monotonic() < self.deadline:
            batch = self._try(batch)
            if batch:
                # Drawn, so that stages which are throttled together do not come back together.
                time.sleep(min(pause * random.uniform(0.5, 1), self._seconds()))  # noqa: S311
                pause = min(2 * pause, _LAST_PAUSE)
        return batch

    def _try(self, batch: Sequence[Event]) -> Sequence[Event]:
        """Send a batch once; returns what is to be sent again."""
        refused = self._refused(batch)
        self.published += len(batch) - len(refused)
        for number, refusal in refused.items():
            if not refusal.passes:
                self._give_up(batch[number], refusal)
        again = [batch[number] for number, refusal in refused.items() if refusal.passes]
        if again:
            first = next(each for each in refused.values() if each.passes)
            logger.warning(
                "%d events are sent again: %s %.300s", len(again), first.code, first.text
            )
        return again

    def _refused(self, batch: Sequence[Event]) -> Mapping[int, Refusal]:
        try:
            found = self.send(self.destination, batch)
        except aws.failures() as error:
            refusal = refusals.of_call(error)
            if not refusal.passes:
                raise self._unpublishable(refusal) from error
            return dict.fromkeys(range(len(batch)), refusal)
        return {number: found[number] for number in sorted(found)}

    def _give_up(self, event: Event, refusal: Refusal) -> None:
        """Give up an event that the service will never take, so that it does not stop all others.
        Only if it takes others: where it takes none, something else is wrong."""
        if not (refusal.is_own and self.published):
            raise self._unpublishable(refusal)
        self.refused += 1
        logger.error(
            "an event is given up, as it was refused with %s %.300s: %s",
            refusal.code,
            refusal.text,
            event.text,
        )

    def _unpublishable(self, refusal: Refusal) -> Unpublishable:
        return Unpublishable(
            f"{self.destination.arn} takes no events: {refusal.code} {refusal.text:.300}. See that"
            " it exists, that its policy lets the publish function in, and, if it is encrypted"
            " with a key of your own, that the key's policy does; the events wait"
        )

    def _seconds(self) -> float:
        return max(0.0, self.deadline - time.monotonic())


def _batches(events: Sequence[Event]) -> Iterator[Sequence[Event]]:
    """The events in order, as many at once as the services take."""
    batch: list[Event] = []
    for event in events:
        is_full = len(batch) == _BATCH or sum(map(_size, batch)) + _size(event) > _BATCH_BYTES
        if batch and is_full:
            yield batch
            batch = []
        batch.append(event)
    if batch:
        yield batch


def _size(event: Event) -> int:
    return event.size
