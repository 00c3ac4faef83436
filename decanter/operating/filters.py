"""Options that choose rejections, or writes: on the command line, and as the API takes them."""

import argparse
import json
import re
from argparse import ArgumentParser, Namespace
from datetime import UTC, datetime, timedelta

from chalicelib.contract.json_text import render
from decanter.operating.documents import parsed
from decanter.operating.endpoint import OperatingError

STATES = ("open", "resent", "discarded", "all")
_TEXTS = {
    "resource": "of this resource",
    "type": "of this type, such as conflict",
    "constraint": "refused by this constraint",
    "column": "refused because of this column",
    "sqlstate": "with this SQLSTATE",
    "caller": "sent by this caller",
    "receipt": "of the request with this receipt, or of the message with this dedup ID",
}
_AGO = re.compile("([0-9]{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def rejections(parser: ArgumentParser) -> None:
    """Declare the options that choose rejections."""
    for name, text in _TEXTS.items():
        parser.add_argument(f"--{name}", metavar=name.upper(), help=text)
    key(parser)
    times(parser, "rejected")


def state(parser: ArgumentParser) -> None:
    """Declare the option that chooses rejections by what operators have done to them."""
    help_ = "neither resent nor discarded (open, unless you say otherwise), or one of these, or all"
    parser.add_argument("--state", choices=STATES, help=help_)


def key(parser: ArgumentParser) -> None:
    """Declare the option for the key of a row."""
    help_ = 'of the row with this key, with --resource: a JSON object such as {"icao": "LSZH"}'
    parser.add_argument("--key", type=_key, metavar="JSON", help=help_)


def times(parser: ArgumentParser, what: str) -> None:
    """Declare the options for a span of time."""
    form = "a time such as 2026-01-31T12:00:00Z, or 90m, 24h or 7d for so long ago"
    parser.add_argument("--since", type=time, metavar="TIME", help=f"{what} then or later: {form}")
    parser.add_argument("--until", type=time, metavar="TIME", help=f"{what} before: the same forms")


def chosen(given: Namespace) -> dict[str, str]:
    """The options that are given, as parameters of a query."""
    names = (*_TEXTS, "key", "since", "until", "state")
    found = {name: getattr(given, name, None) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def members(query: dict[str, str]) -> dict[str, object]:
    """The same as members of a JSON object."""
    return {name: parsed(text.encode()) if name == "key" else text for name, text in query.items()}


def time(text: str) -> str:
    """An ISO 8601 time in UTC. Raise argparse's error for a text that is no time."""
    if found := _AGO.fullmatch(text):
        moment = datetime.now(UTC) - timedelta(**{_UNITS[found[2]]: int(found[1])})
        return _shown(moment)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time; write 2026-01-31T12:00:00Z, or 24h for a day ago"
        ) from None
    return _shown(moment.astimezone(UTC))


def _shown(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _key(text: str) -> str:
    try:
        return render(parsed(text.encode()))
    except OperatingError:
        example = json.dumps({"icao": "LSZH"})
        raise argparse.ArgumentTypeError(f"{text!r} is no JSON object such as {example}") from None
