"""Rows by their keys. Their text comes from Postgres, with all digits."""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from chalicelib.errors import DatabaseError, RefusedByDatabase
from chalicelib.messages.receipt import span
from chalicelib.postgres import ledger
from chalicelib.postgres.connecting.connection import Transaction
from chalicelib.postgres.resources import Resource, resources
from chalicelib.postgres.sql.queries import TOO_LARGE, parts_query, rejection_query, rows_query
from chalicelib.reader.answer import (
    ANSWER_BYTES,
    ROW_BYTES,
    Ended,
    executed,
    is_too_large,
    sent_bytes,
    too_large,
)
from chalicelib.reader.pages import columns
from chalicelib.reader.requests import described
from chalicelib.settings import LEDGER_DAYS

_NO_ROWS = {"rows": "[]"}
_EXPIRED = (
    f"the writes were accepted more than {LEDGER_DAYS} days ago: whether they were applied is no"
    " longer known. What has not been applied by now will not be any more"
)


def row(transaction: Transaction, event: Mapping[str, Any]) -> dict[str, Any]:
    """One row, as `{"body": JSON text or None, "etag": …}`, or `{"too_large": true}`.

    event: resource; key as the JSON text of an object, where a value that the key's type does not
    have names no row; if not all of the row is to be shown, the columns that are as `select`; and,
    if the row is to be read only once the writes of a request are applied,
    the fields of their receipt as `after`. Then the answer may also be `{"pending": true}`,
    `{"rejected": reason}` where the write to this row was rejected, or `{"expired": reason}` where
    nobody knows any more.
    """
    resource = resources()[event["resource"]]
    keys = f"[{event['key']}]"
    after = event.get("after")
    try:
        if after:
            document = described(transaction, after)
            if document["state"] == "pending":
                return {"pending": True}
            if document["state"] == "expired":
                return {"expired": _EXPIRED}
            if reason := _rejection(transaction, resource, keys, after, document):
                return {"rejected": reason}
        ((text, etag),) = _found(transaction, resource, keys, event.get("select"))
    except RefusedByDatabase as error:
        raise Ended({"body": None, "etag": None}) from error
    return {"body": text, "etag": etag}


def rows(transaction: Transaction, event: Mapping[str, Any]) -> dict[str, Any]:
    """Rows, as `{"rows": [JSON text or None, …], "etags": […]}` in the order of their keys, or
    `{"too_large": true}`.

    event: resource, and keys as the JSON text of an array of objects. If one of them has a value
    that its type does not have, none names a row.
    """
    try:
        found = _found(transaction, resources()[event["resource"]], event["keys"])
    except RefusedByDatabase as error:
        nothing = [None] * len(json.loads(event["keys"]))
        raise Ended({"rows": nothing, "etags": nothing}) from error
    return {"rows": [text for text, _ in found], "etags": [etag for _, etag in found]}


def _found(
    transaction: Transaction, resource: Resource, keys: str, select: Sequence[str] | None = None
) -> list[tuple[str | None, str | None]]:
    """Text and ETag of each row; no ETag of one that is too large to have one."""
    sql = (
        rows_query(resource) if select is None else parts_query(resource, columns(resource, select))
    )
    try:
        found = executed(transaction, sql, {"rows": keys, "most": ROW_BYTES}, _NO_ROWS)
    except DatabaseError as error:
        if is_too_large(error):
            raise too_large() from error
        raise
    if any(total is not None and total > ROW_BYTES for _, _, total in found):
        raise too_large()
    if sum(sent_bytes(text) for text, _, _ in found if text) > ANSWER_BYTES:
        raise too_large()
    return [(text, None if etag == TOO_LARGE else etag) for text, etag, _ in found]


def _rejection(
    transaction: Transaction,
    resource: Resource,
    keys: str,
    after: Mapping[str, Any],
    document: Mapping[str, Any],
) -> str | None:
    """Why the write of a request to a row was not applied; None if it was."""
    if not document["rejected"]:
        return None
    for reused in document["rejections"]:
        return str(reused["reason"])
    first, last = span(UUID(after["id"]), after["messages"])
    bound = {"rows": keys, "first": str(first), "last": str(last), "resource": resource.name}
    own = executed(transaction, rejection_query(resource), bound, _NO_ROWS)
    if own:
        return str(own[0][0])
    if document["state"] != "rejected":
        return None
    (one,), _ = ledger.rejections(transaction, first, last, after_item=-1, most=0)
    return str(one["reason"])
