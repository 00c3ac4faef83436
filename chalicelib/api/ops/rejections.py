"""GET /ops/rejections: which writes were rejected, and by what causes."""

from chalicelib.api.http import forms
from chalicelib.api.http.answers import Answer
from chalicelib.api.http.request import Request, only
from chalicelib.api.ops import asking, filters, pages
from chalicelib.errors import Problem
from chalicelib.messages.place import place


def page(request: Request) -> Answer:
    """A page of rejections, the newest first, with a Link to the next one; as NDJSON or CSV if the
    client accepts that. Raises Problem."""
    filter_, others = filters.from_query(request.query, "limit", "cursor")
    limit, cursor = pages.limit(others), others.get("cursor")
    if cursor is not None and place(cursor) is None:
        raise pages.invalid_cursor()
    form = forms.accepted(request.headers, "lines", "csv")
    found = asking.read(
        request, "rejections", filter=filter_, limit=limit, cursor=cursor, form=form
    )
    return Answer(200, found.body, forms.content_type(form) | pages.link(request, found.next))


def causes(request: Request) -> Answer:
    """Rejections by their causes. Raises Problem."""
    filter_, _ = filters.from_query(request.query)
    return asking.shown(asking.read(request, "causes", filter=filter_))


def one(request: Request, id: str) -> Answer:
    """A rejection. Raises Problem."""
    only(request.query)
    named = place(f"0.{id}")
    if named:
        found = asking.read(request, "rejection", dedup_id=named.dedup_id, item=named.item)
        if found.rows:
            return asking.shown(found)
    raise Problem(
        "no-such-entry",
        f"there is no rejection {id}; its id is `{{dedup_id}}.{{item}}`, and the sweep may have"
        " deleted it",
    )
