"""Conflicts of Aurora DSQL: each kind of statement that functions send is refused at least once.

A kind is a statement without its literals and the lengths of its lists, as one role sends it; so is
COMMIT. Those that begin or roll back a transaction are none.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import cycle
from typing import NamedTuple

MESSAGES = (
    "mutation conflicts with another transaction (OC000)",
    "schema has been updated by another transaction (OC001)",
)

# In this order, each is replaced.
_REPLACED = (
    (re.compile(r"E?'(?:[^']|'')*'"), "?"),
    (re.compile(r'(?:(?<=[(,=])\s*-)?(?<![\w"$.])\d+(?:\.\d+)?\b|\b(?:NULL|true|false)\b'), "?"),
    (re.compile(r"\?::[\w ]+(?:\[\])?(?=\s*[,)\]])"), "?"),
    (re.compile(r"\?(?:\s*,\s*\?)+"), "?"),
    (re.compile(r"\(\?\)(?:\s*,\s*\(\?\))+"), "(?)"),
)
_NAME = re.compile(r"decanter[- ](\w+)")
_NO_KIND = re.compile(r"(BEGIN|ROLLBACK)\b|$", re.IGNORECASE)


class Kind(NamedTuple):
    """role: of whoever sends it. text: of the statement."""

    role: str
    text: str


@dataclass
class Conflicts:
    """Refuses each kind of statement the first time that it comes.

    came, struck: how often each kind came, and was refused as such. more: whether to refuse what
    has nothing new in it.
    """

    came: Counter[Kind] = field(default_factory=Counter)
    struck: Counter[Kind] = field(default_factory=Counter)
    more: Callable[[], bool] = lambda: False
    _messages: Iterator[str] = field(default_factory=lambda: cycle(MESSAGES))

    def __call__(self, name: str, sql: str) -> str | None:
        """The message with which what a session has sent is refused, or None. Of several new kinds
        in it, the first is struck, and the next when it comes again. name: of the session."""
        role = found[1] if (found := _NAME.match(name)) else name
        kinds = [Kind(role, text) for text in texts(sql)]
        self.came.update(kinds)
        new = next((each for each in kinds if each not in self.struck), None)
        if new is not None:
            self.struck[new] += 1
        elif not self.more():
            return None
        return next(self._messages)

    def by_role(self) -> dict[str, dict[str, int]]:
        """How many kinds of statements came, and were struck, by role."""
        came, struck = (Counter(each.role for each in kinds) for kinds in (self.came, self.struck))
        return {role: {"kinds": came[role], "struck": struck[role]} for role in sorted(came)}

    def spared(self) -> list[Kind]:
        """The kinds that came more than once, and were never struck."""
        return [kind for kind, times in self.came.items() if times > 1 and not self.struck[kind]]


def texts(sql: str) -> list[str]:
    """The statements of a text without their literals, but for those that begin or roll back."""
    for each, by in _REPLACED:
        sql = each.sub(by, sql)
    found = (" ".join(part.split()) for part in sql.split(";"))
    return [text for text in found if not _NO_KIND.match(text)]
