"""Answers to writes in front: the row as it is now, or the outcome of each chunk of many rows."""

from collections.abc import Mapping, Sequence
from typing import Any

from chalicelib.api.front import rows
from chalicelib.api.front.asked import FrontRequest
from chalicelib.api.front.changes import RowChange
from chalicelib.api.http.answers import Answer, faults_json
from chalicelib.api.http.prefer import ONLY_OF_A_CREATE
from chalicelib.errors import Problem
from chalicelib.ops import OPS

CREATED = 201

_MAX_KEPT = 300_000
"""Most characters of rows in an answer that is kept under an Idempotency-Key, as an entry of
DynamoDB holds 400 KB."""


def of_row(asked: FrontRequest, change: RowChange, etag: str, token: str | None) -> Answer:
    """The answer to a write to one row. etag: empty for a row that is gone. token: the receipt,
    None if there was nothing to write."""
    headers = {} if change.row is None else {"ETag": f'"{etag}"'}
    if not OPS[asked.op].names_row:
        headers["Location"] = rows.location(asked.resource, change.key_row)
    headers |= _link(token)
    body = change.text if _shows(asked, change) else None
    headers |= _applied(asked, is_returned=body is not None)
    status = 204 if body is None and change.status != CREATED else change.status
    return Answer(status, body or "", headers)


def of_chunk(
    asked: FrontRequest,
    written: Sequence[RowChange],
    etags: Sequence[str],
    token: str | None,
    alone: bool,
) -> Answer:
    """The answer to a transaction of many rows: its part of the whole answer, or the whole one if
    it is alone and its rows are asked."""
    status = max(change.status for change in written)
    texts = [change.text or "" for change in written]
    is_small = not asked.is_kept or sum(map(len, texts)) < _MAX_KEPT
    may_show = all(_shows(asked, change) for change in written)
    is_plain = alone and not asked.refused and is_small and may_show
    if is_plain and asked.preferred.returned == "representation":
        headers = _link(token) | _applied(asked, is_returned=True)
        return Answer(status, f"[{','.join(texts)}]", headers)
    described = [
        {
            "item": change.sent.item,
            "status": change.status,
            "location": rows.location(asked.resource, change.key_row),
            "etag": etag,
        }
        for change, etag in zip(written, etags, strict=True)
    ]
    items = _items(written[0].sent.item, written[-1].sent.item)
    document = {"items": items, "status": status, "receipt": token, "rows": described}
    return Answer(status, document, _link(token))


def of_many(
    asked: FrontRequest, chunks: Sequence[Answer | Problem], spans: Sequence[tuple[int, int]]
) -> Answer:
    """The whole answer to many rows. spans: the first and the last item of each chunk. Raises
    Problem if a chunk was not written: the first one's, with the outcomes of all."""
    good = [chunk for chunk in chunks if isinstance(chunk, Answer)]
    bad = [chunk for chunk in chunks if isinstance(chunk, Problem)]
    if bad and len(chunks) == 1:
        raise bad[0]
    if good and isinstance(good[0].body, str):
        return good[0]
    described = [
        _described(chunk, _items(*span)) for chunk, span in zip(chunks, spans, strict=True)
    ]
    document = {"chunks": described, **asked.refused}
    if bad:
        raise Problem(
            bad[0].type,
            f"{len(bad)} of {len(chunks)} chunks of rows were not written, see `chunks`; the others"
            f" were. The first reason: {bad[0].detail}",
            [fault for problem in bad for fault in problem.faults],
            bad[0].headers,
            document,
        )
    headers = good[0].headers if len(good) == 1 else {}
    is_empty = asked.preferred.returned == "minimal" and len(good) == 1 and not asked.refused
    applied = _applied(asked, is_returned=is_empty)
    status = max(chunk.status for chunk in good)
    return Answer(status, "" if is_empty else document, {**headers, **applied})


def _described(chunk: Answer | Problem, items: str) -> Mapping[str, Any]:
    if isinstance(chunk, Answer):
        found: Mapping[str, Any] = chunk.body
        return found
    problem = {
        "type": f"urn:decanter:problem:{chunk.type}",
        "title": chunk.title,
        "detail": chunk.detail,
        **({"errors": faults_json(chunk.faults)} if chunk.faults else {}),
    }
    return {"items": items, "status": chunk.status, "problem": problem}


def _shows(asked: FrontRequest, change: RowChange) -> bool:
    """Whether the row is in the answer: not if the client wants less, nor if it shows what the
    client has not sent and may not read."""
    if change.row is None or asked.preferred.returned == "minimal":
        return False
    is_sent = asked.op in ("create", "replace") or change.status == CREATED
    return is_sent or asked.may_read


def _applied(asked: FrontRequest, is_returned: bool) -> dict[str, str]:
    """The Preference-Applied header. There is nothing to wait for."""
    of_create = ONLY_OF_A_CREATE if OPS[asked.op].names_row else ()
    is_honoured = is_returned or (asked.preferred.returned == "minimal" and not asked.many)
    returned = () if is_honoured else ("return",)
    return asked.preferred.applied("wait", "respond-async", *of_create, *returned)


def _link(token: str | None) -> dict[str, str]:
    return {} if token is None else {"Link": f'</writes/{token}>; rel="status"'}


def _items(first: int, last: int) -> str:
    return f"{first}-{last}" if first < last else str(first)
