"""What operators see: tables of text, in which no row or reason can do anything to the terminal."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from chalicelib.contract.json_text import render

UNKNOWN = "?"
NONE = "–"
_WIDTH = 220  # where no terminal tells
_COPIED = frozenset({"id", "example", "act", "other"})  # names of columns whose texts people copy
_SHOWN = 300


def plain(value: Any, unknown: str = NONE) -> str:
    """A value as text without control characters. unknown: what stands for null."""
    if value is None:
        return unknown
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    text = value if isinstance(value, str) else render(value)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def short(value: Any) -> str:
    """The beginning of a long text."""
    text = plain(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} …"


def seconds(value: Any, unknown: str = UNKNOWN) -> str:
    """A time span."""
    if value is None:
        return unknown
    found = float(value)
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if found >= 2 * size:
            return f"{found / size:.1f} {unit}"
    return f"{found:.2f} s" if found < 10 else f"{found:.0f} s"


def show(columns: Sequence[str], rows: Iterable[Sequence[str]], title: str = "") -> None:
    """Print a table."""
    if title:
        line(title)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in _COPIED)
    for row in rows:
        table.add_row(*row)
    console().print(table)


def members(found: Mapping[str, Any]) -> None:
    """Print the members of an object, one a line."""
    width = max(map(len, found), default=0)
    for name, value in found.items():
        line(f"{name:<{width}}  {plain(value)}")


def line(text: str) -> None:
    """Print a line."""
    print(text, flush=True)


def json_text(found: Any) -> None:
    """Print JSON, with all digits."""
    line(render(found))


def unknown(listed: Iterable[Mapping[str, Any]]) -> None:
    """Print what could not be found out, and why."""
    for each in listed:
        line(f"not known: {plain(each['what'])}: {plain(each['why'])}")


def console() -> Console:
    """Where to print texts as they are, not as rich's markup."""
    width = None if sys.stdout.isatty() else _WIDTH
    return Console(width=width, markup=False, highlight=False, emoji=False)
