"""Forms of lists, which a client chooses by what it accepts: JSON, lines of JSON, or CSV."""

from collections.abc import Mapping

LINES = "application/x-ndjson"

_FORMS = {
    "application/json": "json",
    LINES: "lines",
    "application/ndjson": "lines",
    "application/jsonl": "lines",
    "text/csv": "csv",
}
_TYPES = {"lines": LINES, "csv": "text/csv; charset=utf-8; header=present"}


def accepted(headers: Mapping[str, str], *forms: str) -> str:
    """The first form that a client accepts of these; `json` if it names none."""
    for part in headers.get("accept", "").split(","):
        form = _FORMS.get(part.partition(";")[0].strip().lower())
        if form in (*forms, "json"):
            return form
    return "json"


def content_type(form: str) -> dict[str, str]:
    """The header of an answer in a form."""
    return {"Content-Type": _TYPES[form]} if form in _TYPES else {}
