"""The audit function: every few minutes, whether what was accepted is accounted for, and whether a
buffer is paused. It holds no connection, and asks the reader."""

import logging
import time
from typing import Any

from chalicelib.audit import accounts
from chalicelib.audit.accounts import Audit
from chalicelib.buffer import mappings
from chalicelib.settings import AUDIT_MINUTES

logger = logging.getLogger("decanter.audit")

_MARGIN_SECONDS = 5.0
_STATES_SECONDS = 10.0
_NAMED = 20
_MINUTE_MS = 60_000

_AGES = (60, 26 * 60, 15 * 24 * 60)
"""How many minutes after its acceptance a request is looked for: when it usually is poured, when
the front table's stream has dropped it, and when SQS has."""

_WINDOW = 2 * AUDIT_MINUTES
"""Minutes that are looked at: twice as many as pass between two runs, so that one may fail."""


class AuditIncomplete(Exception):
    """The time of an invocation did not suffice."""


def run(context: Any) -> dict[str, int]:
    """Look at the mappings, and for what was accepted some time ago. Returns how many buffers are
    paused and how many writes are missing. Raises AuditIncomplete, and Problem if the log or the
    reader does not answer."""
    deadline = time.monotonic() + context.get_remaining_time_in_millis() / 1000 - _MARGIN_SECONDS
    paused = _log_paused(min(deadline, time.monotonic() + _STATES_SECONDS))
    found = [_audit(age, deadline) for age in _AGES]
    requests = sum(each.requests for each in found)
    missing = [each for audited in found for each in audited.missing]
    writes = sum(count for _, count in missing)
    for request, count in missing[:_NAMED]:
        logger.error(
            "missing: %d writes of request %s to %s, accepted at %d ms since the epoch",
            count,
            request.id,
            request.resource,
            request.accepted_at,
        )
    # A metric filter reads this line.
    logger.info("audited %d requests, %d writes missing", requests, writes)
    return {"paused": paused, "missing": writes}


def _audit(age: int, deadline: float) -> Audit:
    """Audit the time of that age, in minutes. Runs that overlap look at the same minutes."""
    step = AUDIT_MINUTES * _MINUTE_MS
    until = time.time_ns() // 1_000_000 // step * step - age * _MINUTE_MS
    found = accounts.audit(until - _WINDOW * _MINUTE_MS, until, None, deadline)
    if found.next is not None:
        raise AuditIncomplete(
            f"the time did not suffice for the requests of {_WINDOW} minutes: give the function"
            " more lambda_timeout, or audit with `python -m decanter ops audit`"
        )
    return found


def _log_paused(deadline: float) -> int:
    found = mappings.states(deadline)
    for each in found:
        if each.paused is None:
            logger.warning("the state of the %s buffer is not known: %s", each.buffer, each.why)
    paused = [each.buffer for each in found if each.paused]
    # A metric filter reads this line.
    logger.info("paused %d buffers: %s", len(paused), ", ".join(paused) or "none")
    return len(paused)
