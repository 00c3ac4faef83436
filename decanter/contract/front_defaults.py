"""Defaults of columns that a request can make by itself: constants, the time, random UUIDs."""

import re
import uuid
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any

from sqlalchemy import Column
from sqlalchemy.schema import DefaultClause
from sqlalchemy.sql.schema import CallableColumnDefault

from chalicelib.contract.validator import compiled
from chalicelib.postgres.resources import ModelError, postgres_type
from decanter.contract.defaults import constant_default, is_numbered, sql_text
from decanter.contract.forms import form

Json = dict[str, Any]

_CLOCK = r"(now\(\)|current_timestamp|localtimestamp|(transaction|statement|clock)_timestamp\(\))"
_AS_TEXT = r"(::(text|varchar))?"
_BY_SQL: Mapping[str, tuple[str, ...]] = {
    "random": (rf"(\w+\.)?(gen_random_uuid|uuidv4|uuid_generate_v4)\(\){_AS_TEXT}",),
    "sorted": (rf"(\w+\.)?uuidv7\(\){_AS_TEXT}",),
    # Every session has the time zone UTC.
    "clock": (_CLOCK, rf"{_CLOCK} at time zone 'utc'(::text)?", rf"timezone\('utc', ?{_CLOCK}\)"),
    "day": ("current_date",),
}
"""What defaults make, and how it is written in SQL."""

_UUIDS = {"random": "uuid4", "sorted": "uuid7"}
_MAKES: Mapping[str, Mapping[str, str]] = {
    "uuid": _UUIDS,
    "text": _UUIDS,
    "timestamptz": {"clock": "now"},
    "timestamp": {"clock": "utcnow"},
    "date": {"clock": "today", "day": "today"},
}
"""What a request makes, by the kind of the column and what its default makes."""

_KNOWN: tuple[Callable[..., Any], ...] = (
    dict, list, date.today, datetime.now, datetime.today, datetime.utcnow, uuid.uuid4,
    *((uuid.uuid7,) if hasattr(uuid, "uuid7") else ()),
)  # fmt: skip
_NAMES = frozenset({"UTC", "date", "datetime", "now", "str", "timezone", "today", "utc", "utcnow",
                    "uuid", "uuid4", "uuid7"})  # fmt: skip
"""The names that a function may refer to whose result tells what it makes."""

_CURE = (
    "the answer to a write is given before Postgres has seen the row. Use a constant, now(),"
    " current_date, gen_random_uuid() or uuidv7(), or in Python datetime.now, date.today, uuid4,"
    ' list or dict, or put the table behind SQS: leave info["front"] out.'
)


def front_default(column: Column[Any]) -> Json:
    """The default of a column as `Default` has it: `value`, or `make` and `digits`.

    Raises ModelError for one that is made by Postgres, or in a way that is not known.
    """
    value = constant_default(column)
    if value is not None:
        return {"value": value}
    made: Any
    if isinstance(column.default, CallableColumnDefault):
        text, made = None, _made_in_python(column.default)
    else:
        text = _sql(column)
        made = _made_in_sql(text)
    if (text or "").upper() == "NULL" or isinstance(made, dict | list):
        return {"value": made}
    make = _MAKES.get(form(column.type).kind, {}).get(made)
    if make is None or not _fits(column, make):
        raise ModelError(
            f"Column {column.table.fullname}.{column.name}: {_named(column, text)} cannot be made"
            f" by a request, and behind DynamoDB {_CURE}"
        )
    return {"make": make, **_digits(column)}


def _sql(column: Column[Any]) -> str:
    """The expression of the default; empty if it is none."""
    given = column.default if column.default is not None else column.server_default
    is_literal = isinstance(given, DefaultClause) and isinstance(given.arg, str)
    argument = None if is_literal else getattr(given, "arg", None)
    text = "" if argument is None else re.sub(r"\s+", " ", sql_text(argument))
    while text.startswith("(") and text.endswith(")"):
        text = text[1:-1].strip()
    return text


def _made_in_sql(text: str) -> str | None:
    found = (
        what
        for what, patterns in _BY_SQL.items()
        if any(re.fullmatch(pattern, text, re.IGNORECASE) for pattern in patterns)
    )
    return next(found, None)


def _made_in_python(default: CallableColumnDefault) -> Any:
    """What a known function makes, or the empty object or array that it returns."""
    function: Any = getattr(default.arg, "__wrapped__", None)  # without SQLAlchemy's context
    if not (function in _KNOWN or _is_plain(function)):
        return None
    value = function()
    if isinstance(value, datetime):
        return None if value.utcoffset() else "clock"
    if isinstance(value, date):
        return "day"
    return value if value in ({}, []) else _version(value)


def _is_plain(function: Any) -> bool:
    """Whether a function does nothing but ask for the time or a UUID, as in
    `lambda: datetime.now(UTC)`."""
    code = getattr(function, "__code__", None)
    return (
        code is not None
        and bool(code.co_names)
        and _NAMES.issuperset(code.co_names)
        and not code.co_freevars
        and {None, function.__doc__}.issuperset(code.co_consts)
    )


def _version(value: Any) -> str | None:
    try:
        return {4: "random", 7: "sorted"}.get(uuid.UUID(str(value)).version or 0)
    except ValueError:
        return None


def _fits(column: Column[Any], make: str) -> bool:
    """Whether what is made is not too long for a text."""
    is_uuid = make in _UUIDS.values()
    return not is_uuid or compiled(form(column.type).write).is_valid(str(uuid.UUID(int=0)))


def _digits(column: Column[Any]) -> Json:
    precision = getattr(postgres_type(column.type), "precision", None)
    return {} if precision is None or precision > 6 else {"digits": precision}


def _named(column: Column[Any], text: str | None) -> str:
    """The default, as a message names it."""
    if text is None:
        return "what its default in Python makes"
    if is_numbered(column):
        return "its number"
    literal = getattr(column.server_default, "arg", "")
    return f"its default {text or literal}".strip()
