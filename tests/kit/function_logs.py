"""What functions log in situations that tests name: lines as CloudWatch gets them."""

import logging
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any
from unittest.mock import Mock, patch
from uuid import UUID

from chalice.app import AuthRequest

from app import app
from chalicelib.audit import accounts
from chalicelib.audit import handler as auditor
from chalicelib.authorizer import handler as authorizer
from chalicelib.authorizer.keys import IssuerUnavailable
from chalicelib.buffer import mappings
from chalicelib.buffer.mappings import MappingState
from chalicelib.buffer.sqs import take
from chalicelib.drain import handler, reject
from chalicelib.errors import DatabaseUnavailable
from chalicelib.messages.accepted import LoggedRequest
from chalicelib.messages.message import Message, RowSet, encode
from chalicelib.postgres import retention
from chalicelib.postgres.engine import POSTGRES
from chalicelib.postgres.rejections import Rejection
from chalicelib.publish import handler as publisher
from chalicelib.publish import outbox
from chalicelib.publish.outbox import Taken
from chalicelib.settle import handler as settler
from chalicelib.settle.set_back import Settled
from chalicelib.sweep import handler as sweeper
from tests.kit.destinations import TOPIC


class Context:
    """Lambda's context: the time left."""

    def __init__(self, seconds: float = 30) -> None:
        self._seconds = seconds

    def get_remaining_time_in_millis(self) -> int:
        return int(self._seconds * 1000)


@contextmanager
def heard() -> Iterator[list[str]]:
    """Lines of the application's log, as they are written."""
    lines: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(app.log.handlers[0].format(record))

    ear = Ear()
    assert not app.log.propagate
    app.log.addHandler(ear)
    try:
        yield lines
    finally:
        app.log.removeHandler(ear)


def drained(at: float, *accepted: float, waits: float = 0, unwell: bool = False) -> list[str]:
    """Log of a drain for messages accepted at these times; without any: invoked by its schedule.

    waits: seconds for which the oldest write waits in the database.
    """
    records = [
        {
            "messageId": str(number),
            "body": encode(
                Message(str(UUID(int=number)), "f" * 32, int(when * 1000), "things", "create",
                        (RowSet(("id",), (0,), (1,), '{"id":1}'),))
            ),
        }
        for number, when in enumerate(accepted)
    ]  # fmt: skip
    running = Mock()
    running.execute.return_value = [(int(waits > 0), waits)]
    pour = Mock(side_effect=DatabaseUnavailable("gone") if unwell else None, return_value=[])
    with (
        patch.dict("os.environ", DECANTER_DATABASE_URL="postgresql://h/d"),
        patch.object(time, "time", lambda: at),
        patch.object(handler, "connection"),
        patch.object(handler, "transaction", lambda *_, **__: nullcontext(running)),
        patch.object(handler, "pour", pour),
        heard() as lines,
        suppress(DatabaseUnavailable),
    ):
        handler.drain({"Records": records}, Context(2.1 if unwell else 30), take)
    return lines


def rejected(writes: int) -> list[str]:
    """Log of a drain for so many rejections."""
    rejection = Rejection(str(UUID(int=1)), 0, "things", "create", "null", "why")
    with heard() as lines:
        reject.keep(Mock(engine=POSTGRES), [rejection] * writes)
    return lines


def swept(*, is_done: bool = True, fails: bool = False) -> list[str]:
    """Log of a sweep."""
    step = Mock(side_effect=DatabaseUnavailable("gone") if fails else None, return_value=0)
    with (
        patch.dict("os.environ", DECANTER_DATABASE_URL="postgresql://h/d"),
        patch.object(sweeper, "connection"),
        patch.object(sweeper, "transaction", lambda *_, **__: nullcontext()),
        patch.multiple(retention, sweep=step, leaves=lambda _: [], undo_unfinished=lambda _: None),
        heard() as lines,
        suppress(DatabaseUnavailable),
    ):
        sweeper.sweep(Context(30 if is_done else 1))
    return lines


def settled(back: int = 0, marked: int = 0) -> list[str]:
    """Log of settle."""

    def settle_all(found: Counter[Settled], _deadline: float) -> bool:
        found.update({Settled.SET_BACK: back, Settled.MARKED: marked})
        return True

    with patch.object(settler, "_settle_all", settle_all), heard() as lines:
        settler.settle(Context())
    return lines


def audited(missing: int = 0, *states: str) -> list[str]:
    """Log of an audit that misses so many writes. states: of the mappings."""
    lost = LoggedRequest(str(UUID(int=1)), 1, "things", missing, 1, "f" * 32)
    found = accounts.Audit(requests=9, missing=[(lost, missing)] if missing else [])
    nothing = accounts.Audit()
    known = [MappingState("ordered", each) for each in states or ("Enabled",)]
    with (
        patch.object(accounts, "audit", Mock(side_effect=[found, nothing, nothing])),
        patch.object(mappings, "states", lambda _: known),
        heard() as lines,
    ):
        auditor.run(Context())
    return lines


def published(oldest: float = 0, refused: int = 0) -> list[str]:
    """Log of publish that leaves a row of that age in the outbox."""
    now = 1_000.0
    taken = Taken((), (1,) if oldest else (), 0, now - oldest if oldest else None)

    def publish(run: Any, _until: float) -> None:
        run.last, run.sender.refused = taken, refused

    clock = Mock(monotonic=lambda: now)
    with (
        patch.dict("os.environ", DECANTER_EVENTS=TOPIC.arn),
        patch.object(publisher, "time", clock),
        patch.object(publisher, "_publish_until", publish),
        patch.object(outbox, "take", lambda *_: taken),
        heard() as lines,
    ):
        publisher.publish(Context())
    return lines


def judged(error: Exception) -> list[str]:
    """Log of the authorizer when verifying a token raises this error."""
    with (
        patch.object(authorizer, "_issuer", lambda: (Mock(), Mock())),
        patch.object(authorizer, "verify", Mock(side_effect=error)),
        heard() as lines,
        suppress(authorizer.Unauthorized, IssuerUnavailable),
    ):
        authorizer.authorize(AuthRequest("TOKEN", "Bearer x", "arn:aws:execute-api:r:1:a/api/GET/"))
    return lines
