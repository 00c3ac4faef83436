"""The settle function: once a minute, rows in front that Postgres has refused afterwards."""

import logging
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from chalicelib.asking import ask
from chalicelib.buffer.dynamodb import entries, table
from chalicelib.buffer.dynamodb.table import Action
from chalicelib.errors import Problem
from chalicelib.messages.questions import RefusedQuestion, RefusedWrite
from chalicelib.settle.set_back import Settled, item_name, set_back

logger = logging.getLogger("decanter.settle")

_MARGIN_SECONDS = 2.0


def settle(context: Any) -> dict[str, int]:
    """Settle all refused writes behind the cursor, until done or out of time.

    Returns how many items were set back, marked, and left. Each write is settled at least once: the
    cursor moves only behind what is settled, and stays before what may still be committed. Raises
    Problem if the reader or the table does not answer, with everything until then done.
    """
    deadline = time.monotonic() + context.get_remaining_time_in_millis() / 1000 - _MARGIN_SECONDS
    settled: Counter[Settled] = Counter()
    end = "out of time"
    try:
        if _settle_all(settled, deadline):
            end = "done"
    except Problem as problem:
        end = problem.detail
        raise
    finally:
        # A metric filter reads this line.
        logger.info(
            "settled refused writes: %d items set back, %d marked, %d left; %s",
            *[settled[each] for each in Settled],
            end,
        )
    return {each.value: settled[each] for each in Settled}


def _settle_all(settled: Counter[Settled], deadline: float) -> bool:
    """Returns whether nothing is left."""
    kept = after = _cursor(deadline)
    while _has_time(deadline):
        page = ask(RefusedQuestion(after), deadline)
        if not _settle_page(page.refused, settled, deadline):
            return False
        if page.known != kept:
            kept = page.known
            table.write([Action("Put", entries.cursor_entry(kept))], deadline)
        if page.next is None:
            return True
        after = page.next
    return False


def _settle_page(
    writes: Sequence[RefusedWrite], settled: Counter[Settled], deadline: float
) -> bool:
    """Settle these writes; returns whether the time sufficed. Most are settled already, so that all
    their items are read at once before any is written."""
    named = [(write, pk) for write in writes if (pk := item_name(write))]
    pks = [*dict.fromkeys(pk for _, pk in named)]
    found = table.get_many(pks, deadline) if pks else {}
    settled[Settled.LEFT] += len(writes) - len(named)
    for write, pk in named:
        if not _has_time(deadline):
            return False
        settled[set_back(write, found.get(pk), deadline)] += 1
    return True


def _cursor(deadline: float) -> str:
    entry = table.get(entries.CURSOR, deadline)
    try:
        return "" if entry is None else entries.read_cursor(entry)
    except entries.Damaged as error:
        logger.error("refused writes are settled from the beginning: %s", error)
        return ""


def _has_time(deadline: float) -> bool:
    return time.monotonic() < table.latest(deadline)
