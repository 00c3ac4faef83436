"""The ops and their properties. A new op needs a row of this table, its SQL, its handler, and its
texts in the contract."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

Op = Literal["create", "replace", "merge", "delete", "create-or-merge", "create-or-ignore"]

READ = "read"
"""The scope for reading rows."""

WRITE = "write"
"""The scope that includes those of all ops."""


class OpFacts(NamedTuple):
    """One op.

    method: of HTTP. scopes: a token needs all of them. schema: the one of a resource's schemas that
        its rows are checked against; None: it has no body. since: the message version that
        introduced it.
    resolution: the value of `Prefer: resolution` that turns a create into this op.
    names_row: the path names the one row, by its key; such a write may have preconditions.
    inserts: it inserts a row if there is none with its key; other ops are rejected then.
    only_adds: it never changes an existing row, so unordered resources accept it too.
    partial: its row has the key and the members to change, at least one.
    removes: it deletes the row. It waits for no parent, and is poured after all other writes of its
        wave, children before parents.
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
        """Whether it takes many rows, and changes existing ones."""
        return not self.names_row and not self.only_adds

    @property
    def lock(self) -> str:
        """The row lock of Postgres for it. A change does not block new children."""
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
    """The ops of POST, by `Prefer: resolution`; None: without that preference."""
    return {facts.resolution: facts for facts in OPS.values() if not facts.names_row}


def scopes() -> list[str]:
    """The scopes that WRITE includes."""
    return list(dict.fromkeys(scope for facts in OPS.values() for scope in facts.scopes))


def is_writing(scope: str) -> bool:
    """Whether WRITE includes the scope."""
    return any(scope in facts.scopes for facts in OPS.values())


def available(ordered: bool, gives_key: bool) -> list[OpFacts]:
    """The ops of a resource. gives_key: whether a write may name all columns of its key."""
    return [
        facts
        for facts in OPS.values()
        if (ordered or facts.only_adds) and (gives_key or not (facts.names_row and facts.inserts))
    ]
