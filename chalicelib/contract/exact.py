"""Checks for valid values that Postgres would change in silence: it rounds binary numbers, keeps
one of two equal keys of an hstore, and moves far positions of a tsvector.

No keyword of JSON Schema finds these. A schema names the check, see `validator.EXACT`.
"""

import math
import re
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

_SMALLEST_NORMAL = 2.0**-126  # of a real; below it even few digits are not kept
_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
# Possessive: a match is never tried again in another way.
_WORD = r'(?:"((?:[^"\\]|\\.)*+)"|([^\s=>,"\\]++))'
_PAIR = re.compile(rf"\s*{_WORD}\s*=>\s*{_WORD}\s*(?:,|\Z)", re.DOTALL)
_LEXEME = re.compile(
    r"\s*(?:'((?:[^'\\]|''|\\.)*+)'|([^\s:'\\]++))(?::((?:[0-9]++[A-Da-d]?,?)++))?(?:\s|\Z)",
    re.DOTALL,
)
_LAST_POSITION = 16_383
_MAX_POSITIONS = 255


class Exact:
    """The keyword, as `jsonschema_rs` takes it."""

    def __init__(self, type_: str) -> None:
        self._check = _CHECKS[type_]

    def validate(self, value: Any) -> None:
        """Raises ValueError for a value that would be changed."""
        self._check(value)


def _double(value: Any) -> None:
    if isinstance(value, Decimal | int | float) and not _is_short(value, 15):
        stored = _as_float(value)
        shown = _shown(stored, 53) if abs(stored) >= 2**53 else repr(stored)
        _compare(value, shown, "double precision")


def _real(value: Any) -> None:
    if isinstance(value, Decimal | int | float) and not _is_short(value, 6):
        stored = _as_real(_as_float(value))
        if abs(stored) >= 2**24:
            _compare(value, _shown(stored, 24), "a real")
        else:
            least = 6 if abs(stored) >= _SMALLEST_NORMAL else 1
            texts = (f"{stored:.{digits}g}" for digits in range(least, 10))
            shown = next(text for text in texts if _as_real(float(text)) == stored)
            _compare(value, shown, "a real")


def _is_short(value: Decimal | int | float, digits: int) -> bool:
    """Whether a number has at most so many digits and no exponent, so that a binary number keeps
    them."""
    text = str(value)
    return len(text) <= digits and "E" not in text and "e" not in text


def _doubles(value: Any) -> None:
    for text in _NUMBER.findall(value) if isinstance(value, str) else ():
        _double(Decimal(text))


def _reals(value: Any) -> None:
    for number in value if isinstance(value, list) else ():
        _real(number)
    for text in _NUMBER.findall(value) if isinstance(value, str) else ():
        _real(Decimal(text))


def _as_float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _as_real(number: float) -> float:
    try:
        (real,) = struct.unpack("f", struct.pack("f", number))
    except OverflowError:
        return math.inf
    return float(real)


def _shown(stored: float, bits: int) -> str:
    """How Postgres shows a whole number: as the shortest decimal that is nearer to it than to any
    other binary number. Python's `repr` also takes one that is equally near to two."""
    if math.isinf(stored):
        return str(stored)
    mantissa, exponent = math.frexp(stored)
    above = below = 2 ** (exponent - bits)
    if abs(mantissa) == 0.5:
        below //= 2
    whole = abs(int(stored))
    texts = (f"{stored:.{digits}g}" for digits in range(1, 18))
    return next(
        text
        for text in texts
        if -below < 2 * (abs(int(Decimal(text))) - whole) < above or int(Decimal(text)) == stored
    )


def _compare(sent: Any, kept: str, type_: str) -> None:
    if Decimal(kept) != Decimal(str(sent)):
        raise ValueError(f"{str(sent)[:40]} has more digits than {type_} keeps: it becomes {kept}")


def _hstore(value: Any) -> None:
    if not isinstance(value, str):
        return
    keys = Counter(
        re.sub(r"\\(.)", r"\1", match[1] if match[2] is None else match[2], flags=re.DOTALL)
        for match in _matches(_PAIR, value, "is not an hstore")
    )
    twice = [key for key, count in keys.most_common(1) if count > 1]
    if twice:
        raise ValueError(
            f"the key {twice[0][:40]!r} appears more than once; only one would be kept"
        )


def _tsvector(value: Any) -> None:
    if not isinstance(value, str):
        return
    found: dict[str, set[int]] = {}
    for match in _matches(_LEXEME, value, "is not a tsvector"):
        positions = {int(text) for text in re.findall("[0-9]+", match[3] or "")}
        lexeme = match[1] if match[2] is None else match[2]
        found.setdefault(lexeme, set()).update(positions)
        if max(positions, default=0) > _LAST_POSITION:
            raise ValueError(f"a position beyond {_LAST_POSITION} would be moved to it")
        if len(found[lexeme]) > _MAX_POSITIONS:
            raise ValueError(
                f"a lexeme keeps only {_MAX_POSITIONS} positions; the rest would be lost"
            )


def _matches(pattern: re.Pattern[str], text: str, fault: str) -> Iterator[re.Match[str]]:
    """All matches, one after the other to the end of the text. Raises ValueError for other text."""
    at = 0
    end = len(text.rstrip())
    while at < end:
        match = pattern.match(text, at)
        if match is None:
            raise ValueError(f"{text[at : at + 40]!r} {fault} in its own notation")
        yield match
        at = match.end()


_CHECKS: dict[str, Callable[[Any], None]] = {
    "float8": _double,
    "float4": _real,
    "float4s": _reals,
    "float8s": _doubles,
    "hstore": _hstore,
    "tsvector": _tsvector,
}
