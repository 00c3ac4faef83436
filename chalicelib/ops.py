"""What each op is: a table. Whoever has to know of an op more than its name finds it here; another
op takes a row of this table, its SQL, its handler, and its words in the contract."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

Op = Literal["create", "replace", "merge", "delete", "create-or-merge", "create-or-ignore"]

READ = "read"
"""The scope of what reads rows."""

WRITE = "write"
"""The scope that stands for those of all ops."""


class OpFacts(NamedTuple):
    """One op.

    method: of HTTP. scopes: a token needs all of them. schema: which of a resource's schemas checks
    its rows; None: it takes no body. since: the version of messages that brought it.
    resolution: the value of `Prefer: resolution` that makes a create this op.
    names_row: the path names the one row, by its key; such a write may have preconditions.
    inserts: it makes a row where there is none with its key; others are rejected then.
    only_adds: it never changes a row that is there, so that unordered resources take it too.
    partial: its row has the key and the members to change, at least one.
    removes: the row is gone afterwards. It waits for no parent, and is poured behind all other
        writes of its wave, children before parents.
    """

    op: Op
    method: str
    scopes: tuple[str, ...]
    schema: str | None
    since: int = 1
    resolution: str | None = None
    names_row: bool = False
    inserts: bool = False
    only_adds: bool = False
    partial: bool = False
    removes: bool = False

    @property
    def upserts(self) -> bool:
        """Whether it takes many rows, and changes those that are there."""
        return not self.names_row and not self.only_adds

    @property
    def lock(self) -> str:
        """Of a row that it changes, as Postgres takes it: a change holds up no new children."""
        return "UPDATE" if self.removes else "NO KEY UPDATE"


OPS: Mapping[Op, OpFacts] = {
    facts.op: facts
    for facts in (
        OpFacts("create", "POST", ("create",), "create", inserts=True, only_adds=True),
        OpFacts("replace", "PUT", ("replace",), "replace", names_row=True, inserts=True),
        OpFacts("merge", "PATCH", ("merge",), "merge", names_row=True, partial=True),
        OpFacts("delete", "DELETE", ("delete",), None, names_row=True, removes=True),
        OpFacts("create-or-merge", "POST", ("create", "merge"), "create", since=2,
                resolution="merge-duplicates", inserts=True),
        OpFacts("create-or-ignore", "POST", ("create",), "create", since=2,
                resolution="ignore-duplicates", inserts=True, only_adds=True),
    )
}  # fmt: skip


def creates() -> Mapping[str | None, OpFacts]:
    """The ops of rows without an address, by `Prefer: resolution`; None: of a write without it."""
    return {facts.resolution: facts for facts in OPS.values() if not facts.names_row}


def scopes() -> list[str]:
    """What WRITE stands for."""
    return list(dict.fromkeys(scope for facts in OPS.values() for scope in facts.scopes))


def taken(ordered: bool, gives_key: bool) -> list[OpFacts]:
    """The ops that a resource has. gives_key: whether a write may name all columns of its key."""
    return [
        facts
        for facts in OPS.values()
        if (ordered or facts.only_adds) and (gives_key or not (facts.names_row and facts.inserts))
    ]
