"""Estimates of the size of a row as it is shown, in SQL and without making its text.

Some values are short where they are stored and long where they are shown: a number such as
1e131071 has all its digits in JSON. To make the text and measure it could take gigabytes. An
estimate is at most a few times too large or too small: quotes and escapes are not counted, and
short numbers count as they are stored.
"""

import re
from collections.abc import Iterable
from typing import Any

from sqlalchemy import ARRAY, Column, Enum
from sqlalchemy.types import TypeEngine

from chalicelib.postgres.resources import base_type, sql_type
from chalicelib.postgres.sql.names import column_name

LARGEST_ESTIMATE = 22_000_000
"""A row with a larger estimate certainly has too much text to be shown: four times the limit."""

_NAME = re.compile(r"[A-Z0-9_]+(?: VARYING| PRECISION)?(?=[ (]|\Z)")
_SMALL = frozenset((
    "SMALLINT", "INT2", "INTEGER", "INT", "INT4", "BIGINT", "INT8", "REAL", "FLOAT4", "FLOAT",
    "FLOAT8", "DOUBLE PRECISION", "BOOLEAN", "BOOL", "DATE", "TIME", "TIMETZ", "TIMESTAMP",
    "TIMESTAMPTZ", "INTERVAL", "UUID", "MONEY", "INET", "CIDR", "MACADDR", "MACADDR8", "INT4RANGE",
    "INT8RANGE", "DATERANGE", "TSRANGE", "TSTZRANGE",
))  # fmt: skip
# Their text is about as long as their stored form.
_ALIKE = frozenset((
    "HSTORE", "TSVECTOR", "TSQUERY", "INT4MULTIRANGE", "INT8MULTIRANGE", "DATEMULTIRANGE",
    "TSMULTIRANGE", "TSTZMULTIRANGE",
))  # fmt: skip
_TEXTS = frozenset(("TEXT", "VARCHAR", "CHARACTER VARYING", "CHAR", "CHARACTER", "CITEXT"))
_PADDED = re.compile(
    r"(?:(?:NATIONAL )?CHAR(?:ACTER)?|NCHAR|BPCHAR)(?! VARYING|\w)(?:\(([0-9]+)\))?"
)
_SCALED = re.compile(r"(?:NUMERIC|DECIMAL) ?\([0-9]+, ?([0-9]+)\)")
_BITS = frozenset(("BIT", "BIT VARYING", "VARBIT"))
_NUMERICS = frozenset(("NUMERIC", "DECIMAL"))
_WITH_NUMERICS = _NUMERICS | {"NUMRANGE", "NUMMULTIRANGE"}
_KNOWN = _SMALL | _ALIKE | _TEXTS | _BITS | _WITH_NUMERICS | {"BYTEA", "JSON", "XML"}
_LONG = "'strict $.** ? (@.abs() > 1e30 || @.abs() < 1e-30 && @ != 0)'"
# As numeric_send gives a number: its digits are in groups of four, of which there are bytes 2 and 3
# more than one before the point; bytes 6 and 7 are the digits behind it.
_DIGITS = """4 * CASE WHEN get_byte(sent, 2) < 128
    THEN (get_byte(sent, 2) << 8) + get_byte(sent, 3) ELSE 0 END
    + (get_byte(sent, 6) << 8) + get_byte(sent, 7)"""


def stored_bytes(columns: Iterable[Column[Any]], alias: str) -> str:
    """An expression for the bytes of a row's columns as they are stored, maybe compressed. It reads
    nothing that is stored outside of the row."""
    found = [
        f"coalesce(pg_column_size({alias}.{column_name(column)}), 0)"
        for column in columns
        if not column.system and _size(column.type, "", is_column=True)
    ]
    return f"({' + '.join(found) or '0'})::bigint"


def shown_bytes(columns: Iterable[Column[Any]], alias: str) -> str:
    """An expression that estimates the bytes of a row's columns as they are shown."""
    sizes = [
        _size(column.type, f"{alias}.{column_name(column)}", is_column=True)
        for column in columns
        if not column.system  # of another type than the models say, and small
    ]
    return f"({' + '.join(f'coalesce({size}, 0)' for size in sizes if size) or '0'})::bigint"


def is_notation(type_: TypeEngine[Any]) -> bool:
    """Whether values are texts in which Postgres may find numerics, which it shows with all digits:
    those of unknown types, such as composite ones."""
    bare, name = _bare(type_)
    if isinstance(bare, ARRAY):
        return is_notation(bare.item_type)
    return not isinstance(bare, Enum) and name not in _KNOWN and name != "JSONB"


def scale(type_: TypeEngine[Any]) -> int:
    """Digits after the point of every number of an array, if fixed; else 0. Other values have too
    few numbers to be long."""
    item, is_array = _item(type_)
    match = _SCALED.match(item) if is_array else None
    return int(match[1]) if match else 0


def width(type_: TypeEngine[Any]) -> int:
    """The length to which Postgres pads texts with blanks; 0 if it does not."""
    match = _PADDED.match(_item(type_)[0])
    return int(match[1] or 1) if match else 0


def _item(type_: TypeEngine[Any]) -> tuple[str, bool]:
    """The SQL of the type, or of an array's items; and whether it is an array."""
    bare, _ = _bare(type_)
    if isinstance(bare, ARRAY):
        return _item(bare.item_type)[0], True
    sql = "" if isinstance(bare, Enum) else sql_type(bare).upper()
    return sql, sql.endswith("]")


def _size(type_: TypeEngine[Any], value: str, is_column: bool = False) -> str:
    """An expression for the bytes of a value; empty for a type with small values."""
    bare, name = _bare(type_)
    if isinstance(bare, Enum) or name in _SMALL:
        return ""
    if name in _NUMERICS and is_column and getattr(bare, "precision", None) is not None:
        return ""
    if name in _TEXTS:
        return f"octet_length({value})"
    if name == "BYTEA":
        return f"2 * octet_length({value})"
    if name in _BITS:
        return f"8 * octet_length({value})"
    if name in ("JSON", "XML"):
        return f"octet_length({value}::text)"
    if name in _ALIKE:
        return f"pg_column_size({value})"
    if isinstance(bare, ARRAY):
        plain = f"pg_column_size(array_cat({value}, NULL)) + 5 * cardinality({value})"
    elif name in _WITH_NUMERICS:
        plain = f"pg_column_size({value})"
    else:
        plain = _unpacked(value if name == "JSONB" else f"to_jsonb({value})")
    numbers = _numbers(type_, value)
    if not numbers:
        return plain
    digits = (
        f"(SELECT coalesce(sum({_DIGITS}), 0) FROM"
        f" (SELECT numeric_send(number) AS sent FROM {numbers} AS given (number) OFFSET 0) AS each)"
    )
    is_long = f"WHEN NOT {_json(type_, value)} @? {_LONG} THEN plain" if _is_json(type_) else ""
    return (
        f"(SELECT CASE WHEN plain > {LARGEST_ESTIMATE} THEN plain {is_long} ELSE plain + {digits}"
        f" END FROM (SELECT {plain} AS plain OFFSET 0) AS size)"
    )


def _numbers(type_: TypeEngine[Any], value: str) -> str:
    """A table of the numerics in a value; empty if its type has none."""
    bare, name = _bare(type_)
    if _is_json(type_):
        # Not jsonb_path_query: its time grows with the square of what it finds.
        found = f"jsonb_array_elements(jsonb_path_query_array({_json(type_, value)}, {_LONG}))"
        return f"(SELECT element::numeric FROM {found} AS element)"
    if isinstance(bare, ARRAY):
        items = _numbers(bare.item_type, "item")
        each = f"unnest({value}) AS item, LATERAL {items} AS bound (n)"
        return f"(SELECT n FROM {each})" if items else ""
    if name in _NUMERICS:
        return f"(VALUES ({value}))"
    if name == "NUMRANGE":
        return f"(VALUES (lower({value})), (upper({value})))"
    if name == "NUMMULTIRANGE":
        bounds = "LATERAL (VALUES (lower(part)), (upper(part))) AS bound (n)"
        return f"(SELECT n FROM unnest({value}) AS part, {bounds})"
    return ""


def _is_json(type_: TypeEngine[Any]) -> bool:
    """Whether the numbers of a value are found in its JSONB: an unknown type, such as a composite
    one, may have any."""
    bare, name = _bare(type_)
    if isinstance(bare, ARRAY):
        return _is_json(bare.item_type)
    return not isinstance(bare, Enum) and name not in _KNOWN


def _json(type_: TypeEngine[Any], value: str) -> str:
    return value if _bare(type_)[1] == "JSONB" else f"to_jsonb({value})"


def _unpacked(value: str) -> str:
    """The bytes of a JSONB, uncompressed."""
    return (
        f"pg_column_size(CASE WHEN jsonb_typeof({value}) IN ('object', 'array')"
        f" THEN {value} #- '{{}}' ELSE jsonb_build_array({value}) END)"
    )


def _bare(type_: TypeEngine[Any]) -> tuple[TypeEngine[Any], str]:
    """The type without domains and decorators, and its name, which is empty if unknown."""
    bare = base_type(type_)
    sql = sql_type(bare).upper()
    match = None if isinstance(bare, ARRAY | Enum) or sql.endswith("]") else _NAME.match(sql)
    return bare, match[0] if match else ""
