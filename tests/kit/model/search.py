"""The search for an order of a batch's writes that explains their outcomes."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from tests.kit.model.schema import ANY, Rows, Schema, Value, Values
from tests.kit.model.semantics import Tables, Write, orphans, row_after, turn

_MOST_STATES = 50_000


class Unexplained(AssertionError):
    """No order of the writes leads to the drain's result."""


@dataclass
class Poured:
    """A settled write. members: those of its set. outcome: the type of its rejection, or None."""

    write: Write
    members: tuple[str, ...]
    outcome: str | None


@dataclass
class _Search:
    """A depth-first search through the orders of a batch."""

    schema: Schema
    queues: list[list[Poured]]
    shown: Mapping[str, Mapping[Value, Values]]
    seen: set[Hashable] = field(default_factory=set)

    def ends(self, tables: Tables) -> Iterator[Tables]:
        """Yield the tables after each order that explains the outcomes."""
        stack = [(tuple(0 for _ in self.queues), tables)]
        while stack:
            places, tables = stack.pop()
            places = self._skip_refused(places, tables)
            heads = self._heads(places)
            mark = (places, _frozen(tables))
            if mark in self.seen:
                continue
            self.seen.add(mark)
            if not heads:
                yield tables
            if len(self.seen) > _MOST_STATES:
                raise Unexplained(f"no order found among {_MOST_STATES}; make the batches smaller")
            ways = [*self._steps(places, tables, heads), *self._circles(places, tables, heads)]
            stack += reversed(ways)

    def _skip_refused(self, places: tuple[int, ...], tables: Tables) -> tuple[int, ...]:
        """Skip refused writes, which change nothing, as soon as their type is explained."""
        moved = True
        while moved:
            moved = False
            for queue, head in self._heads(places):
                if head.outcome:
                    effect = turn(self.schema, tables, head.write)
                    if head.outcome in effect.faults | effect.doubts:
                        places, moved = _advance(places, [queue]), True
        return places

    def _steps(
        self, places: tuple[int, ...], tables: Tables, heads: Sequence[tuple[int, Poured]]
    ) -> Iterator[tuple[tuple[int, ...], Tables]]:
        for queue, head in sorted(heads, key=lambda head: self._rank(places, *head)):
            if head.outcome is None:
                done = turn(self.schema, tables, head.write)
                if not done.faults:
                    yield _advance(places, [queue]), done.after
                    if self._is_alone(head.write.resource):
                        return  # nobody else can tell when it is done

    def _circles(
        self, places: tuple[int, ...], tables: Tables, heads: Sequence[tuple[int, Poured]]
    ) -> Iterator[tuple[tuple[int, ...], Tables]]:
        sets: dict[Hashable, list[tuple[int, Poured]]] = defaultdict(list)
        for queue, head in heads:
            if head.outcome is None and not self._is_alone(head.write.resource):
                is_conditional = head.write.asked is not None
                kind = (head.write.resource, head.write.op, head.members, is_conditional)
                sets[kind].append((queue, head))
        for together in sets.values():
            while len(together) > 1:
                after = tables
                left = []
                for queue, head in together:
                    done = turn(self.schema, after, head.write, lenient=True)
                    if not done.faults:
                        after = done.after
                        left.append((queue, head))
                lost = orphans(self.schema, after)
                if together[0][1].write.op == "delete":
                    # Who leaves an orphan behind stays.
                    bad = {w.write.key for _, w in left if self._is_wanted(after, lost, w.write)}
                else:
                    bad = {key for resource, key in lost if resource == left[0][1].write.resource}
                left = [(queue, head) for queue, head in left if head.write.key not in bad]
                if len(left) == len(together):
                    yield _advance(places, [queue for queue, _ in left]), after
                    break
                together = left

    def _is_wanted(self, tables: Tables, lost: set[tuple[str, Value]], own: Write) -> bool:
        return any(
            tuple(tables[rows.resource][key][name] for name in reference.columns) == own.key
            for rows, reference in self.schema.children(own.resource)
            for resource, key in lost
            if resource == rows.resource
        )

    def _heads(self, places: tuple[int, ...]) -> list[tuple[int, Poured]]:
        return [(n, q[places[n]]) for n, q in enumerate(self.queues) if places[n] < len(q)]

    def _is_alone(self, resource: str) -> bool:
        rows = self.schema.rows(resource)
        return not (rows.uniques or rows.references or [*self.schema.children(resource)])

    def _rank(self, places: tuple[int, ...], queue: int, head: Poured) -> Any:
        """Rank writes by the order that the drain probably took, to find it first."""
        rank = [rows.resource for rows in self.schema.tables].index(head.write.resource)
        is_delete = head.write.op == "delete"
        return (
            not self._is_alone(head.write.resource),
            places[queue],
            is_delete,
            (-rank if is_delete else rank),
            # Of creates of one key that may be ignored, the one that the table shows came first.
            head.write.op == "create-or-ignore",
            not self._is_shown(head.write),
        )

    def _is_shown(self, own: Write) -> bool:
        there = self.shown[own.resource].get(own.key)
        new = row_after(self.schema.rows(own.resource), own, None)
        return there is not None and _fits(new, there)


def explain(
    schema: Schema,
    tables: Tables,
    batch: Sequence[Poured],
    shown: Mapping[str, Sequence[Any]],
) -> Tables:
    """Return the tables after a batch, given in the order of acceptance. Raise Unexplained.

    shown: rows of each resource as parsed JSON.
    """
    queues: dict[Hashable, list[Poured]] = defaultdict(list)
    tokens = count()
    for poured in batch:
        rows = schema.rows(poured.write.resource)
        own = (rows.resource, poured.write.key) if rows.ordered else next(tokens)
        queues[own].append(poured)
    writes = [f"{p.write.op} {p.write.resource} {p.write.texts}: {p.outcome}" for p in batch]
    wrong = "no order of these writes explains their outcomes"
    there: dict[str, Mapping[Value, Values]] = {
        rows.resource: {rows.key_of(row): row for row in _canonical(rows, shown)}
        for rows in schema.tables
    }
    is_open = any(each.ondelete for rows in schema.tables for each in rows.references) or any(
        not schema.rows(poured.write.resource).ordered and poured.write.op != "create"
        for poured in batch
    )
    for after in _Search(schema, list(queues.values()), there).ends(tables):
        try:
            return _settle(schema, after, shown)
        except Unexplained as error:
            wrong = str(error)
        if not is_open:
            break  # all orders end alike; only with cascades, or keys without order, they need not
    raise Unexplained("\n".join([wrong, *writes]))


def _settle(schema: Schema, tables: Tables, shown: Mapping[str, Sequence[Any]]) -> Tables:
    """Fill in the values that the database made. Raise Unexplained if the tables differ."""
    after: Tables = {}
    for rows in schema.tables:
        after[rows.resource] = _match(rows, tables[rows.resource], _canonical(rows, shown))
    return after


def _canonical(rows: Rows, shown: Mapping[str, Sequence[Any]]) -> list[dict[str, Value]]:
    return [
        {each.name: each.canonical(row[each.name]) for each in rows.fields}
        for row in shown[rows.resource]
    ]


def _match(
    rows: Rows, wanted: Mapping[Value, Values], there: Sequence[Values]
) -> dict[Value, Values]:
    by_key: dict[Value, Values] = {}
    if rows.key:
        by_key = {rows.key_of(row): row for row in there}
    matched: dict[Value, Values] = {}
    left = list(there)
    for key, row in wanted.items():
        if (found := by_key.get(key)) is not None:
            if not _fits(row, found):
                raise Unexplained(f"{rows.resource}: expected {row}, found {found}")
            left.remove(found)
            matched[key] = found
    # Keys that the database made are found among the rows that are left.
    others = {key: row for key, row in wanted.items() if key not in by_key}
    for key, found in zip(others, _pair(list(others.values()), left), strict=True):
        if found is None:
            raise Unexplained(f"{rows.resource}: expected {others[key]}, found {left}")
        matched[rows.key_of(found) if rows.key else key] = found
    if len(left) > len(others):
        raise Unexplained(f"{rows.resource}: expected only {[*others.values()]}, found {left}")
    return matched


def _pair(wanted: Sequence[Values], there: Sequence[Values]) -> list[Values | None]:
    """Match each wanted row with a different existing one, if possible."""
    taken: dict[int, int] = {}  # which place in `there` is whose

    def finds(who: int, tried: set[int]) -> bool:
        for place in range(len(there)):
            if place not in tried and _fits(wanted[who], there[place]):
                tried.add(place)
                if place not in taken or finds(taken[place], tried):
                    taken[place] = who
                    return True
        return False

    for who in range(len(wanted)):
        finds(who, set())
    found = {who: there[place] for place, who in taken.items()}
    return [found.get(who) for who in range(len(wanted))]


def _fits(wanted: Values, found: Values) -> bool:
    return all(
        found[name] is not None if value == ANY else found[name] == value
        for name, value in wanted.items()
    )


def _advance(places: tuple[int, ...], queues: Sequence[int]) -> tuple[int, ...]:
    return tuple(place + (queue in queues) for queue, place in enumerate(places))


def _frozen(tables: Tables) -> Hashable:
    return tuple(
        frozenset((key, frozenset(row.items())) for key, row in rows.items())
        for rows in tables.values()
    )


def counted(outcomes: Sequence[str | None]) -> Counter[str]:
    return Counter(outcome or "applied" for outcome in outcomes)
