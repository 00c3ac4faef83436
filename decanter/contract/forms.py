"""Types of Postgres → JSON Schema, with an example of each.

The schema of a written value accepts nothing that Postgres would change in silence: it rounds
digits beyond a scale, cuts blanks beyond varchar(n), moves a leap second, reads `now` as a time,
and drops the fields that an interval does not have. Values that Postgres refuses (30 February) may
be left to it. An unknown type accepts no object: Postgres would drop members that a composite type
does not have, and a patch would drop those that it does not name.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from sqlalchemy import ARRAY, Uuid
from sqlalchemy.dialects.postgresql import DOMAIN
from sqlalchemy.types import Enum, TypeEngine

from chalicelib.contract.validator import EXACT
from chalicelib.postgres.resources import postgres_type, sql_type

Schema = dict[str, Any]

OPAQUE = "opaque"
"""Kind of a key column whose equality in Postgres is not that of its JSON values."""

_SQL = re.compile(
    r"(pg_catalog\.)?(?P<name>[A-Za-z0-9_ ]+?|\"char\") ?(\((?P<arguments>[^)]*)\))?"
    r"(?P<zone> WITH(OUT)? TIME ZONE)?( COLLATE (?P<collation>.+))?"
)
_DETERMINISTIC = re.compile(r'"?(C|POSIX|default|ucs_basic|unicode|pg_\w+|[\w.-]+-x-icu)"?')
_ANYTHING: Schema = {"not": {"type": "null"}}  # in words: generators know no list of all types
STORABLE = r"^[^\u0000]*$"
"""Pattern of text that Postgres can hold, for clients. The API function searches the text of a
whole row for U+0000 instead, which takes half the time."""
_UUID = "0198c0de-7d5a-7c1b-9a6e-3f2b8c4d5e6f"
_DOUBLE = Decimal("1.7976931348623157E+308")
_REAL = Decimal("3.4028235E+38")

# ISO 8601, as far as Postgres reads it in one way only: with signs or without, seconds left out, a
# blank or a small letter for the T. Year 0 is not in its calendar; offsets beyond 15:59 and names
# are refused by it. Without lookahead, which would make validators slow.
_YEAR = "([1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])"
_LEAP_YEAR = "([0-9]{2}(0[48]|[2468][048]|[13579][26])|(0[48]|[2468][048]|[13579][26])00)"
_OFFSET = " ?([Zz]|[+-](0[0-9]|1[0-5])(:?[0-5][0-9])?)"


def _day(sign: str) -> str:
    return (
        f"({_YEAR}{sign}((0[13578]|1[02]){sign}(0[1-9]|[12][0-9]|3[01])"
        f"|(0[469]|11){sign}(0[1-9]|[12][0-9]|30)|02{sign}(0[1-9]|1[0-9]|2[0-8]))"
        f"|{_LEAP_YEAR}{sign}02{sign}29)"
    )


def _clock(sign: str, precision: int | None) -> str:
    """A time of day, with no more digits of a second than are kept."""
    digits = 6 if precision is None else min(precision, 6)
    fraction = rf"(\.[0-9]{{1,{digits}}}0*)?" if digits else r"(\.0+)?"
    return (
        f"(([01][0-9]|2[0-3]){sign}[0-5][0-9]({sign}[0-5][0-9]{fraction})?"
        rf"|24{sign}00({sign}00(\.0+)?)?)"
    )


def _moment(precision: int | None) -> str:
    return f"({_day('-')}[Tt ]{_clock(':', precision)}|{_day('')}[Tt ]{_clock('', precision)})"


@dataclass(frozen=True)
class Form:
    """The JSON form of a type.

    kind: how keys of the type are compared. write: schema of a value in a write, not null.
    example: of such a value; None where the column's name says more than the type.
    read: schema of a stored value, if Postgres holds more than a client may write.
    shown: the example as a read shows it, if that differs.
    note: a hint for clients.
    """

    kind: str
    write: Schema
    example: Any
    read: Schema | None = None
    shown: Any = None
    note: str = ""


def form(type_: TypeEngine[Any]) -> Form:
    """The form of any type; for an unknown one, of any JSON scalar or array."""
    bare = postgres_type(type_)
    if isinstance(bare, Enum):
        labels = [str(label) for label in bare.enums]
        return Form("enum", {"type": "string", "enum": labels}, labels[0])
    if isinstance(bare, DOMAIN):
        base = form(bare.data_type)
        return replace(base, kind=OPAQUE) if _is_collated(bare.collation) else base
    if isinstance(bare, ARRAY):
        return _array(form(bare.item_type), sql_type(bare.item_type), bare.dimensions or 1)
    if isinstance(bare, Uuid) and not bare.native_uuid:
        return Form(OPAQUE, {"type": "string", "pattern": "^[0-9a-f]{32}$"}, _UUID.replace("-", ""))
    return _named(sql_type(type_))


def _named(sql: str) -> Form:
    """The form of a type by its SQL text."""
    if bounds := re.search(r"(\[[0-9]*\])+$", sql):
        return _array(_named(sql[: bounds.start()]), sql[: bounds.start()], bounds[0].count("["))
    match = _SQL.fullmatch(sql)
    name = re.sub("^INTERVAL .*", "INTERVAL", match["name"].upper()) if match else ""
    known = _FORMS.get(name)
    return known(_Sql(match)) if match and known else _unknown()


def holds_integers(type_: TypeEngine[Any]) -> bool:
    """Whether values, or those of an array, are integers."""
    bare = postgres_type(type_)
    if isinstance(bare, ARRAY | DOMAIN):
        return holds_integers(bare.item_type if isinstance(bare, ARRAY) else bare.data_type)
    return form(type_).kind == "integer"


def reads_otherwise(type_: TypeEngine[Any]) -> bool:
    """Whether a read may show another type of JSON than a write has given."""
    bare = postgres_type(type_)
    if isinstance(bare, ARRAY | DOMAIN):
        return reads_otherwise(bare.item_type if isinstance(bare, ARRAY) else bare.data_type)
    shape = form(type_)
    if shape.read is None:
        return False
    written, shown = ({*_types(each)} for each in (shape.write, shape.read))
    return not written <= shown | ({"integer"} if "number" in shown else set())


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
    return lambda _: Form("integer", schema, 42)


def _numeric(sql: _Sql) -> Form:
    note = "all digits are kept"
    if sql.number is None:
        return Form("numeric", {"type": "number"}, Decimal("12.5"), note=note)
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
    before_point = sql.number - scale
    example = Decimal((0, (1,), -scale))  # the last digit
    if scale > 0 and before_point > 0:
        example = Decimal("12.5" if before_point > 1 else "1.5")
    elif scale == 0 and before_point > 1:
        example = Decimal(12)
    return Form("numeric", schema, example, {"type": "number"}, note=note)


def _float(limit: Decimal) -> Callable[[_Sql], Form]:
    name = "double" if limit == _DOUBLE else "float"
    digits = 15 if limit == _DOUBLE else 6
    write = {
        "type": ["number", "string"],
        "minimum": limit.copy_negate(),
        "maximum": limit,
        "pattern": "^(NaN|-?Infinity)$",
        "format": name,
        EXACT: "float8" if limit == _DOUBLE else "float4",
    }
    note = (
        f"binary, accepts {digits} digits, and more if it keeps them;"
        ' "NaN", "Infinity" and "-Infinity" are strings'
    )
    form = Form(OPAQUE, write, Decimal("12.5"), note=note)
    return lambda _: form


def _float_of_bits(sql: _Sql) -> Form:
    return _float(_REAL if sql.number is not None and sql.number <= 24 else _DOUBLE)(sql)


def _text(sql: _Sql) -> Form:
    schema: Schema = {"type": "string", "pattern": STORABLE}
    if sql.number is not None:
        schema["maxLength"] = sql.number
    return Form(OPAQUE if _is_collated(sql.collation) else "text", schema, None)


def _is_collated(collation: str | None) -> bool:
    """Whether different texts may be equal, as in collations that Postgres does not bring along."""
    return collation is not None and not _DETERMINISTIC.fullmatch(collation)


def _char(sql: _Sql) -> Form:
    schema: Schema = {"type": "string", "pattern": STORABLE, "maxLength": sql.number or 1}
    if sql.name == "BPCHAR" and sql.number is None:
        del schema["maxLength"]
    return Form(OPAQUE, schema, None, note="padded with blanks")


def _string(
    example: str | None, note: str = "", pattern: str = STORABLE, exact: str = ""
) -> Callable[[_Sql], Form]:
    form = _formatted(OPAQUE, pattern, example, note, **({EXACT: exact} if exact else {}))
    return lambda _: form


def _formatted(kind: str, pattern: str, example: Any, note: str = "", **more: str) -> Form:
    """The form of a type whose values are texts. more: keywords of the schema."""
    read: Schema = {"type": "string"}
    return Form(kind, {**read, "pattern": pattern, **more}, example, read, note=note)


def _number_of_system(bits: int) -> Callable[[_Sql], Form]:
    """An unsigned number: Postgres would turn -1 into the largest one, and read 010 as 8."""
    write: Schema = {
        "type": ["integer", "string"],
        "minimum": 0,
        "maximum": 2**bits - 1,
        "pattern": "^(0|[1-9][0-9]*)$",
    }
    return lambda _: Form(OPAQUE, write, "5", {"type": "string"})


_UNITS = (
    ("Y", "years?"), ("M", "mons?|months?"), ("D", "days?|weeks?"),
    ("H", "hours?"), ("M", "mins?|minutes?"), ("S", "secs?|seconds?"),
)  # fmt: skip
_FIELDS = ("YEAR", "MONTH", "DAY", "HOUR", "MINUTE", "SECOND")


def _interval(sql: _Sql) -> Form:
    """Postgres drops fields that are smaller than the last one of the type."""
    last = sql.name.split()[-1]
    kept = _FIELDS.index(last) + 1 if last in _FIELDS else len(_FIELDS)
    number = "[+-]?[0-9]+"
    seconds = number + _fraction(sql.number)
    numbers = [number] * 5 + [seconds]
    iso = [f"({n}{unit})?" for n, (unit, _) in zip(numbers, _UNITS, strict=True)][:kept]
    iso.insert(2, f"({number}W)?" if kept > 2 else "")
    words = "|".join(
        f"{n} ({unit})" for n, (_, unit) in list(zip(numbers, _UNITS, strict=True))[:kept]
    )
    smaller = {4: ":00:00", 5: ":[0-5][0-9]:00"}.get(
        kept, ":[0-5][0-9]:[0-5][0-9]" + _fraction(sql.number)
    )
    clock = f"{number}{smaller}"
    has_clock = kept > 3
    pattern = "^(P(?=[0-9+-]" + ("|T" if has_clock else "") + f"){''.join(iso[:4])}"
    pattern += f"(T(?=[0-9+-]){''.join(iso[4:])})?" if has_clock else ""
    pattern += f"|({words})( ({words}))*" + (f"( {clock})?|{clock}" if has_clock else "") + ")$"
    example = ("P1Y", "P1M", "P1D", "P1DT2H")[min(kept, 4) - 1]
    note = "ISO 8601 or Postgres' notation, such as 1 day 02:00:00; fractions only of seconds"
    if kept < len(_FIELDS):
        note = f"ISO 8601 or Postgres' notation; nothing smaller than a {last.lower()}"
    return _formatted(OPAQUE, pattern, example, note)


def _date(_: _Sql) -> Form:
    pattern = f"^({_day('-')}|{_day('')})$"
    return _formatted("date", pattern, "2026-01-31", format="date")


def _timestamp(sql: _Sql) -> Form:
    moment, example = _moment(sql.number), "2026-01-31T12:00:00"
    if not sql.has_zone:
        return _formatted("timestamp", f"^{moment}$", example, "ISO 8601 without an offset")
    note = "ISO 8601 with an offset"
    pattern = f"^{moment}{_OFFSET}$"
    return _formatted("timestamptz", pattern, f"{example}Z", note, format="date-time")


def _time(sql: _Sql) -> Form:
    clock = f"{_clock(':', sql.number)}{_OFFSET if sql.has_zone else ''}"
    note = f"ISO 8601 {'with' if sql.has_zone else 'without'} an offset"
    return _formatted(OPAQUE, f"^{clock}$", "12:00:00Z" if sql.has_zone else "12:00:00", note)


def _fraction(precision: int | None) -> str:
    digits = 6 if precision is None else min(precision, 6)
    return rf"(\.[0-9]{{1,{digits}}})?" if digits else ""


def _bits(sql: _Sql) -> Form:
    varying = sql.name in ("BIT VARYING", "VARBIT")
    if varying:
        count = f"{{0,{sql.number}}}" if sql.number is not None else "*"
    else:
        count = f"{{{sql.number or 1}}}"
    example = "1" * (min(sql.number or 1, 3) if varying else sql.number or 1)
    return Form(OPAQUE, {"type": "string", "pattern": f"^[01]{count}$"}, example)


def _money(_: _Sql) -> Form:
    largest = Decimal("92233720368547758.07")
    write = {
        "type": "number",
        "minimum": largest.copy_negate(),
        "maximum": largest,
        "multipleOf": Decimal("0.01"),
    }
    note = "read as text with a currency sign"
    return Form(OPAQUE, write, Decimal("12.5"), {"type": "string"}, "$12.50", note)


def _json(_: _Sql) -> Form:
    return Form(OPAQUE, dict(_ANYTHING), {"key": "value"}, note="any JSON; null is NULL")


def _vector(sql: _Sql) -> Form:
    number = r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?"
    bounds = {} if sql.number is None else {"minItems": sql.number, "maxItems": sql.number}
    more = "*" if sql.number is None else f"{{{sql.number - 1}}}"
    write: Schema = {
        "type": ["array", "string"],
        "items": {"type": "number"},
        **bounds,
        "pattern": rf"^\[{number}(, ?{number}){more}\]$",
        EXACT: "float4s",
    }
    example = [Decimal("0.5")] * (sql.number or 3)
    shown = f"[{','.join(['0.5'] * len(example))}]"
    note = "written as an array of numbers that a real keeps, or as text; read as text"
    return Form(OPAQUE, write, example, {"type": "string"}, shown, note)


def _place(_: _Sql) -> Form:
    return Form(
        OPAQUE,
        {"type": "string", "pattern": STORABLE},
        "POINT(8.5 47.4)",
        dict(_ANYTHING),
        {"type": "Point", "coordinates": [Decimal("8.5"), Decimal("47.4")]},
        "written as well-known text, read as GeoJSON",
    )


def _array(item: Form, sql: str, dimensions: int) -> Form:
    example = [item.example if item.example is not None else "text"]
    # A nested array would be read as another dimension.
    types = item.write.get("type")
    items: Schema = {"not": {"type": "array"}} if types is None else or_null(item.write)
    if isinstance(types, list):
        items["type"] = [each for each in items["type"] if each != "array"]
    schema: Schema = {"type": "array", "items": items}
    for _ in range(dimensions - 1):
        # Postgres turns an array of empty arrays into {}.
        schema = {"type": "array", "items": {**schema, "minItems": 1}}
        example = [example]
    # A stored array may have any dimensions, and values that only Postgres can write.
    read: Schema = {"type": "array", "items": {}}
    note = f"array of {sql.lower()}"
    if dimensions > 1:
        note += f" with {dimensions} dimensions, all rows of one length"
    return Form(OPAQUE, schema, example, read, note=", ".join(filter(None, (note, item.note))))


def _unknown() -> Form:
    """Any text except the words that mean a different moment each time."""
    words = "|".join(
        "".join(f"[{letter}{letter.upper()}]" for letter in word)
        for word in ("now", "today", "tomorrow", "yesterday")
    )
    moving = rf'(^|[\[({{,"]) *({words})[ 0-9:.+Zz-]*($|[\])}},"])'
    scalar: Schema = {
        "type": ["string", "number", "boolean"],
        "pattern": rf"^(?![^\u0000]*{moving})[^\u0000]*$",
    }
    write = {**scalar, "type": [*scalar["type"], "array"], "items": or_null(scalar)}
    note = "as text in the notation of Postgres; not as an object"
    return Form(OPAQUE, write, "value", dict(_ANYTHING), note=note)


def _types(schema: Mapping[str, Any]) -> list[str]:
    """The types of a schema; none of one that has no types."""
    types = schema.get("type", [])
    return [types] if isinstance(types, str) else types


def or_null(schema: Mapping[str, Any]) -> Schema:
    """The schema, which accepts null too."""
    if "type" not in schema:
        return {name: value for name, value in schema.items() if name != "not"}
    named = schema["type"]
    nullable = {**schema, "type": [*([named] if isinstance(named, str) else named), "null"]}
    if "enum" in schema:
        nullable["enum"] = [*schema["enum"], None]
    return nullable


_RANGE_NOTE = "a range in Postgres' notation, such as [1,5)"
_ENDLESS = "-?[Ii]nfinity"
_FAR = "[0-9]{4,7}-[0-9]{2}-[0-9]{2}"
_BOUNDS = {
    "INT4": "-?[0-9]+",
    "INT8": "-?[0-9]+",
    "NUM": rf"-?[0-9]+(\.[0-9]+)?|NaN|{_ENDLESS}",
    "DATE": f"{_day('-')}|{_FAR}( BC)?|{_ENDLESS}",
    "TS": f"{_moment(None)}|{_FAR} {_clock(':', None)}( BC)?|{_ENDLESS}",
    "TSTZ": f"{_moment(None)}{_OFFSET}|{_FAR} {_clock(':', None)}{_OFFSET}( BC)?|{_ENDLESS}",
}
"""Patterns of a bound of a range: in the form of reads, or of a column of that type."""
_RANGES = {
    "INT4": "[1,10)", "INT8": "[1,10)", "NUM": "[1.5,2.5)", "DATE": "[2026-01-01,2026-02-01)",
    "TS": '["2026-01-01 00:00:00","2026-02-01 00:00:00")',
    "TSTZ": '["2026-01-01 00:00:00+00","2026-02-01 00:00:00+00")',
}  # fmt: skip


def _range(base: str, many: bool = False) -> Callable[[_Sql], Form]:
    bound = f'( ?({_BOUNDS[base]}|"({_BOUNDS[base]})") ?)?'
    one = rf"[\[(]{bound},{bound}[\])]"
    pattern = rf"^\{{({one}(, ?{one})*)?\}}$" if many else f"^(empty|{one})$"
    example = _RANGES[base]
    note = _RANGE_NOTE
    if base in ("TS", "TSTZ"):
        note += f"; times have {'an' if base == 'TSTZ' else 'no'} offset"
    return _string(f"{{{example}}}" if many else example, note, pattern)


_BYTE = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_ADDRESS = rf"^({_BYTE}(\.{_BYTE}){{3}}|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*)(/[0-9]{{1,3}})?$"
"""Postgres would turn `10` into 10.0.0.0/8."""
_HEX_BYTE = "[0-9a-fA-F]{2}"
_GEOMETRIC = {
    "POINT": "(1.5,2)", "LSEG": "[(0,0),(1,1)]", "BOX": "(1,1),(0,0)", "PATH": "[(0,0),(1,1)]",
    "POLYGON": "((0,0),(1,1),(1,0))", "CIRCLE": "<(0,0),1.5>",
}  # fmt: skip
_FORMS: dict[str, Callable[[_Sql], Form]] = {
    **dict.fromkeys(("SMALLINT", "INT2"), _integer(16)),
    **dict.fromkeys(("INTEGER", "INT", "INT4"), _integer(32)),
    **dict.fromkeys(("BIGINT", "INT8"), _integer(64)),
    **dict.fromkeys(("NUMERIC", "DECIMAL", "DEC"), _numeric),
    **dict.fromkeys(("DOUBLE PRECISION", "FLOAT8"), _float(_DOUBLE)),
    **dict.fromkeys(("REAL", "FLOAT4"), _float(_REAL)),
    "FLOAT": _float_of_bits,
    **dict.fromkeys(("VARCHAR", "CHARACTER VARYING", "CHAR VARYING", "TEXT"), _text),
    **dict.fromkeys(("CHAR", "CHARACTER", "NCHAR", "BPCHAR"), _char),
    "CITEXT": _string(None, "upper and lower case are equal"),
    **dict.fromkeys(("BOOLEAN", "BOOL"), lambda _: Form("boolean", {"type": "boolean"}, True)),
    "DATE": _date,
    **dict.fromkeys(("TIMESTAMP", "TIMESTAMPTZ"), _timestamp),
    **dict.fromkeys(("TIME", "TIMETZ"), _time),
    "UUID": lambda _: Form("uuid", {"type": "string", "format": "uuid"}, _UUID),
    "BYTEA": lambda _: Form(
        "bytea",
        {"type": "string", "pattern": r"^\\x([0-9a-fA-F]{2})*$"},
        r"\x00ff",
        note=r"hexadecimal after \x",
    ),
    **dict.fromkeys(("JSON", "JSONB"), _json),
    **dict.fromkeys(("BIT", "BIT VARYING", "VARBIT"), _bits),
    "MONEY": _money,
    "INTERVAL": _interval,
    "INET": _string("192.0.2.1", pattern=_ADDRESS),
    "CIDR": _string("192.0.2.0/24", pattern=_ADDRESS),
    "MACADDR": _string("08:00:2b:01:02:03", pattern=f"^{_HEX_BYTE}([:-]{_HEX_BYTE}){{5}}$"),
    # Postgres would turn six bytes into eight.
    "MACADDR8": _string("08:00:2b:01:02:03:04:05", pattern=f"^{_HEX_BYTE}([:-]{_HEX_BYTE}){{7}}$"),
    # Postgres cuts longer ones, counted in bytes.
    "NAME": _string("name", "ASCII", r"^[\u0001-\u007f]{0,63}$"),
    '"CHAR"': _string("c", "ASCII", r"^[\u0001-\u007f]?$"),
    **dict.fromkeys(("OID", "XID", "CID"), _number_of_system(32)),
    "XID8": _number_of_system(64),
    **{
        name: _string(example, "numbers as double precision keeps them", exact="float8s")
        for name, example in _GEOMETRIC.items()
    },
    "TSVECTOR": _string("'word'", exact="tsvector"),
    "TSQUERY": _string("'word'"),
    "XML": _string("<element/>"),
    "JSONPATH": _string('$."member"'),
    "REGCLASS": _string("pg_class"),
    "HSTORE": lambda _: Form(
        OPAQUE,
        {"type": "string", "pattern": STORABLE, EXACT: "hstore"},
        '"a"=>"1"',
        {"type": "object", "additionalProperties": {"type": ["string", "null"]}},
        {"a": "1"},
        'written as text, such as "a"=>"1"; read as an object',
    ),
    "VECTOR": _vector,
    "LTREE": _string("top.below"),
    **dict.fromkeys(("GEOMETRY", "GEOGRAPHY"), _place),
    **{f"{base}RANGE": _range(base) for base in _RANGES},
    **{f"{base}MULTIRANGE": _range(base, many=True) for base in _RANGES},
}
