"""JSON documents of the API, with all digits of their numbers."""

import json
from decimal import Decimal
from typing import Any

from chalicelib.contract.json_text import MAX_INT_DIGITS
from decanter.operating.endpoint import OperatingError

Json = dict[str, Any]


def parsed(data: bytes) -> Json:
    """A JSON object, its numbers exact. Raise OperatingError for anything else."""
    try:
        found = json.loads(data, parse_float=Decimal, parse_int=_integer)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        shown = data[:100].decode(errors="replace")
        raise OperatingError(f"The answer is no JSON object, so it is not of Decanter: {shown!r}")
    return found


def _integer(text: str) -> int | Decimal:
    return int(text) if len(text) <= MAX_INT_DIGITS else Decimal(text)
