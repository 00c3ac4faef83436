"""Schemas of keys in paths. They accept all keys that Postgres shows, also those that no write may
give."""

import re
from typing import Any

from sqlalchemy.dialects.postgresql import DOMAIN
from sqlalchemy.types import TypeEngine

from chalicelib.postgres.resources import postgres_type, sql_type
from decanter.contract.forms import Schema, form

_MONTH_AND_DAY = "(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_FRACTION = r"(\.[0-9]{1,6})?"
_CLOCK = f"([01][0-9]|2[0-4]):[0-5][0-9]:[0-5][0-9]{_FRACTION}"
_OFFSET = "[+-][0-9]{2}(:[0-5][0-9]){0,2}"


def _far(rest: str) -> str:
    """Dates beyond the years of ISO 8601. rest: pattern after the day."""
    after = f"[1-9][0-9]{{4,6}}-{_MONTH_AND_DAY}{rest}"
    return f"{after}|[0-9]{{4,7}}-{_MONTH_AND_DAY}{rest} BC|-?infinity"


_SHOWN = {
    "DATE": _far(""),
    "TIMESTAMP": _far(f"T{_CLOCK}"),
    "TIMESTAMP WITH TIME ZONE": _far(f"T{_CLOCK}{_OFFSET}"),
    "TIME": "24:00:00",
    "TIME WITH TIME ZONE": f"{_CLOCK}{_OFFSET}",
    "INTERVAL": "-?infinity",
    "NUMERIC": "NaN|-?Infinity",
    "MONEY": r"-?\$[0-9,]+\.[0-9]{2}",
}
_ALSO = {
    "TIMESTAMPTZ": "TIMESTAMP WITH TIME ZONE",
    "TIMETZ": "TIME WITH TIME ZONE",
    "DECIMAL": "NUMERIC",
    "DEC": "NUMERIC",
}


def named(type_: TypeEngine[Any]) -> Schema:
    """The schema of a key of a type in a path or in a row."""
    write = form(type_).write
    name, precision = _name(type_)
    shown = _SHOWN.get(name)
    if shown is None:
        # Text; only an unknown type may also be written otherwise.
        is_unknown = isinstance(write.get("type"), list) and "array" in write["type"]
        return {**write, "type": "string"} if is_unknown else dict(write)
    # A numeric with precision cannot be infinite. Times are rounded, which gives another key.
    if precision is not None:
        fraction = rf"(\.[0-9]{{1,{precision}}})?" if precision else ""
        shown = "NaN" if name == "NUMERIC" else shown.replace(_FRACTION, fraction)
    pattern = f"^({shown})$"
    if write["type"] == "string":
        return {"type": "string", "anyOf": [dict(write), {"type": "string", "pattern": pattern}]}
    return {**write, "type": [write["type"], "string"], "pattern": pattern}


def _name(type_: TypeEngine[Any]) -> tuple[str, int | None]:
    """The name of the type in SQL, and its first argument."""
    bare = postgres_type(type_)
    while isinstance(bare, DOMAIN):
        bare = postgres_type(bare.data_type)
    name = sql_type(bare).upper().removeprefix("PG_CATALOG.")
    number = re.search(r"\(([0-9]+)", name)
    name = re.sub(r"\([^)]*\)| WITHOUT TIME ZONE", "", name)
    name = "INTERVAL" if name.startswith("INTERVAL ") else _ALSO.get(name, name)
    return name, None if number is None else int(number[1])
