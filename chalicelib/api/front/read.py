"""Reads by key of resources behind the front table: the item as the last write left it."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from chalicelib.api.front import rows
from chalicelib.api.http import preconditions
from chalicelib.api.http.answers import Answer
from chalicelib.buffer.dynamodb import table
from chalicelib.buffer.dynamodb.entries import FrontItem
from chalicelib.contract.json_text import render
from chalicelib.contract.resources import Resource
from chalicelib.errors import Problem

_TYPE = re.compile("[a-z-]{1,40}")


def row(
    resource: Resource,
    members: Mapping[str, Any],
    select: Sequence[str] | None,
    known: Sequence[tuple[str, bool]] | None,
    until: float,
) -> Answer:
    """A row with its ETag, or 304 if the client has it.

    members: its key. select: columns to show, None for all. known: the tags of If-None-Match.
    until: a time.monotonic(). Raises Problem 404, 409, 422, 500, 503.
    """
    found = rows.stored(resource, table.get(rows.item_pk(resource, members), until))
    if found.item is None or found.row is None:
        raise Problem("no-such-row", f"{resource.name} has no row {render(dict(members))}")
    headers = {"ETag": f'"{found.etag}"'} | _refused(found.item)
    # RFC 9110: If-None-Match compares weakly.
    if known is not None and {tag for tag, _ in known} & {preconditions.ANY, found.etag}:
        return Answer(304, "", headers)
    if select is None:
        return Answer(200, found.item.row, headers)
    return Answer(200, render({name: found.row[name] for name in select}), headers)


def _refused(item: FrontItem) -> dict[str, str]:
    """The header of a row that Postgres has refused, and that the item keeps: the type of the
    rejection. The ETag is the dedup ID of the write."""
    if item.refused is None:
        return {}
    try:
        type_ = json.loads(item.refused)["type"]
    except (ValueError, TypeError, LookupError, RecursionError):
        type_ = None  # changed by other hands
    is_type = isinstance(type_, str) and _TYPE.fullmatch(type_)
    return {"Decanter-Refused": type_ if is_type else "unknown"}
