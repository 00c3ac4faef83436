"""Rows against a schema: fast where they fit, and with every error where they do not."""

from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from functools import cached_property
from typing import Any, NamedTuple

from jsonschema_rs import ValidationError, Validator, validator_for

EXACT = "x-exact"
"""Keyword of a schema: what of Postgres, see `exact`, has to keep the value as it is."""

_NUMBERS = {"number", "integer", "null"}
_BOUNDS = ("minimum", "maximum", "multipleOf")


class _Number(NamedTuple):
    """A member that is a number between two others, and a multiple of a third one; or null."""

    name: str
    lowest: Decimal
    highest: Decimal
    unit: Decimal


class Check:
    """Checks rows against a JSON Schema (2020-12, formats included).

    A validator computes with fractions where a decimal has bounds, which takes most of its time. So
    those bounds are compared here, and rows that do not pass that are left to the whole schema.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        members: Mapping[str, Any] = schema["properties"]
        self._schema = schema
        self._numbers = [
            _Number(name, *(member[bound] for bound in _BOUNDS))
            for name, member in members.items()
            if _is_bound(member)
        ]
        unbound = {number.name: _without_bounds(members[number.name]) for number in self._numbers}
        self._rest = compiled({**schema, "properties": {**members, **unbound}})

    def is_valid(self, row: Any) -> bool:
        return self._rest.is_valid(row) and (self._fits(row) or self._whole.is_valid(row))

    def iter_errors(self, row: Any) -> Iterator[ValidationError]:
        return self._whole.iter_errors(row)

    def _fits(self, row: Mapping[str, Any]) -> bool:
        """Whether the numbers do, of a row that is right otherwise."""
        try:
            for name, lowest, highest, unit in self._numbers:
                number = row.get(name)
                if number is not None and (not lowest <= number <= highest or number % unit):
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


def _exact(_schema: Any, judge: str, _path: Any) -> Any:
    from chalicelib.contract.exact import Exact  # for the few resources that need it

    return Exact(judge)


def _is_bound(member: Any) -> bool:
    if not isinstance(member, Mapping) or not {*_BOUNDS} <= member.keys():
        return False
    types = member.get("type", "string")
    return {types} <= _NUMBERS if isinstance(types, str) else {*types} <= _NUMBERS


def _without_bounds(member: Mapping[str, Any]) -> dict[str, Any]:
    return {keyword: value for keyword, value in member.items() if keyword not in _BOUNDS}
