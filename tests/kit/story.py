"""Histories for tests of the checker: what clients do, and a straight reference that pours it."""

from collections.abc import Sequence
from itertools import count
from typing import Any, TypeVar

from chalicelib.ops import Op
from decanter.proof.checker import KINDS, check
from decanter.proof.history import Attempt, Effect, History, Reading, Values, Write
from decanter.proof.tables import COLUMNS, KEYS, key_text

Record = TypeVar("Record", Attempt, Effect, Reading)


class Story:
    """A history as it is written: a request is poured as soon as it is sent, in a transaction of
    its own, unless the test says otherwise. Each step takes a second."""

    def __init__(self) -> None:
        self.attempts: list[Attempt] = []
        self.readings: list[Reading] = []
        self.effects: list[Effect] = []
        self.finals: dict[str, Reading] = {}
        self.rows: dict[tuple[str, str], Values] = {}
        self.rejected_at: dict[tuple[str, int], float] = {}
        self.now = 0.0
        self._tokens, self._places, self._transactions = count(1), count(1), count(100)

    def write(self, op: Op, resource: str, *key: int, item: int = 0, **values: int | None) -> Write:
        named: dict[str, int | str | None] = {**dict(zip(KEYS[resource], key, strict=True))}
        named |= values
        if op != "delete":
            named["token"] = f"t{next(self._tokens)}"
        return Write(item, resource, op, key_text(resource, named), named)

    def send(
        self,
        *writes: Write,
        status: int | None = 202,
        request: int | None = None,
        key: str | None = None,
        pours: bool = True,
        place: bool = True,
    ) -> int:
        """Send a request, or retry one; returns its number. status: None for no answer."""
        number = request or len({each.request for each in self.attempts}) + 1
        self.attempts.append(
            Attempt(
                number,
                "c",
                key,
                writes,
                self.tick(),
                None if status is None else self.tick(),
                status,
                f"r{number}" if status == 202 else None,
                next(self._places) if place else None,
            )
        )
        if pours:
            self.pour(number)
        return number

    def change(self, op: Op, *key: int, resource: str = "accounts", **how: Any) -> int:
        """Send one write; returns the number of its request. how: values, and what `send` takes."""
        values = {name: how.pop(name) for name in ("a", "b") if name in how}
        return self.send(self.write(op, resource, *key, **values), **how)

    def tick(self) -> float:
        self.now += 1
        return self.now

    def pour(self, number: int) -> None:
        at, transaction = self.tick(), next(self._transactions)
        rejections: dict[int | None, str] = {}
        attempt = next(each for each in self.attempts if each.request == number)
        for write in attempt.writes:
            row = (write.resource, write.key)
            before = self.rows.get(row)
            kind, after = self._outcome(write, before)
            if kind:
                rejections[write.item] = kind
                self.rejected_at[f"r{number}", write.item] = at
            elif after != before:
                effects = len(self.effects)
                self.effects.append(Effect(effects + 1, transaction, at, *row, before, after))
                self.rows.pop(row, None)
                self.rows |= {row: after} if after is not None else {}
        states = {0: "applied", len(attempt.writes): "rejected"}
        self.final(number, states.get(len(rejections), "partial"), rejections)

    def final(
        self, number: int, state: str, rejections: dict[int | None, str] | None = None
    ) -> None:
        """The last status of a request that was accepted."""
        receipt = f"r{number}"
        if any(each.receipt == receipt for each in self.attempts):
            self.finals[receipt] = Reading(receipt, 9e9, 9e9, state, rejections or {})

    def read(
        self,
        number: int,
        state: str,
        rejections: dict[int | None, str] | None = None,
        **snapshots: Any,
    ) -> None:
        times = (self.tick(), self.tick())
        self.readings.append(Reading(f"r{number}", *times, state, rejections or {}, **snapshots))

    def history(self, **others: Any) -> History:
        return History(
            [*self.attempts],
            [*self.readings],
            {**self.finals},
            [*self.effects],
            {**self.rows},
            rejected_at={**self.rejected_at},
            **others,
        )

    def _outcome(self, write: Write, row: Values | None) -> tuple[str | None, Values | None]:
        """The type of the rejection, or None; and the row after the write."""
        if kind := self._rejection(write, row):
            return kind, row
        if write.op == "delete":
            return None, None
        if row is None or write.op == "replace":
            return None, {**dict.fromkeys(COLUMNS[write.resource]), **write.values}
        return None, row if write.op == "create-or-ignore" else {**row, **write.values}

    def _rejection(self, write: Write, row: Values | None) -> str | None:
        account = write.key.split(",")[0]
        if write.op in ("merge", "delete") and row is None:
            return "missing"
        if write.op == "delete":
            accounts = {key.split(",")[0] for resource, key in self.rows if resource == "entries"}
            is_referenced = write.resource == "accounts" and account in accounts
            return "still-referenced" if is_referenced else None
        if write.values.get("a") == -1:
            return "check"
        if write.op == "create" and row is not None:
            return "conflict"
        is_orphan = write.resource == "entries" and ("accounts", account) not in self.rows
        return "missing-parent" if row is None and is_orphan else None


def kinds(history: History) -> set[str]:
    """The kinds of violations that the checker sees; each has a text of one line."""
    found = check(history)
    assert all(each.kind in KINDS and each.text and "\n" not in each.text for each in found)
    return {each.kind for each in found}


def changed(records: Sequence[Record], nth: int, **values: Any) -> list[Record]:
    """The same records, with one of them changed."""
    return [each._replace(**values) if at == nth else each for at, each in enumerate(records)]
