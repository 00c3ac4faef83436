"""The Prefer header (RFC 7240): how a client wants its writes processed and answered."""

import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

from chalicelib.ops import creates

MAX_WAIT_SECONDS = 20
"""Longest wait for an outcome: API Gateway gives up after 29 s."""

COUNT = "count=exact"
"""The preference for the number of rows of a list."""

ONLY_OF_A_CREATE = ("handling", "resolution", "missing")
"""Preferences without effect on a write to one row that its path names."""

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105
_WORD = rf'(?:{_TOKEN}|"(?:[^"\\]|\\.)*")'
_PREFERENCE = re.compile(
    rf"[\s,]*({_TOKEN})\s*(?:=\s*({_WORD})?)?\s*(?:;\s*(?:{_TOKEN}(?:\s*=\s*{_WORD})?)?\s*)*"
)
_KNOWN = {
    "handling": ("strict", "lenient"),
    "resolution": tuple(filter(None, creates())),
    "missing": ("default",),
    "missing-parent": ("reject",),
    "return": ("minimal", "representation"),
    "respond-async": ("",),
}


class Preferences(NamedTuple):
    """The known preferences of a client.

    resolution: of a create whose key exists; None: it is a conflict.
    missing_default: whether an empty field of CSV takes the column's default.
    is_patient: whether a write may wait for the row that it refers to.
    wait_seconds: 0 for no wait. stated: as in the header, in its order, as `name=value`.
    """

    lenient: bool = False
    resolution: str | None = None
    missing_default: bool = False
    is_patient: bool = True
    returned: Literal["minimal", "representation"] | None = None
    wait_seconds: int = 0
    stated: tuple[str, ...] = ()

    def applied(self, *left_out: str) -> dict[str, str]:
        """The Preference-Applied header, without the preferences that could not be honoured."""
        honoured = [each for each in self.stated if each.partition("=")[0] not in left_out]
        return {"Preference-Applied": ", ".join(honoured)} if honoured else {}


def preferences(headers: Mapping[str, str]) -> Preferences:
    """The preferences of a request; headers: names in lower case.

    Unknown preferences and values are ignored, and the first of several counts, as RFC 7240 says.
    `respond-async` wins over `wait`.
    """
    sent = headers.get("prefer")
    if not sent:
        return Preferences()
    found = _first_values(sent)
    known = {name: value for name, value in found.items() if _is_known(name, value)}
    if "respond-async" in known:
        known.pop("wait", None)
    if "wait" in known:
        known["wait"] = str(_seconds(known["wait"]))
    return Preferences(
        lenient=known.get("handling") == "lenient",
        resolution=known.get("resolution"),
        missing_default="missing" in known,
        is_patient="missing-parent" not in known,
        returned=known.get("return"),  # type: ignore[arg-type]
        wait_seconds=int(known.get("wait", 0)),
        stated=tuple(f"{name}={value}" if value else name for name, value in known.items()),
    )


def is_counted(headers: Mapping[str, str]) -> bool:
    """Whether the number of rows of a list is wanted. headers: names in lower case."""
    return f"count={_first_values(headers.get('prefer', '')).get('count')}" == COUNT


def _first_values(sent: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in _parse(sent):
        found.setdefault(name, value)
    return found


def _parse(sent: str) -> list[tuple[str, str]]:
    """Preferences in their order. A malformed one ends the header, as the rest cannot be parsed."""
    found: list[tuple[str, str]] = []
    at = 0
    while match := _PREFERENCE.match(sent, at):
        value = match[2] or ""
        if value.startswith('"'):
            value = re.sub(r"\\(.)", r"\1", value[1:-1])
        found.append((match[1].lower(), value.lower()))
        at = match.end()
        if sent[at : at + 1] != ",":
            break
        at += 1
    return found


def _is_known(name: str, value: str) -> bool:
    return value in _KNOWN.get(name, ()) or (
        name == "wait" and value.isascii() and value.isdecimal()
    )


def _seconds(text: str) -> int:
    return MAX_WAIT_SECONDS if len(text) > 6 else min(MAX_WAIT_SECONDS, int(text))
