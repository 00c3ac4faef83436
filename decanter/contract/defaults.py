"""Defaults of columns: constants, and values that are known only once the row exists."""

import inspect
import json
import re
from collections.abc import Callable, Iterator
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from types import ModuleType
from typing import Any

from sqlalchemy import Column
from sqlalchemy.dialects.postgresql import DOMAIN
from sqlalchemy.exc import CompileError
from sqlalchemy.schema import DefaultClause
from sqlalchemy.sql.schema import ScalarElementColumnDefault

from chalicelib.contract.validator import compiled
from chalicelib.postgres.resources import json_value, postgres_type, sql_of, sql_type
from decanter.contract.forms import OPAQUE, Form, form
from decanter.contract.render import json_form

UNKNOWABLE = "unknowable"
"""An absent member gets a value that no client can name in advance, such as a number of a sequence
or a random UUID."""

PREDICTABLE = "predictable"
"""It gets a value that a client could also name, such as today's date."""

_CHECKED = {"text": str, "enum": str, "integer": int, "numeric": int | Decimal}
_MOMENTS = {
    "date": date.fromisoformat,
    "timestamp": datetime.fromisoformat,
    "timestamptz": datetime.fromisoformat,
}
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_TRUE = {"t", "tr", "tru", "true", "y", "ye", "yes", "on", "1"}
_FALSE = {"f", "fa", "fal", "fals", "false", "n", "no", "of", "off", "0"}

_SOURCE = re.compile(
    r"""((\w+|"\w+")\.)?"?(
        (gen_random_uuid|uuidv4|uuidv7|uuid_generate_v1|uuid_generate_v1mc|uuid_generate_v4)"?
            \([^()]*\)
        | gen_random_bytes"?\(\s*([89]|[1-9][0-9]+)\s*\)
        | nextval"?\([^()]*\)
        | md5"?\(\s*\(?random\(\)\)?::(text|varchar)\s*\)
    )""",
    re.IGNORECASE | re.VERBOSE,
)
_RANDOM = re.compile(r"random\(\s*\)", re.IGNORECASE)  # an integer would drop all of it
_TEXT = r"\s*(?:uuid|text|varchar|character\s+varying)\s*"
_AROUND = [
    re.compile(pattern, re.IGNORECASE | re.DOTALL)
    for pattern in (
        r"\((.*)\)",
        r"(?:lower|upper|md5)\((.*)\)",
        r"encode\((.*),\s*'(?:hex|base64)'(?:::text)?\s*\)",
        r"replace\((.*),\s*'-'(?:::text)?\s*,\s*''(?:::text)?\s*\)",
        rf"cast\((.*)\s+as{_TEXT}\)",
        rf"(.*)::{_TEXT}",
        r"'[^']*'(?:::text)?\s*\|\|(.*)",
        r"(.*)\|\|\s*'[^']*'(?:::text)?",
    )
]
"""Expressions around a random value that keep it random."""

_UNKNOWABLE_FUNCTIONS = {"uuid1", "uuid4", "uuid6", "uuid7", "uuid8", "token_bytes", "token_hex",
                         "token_urlsafe", "urandom"}  # fmt: skip
_DEPTH = 3  # of functions that call functions


def has_default(column: Column[Any]) -> bool:
    """Whether a row without the member gets a value, from Postgres or from the model."""
    return (
        column.server_default is not None
        or column.default is not None
        or column.identity is not None
        or _is_serial(column)
        or _has_default(postgres_type(column.type))
    )


def completed_by(column: Column[Any]) -> str | None:
    """How an absent member of a key is completed; None if a client has to name it, or if its value
    is a constant.

    The model may declare its own functions: `info={"unknowable": True}`.
    """
    if constant_default(column) is not None or not has_default(column):
        return None
    default = column.default if column.default is not None else column.server_default
    is_unknowable = (
        is_numbered(column)
        or column.info.get("unknowable") is True
        or _is_unknowable(column, default)
    )
    return UNKNOWABLE if is_unknowable else PREDICTABLE


def is_numbered(column: Column[Any]) -> bool:
    """Whether an absent member gets a number of an identity, a serial or a sequence."""
    default = column.default if column.default is not None else column.server_default
    return (
        column.identity is not None
        or getattr(default, "is_sequence", False)
        or (default is None and _is_serial(column))
    )


def constant_default(column: Column[Any]) -> Any:
    """The value of an absent member, if it is a constant that a write may give."""
    if column.default is not None:
        value = python_constant(column)
    elif isinstance(column.server_default, DefaultClause):
        value = _server_constant(column, column.server_default)
    else:
        value = None
    return (
        value if value is not None and compiled(form(column.type).write).is_valid(value) else None
    )


def python_constant(column: Column[Any]) -> Any:
    """A constant default in Python, as JSON."""
    if not isinstance(column.default, ScalarElementColumnDefault):
        return None
    return json_form(json_value(column.type, column.default.arg))


def fits(column: Column[Any]) -> bool:
    """Whether Postgres keeps the model's constant default in Python, as far as its Python type
    tells."""
    value, shape = python_constant(column), form(column.type)
    is_checked = isinstance(value, _CHECKED.get(shape.kind, ())) and not isinstance(value, bool)
    is_finite = not isinstance(value, Decimal) or value.is_finite()
    return not (is_checked and is_finite) or compiled(shape.write).is_valid(value)


def _is_serial(column: Column[Any]) -> bool:
    return column is column.table.autoincrement_column


def _has_default(type_: Any) -> bool:
    """Whether a domain, or the domain that it is based on, has a default."""
    return isinstance(type_, DOMAIN) and (
        type_.default is not None or _has_default(postgres_type(type_.data_type))
    )


def _server_constant(column: Column[Any], default: DefaultClause) -> Any:
    text = default.arg if isinstance(default.arg, str) else _literal(column, sql_text(default.arg))
    return None if text is None else _value(form(column.type), text)


def _value(shape: Form, text: str) -> Any:
    """The value of a text; None for one that means a different value each time."""
    kind, types = shape.kind, shape.write.get("type")
    if types is None or types == "array":
        return _json(text, types)
    if kind == OPAQUE and "number" in types and _NUMBER.fullmatch(text):
        return Decimal(text)
    if kind == "boolean":
        return _boolean(text.strip().lower())
    try:
        if kind == "integer":
            return int(text) if re.fullmatch("-?[0-9]{1,20}", text) else None
        if kind == "numeric":
            return Decimal(text) if _NUMBER.fullmatch(text) else None
        # Python cuts after six digits, and Postgres rounds.
        if kind in _MOMENTS and not re.search("[.,][0-9]{7}", text):
            return _MOMENTS[kind](text).isoformat()
    except ValueError:
        return None  # 'now', or another notation of Postgres
    return None if kind in _MOMENTS else text


def _json(text: str, types: Any) -> Any:
    """The value of a document; of an array of Postgres, only the empty one."""
    if types == "array":
        return [] if text == "{}" else None
    try:
        return json.loads(text, parse_float=Decimal)
    except ValueError:
        return None


def _boolean(text: str) -> bool | None:
    return True if text in _TRUE else False if text in _FALSE else None


def sql_text(argument: Any) -> str:
    """An expression as SQL, without parameters; empty if there is no such text."""
    try:
        return sql_of(argument).strip()
    except CompileError:
        return ""


def _literal(column: Column[Any], sql: str) -> str | None:
    """The text of an SQL literal without a cast to another type; None for other expressions."""
    own = {sql_type(column.type).lower()}
    own |= {"text", "varchar", "character varying"} if form(column.type).kind == "text" else set()
    quoted = re.fullmatch(r"'((?:[^']|'')*)'(?:::(.+))?", sql, re.DOTALL)
    if quoted:
        is_own = quoted[2] is None or quoted[2].strip().lower() in own
        return quoted[1].replace("''", "'") if is_own else None
    return sql if re.fullmatch(r"-?[0-9.]+|true|false", sql, re.IGNORECASE) else None


def _is_unknowable(column: Column[Any], default: Any) -> bool:
    if getattr(default, "is_callable", False):
        return _is_random_function(default.arg, _DEPTH)
    argument = getattr(default, "arg", None)  # a FetchedValue has none
    sql = argument if isinstance(argument, str) else "" if argument is None else sql_text(argument)
    is_text = isinstance(default, DefaultClause) and isinstance(argument, str)  # a literal
    return not is_text and _is_random(sql.strip(), form(column.type).write.get("format"))


def _is_random(sql: str, binary: str | None) -> bool:
    """Whether an expression is random or unique. binary: the format of a binary number."""
    if _SOURCE.fullmatch(sql) or (binary == "double" and _RANDOM.fullmatch(sql)):
        return True
    found = (pattern.fullmatch(sql) for pattern in _AROUND)
    return any(match and _is_random(match[1].strip(), None) for match in found)


def _is_random_function(function: Any, depth: int) -> bool:
    """Whether a Python function returns random values, or calls one that does."""
    function = getattr(function, "__wrapped__", function)  # by SQLAlchemy
    function = function.func if isinstance(function, partial) else function
    if getattr(function, "__name__", "") in _UNKNOWABLE_FUNCTIONS:
        return True
    if depth == 0 or not inspect.isfunction(function):
        return False
    return any(_is_random_function(each, depth - 1) for each in _called(function))


def _called(function: Callable[..., Any]) -> Iterator[Any]:
    """The objects that a function refers to, in any module or enclosing function."""
    known = inspect.getclosurevars(function)
    for value in (*known.globals.values(), *known.nonlocals.values()):
        if isinstance(value, ModuleType):
            yield from (getattr(value, name, None) for name in function.__code__.co_names)
        else:
            yield value
