"""Condition expressions of DynamoDB: those that the front table is asked with."""

import re
from collections.abc import Mapping
from typing import Any, NoReturn

Entry = Mapping[str, Mapping[str, Any]]

_TOKEN = re.compile(r"\s*(#[A-Za-z_]\w*|:\w+|[A-Za-z_]\w*|[(),=<])")


class NotSimulated(Exception):
    """Decanter asks DynamoDB for something that the simulation does not know: teach it, and compare
    it with moto."""


def holds(parameters: Mapping[str, Any], entry: Entry | None, name: str) -> bool:
    """Whether an entry, None for none, meets the expression in the parameter of this name; True
    without one."""
    text = parameters.get(name)
    if text is None:
        return True
    names = parameters.get("ExpressionAttributeNames", {})
    values = parameters.get("ExpressionAttributeValues", {})
    tokens = _tokens(text)
    unused = {*names, *values} - {*tokens}
    if unused:
        raise NotSimulated(f"{text!r} does not use {sorted(unused)}, which DynamoDB refuses")
    return _Expression(tokens, names, values, entry or {}).value()


def _tokens(text: str) -> list[str]:
    found, at = [], 0
    while text[at:].strip():
        match = _TOKEN.match(text, at)
        if match is None:
            raise NotSimulated(f"the expression {text!r}, from character {at}")
        found.append(match[1])
        at = match.end()
    return found


class _Expression:
    """Reads an expression, and evaluates it meanwhile: AND binds closer than OR."""

    def __init__(
        self, tokens: list[str], names: Mapping[str, str], values: Entry, entry: Entry
    ) -> None:
        self._left = tokens[::-1]
        self._names = names
        self._values = values
        self._entry = entry

    def value(self) -> bool:
        found = self._any()
        if self._left:
            self._refuse(self._left[-1])
        return found

    def _any(self) -> bool:
        found = self._all()
        while self._takes("OR"):
            found |= self._all()
        return found

    def _all(self) -> bool:
        found = self._one()
        while self._takes("AND"):
            found &= self._one()
        return found

    def _one(self) -> bool:
        first = self._next()
        if first in ("attribute_exists", "attribute_not_exists"):
            self._expect("(")
            is_there = self._attribute(self._next()) is not None
            self._expect(")")
            return is_there == (first == "attribute_exists")
        attribute, operator = self._attribute(first), self._next()
        if operator == "IN":
            known = self._list()
            return attribute is not None and attribute in known
        value = self._value(self._next())
        if operator == "=":
            return attribute == value
        if operator == "<":
            return _is_less(attribute, value)
        return self._refuse(operator)

    def _list(self) -> list[Mapping[str, Any]]:
        self._expect("(")
        found = [self._value(self._next())]
        while self._takes(","):
            found.append(self._value(self._next()))
        self._expect(")")
        return found

    def _attribute(self, token: str) -> Mapping[str, Any] | None:
        return self._entry.get(self._names[token]) if token in self._names else self._refuse(token)

    def _value(self, token: str) -> Mapping[str, Any]:
        return self._values[token] if token in self._values else self._refuse(token)

    def _takes(self, token: str) -> bool:
        is_next = bool(self._left) and self._left[-1] == token
        if is_next:
            self._left.pop()
        return is_next

    def _expect(self, token: str) -> None:
        if not self._takes(token):
            self._refuse(self._left[-1] if self._left else "its end")

    def _next(self) -> str:
        return self._left.pop() if self._left else self._refuse("its end")

    def _refuse(self, token: str) -> NoReturn:
        raise NotSimulated(f"{token!r} in an expression")


def _is_less(one: Mapping[str, Any] | None, other: Mapping[str, Any]) -> bool:
    """Values of different types are never less."""
    if one is None or one.keys() != other.keys():
        return False
    ((kind, left),), ((_, right),) = one.items(), other.items()
    if kind != "N":
        raise NotSimulated(f"< of values of type {kind}")
    return int(left) < int(right)
