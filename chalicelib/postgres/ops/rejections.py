"""Rejections as operators look for them: filters, pages, causes."""

from collections.abc import Mapping
from typing import Any

_TEXTS = ("resource", "type", "constraint", "column", "sqlstate", "caller")

_TIMES = {
    "since": "rejection.rejected_at >= %(since)s::timestamptz",
    "until": "rejection.rejected_at < %(until)s::timestamptz",
}

_MESSAGES = "rejection.dedup_id BETWEEN %(first_message)s::uuid AND %(last_message)s::uuid"

_KEY = "rejection.key = decode(%(digest)s, 'hex')"

# `->>` raises an error for a row with a text that is none: U+0000, or half of a surrogate pair.
_IS_READABLE = r"""
    rejection.row IS NOT NULL AND rejection.row::text !~ ('\\u0000'
        || '|\\u[dD][89aAbB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])'
        || '|(?<!\\u[dD][89aAbB][0-9a-fA-F]{2})\\u[dD][c-fC-F]')
"""

_VALUE = """
    CASE WHEN {is_readable} THEN rejection.row ->> %({name})s = %({value})s ELSE false END
"""

_CORRECTED = """
    EXISTS (
        SELECT FROM decanter.correction WHERE correction.dedup_id = rejection.dedup_id
            AND correction.item = rejection.item{kind})
"""

_STATES = {
    "open": f"NOT {_CORRECTED.format(kind='')}",
    "resent": _CORRECTED.format(kind=" AND correction.kind = 'resend'"),
    "discarded": _CORRECTED.format(kind=" AND correction.kind = 'discard'"),
    "all": "true",
}


def where(filter: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The condition on rows of `decanter.rejection` that a checked filter means, and its bound
    values. An empty text is the filter of those without a value. Raises KeyError for a state that
    there is not."""
    sql = [_STATES[filter.get("state", "open")]]
    bound: dict[str, Any] = {}
    for name in _TEXTS:
        if name in filter:
            is_empty = filter[name] == ""
            sql.append(f'rejection."{name}" ' + ("IS NULL" if is_empty else f"= %({name})s"))
            bound |= {} if is_empty else {name: filter[name]}
    for name, condition in _TIMES.items():
        if name in filter:
            sql.append(condition)
            bound[name] = filter[name]
    if "messages" in filter:
        sql.append(_MESSAGES)
        bound["first_message"], bound["last_message"] = filter["messages"]
    if "digest" in filter:
        sql.append(_KEY)
        bound["digest"] = filter["digest"]
    for place, (column, text) in enumerate(filter.get("values", {}).items()):
        names = {"name": f"column_{place}", "value": f"value_{place}"}
        sql.append(_VALUE.format(is_readable=_IS_READABLE, **names))
        bound |= {names["name"]: column, names["value"]: text}
    return " AND ".join(sql), bound
