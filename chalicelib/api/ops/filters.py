"""Filters of rejections and writes: parameters of a query, or members of JSON → what the database
is asked for.

A checked filter is an object of JSON with some of these members: resource, type, constraint,
column, sqlstate, caller (a text; empty: where there is none), since, until (ISO 8601, UTC),
messages (first and last dedup ID), digest (of the key, in hexadecimal digits), values (texts of key
columns), and state.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from uuid import UUID

from chalicelib.api.http.request import Query, invalid_query, only
from chalicelib.contract import json_text, key, resources
from chalicelib.errors import Fault, Problem
from chalicelib.messages import receipt
from chalicelib.messages.message import caller_name

TEXTS = ("resource", "type", "constraint", "column", "sqlstate", "caller")
"""Members that equal a text. Those of a cause are among them, so that a cause is a filter."""

STATES = ("open", "resent", "discarded", "all")

NAMES = (*TEXTS, "since", "until", "receipt", "key", "state")
"""All members that a client may send."""

_LONGEST = 1_000  # characters of a text; a caller is the longest
_TIME = "it must be a time with its offset from UTC, such as 2026-01-31T12:00:00Z"
_KEY = "it must be a JSON object of the key's columns"

_Report = Callable[[str, str], None]
"""Takes the name of a member that has a fault, and what would be right."""


def from_query(query: Query, *others: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The filter of a query, and its other parameters, of which these are known. Raises Problem
    `invalid-query`."""
    sent = only(query, *NAMES, *others)
    faults: list[Fault] = []

    def report(name: str, detail: str) -> None:
        faults.append(Fault(f"?{name}", "query", detail))

    given: dict[str, Any] = {name: text for name, text in sent.items() if name in NAMES}
    if "key" in given:
        given["key"] = _parsed(given["key"])
    found = _checked(given, report)
    if faults:
        raise invalid_query(*faults)
    return found, {name: text for name, text in sent.items() if name not in NAMES}


def from_json(given: Any, pointer: str, faults: list[Fault]) -> dict[str, Any]:
    """The filter in a body, parsed with all digits. pointer: to it. Its faults are added."""

    def report(name: str, detail: str) -> None:
        token = json_text.pointer_token(name)
        faults.append(Fault(f"{pointer}/{token}", "filter", detail))

    if not isinstance(given, dict):
        faults.append(Fault(pointer, "type", "it must be an object; {} is all open rejections"))
        return {}
    for name in given:
        if name not in NAMES:
            report(name, f"there is no such filter; the filters are: {', '.join(NAMES)}")
    return _checked(given, report)


def times(given: Mapping[str, Any], report: _Report) -> dict[str, str]:
    """The members since and until, checked."""
    found = {name: _moment(given[name]) for name in ("since", "until") if name in given}
    for name, moment in found.items():
        if moment is None:
            report(name, _TIME)
    known = {name: moment for name, moment in found.items() if moment}
    if len(known) == 2 and known["since"] >= known["until"]:
        report("until", "it must be later than since")
    return {name: moment.isoformat() for name, moment in known.items()}


def messages(given: Any) -> list[str] | None:
    """First and last dedup ID of a receipt, or of one dedup ID; None for anything else."""
    if not isinstance(given, str):
        return None
    if found := receipt.read(given):
        return [str(each) for each in receipt.span(found.id, found.messages)]
    return [given, given] if is_dedup_id(given) else None


def is_dedup_id(text: str) -> bool:
    """Whether a text is a dedup ID as everything writes it, which has one spelling."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def of_key(resource_name: Any, given: Any, report: _Report) -> dict[str, Any]:
    """The members digest and values of a key, checked. given: its columns."""
    try:
        resource = resources.resource(str(resource_name or ""))
    except Problem as problem:
        report("resource", f"a key needs its resource: {problem.detail}")
        return {}
    names = [each.name for each in resource.key]
    if not names or not isinstance(given, dict) or {*given} != {*names}:
        report("key", f"{_KEY}: {', '.join(names)}" if names else f"{resource.name} has no key")
        return {}
    for column in resource.key:
        for error in islice(column.validator.iter_errors(given[column.name]), 1):
            from chalicelib.contract.explain import detail

            report("key", f"{column.name}: {detail(error, column.schema)}")
            return {}
    if not resource.ordered:
        return {"values": {name: _text(given[name]) for name in names}}
    # Of columns that a client may leave to the database, digests know nothing.
    others = [each.name for each in resource.key if each.completed == "predictable"]
    values = {name: _text(given[name]) for name in others}
    return {"digest": f"{key.digest(resource, given):016x}", "values": values}


def _checked(given: Mapping[str, Any], report: _Report) -> dict[str, Any]:
    found: dict[str, Any] = {name: given[name] for name in TEXTS if name in given}
    for name, text in [*found.items()]:
        if not is_text(text):
            report(name, f"it must be a text of at most {_LONGEST} characters")
            del found[name]
    if "caller" in found:
        found["caller"] = caller_name(found["caller"])
    found |= times(given, report)
    if "receipt" in given:
        found["messages"] = messages(given["receipt"])
        if found["messages"] is None:
            report("receipt", "it must be a receipt, or the dedup ID of a message: a UUID")
    if "key" in given:
        found |= of_key(given.get("resource"), given["key"], report)
    found["state"] = given.get("state", STATES[0])
    if found["state"] not in STATES:
        report("state", f"it must be one of: {', '.join(STATES)}")
    return found


def is_text(given: Any) -> bool:
    """Whether Postgres can compare with it."""
    if not isinstance(given, str) or len(given) > _LONGEST or "\0" in given:
        return False
    try:
        given.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True


def _parsed(text: str) -> Any:
    """The value of a JSON text; the text itself, which is no key, if it is none."""
    try:
        return json_text.Scanner().value(text)[1]
    except ValueError:
        return text


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json_text.render(value)


def _moment(given: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(given)
        return moment.astimezone(UTC) if moment.tzinfo else None
    except (ValueError, TypeError, OverflowError):
        return None
