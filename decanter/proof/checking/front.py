"""Resources behind the front table: what its clients are told agrees with the table, and in the end
the table agrees with Postgres.

The table has one order of all writes, and each write of it is evidence. So there is nothing to
search: each one is compared with what the request makes of the row before, and each answer with the
rows that there were meanwhile.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from chalicelib.buffer.dynamodb import entries
from chalicelib.ops import OPS, Op
from decanter.proof.checking.front_log import (
    Log,
    claim_of,
    is_fronted,
    is_item,
    item_name,
    items_of,
    parent_of,
    row_name,
    row_of,
)
from decanter.proof.checking.requests import RowName
from decanter.proof.checking.semantics import written
from decanter.proof.front_history import Entry, FrontAnswer, TableWrite
from decanter.proof.history import Attempt, History, Values, Violation, Write
from decanter.proof.tables import FRONTED

_KEPT = ("conflict", "missing-parent", "no-such-row", "precondition-failed")
_CREATED, _REPLACED, _DELETED = 201, 200, 204
_UNKNOWN = "unknown-resource"
"""What an earlier version says that has no such table."""

_LASTING = 500
"""A status that says that an operator is needed, of which no history has one."""


def front_violations(history: History) -> Iterator[Violation]:
    """All violations of what the front promises."""
    if history.front is None:
        return
    log = Log(history, history.front)
    yield from _written(log)
    yield from _answers(log)
    yield from _repeats(log)
    yield from _reads(log)
    yield from _end(log)


def _written(log: Log) -> Iterator[Violation]:
    """Each write makes of the rows what its request says, and was allowed to."""
    for request, own in sorted(log.by_request.items()):
        if len(own) > 1:
            yield Violation("doubled", f"request {request} has written to the front table twice")
        for each in own:
            attempt = log.history.attempts[each.attempt or 0]
            for pk in items_of(each):
                row = row_name(pk)
                if why := _mistake(log, each, attempt, pk):
                    yield Violation("wrong-item", f"{' '.join(row)}: request {request} {why}", row)


def _mistake(log: Log, each: TableWrite, attempt: Attempt, pk: str) -> str | None:
    """What is wrong with an item that an attempt has written."""
    row, entry = row_name(pk), each.entries[pk]
    write = next((one for one in attempt.writes if (one.resource, one.key) == row), None)
    if write is None or entry is None or not is_fronted(attempt):
        return "has written an item of which it does not tell"
    before, after = row_of(log.before(pk, each.number)), row_of(entry)
    if not _may_write(write, before, _condition(log, attempt)):
        return f"has written over {before}, which {write.op} must not"
    expected = written(write, before)
    if after != expected:
        return f"has made {after} of {before}, and asks for {expected}"
    if "write" not in entry:
        return "has written an item without a message"
    return _unchecked(log, each, pk, before, after)


def _condition(log: Log, attempt: Attempt) -> str:
    known = [
        log.front.answers[number].condition
        for number, other in enumerate(log.history.attempts)
        if other.request == attempt.request and number in log.front.answers
    ]
    return known[0] if known else ""


def _may_write(write: Write, row: Values | None, condition: str) -> bool:
    if (condition == "present" and row is None) or (condition == "absent" and row is not None):
        return False
    return row is None if write.op == "create" else OPS[write.op].inserts or row is not None


def _unchecked(
    log: Log, each: TableWrite, pk: str, before: Values | None, after: Values | None
) -> str | None:
    """What a write has not checked: claims on unique values, and parents."""
    if after is None:
        return None
    claim = claim_of(pk, after)
    if claim and claim != claim_of(pk, before):
        held = log.before(claim, each.number)
        owner = held["owner"]["S"] if held else pk
        left = row_of(each.entries.get(owner))
        gives = owner in each.entries and claim_of(owner, left) != claim
        if owner != pk and not gives:
            return f"has taken {claim}, which is {owner}'s"
        now = each.entries.get(claim, held)
        if now is None or now["owner"]["S"] != pk:
            return f"has not taken {claim}"
    parent = parent_of(pk)
    if before is None and parent:
        state = each.entries.get(parent, log.before(parent, each.number))
        return None if row_of(state) else f"has written it without {parent}"
    return None


def _answers(log: Log) -> Iterator[Violation]:
    """Each answer was true while its client waited for it."""
    for position, attempt in enumerate(log.history.attempts):
        answer = log.front.answers.get(position)
        if answer is None or attempt.status is None or not is_fronted(attempt):
            continue
        if why := _untrue(log, attempt, answer):
            text = f"request {attempt.request} is answered {attempt.status} {answer.problem}"
            row = (attempt.writes[0].resource, attempt.writes[0].key)
            kind = "refused-but-applied" if why == _APPLIED else "misled"
            yield Violation(kind, f"{text} at {attempt.answered_at:.3f}: {why}", row)


_APPLIED = "it has written to the front table"


def _untrue(log: Log, attempt: Attempt, answer: FrontAnswer) -> str | None:
    """Why an answer is not true."""
    own = log.by_request.get(attempt.request, ())
    if attempt.is_accepted:
        return _untrue_success(log, attempt, answer, own)
    if attempt.status == _LASTING:
        return "no such problem may be"
    if attempt.status is None or attempt.status > _LASTING:
        return None
    if answer.problem == _UNKNOWN:
        return None
    if own:
        return _APPLIED
    window = (_first_sent(log, attempt), attempt.answered_at or 0.0)
    seen = _Seen(log, attempt, answer.condition, *window)
    return None if seen.explains(answer.problem) else "there was never a reason"


def _first_sent(log: Log, attempt: Attempt) -> float:
    """From when on an answer may be from: a repeated request gets the first one."""
    return min(e.sent_at for e in log.history.attempts if e.request == attempt.request)


def _untrue_success(
    log: Log, attempt: Attempt, answer: FrontAnswer, own: Sequence[TableWrite]
) -> str | None:
    done = {pk for each in own for pk in items_of(each)}
    statuses = []
    for write in attempt.writes:
        pk = item_name((write.resource, write.key))
        if pk in done:
            number = own[0].number
            before = row_of(log.before(pk, number))
            statuses.append(_status(write, before))
            if len(attempt.writes) == 1 and (why := _shows(own[0].entries[pk], answer)):
                return why
            continue
        versions = log.during(pk, _first_sent(log, attempt), attempt.answered_at or 0.0)
        if write.op != "create-or-ignore" or not any(map(row_of, versions)):
            return f"the front table has nothing of item {write.item}"
        statuses.append(_REPLACED)
    blind = attempt.writes[0].op == "replace" and attempt.status == _REPLACED
    if attempt.status != max(statuses) and not blind:
        return f"{max(statuses)} would be right"
    return None


def _status(write: Write, before: Values | None) -> int:
    if OPS[write.op].removes:
        return _DELETED
    return _CREATED if before is None else _REPLACED


def _shows(entry: Entry | None, answer: FrontAnswer) -> str | None:
    """Why an answer to one write does not show the row that it has made."""
    row = row_of(entry)
    if entry is None or row is None:
        return None
    if answer.etag != entry["etag"]["S"]:
        return f"its ETag is {answer.etag}, not {entry['etag']['S']}"
    if answer.body is not None and answer.body != row:
        return f"it shows {answer.body}, not {row}"
    return None


@dataclass(frozen=True)
class _Seen:
    """What an attempt may have seen of the table: all that there was from first to last."""

    log: Log
    attempt: Attempt
    condition: str
    first: float
    last: float

    def explains(self, problem: str) -> bool:
        """Whether there was a reason for a problem."""
        reasons: Mapping[str, Callable[[], bool]] = {
            "conflict": self._conflicts,
            "missing-parent": self._lacks_parent,
            "no-such-row": lambda: not OPS[self._op].inserts and any(self._absent()),
            "precondition-failed": self._is_unlike,
            "key-reused": self._is_reused,
            "invalid-row": lambda: len({*self._keys()}) < len(self._keys()),
        }
        return problem in reasons and reasons[problem]()

    @property
    def _op(self) -> Op:
        return self.attempt.writes[0].op

    def _keys(self) -> list[str]:
        return [each.key for each in self.attempt.writes]

    def _rows(self, row: RowName) -> list[Values | None]:
        return [*map(row_of, self.log.during(item_name(row), self.first, self.last))]

    def _absent(self) -> Iterator[bool]:
        for write in self.attempt.writes:
            yield None in self._rows((write.resource, write.key))

    def _present(self) -> Iterator[bool]:
        for write in self.attempt.writes:
            yield any(self._rows((write.resource, write.key)))

    def _is_unlike(self) -> bool:
        found = {"present": self._absent, "absent": self._present}.get(self.condition)
        return found is not None and any(found())

    def _conflicts(self) -> bool:
        if self._op == "create" and any(self._present()):
            return True
        claims = [self._claim_of(write) for write in self.attempt.writes]
        known = [claim for claim in claims if claim]
        return len({*known}) < len(known) or any(map(self._is_taken, self.attempt.writes, claims))

    def _claim_of(self, write: Write) -> str | None:
        return claim_of(item_name((write.resource, write.key)), write.values)

    def _is_taken(self, write: Write, claim: str | None) -> bool:
        own = item_name((write.resource, write.key))
        held = self.log.during(claim, self.first, self.last) if claim else []
        return any(entry is not None and entry["owner"]["S"] != own for entry in held)

    def _lacks_parent(self) -> bool:
        parents = [parent_of(item_name((w.resource, w.key))) for w in self.attempt.writes]
        found = [self.log.during(pk, self.first, self.last) for pk in parents if pk]
        return any(row_of(entry) is None for versions in found for entry in versions)

    def _is_reused(self) -> bool:
        key = self.attempt.key
        others = [each for each in self.log.history.attempts if each.key == key]
        return key is not None and any(e.request != self.attempt.request for e in others)


def _repeats(log: Log) -> Iterator[Violation]:
    """The same request with the same Idempotency-Key gets the same answer, once it has one."""
    first: dict[int, tuple[object, ...]] = {}
    for position, attempt in enumerate(log.history.attempts):
        answer = log.front.answers.get(position)
        if answer is None or attempt.key is None or not is_fronted(attempt):
            continue
        if not attempt.is_accepted and answer.problem not in _KEPT:
            continue
        shown = (attempt.status, answer.problem, answer.etag, json.dumps(answer.body))
        if first.setdefault(attempt.request, shown) != shown:
            text = f"is answered {shown}, and was answered {first[attempt.request]}"
            yield Violation("misled", f"request {attempt.request} {text}")


def _reads(log: Log) -> Iterator[Violation]:
    """A row that was read by its key was there meanwhile."""
    for each in log.front.reads:
        versions = log.during(item_name(each.row), each.asked_at, each.answered_at)
        rows = [*map(row_of, versions)]
        read = each.body if each.status == _REPLACED else None
        is_known = each.status == _REPLACED or each.body["type"].endswith("no-such-row")
        is_earlier = not is_known and each.body["type"].endswith(_UNKNOWN)
        if not is_earlier and not (is_known and read in rows):
            text = f"reads {each.status} {each.body} at {each.answered_at:.3f}, and it was {rows}"
            yield Violation("misled", f"{' '.join(each.row)} {text}", each.row)


def _end(log: Log) -> Iterator[Violation]:
    """In the end, items and rows agree, and claims are those of the rows."""
    final = log.final()
    items = {row_name(pk): e for pk, e in final.items() if is_item(pk)}
    found = {name: row for name, row in log.history.rows.items() if name[0] in FRONTED}
    for name in sorted({*items, *found}):
        entry = items.get(name)
        if entry and "refused" in entry:
            continue
        if row_of(entry) != (dict(found[name]) if name in found else None):
            text = f"the item has {row_of(entry)} in the end, and Postgres {found.get(name)}"
            yield Violation("diverged", f"{' '.join(name)}: {text}", name)
    yield from _claims(final)


def _claims(final: Mapping[str, Entry]) -> Iterator[Violation]:
    claims = {pk: e["owner"]["S"] for pk, e in final.items() if pk.startswith(entries.CLAIM)}
    rows = {pk: row_of(entry) for pk, entry in final.items() if is_item(pk)}
    expected = {claim: pk for pk, row in rows.items() if (claim := claim_of(pk, row))}
    for claim in sorted({*claims, *expected}):
        if claims.get(claim) != expected.get(claim):
            owner, holder = claims.get(claim), expected.get(claim)
            text = f"{claim} is claimed by {owner} in the end, and {holder} has the value"
            yield Violation("diverged", text)
