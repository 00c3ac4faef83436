"""Rejections for operators: pages as JSON, lines or CSV, one by one, and by their causes."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from chalicelib.messages.place import place
from chalicelib.messages.questions import OpsAnswer
from chalicelib.postgres.connecting.connection import Transaction
from chalicelib.postgres.ops import rejections
from chalicelib.postgres.ops.rejections import KeptRejection
from chalicelib.reader.ops.shown import SECONDS, TEXT_BYTES, dumps, fitting, in_time

MOST_CAUSES = 1_000
"""Most causes of an answer: triggers may give any."""

_NARROW = "narrow it with resource, since and until"

_BEFORE_ROW = (
    "id", "dedup_id", "item", "resource", "op", "type", "reason", "sqlstate", "constraint",
    "column",
)  # fmt: skip
_AFTER_ROW = ("body", "caller", "rejected_at")
_COLUMNS = (
    *_BEFORE_ROW, "row", *_AFTER_ROW, "correction", "act", "resent_as", "corrected_at", "unknown",
)  # fmt: skip
"""Of CSV."""


def page(
    transaction: Transaction,
    filter: Mapping[str, Any],
    limit: int,
    cursor: str | None,
    form: str = "json",
) -> OpsAnswer:
    """A page of rejections, the newest first. form: json, lines or csv. Raises Ended."""
    after = None if cursor is None else place(cursor)
    with in_time(_NARROW):
        found, is_more = rejections.page(transaction, filter, after, limit, TEXT_BYTES, SECONDS)
    text = _line if form == "csv" else _object
    texts = [text(each) for each in found]
    count = fitting(texts)
    if texts and not count:
        count, texts[0] = 1, text(_without_texts(found[0]))
    next_ = found[count - 1].place.cursor if is_more or count < len(found) else None
    return OpsAnswer(_FORMS[form](texts[:count], next_), next_, count)


def one(transaction: Transaction, dedup_id: str, item: int) -> OpsAnswer:
    """A rejection; `null` if there is none."""
    found = rejections.one(transaction, dedup_id, item, TEXT_BYTES)
    if found is None:
        return OpsAnswer("null")
    text = _object(found)
    return OpsAnswer(text if fitting([text]) else _object(_without_texts(found)), rows=1)


def causes(transaction: Transaction, filter: Mapping[str, Any]) -> OpsAnswer:
    """Rejections by their causes, those that happened last first. Raises Ended."""
    with in_time(_NARROW):
        found = rejections.causes(transaction, filter, MOST_CAUSES + 1, SECONDS)
    body: dict[str, Any] = {"causes": [each._asdict() for each in found[:MOST_CAUSES]]}
    if len(found) > MOST_CAUSES:
        why = f"there are more than {MOST_CAUSES}; {_NARROW}"
        body["unknown"] = [{"what": "causes", "why": why}]
    return OpsAnswer(dumps(body), rows=len(body["causes"]))


def _as_list(texts: Sequence[str], next_: str | None) -> str:
    return f'{{"rejections": [{", ".join(texts)}], "next": {dumps(next_)}}}'


def _as_lines(texts: Sequence[str], _: str | None) -> str:
    return "".join([f"{text}\n" for text in texts])


def _as_csv(texts: Sequence[str], _: str | None) -> str:
    return "".join([_fields(_COLUMNS), *texts])


_FORMS: Mapping[str, Callable[[Sequence[str], str | None], str]] = MappingProxyType(
    {"json": _as_list, "lines": _as_lines, "csv": _as_csv}
)


def _object(rejection: KeptRejection) -> str:
    """JSON in one line, with the row as it was sent."""
    row, correction = rejection.row, rejection.correction
    # A line break in JSON is white space.
    shown = "null" if row is None else row.replace("\r", " ").replace("\n", " ")
    head = {name: getattr(rejection, name) for name in _BEFORE_ROW}
    rest: dict[str, Any] = {name: getattr(rejection, name) for name in _AFTER_ROW}
    rest["correction"] = correction and correction._asdict()
    if why := _unknown(rejection):
        rest["unknown"] = [{"what": "row", "why": why}]
    return f'{dumps(head)[:-1]}, "row": {shown}, {dumps(rest)[1:]}'


def _line(rejection: KeptRejection) -> str:
    """A line of CSV, with the row as it was sent, in JSON."""
    correction = rejection.correction
    done: list[str | None] = [None] * 4
    if correction:
        done = [correction.kind, correction.act, correction.resent_as, correction.at]
    known = [getattr(rejection, name) for name in (*_BEFORE_ROW, "row", *_AFTER_ROW)]
    return _fields([*known, *done, _unknown(rejection)])


def _fields(values: Sequence[Any]) -> str:
    """Values in CSV (RFC 4180), NULL as nothing."""
    text = io.StringIO()
    csv.writer(text).writerow(values)
    return text.getvalue()


def _unknown(rejection: KeptRejection) -> str | None:
    """Why row and body are not shown; None if they are."""
    if rejection.row is not None or rejection.body is not None or not rejection.bytes_:
        return None
    return f"it has {rejection.bytes_:,} bytes, more than an answer holds: select it in Postgres"


def _without_texts(rejection: KeptRejection) -> KeptRejection:
    return rejection._replace(row=None, body=None)
