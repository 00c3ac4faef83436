"""Validation of rows: fast for valid rows, with every error for invalid ones."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Context, Decimal, InvalidOperation, Rounded, localcontext
from functools import cached_property
from itertools import repeat
from operator import itemgetter, mod
from typing import Any, NamedTuple

from jsonschema_rs import ValidationError, Validator, validator_for

EXACT = "x-exact"
"""Keyword of a schema: the type of Postgres that has to keep the value unchanged, see `exact`."""

_TYPES: Mapping[str, set[type]] = {"number": {Decimal, int}, "integer": {int}, "null": {type(None)}}
"""Of values, by those of the schema. Others, such as 1.0 for an integer, may be valid too."""

_BOUNDS = ("minimum", "maximum", "multipleOf")
_SUMS = Context(prec=100, traps=[InvalidOperation, Rounded])  # a sum has all digits, or is an error


class _Number(NamedTuple):
    """The values of a member that is a number with bounds, and a multiple of a unit. types: of the
    values; unit: a power of ten."""

    types: frozenset[type]
    lowest: Decimal
    highest: Decimal
    unit: Decimal

    def has(self, value: Any) -> bool:
        """Whether this is certainly one of them."""
        if type(value) not in self.types:
            return False
        try:
            return value is None or (self.lowest <= value <= self.highest and not value % self.unit)
        except ArithmeticError:  # more digits than Decimal computes with
            return False

    def has_all(self, values: Sequence[Any]) -> bool:
        """Whether these are certainly among them."""
        types = {*map(type, values)}
        if not types <= self.types:
            return False
        numbers = values
        if type(None) in types:
            numbers = [each for each in values if each is not None]
        if not numbers:
            return True
        try:
            return self.lowest <= min(numbers) <= max(numbers) <= self.highest and (
                _digits_behind_point(sum(numbers)) <= _digits_behind_point(self.unit)
                or not any(map(mod, numbers, repeat(self.unit)))
            )
        except ArithmeticError:  # more digits than Decimal computes with
            return False


class Check:
    """Checks rows against a JSON Schema (2020-12, formats included).

    A validator compares decimals with bounds as fractions, which takes most of its time. So these
    bounds are compared here, and only rows that fail are checked against the whole schema. Rows
    with the same members are passed to it as one object that has an array of each column's values,
    which takes far less time than rows do.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        members: Mapping[str, Any] = schema["properties"]
        self._schema = schema
        self._numbers = {
            name: _Number(
                frozenset(type_ for each in _types(member) for type_ in _TYPES[each]),
                *(member[bound] for bound in _BOUNDS),
            )
            for name, member in members.items()
            if _is_bounded(member)
        }
        unbound = {name: _without_bounds(members[name]) for name in self._numbers}
        rest = {**schema, "properties": {**members, **unbound}}
        self._rest = compiled({"type": "array", "items": rest})

    def is_valid(self, row: Any) -> bool:
        return self._rest.is_valid([row]) and (
            all(number.has(row[name]) for name, number in self._numbers.items() if name in row)
            or self._whole.is_valid(row)
        )

    def are_valid(self, rows: Sequence[Any]) -> bool:
        """Whether all rows are valid. Where numbers have more digits than usual, False only means
        that each row has to be checked by itself."""
        columns = _columns(rows)
        if columns is None:
            return self._rest.is_valid(rows) and self._have_all(
                {name: [row[name] for row in rows if name in row] for name in self._numbers}
            )
        unbound = {name: () for name in self._numbers if name in columns}
        return self._of_columns.is_valid({**columns, **unbound}) and self._have_all(
            {name: columns[name] for name in unbound}
        )

    def iter_errors(self, row: Any) -> Iterator[ValidationError]:
        return self._whole.iter_errors(row)

    def _have_all(self, columns: Mapping[str, Sequence[Any]]) -> bool:
        """Whether the numbers of these columns are certainly within their bounds."""
        with localcontext(_SUMS):
            return all(self._numbers[name].has_all(each) for name, each in columns.items())

    @cached_property
    def _of_columns(self) -> Validator:
        """Checks the columns of rows with the same members. What the schema says of the members of
        a row, it says of those of this object."""
        members = self._schema["properties"]
        arrays = {name: {"type": "array", "items": each} for name, each in members.items()}
        return compiled({**self._schema, "properties": arrays})

    @cached_property
    def _whole(self) -> Validator:
        return compiled(self._schema)


def compiled(schema: Mapping[str, Any]) -> Validator:
    """A validator for a schema of the rules."""
    return validator_for(
        {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema},
        validate_formats=True,
        keywords={EXACT: _exact},  # type: ignore[dict-item]  # any callable will do
    )


def _columns(rows: Sequence[Any]) -> dict[str, tuple[Any, ...]] | None:
    """The values of each member of several rows; None unless all rows have the same members, and
    more than one."""
    if len(rows) < 2 or {*map(type, rows)} != {dict} or len({*map(len, rows)}) != 1:
        return None
    names = [*rows[0]]
    if len(names) < 2:  # of one member, itemgetter makes no tuple
        return None
    try:
        return dict(zip(names, zip(*map(itemgetter(*names), rows), strict=True), strict=True))
    except KeyError:
        return None


def _exact(_schema: Any, type_: str, _path: Any) -> Any:
    from chalicelib.contract.exact import Exact  # for the few resources that need it

    return Exact(type_)


def _digits_behind_point(number: Decimal | int) -> int:
    """Of a sum: as many as that of its parts has which has the most."""
    return -int(Decimal(number).as_tuple().exponent)


def _types(member: Mapping[str, Any]) -> list[str]:
    types = member.get("type", "string")
    return [types] if isinstance(types, str) else types


def _is_bounded(member: Any) -> bool:
    if not isinstance(member, Mapping) or not {*_BOUNDS} <= member.keys():
        return False
    return {*_types(member)} <= _TYPES.keys()


def _without_bounds(member: Mapping[str, Any]) -> dict[str, Any]:
    return {keyword: value for keyword, value in member.items() if keyword not in _BOUNDS}
