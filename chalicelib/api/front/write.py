"""Writes to resources behind the front table: rows → conditional writes → the outcome at once."""

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from chalicelib.api.front import answers, repeats, rows
from chalicelib.api.front.answers import CREATED
from chalicelib.api.front.asked import FrontRequest
from chalicelib.api.front.changes import RowChange, change
from chalicelib.api.front.rows import SentRow, StoredRow
from chalicelib.api.front.transactions import Step, refuse, steps
from chalicelib.api.http.answers import Answer
from chalicelib.buffer.dynamodb import entries, table
from chalicelib.buffer.dynamodb.entries import Entry
from chalicelib.errors import Fault, Problem
from chalicelib.messages.accepted import log_accepted
from chalicelib.messages.receipt import FRONT_ITEMS, Receipt, front_id, issue
from chalicelib.settings import MAX_FRONT_ROWS

_TRIES = 6
_PAUSE_SECONDS = 0.02
_BESIDE_BYTES = 1_500
"""What a row takes beside its text, which is in the item twice: names, header, defaults."""

_LASTING = 500
"""Statuses from here on concern DynamoDB, not the rows: the other chunks would have them too."""


class _Chunk(NamedTuple):
    """Rows of one transaction, each with the name of its item. record: the name of its key record.
    alone: whether it has all rows of the request."""

    rows: Sequence[tuple[str, SentRow]]
    record: str | None
    alone: bool


def write(asked: FrontRequest) -> Answer:
    """Write the rows, and answer. Raises Problem."""
    if len(asked.rows) > MAX_FRONT_ROWS:
        raise Problem(
            "body-too-large",
            f"{asked.resource.name} takes at most {MAX_FRONT_ROWS} rows in one request, not"
            f" {len(asked.rows)}; none was written. Send them in several",
        )
    last = asked.rows[-1].item if asked.rows else 0
    if last >= FRONT_ITEMS:  # where most items are invalid, and left out
        raise Problem(
            "body-too-large",
            f"{asked.resource.name} takes rows of the first {FRONT_ITEMS} items of a body, not item"
            f" {last}; none was written. Send them in several",
        )
    chunks = [*_chunks(asked, _named(asked))]
    if not asked.many:
        return _write_chunk(asked, chunks[0])
    done: list[Answer | Problem] = []
    for chunk in chunks:
        done.append(_outcome(asked, chunk, done))
    spans = [(chunk.rows[0][1].item, chunk.rows[-1][1].item) for chunk in chunks]
    return answers.of_many(asked, done, spans)


def _outcome(
    asked: FrontRequest, chunk: _Chunk, before: Sequence[Answer | Problem]
) -> Answer | Problem:
    """The outcome of a chunk. One that fails does not undo those before; once DynamoDB does not
    answer, the rest is not tried."""
    last = before[-1] if before else None
    if isinstance(last, Problem) and last.status >= _LASTING:
        return Problem("front-unavailable", "it was not tried, as the chunk before has failed")
    try:
        return _write_chunk(asked, chunk)
    except Problem as problem:
        if problem.type == "key-reused":
            raise
        return problem


def _named(asked: FrontRequest) -> list[tuple[str, SentRow]]:
    """The rows with their keys, and the names of their items. Raises Problem 422 for a key that no
    item can have, or that two rows have."""
    found: dict[str, SentRow] = {}
    for sent in asked.rows:
        value = rows.with_default_key(asked.resource, sent.value, asked.moment)
        pk = rows.item_pk(asked.resource, value, sent.pointer)
        if pk in found:
            detail = f"item {found[pk].item} has the same key: send each row once in a request"
            raise Problem("invalid-row", detail, (Fault(sent.pointer, "unique", detail),))
        found[pk] = sent._replace(value=value)
    return [*found.items()]


def _chunks(asked: FrontRequest, named: Sequence[tuple[str, SentRow]]) -> Iterator[_Chunk]:
    """Rows of each transaction, as many as surely fit into one."""
    front = asked.resource.front
    claims, parents = (len(front.unique), len(front.parents)) if front else (0, 0)
    actions = 1 + parents + claims * (1 if asked.op == "create" else 2)
    most = max(1, (table.MAX_ACTIONS - asked.is_kept) // actions)
    groups: list[list[tuple[str, SentRow]]] = []
    bytes_ = 0
    for pk, sent in named:
        size = 2 * sent.bytes_ + _BESIDE_BYTES
        if not groups or len(groups[-1]) == most or bytes_ + size > table.MAX_BYTES:
            groups.append([])
            bytes_ = 0
        groups[-1].append((pk, sent))
        bytes_ += size
    for number, group in enumerate(groups):
        # A deployment may change the chunks: the first item says which rows were answered.
        part = group[0][1].item if number else 0
        record = None if asked.request is None else entries.record_pk(asked.request, part)
        yield _Chunk(group, record, alone=len(groups) == 1)


def _write_chunk(asked: FrontRequest, chunk: _Chunk) -> Answer:
    """Write the rows of a chunk together, or answer as the first time. Raises Problem, and keeps it
    under the Idempotency-Key if the rows as they are have decided it."""
    try:
        for attempt in range(_TRIES):
            if attempt:
                time.sleep(_PAUSE_SECONDS * 2**attempt * random.uniform(0.5, 1))  # noqa: S311
            if answer := _try(asked, chunk):
                return answer
    except Problem as problem:
        is_kept = asked.keeps_refusals and problem.type in repeats.KEPT
        if chunk.record is None or not is_kept:
            raise
        kept = repeats.keep(chunk.record, asked.fingerprint, problem)
        for current in table.write([kept], asked.until).refused.values():
            if first := repeats.answered(current, asked.fingerprint):
                return first
        raise
    detail = "other writers change the same rows all the time; nothing was written"
    raise Problem("front-unavailable", detail, headers={"Retry-After": "1"})


def _try(asked: FrontRequest, chunk: _Chunk) -> Answer | None:
    """Write the rows if they are as they were read. None if they were changed meanwhile."""
    found = _read(asked, chunk) if asked.is_reading else {}
    record = found.get(chunk.record or "")
    if record and (kept := repeats.answered(record, asked.fingerprint)):
        return kept
    done = [change(asked, sent, pk, _stored(asked, found.get(pk))) for pk, sent in chunk.rows]
    written = [each for each in done if each.op]
    items = [each.sent.item for each in written]
    receipt = _receipt(asked, items)
    dedup_ids = [receipt.dedup_id(item - items[0]) for item in items]
    needed = steps(asked, written, receipt, dedup_ids)
    answer = _answer(asked, chunk, done, receipt, dedup_ids)
    if chunk.record is not None:
        needed.insert(0, Step(repeats.keep(chunk.record, asked.fingerprint, answer)))
    return _do(asked, needed, answer, receipt) if needed else answer


def _do(
    asked: FrontRequest, needed: Sequence[Step], answer: Answer, receipt: Receipt
) -> Answer | None:
    """The answer once the steps are done. None if rows were changed meanwhile."""
    is_blind_put = asked.op == "replace" and not asked.is_reading
    outcome = table.write([step.action for step in needed], asked.until, wants_old=is_blind_put)
    if asked.is_kept and 0 in outcome.refused:
        return repeats.answered(outcome.refused[0], asked.fingerprint)
    if outcome.refused:
        refuse(asked, needed, outcome.refused)
        return None
    if receipt.writes:
        log_accepted(receipt, receipt.accepted_at, asked.resource.name)
    is_first = is_blind_put and not outcome.is_late and "row" not in (outcome.old or {})
    return answer._replace(status=CREATED) if is_first else answer


def _receipt(asked: FrontRequest, items: Sequence[int]) -> Receipt:
    """The receipt of these items, which is not issued if there are none."""
    now_ms = int(asked.moment.timestamp() * 1_000)
    first, last = (items[0], items[-1]) if items else (0, -1)
    identity = front_id(now_ms, first)
    return Receipt(identity, now_ms, last - first + 1, len(items), asked.fingerprint)


def _read(asked: FrontRequest, chunk: _Chunk) -> Mapping[str, Entry]:
    record = [chunk.record] if chunk.record else []
    return table.get_many([*record, *(pk for pk, _ in chunk.rows)], asked.until)


def _stored(asked: FrontRequest, entry: Entry | None) -> StoredRow:
    """The row as it is. One that other hands have damaged can still be replaced or deleted."""
    try:
        return rows.stored(asked.resource, entry, asked.moment)
    except Problem:
        if asked.op in ("replace", "delete"):
            return StoredRow(is_damaged=True)
        raise


def _answer(
    asked: FrontRequest,
    chunk: _Chunk,
    done: Sequence[RowChange],
    receipt: Receipt,
    dedup_ids: Sequence[str],
) -> Answer:
    token = issue(receipt, asked.receipt_key, asked.caller) if dedup_ids else None
    new = map(entries.etag_of, dedup_ids)
    etags = [next(new) if each.op else each.etag for each in done]
    if not asked.many:
        return answers.of_row(asked, done[0], etags[0], token)
    return answers.of_chunk(asked, done, etags, token, chunk.alone)
