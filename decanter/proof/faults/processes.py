"""Faults of the drain's process and of its connection."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from decanter.proof.faults.batches import small, write_batch
from decanter.proof.faults.case import INVOCATION_SECONDS, LONG, FaultCase
from decanter.proof.faults.steps import Batch, Span
from decanter.proof.relay import Failure, Link, Point

_SHORTER_SECONDS = 1.0  # than an invocation
_DELAY_SECONDS = 0.02


def killed(case: FaultCase) -> None:
    _strike(case, lambda _: case.drain.kill())


def killed_after_return(case: FaultCase) -> None:
    """The answer of the drain is lost with it."""
    write_batch(case, Batch.PLAIN)
    batch = case.queue.receive()
    flight = case.dispatch(batch)
    with suppress(EOFError):
        flight.container.answer(LONG)
    case.queue.give_back(batch)
    case.replace_drain()


def cut(case: FaultCase) -> None:
    _strike(case, Link.cut)


def cut_at_bytes(case: FaultCase) -> None:
    assert isinstance(case.place.step, Span)
    for number in case.place.step.numbers:
        case.drain.ask("forget")
        case.write(small(case))
        case.relay.arm(Point(case.place.step.direction, number, "byte"), Link.cut)
        while case.queue.messages:
            case.deliver()
        case.relay.heal()


def swallowed(case: FaultCase) -> None:
    """From there on, nothing arrives in that direction, and no end of the connection shows it."""
    assert isinstance(case.place.step, Point)
    direction = case.place.step.direction
    _strike(case, lambda link: link.swallowed.add(direction))


def stalled(case: FaultCase) -> None:
    """Nothing passes for longer than an invocation."""
    _strike(case, lambda _: case.relay.flows.clear())
    case.write(small(case))
    case.deliver()


def slowed(case: FaultCase) -> None:
    case.relay.delay_seconds = _DELAY_SECONDS
    for batch in Batch:
        write_batch(case, batch)
        case.deliver()


def refused_connections(case: FaultCase) -> None:
    """Once for a part of an invocation, once for longer."""
    for seconds in (_SHORTER_SECONDS, 0):
        write_batch(case, Batch.PLAIN)
        case.relay.refuses_connections = True
        with _healing(case, seconds):
            case.deliver()


def full_disk(case: FaultCase) -> None:
    """Statements that write are answered as by a server whose disk is full: claims, rows, and
    COMMIT, each for a while."""
    for pattern in ("INSERT INTO decanter.ledger", "json_to_recordset", "COMMIT"):
        for seconds, batch in ((_SHORTER_SECONDS, Batch.PLAIN), (0, Batch.MIXED)):
            write_batch(case, batch)
            case.relay.failure = Failure(pattern, "53100", closes=False)
            with _healing(case, seconds):
                case.deliver()
            case.drain_to_the_end()


def clock_forward(case: FaultCase) -> None:
    _step_clock(case, signal.SIGUSR1)


def clock_back(case: FaultCase) -> None:
    _step_clock(case, signal.SIGUSR2)


def frozen_drain(case: FaultCase) -> None:
    """A drain is frozen in a batch past its visibility timeout; another pours it; then the first
    wakes and goes on."""
    case.drains += 1
    write_batch(case, case.place.batch or Batch.PLAIN)
    frozen = case.drain
    assert isinstance(case.place.step, Point)
    case.relay.arm(case.place.step, lambda _: frozen.freeze())
    flight = case.dispatch(case.queue.receive())
    case.settle(flight, seconds=_SHORTER_SECONDS)
    case.queue.give_back(flight.batch, 0)
    case.drain = case.start_drain()
    case.deliver()
    case.read_some(2)
    frozen.thaw()
    case.settle(flight, seconds=2 * INVOCATION_SECONDS)
    frozen.close()


def _strike(case: FaultCase, action: Callable[[Link], object]) -> None:
    """Have an action happen at the place while its batch is poured."""
    assert isinstance(case.place.step, Point)
    write_batch(case, case.place.batch or Batch.PLAIN)
    case.relay.arm(case.place.step, action)
    case.deliver()


def _step_clock(case: FaultCase, number: int) -> None:
    """Step the drain's clock between two batches, and within one."""
    write_batch(case, Batch.MIXED)
    case.deliver()
    case.drain.signal(number)
    case.write_some(4)
    case.drain_to_the_end()
    case.read_some(2)
    _strike(case, lambda _: case.drain.signal(number))


@contextmanager
def _healing(case: FaultCase, seconds: float) -> Iterator[None]:
    """Heal the relay after so many seconds; with 0, at the end of the block."""
    timer = threading.Timer(seconds, case.relay.heal)
    if seconds:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
        case.relay.heal()
