"""Columns → JSON Schema.

The schema of a value that is written accepts nothing that Postgres would change in silence: it
rounds digits beyond a scale, cuts blanks beyond varchar(n), and moves a leap second. What it
refuses aloud (a date in the range syntax, a network address) may be left to it.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import Enum as PythonEnum
from typing import Any

from sqlalchemy import ARRAY, Column, Uuid
from sqlalchemy.dialects.postgresql import DOMAIN
from sqlalchemy.schema import DefaultClause
from sqlalchemy.sql.schema import ScalarElementColumnDefault
from sqlalchemy.types import Enum, TypeEngine

from chalicelib.database.resources import postgres_type, sql_type

Schema = dict[str, Any]

OPAQUE = "opaque"
"""Kind of a key column whose equality in Postgres is not that of its JSON values."""

_SQL = re.compile(
    r"(?P<name>[A-Za-z0-9_ ]+?) ?(\((?P<arguments>[^)]*)\))?"
    r"(?P<zone> WITH(OUT)? TIME ZONE)?( COLLATE (?P<collation>.+))?"
)
_DETERMINISTIC = re.compile(r'"?(C|POSIX|default|ucs_basic|unicode|pg_\w+|[\w.-]+-x-icu)"?')
_ANYTHING = ["array", "boolean", "number", "object", "string"]
_SCALARS = frozenset({"boolean", "integer", "null", "number", "string"})
_INCOMPARABLE = ("XML", "JSONPATH")
_NO_NUMBER = ("NaN", "Infinity", "-Infinity")
_DOUBLE = Decimal("1.7976931348623157E+308")
_REAL = Decimal("3.4028235E+38")

# Year 0 is not in Postgres' calendar. Offsets beyond 15:59 are refused by it, and so are names.
_DATE = "^(?!0000)[0-9]{4}-[0-9]{2}-[0-9]{2}"
_DAY = (
    "^(?!0000)[0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])"
    "|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-9]))"
)
_TIME = "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
_OFFSET = "(Z|[+-](0[0-9]|1[0-5]):[0-5][0-9])"


@dataclass(frozen=True)
class Form:
    """How a type looks in JSON.

    kind: how keys of the type are compared. write: schema of a value to store, not null.
    read: schema of a stored value, where Postgres holds more than a client may write.
    note: what a client should know.
    """

    kind: str
    write: Schema
    read: Schema | None = None
    note: str = ""


def form(type_: TypeEngine[Any]) -> Form:
    """The form of any type; an unknown one takes any JSON value, which Postgres will judge."""
    bare = postgres_type(type_)
    if isinstance(bare, Enum):
        return Form("enum", {"type": "string", "enum": [str(label) for label in bare.enums]})
    if isinstance(bare, DOMAIN):
        base = form(bare.data_type)
        return replace(base, kind=OPAQUE) if _is_collated(bare.collation) else base
    if isinstance(bare, ARRAY):
        return _array(bare)
    if isinstance(bare, Uuid) and not bare.native_uuid:
        return Form(OPAQUE, {"type": "string", "pattern": "^[0-9a-f]{32}$"})
    match = _SQL.fullmatch(sql_type(type_))
    known = _FORMS.get(match["name"].upper()) if match else None
    if match is None or known is None:
        return Form(OPAQUE, {"type": _ANYTHING}, note="in the form that Postgres reads and writes")
    return known(_Sql(match))


def write_schema(column: Column[Any]) -> Schema:
    """What a write may give the column, description included."""
    return _described(column, dict(form(column.type).write))


def read_schema(column: Column[Any]) -> Schema:
    """What a read shows. Of a key column it is what may be written: paths are checked by it."""
    shape = form(column.type)
    strict = shape.read is None or column.primary_key
    return _described(column, dict(shape.write if strict else shape.read or {}))


def is_nullable(column: Column[Any]) -> bool:
    """Whether the column takes null, which a domain may forbid by itself."""
    bare = postgres_type(column.type)
    return bool(column.nullable) and not (isinstance(bare, DOMAIN) and bare.not_null)


def has_default(column: Column[Any]) -> bool:
    """Whether a row without the member gets a value, be it from Postgres or from the model."""
    bare = postgres_type(column.type)
    return (
        column.server_default is not None
        or column.default is not None
        or column.identity is not None
        or column is column.table.autoincrement_column
        or (isinstance(bare, DOMAIN) and bare.default is not None)
    )


def constant_default(column: Column[Any]) -> str | int | bool | None:
    """The value of an absent member, where it is a constant of the model that JSON can say."""
    if isinstance(column.default, ScalarElementColumnDefault):
        made = column.default.arg
        made = made.name if isinstance(made, PythonEnum) else made
        return made if isinstance(made, str | int) else str(made)
    if column.default is not None or not isinstance(column.server_default, DefaultClause):
        return None
    kind = form(column.type).kind
    if kind not in ("text", "enum", "integer", "numeric", "uuid", "boolean"):
        return None  # 'now' is a timestamp of its own
    argument = column.server_default.arg
    text = argument if isinstance(argument, str) else _literal(str(argument))
    if kind == "boolean" and text is not None:
        return text.lower() in ("true", "t", "yes", "on", "1")
    return text


def _literal(sql: str) -> str | None:
    """The text of a literal of SQL; None for any other expression."""
    quoted = re.fullmatch(r"'((?:[^']|'')*)'(::[\w .()\"]+)?", sql)
    if quoted:
        return quoted[1].replace("''", "'")
    return sql if re.fullmatch(r"-?[0-9.]+|true|false", sql, re.IGNORECASE) else None


def holds_integers(type_: TypeEngine[Any]) -> bool:
    """Whether values, or those of an array, are integers."""
    bare = postgres_type(type_)
    if isinstance(bare, ARRAY):
        return holds_integers(bare.item_type)
    return form(type_).kind == "integer"


def is_comparable(column: Column[Any]) -> bool:
    """Whether a list can be filtered and ordered by the column: it holds a single value, of a type
    that is known to have equality and an order."""
    bare = postgres_type(column.type)
    while isinstance(bare, DOMAIN):
        bare = postgres_type(bare.data_type)
    return sql_type(bare).upper() not in _INCOMPARABLE and _SCALARS.issuperset(
        _types(read_schema(column))
    )


class _Sql:
    """A type's SQL text, taken apart."""

    def __init__(self, match: re.Match[str]) -> None:
        self.name = match["name"].upper()
        self.numbers = [int(text) for text in re.findall(r"-?\d+", match["arguments"] or "")]
        self.has_zone = (match["zone"] or "").startswith(" WITH ") or self.name.endswith("TZ")
        self.collation = match["collation"]

    @property
    def number(self) -> int | None:
        return self.numbers[0] if self.numbers else None


def _integer(bits: int) -> Callable[[_Sql], Form]:
    limit = 2 ** (bits - 1)
    schema = {"type": "integer", "minimum": -limit, "maximum": limit - 1, "format": f"int{bits}"}
    return lambda _: Form("integer", schema)


def _numeric(sql: _Sql) -> Form:
    note = "all digits are kept"
    if sql.number is None:
        return Form("numeric", {"type": "number"}, note=note)
    scale = sql.numbers[1] if len(sql.numbers) > 1 else 0
    # Built from digits: arithmetic would round to the 28 of Decimal's context. Bounds are written
    # with a fraction, and whole numbers as a type of their own, because validators compare integer
    # keywords with fractional values in binary.
    digits = (9,) * sql.number
    largest = Decimal((0, digits, -scale)) if scale else Decimal((0, (*digits, 0), -1))
    schema = {
        "type": "number" if scale > 0 else "integer",
        "minimum": largest.copy_negate(),
        "maximum": largest,
        **({"multipleOf": Decimal((0, (1,), -scale))} if scale else {}),
    }
    return Form("numeric", schema, {"type": "number"}, note)


def _float(limit: Decimal) -> Callable[[_Sql], Form]:
    name = "double" if limit == _DOUBLE else "float"
    digits = 15 if limit == _DOUBLE else 6
    write = {
        "type": ["number", "string"],
        "minimum": limit.copy_negate(),
        "maximum": limit,
        "pattern": "^(NaN|-?Infinity)$",
        "format": name,
    }
    note = f'binary, exact to {digits} digits; "NaN", "Infinity" and "-Infinity" are strings'
    form = Form(OPAQUE, write, note=note)
    return lambda _: form


def _float_of_bits(sql: _Sql) -> Form:
    return _float(_REAL if sql.number is not None and sql.number <= 24 else _DOUBLE)(sql)


def _text(sql: _Sql) -> Form:
    schema: Schema = {"type": "string"}
    if sql.number is not None:
        schema["maxLength"] = sql.number
    return Form(OPAQUE if _is_collated(sql.collation) else "text", schema)


def _is_collated(collation: str | None) -> bool:
    """Whether texts that differ may be equal: in a collation that is not one of Postgres' own."""
    return collation is not None and not _DETERMINISTIC.fullmatch(collation)


def _char(sql: _Sql) -> Form:
    schema = {"type": "string", "maxLength": sql.number or 1}
    return Form(OPAQUE, schema, note="filled up with blanks")


def _string(note: str = "") -> Callable[[_Sql], Form]:
    return lambda _: Form(OPAQUE, {"type": "string"}, note=note)


def _date(_: _Sql) -> Form:
    return Form(
        "date",
        {"type": "string", "format": "date", "pattern": _DATE + "$"},
        {"type": "string"},
    )


def _timestamp(sql: _Sql) -> Form:
    fraction = _fraction(sql.number)
    if sql.has_zone:
        return Form(
            "timestamptz",
            {
                "type": "string",
                "format": "date-time",
                "pattern": f"{_DATE}T{_TIME}{fraction}{_OFFSET}$",
            },
            {"type": "string"},
            "RFC 3339 with an offset",
        )
    return Form(
        "timestamp",
        {"type": "string", "pattern": f"{_DAY}T{_TIME}{fraction}$"},
        {"type": "string"},
        "RFC 3339 without an offset",
    )


def _time(sql: _Sql) -> Form:
    offset = _OFFSET if sql.has_zone else ""
    return Form(
        OPAQUE,
        {"type": "string", "pattern": f"^{_TIME}{_fraction(sql.number)}{offset}$"},
        {"type": "string"},
        "RFC 3339 with an offset" if sql.has_zone else "RFC 3339 without an offset",
    )


def _fraction(precision: int | None) -> str:
    digits = 6 if precision is None else min(precision, 6)
    return rf"(\.[0-9]{{1,{digits}}})?" if digits else ""


def _bits(sql: _Sql) -> Form:
    varying = sql.name in ("BIT VARYING", "VARBIT")
    if varying:
        count = f"{{0,{sql.number}}}" if sql.number is not None else "*"
    else:
        count = f"{{{sql.number or 1}}}"
    return Form(OPAQUE, {"type": "string", "pattern": f"^[01]{count}$"})


def _money(_: _Sql) -> Form:
    largest = Decimal("92233720368547758.07")
    write = {
        "type": "number",
        "minimum": largest.copy_negate(),
        "maximum": largest,
        "multipleOf": Decimal("0.01"),
    }
    return Form(OPAQUE, write, {"type": "string"}, "read as text with the sign of a currency")


def _json(_: _Sql) -> Form:
    return Form(OPAQUE, {"type": _ANYTHING}, note="any JSON; null is NULL")


def _array(bare: ARRAY[Any]) -> Form:
    item = form(bare.item_type)
    nullable = _or_null(dict(item.write))
    if set(_ANYTHING) <= set(_types(item.write)):
        # An array within would be taken for a further dimension.
        nullable["type"] = [name for name in nullable["type"] if name != "array"]
    schema: Schema = {"type": "array", "items": nullable}
    for _ in range((bare.dimensions or 1) - 1):
        # Postgres makes {} of an array that holds empty ones.
        schema = {"type": "array", "items": {**schema, "minItems": 1}}
    read: Schema = {"type": "array"}
    note = f"array of {sql_type(bare.item_type).lower()}"
    if bare.dimensions and bare.dimensions > 1:
        note += f" with {bare.dimensions} dimensions, all rows of one length"
    return Form(OPAQUE, schema, read, ", ".join(filter(None, (note, item.note))))


def _described(column: Column[Any], schema: Schema) -> Schema:
    if is_nullable(column):
        schema = _or_null(schema)
    example = column.info.get("example")
    if example is not None:
        schema["examples"] = [example]
    return {"description": _description(column), **schema}


def _or_null(schema: Schema) -> Schema:
    nullable = {**schema, "type": [*_types(schema), "null"]}
    if "enum" in schema:
        nullable["enum"] = [*schema["enum"], None]
    return nullable


def _types(schema: Mapping[str, Any]) -> list[str]:
    named = schema["type"]
    return [named] if isinstance(named, str) else list(named)


def _description(column: Column[Any]) -> str:
    note = form(column.type).note
    facts = [sql_type(column.type).lower() + (f" ({note})" if note else "")]
    if column.primary_key:
        facts.append("key" if len(column.table.primary_key.columns) == 1 else "part of the key")
    if column.unique:
        facts.append("unique")
    parents = [key.column for key in column.foreign_keys]  # its full name may have dots of its own
    facts += sorted(f"references {parent.table.fullname}.{parent.name}" for parent in parents)
    if column.computed is not None:
        facts.append(f"computed: {column.computed.sqltext}")
    elif column.identity is not None:
        facts.append("numbered by the database")
    elif default := _default(column):
        facts.append(f"default: {default}")
    said = (column.comment or column.doc or "").strip()
    return "\n\n".join(filter(None, (said, "; ".join(facts))))


def _default(column: Column[Any]) -> str:
    given = column.server_default
    if isinstance(given, DefaultClause):
        return given.arg if isinstance(given.arg, str) else str(given.arg)
    if given is not None:
        return "made by the database"
    if isinstance(column.default, ScalarElementColumnDefault):
        return str(column.default.arg)
    return "made for each row" if column.default is not None else ""


_RANGE = _string("a range in Postgres' notation, such as [1,5)")
_FORMS: dict[str, Callable[[_Sql], Form]] = {
    **dict.fromkeys(("SMALLINT", "INT2"), _integer(16)),
    **dict.fromkeys(("INTEGER", "INT", "INT4"), _integer(32)),
    **dict.fromkeys(("BIGINT", "INT8"), _integer(64)),
    **dict.fromkeys(("NUMERIC", "DECIMAL"), _numeric),
    **dict.fromkeys(("DOUBLE PRECISION", "FLOAT8"), _float(_DOUBLE)),
    **dict.fromkeys(("REAL", "FLOAT4"), _float(_REAL)),
    "FLOAT": _float_of_bits,
    **dict.fromkeys(("VARCHAR", "CHARACTER VARYING", "TEXT"), _text),
    **dict.fromkeys(("CHAR", "CHARACTER"), _char),
    "CITEXT": _string("upper and lower case are equal"),
    **dict.fromkeys(("BOOLEAN", "BOOL"), lambda _: Form("boolean", {"type": "boolean"})),
    "DATE": _date,
    **dict.fromkeys(("TIMESTAMP", "TIMESTAMPTZ"), _timestamp),
    **dict.fromkeys(("TIME", "TIMETZ"), _time),
    "UUID": lambda _: Form("uuid", {"type": "string", "format": "uuid"}),
    "BYTEA": lambda _: Form(
        "bytea",
        {"type": "string", "pattern": r"^\\x([0-9a-fA-F]{2})*$"},
        note=r"hexadecimal after \x",
    ),
    **dict.fromkeys(("JSON", "JSONB"), _json),
    **dict.fromkeys(("BIT", "BIT VARYING", "VARBIT"), _bits),
    "MONEY": _money,
    "INTERVAL": _string("ISO 8601 or Postgres' notation, such as 1 day 02:00:00"),
    **dict.fromkeys(("INET", "CIDR", "MACADDR", "MACADDR8"), _string()),
    **dict.fromkeys(("TSVECTOR", "TSQUERY", "XML", "JSONPATH", "REGCLASS"), _string()),
    "HSTORE": lambda _: Form(
        OPAQUE,
        {"type": "string"},
        {"type": "object"},
        'written as text, such as "a"=>"1", and read as an object',
    ),
    **dict.fromkeys(
        tuple(
            f"{base}{kind}"
            for base in ("INT4", "INT8", "NUM", "TS", "TSTZ", "DATE")
            for kind in ("RANGE", "MULTIRANGE")
        ),
        _RANGE,
    ),
}
