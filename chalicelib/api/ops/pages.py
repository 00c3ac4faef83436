"""Pages of the lists under /ops: limit, and the address of the next one."""

from collections.abc import Mapping
from urllib.parse import quote, urlencode

from chalicelib.api.http.request import Request, invalid_query
from chalicelib.api.reads import listing
from chalicelib.errors import Fault, Problem


def limit(sent: Mapping[str, str]) -> int:
    """The `limit` of a query. Raises Problem `invalid-query`."""
    faults: list[Fault] = []
    found = listing.limit(sent.get("limit"), faults)
    if faults:
        raise invalid_query(*faults)
    return found


def invalid_cursor() -> Problem:
    """The problem of a cursor that no page has given."""
    detail = "it is not from a page of this list: follow `next`, or start again without a cursor"
    return invalid_query(Fault("?cursor", "query", detail))


def link(request: Request, cursor: str | None) -> dict[str, str]:
    """The header that leads to the next page, if there is one."""
    if cursor is None:
        return {}
    kept = [(name, text) for name, each in request.query.items() for text in each]
    sent = [(name, text) for name, text in kept if name != "cursor"]
    query = urlencode([*sent, ("cursor", cursor)], quote_via=quote, safe="")
    return {"Link": f'<{request.path}?{query}>; rel="next"'}
