"""Rows by their keys, in the text of Postgres, with all digits."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from chalicelib.errors import DatabaseError, RefusedByDatabase
from chalicelib.messages import questions
from chalicelib.messages.receipt import Receipt, span
from chalicelib.postgres.connecting.connection import Transaction
from chalicelib.postgres.rejections import listed
from chalicelib.postgres.resources import ResourceTable, resources
from chalicelib.postgres.sql.queries import TOO_LARGE, parts_query, rejection_query, rows_query
from chalicelib.reader import answer, overtaken
from chalicelib.reader.pages import columns
from chalicelib.reader.requests import describe
from chalicelib.settings import LEDGER_DAYS

_NO_ROWS = {"rows": "[]"}
_EXPIRED = (
    f"the writes were accepted more than {LEDGER_DAYS} days ago: whether they were applied is no"
    " longer known. Writes that have not been applied by now never will be"
)


def row(
    transaction: Transaction, question: questions.RowQuestion
) -> questions.RowAnswer | questions.Pending | questions.Rejected | questions.Expired:
    """One row. Raises Ended."""
    resource = resources()[question.resource]
    keys = f"[{question.key}]"
    try:
        if question.after:
            document = describe(transaction, question.after)
            if document["state"] == "pending":
                return questions.Pending(True)
            if document["state"] == "expired":
                return questions.Expired(_EXPIRED)
            if reason := _rejection(transaction, resource, keys, question.after, document):
                return questions.Rejected(reason)
        ((text, etag),) = _find(transaction, resource, keys, question.select)
    except RefusedByDatabase as error:
        raise answer.Ended(questions.RowAnswer(None)) from error
    return questions.RowAnswer(text, etag)


def rows(transaction: Transaction, question: questions.RowsQuestion) -> questions.RowsAnswer:
    """Rows, in the order of their keys. Raises Ended."""
    try:
        found = _find(transaction, resources()[question.resource], question.keys)
    except RefusedByDatabase as error:
        nothing = [None] * len(json.loads(question.keys))
        raise answer.Ended(questions.RowsAnswer([*nothing], nothing)) from error
    return questions.RowsAnswer([text for text, _ in found], [etag for _, etag in found])


def _find(
    transaction: Transaction,
    resource: ResourceTable,
    keys: str,
    select: Sequence[str] | None = None,
) -> list[tuple[str | None, str | None]]:
    """Text and ETag of each row; no ETag for a row that is too large for one."""
    engine = transaction.engine
    sql = (
        rows_query(resource, engine)
        if select is None
        else parts_query(resource, columns(resource, select), engine)
    )
    try:
        found = answer.execute(transaction, sql, {"rows": keys, "most": answer.ROW_BYTES}, _NO_ROWS)
    except DatabaseError as error:
        if answer.is_too_large(error):
            raise answer.Ended(questions.TooLarge(True)) from error
        raise
    if any(total is not None and total > answer.ROW_BYTES for _, _, total in found):
        raise answer.Ended(questions.TooLarge(True))
    if sum(answer.sent_bytes(text) for text, _, _ in found if text) > answer.ANSWER_BYTES:
        raise answer.Ended(questions.TooLarge(True))
    return [(text, None if etag == TOO_LARGE else etag) for text, etag, _ in found]


def _rejection(
    transaction: Transaction,
    resource: ResourceTable,
    keys: str,
    after: Receipt,
    document: Mapping[str, Any],
) -> str | None:
    """The reason why the write of a request to a row was rejected; None if it was applied."""
    if not document["rejected"]:
        return None
    for reused in document["rejections"]:
        return str(reused["reason"])
    first, last = span(after.id, after.messages)
    bound = {"rows": keys, "first": str(first), "last": str(last), "resource": resource.name}
    own = answer.execute(transaction, rejection_query(resource), bound, _NO_ROWS)
    if own:
        return str(own[0][0])
    if document["state"] != "rejected":
        return None
    found, _ = listed(transaction, first, last, after_item=-1, most=0)
    return str(found[0]["reason"]) if found else overtaken.REASON
