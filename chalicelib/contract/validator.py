"""Validation of rows: fast for valid rows, with every error for invalid ones."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from functools import cached_property
from itertools import repeat
from operator import mod
from typing import Any, NamedTuple

from jsonschema_rs import ValidationError, Validator, validator_for

EXACT = "x-exact"
"""Keyword of a schema: the type of Postgres that has to keep the value unchanged, see `exact`."""

_NUMBERS = {"number", "integer", "null"}
_BOUNDS = ("minimum", "maximum", "multipleOf")


class _Number(NamedTuple):
    """A member that is null or a number with bounds, and a multiple of a unit."""

    name: str
    lowest: Decimal
    highest: Decimal
    unit: Decimal


class Check:
    """Checks rows against a JSON Schema (2020-12, formats included).

    A validator compares decimals with bounds as fractions, which takes most of its time. So these
    bounds are compared here, and only rows that fail are checked against the whole schema. Rows are
    passed to it as an array, which takes less time than one by one.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        members: Mapping[str, Any] = schema["properties"]
        self._schema = schema
        self._numbers = [
            _Number(name, *(member[bound] for bound in _BOUNDS))
            for name, member in members.items()
            if _is_bounded(member)
        ]
        unbound = {number.name: _without_bounds(members[number.name]) for number in self._numbers}
        rest = {**schema, "properties": {**members, **unbound}}
        self._rest = compiled({"type": "array", "items": rest})

    def is_valid(self, row: Any) -> bool:
        return self._rest.is_valid([row]) and (
            self._are_within_bounds([row]) or self._whole.is_valid(row)
        )

    def are_valid(self, rows: Sequence[Any]) -> bool:
        """Whether all rows are valid. Where numbers have more digits than usual, False only means
        that each row has to be checked by itself."""
        return self._rest.is_valid(rows) and self._are_within_bounds(rows)

    def iter_errors(self, row: Any) -> Iterator[ValidationError]:
        return self._whole.iter_errors(row)

    def _are_within_bounds(self, rows: Sequence[Mapping[str, Any]]) -> bool:
        """Whether the numbers of otherwise valid rows are within their bounds."""
        try:
            for name, lowest, highest, unit in self._numbers:
                numbers = [number for row in rows if (number := row.get(name)) is not None]
                if numbers and not lowest <= min(numbers) <= max(numbers) <= highest:
                    return False
                if any(map(mod, numbers, repeat(unit))):
                    return False
        except (InvalidOperation, TypeError):  # more digits than Decimal computes with; a float
            return False
        return True

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


def _exact(_schema: Any, type_: str, _path: Any) -> Any:
    from chalicelib.contract.exact import Exact  # for the few resources that need it

    return Exact(type_)


def _is_bounded(member: Any) -> bool:
    if not isinstance(member, Mapping) or not {*_BOUNDS} <= member.keys():
        return False
    types = member.get("type", "string")
    return {types} <= _NUMBERS if isinstance(types, str) else {*types} <= _NUMBERS


def _without_bounds(member: Mapping[str, Any]) -> dict[str, Any]:
    return {keyword: value for keyword, value in member.items() if keyword not in _BOUNDS}
