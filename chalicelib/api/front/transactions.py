"""Changes of rows → one write of the front table, and what its refusal means."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from chalicelib.api.front.asked import FrontRequest
from chalicelib.api.front.changes import RowChange, judge
from chalicelib.buffer.dynamodb import entries, table
from chalicelib.buffer.dynamodb.entries import Entry
from chalicelib.buffer.dynamodb.table import Action
from chalicelib.contract import key
from chalicelib.contract.json_text import render
from chalicelib.contract.resources import Parent, Unique
from chalicelib.errors import Fault, Problem
from chalicelib.messages.message import Message, RowSet, caller_name, encode
from chalicelib.messages.receipt import Receipt, issue


class Step(NamedTuple):
    """An action and why it is needed: for a change, its claim, or its parent; none of them for a
    key record."""

    action: Action
    change: RowChange | None = None
    claim: Unique | None = None
    parent: Parent | None = None


def steps(
    asked: FrontRequest, written: Sequence[RowChange], receipt: Receipt, dedup_ids: Sequence[str]
) -> list[Step]:
    """The steps that make the changes, with a message for each. Raises Problem 409, 413.

    receipt: of all of them. dedup_ids: of the messages.
    """
    found = [
        Step(_put(asked, change, receipt, dedup_id), change)
        for change, dedup_id in zip(written, dedup_ids, strict=True)
    ]
    found += _claims(written)
    own = {change.pk for change in written if change.row is not None}
    parents = {
        pk: (change, parent)
        for change in reversed(written)
        for pk, parent in change.parents.items()
        if pk not in own
    }
    for pk, (change, parent) in parents.items():
        check = Action("ConditionCheck", {"pk": {"S": pk}}, table.HAS_ROW)
        found.append(Step(check, change, parent=parent))
    _refuse_large(found)
    return found


def _put(asked: FrontRequest, change: RowChange, receipt: Receipt, dedup_id: str) -> Action:
    etag = entries.etag_of(dedup_id)
    body = encode(_message(asked, change, receipt, dedup_id))
    if change.text is None:
        item = entries.tombstone(change.pk, etag, body, receipt.accepted_at // 1_000)
    else:
        item = entries.FrontItem(change.pk, change.text, etag, body)
    return Action("Put", entries.item_entry(item), change.requirement)


def _message(asked: FrontRequest, change: RowChange, receipt: Receipt, dedup_id: str) -> Message:
    row = change.key_row
    text = render(dict(row)) if change.text is None else change.text
    digests = (key.digest(asked.resource, row),)
    rows = RowSet(tuple(sorted(row)), (change.sent.item,), digests, text)
    return Message(
        dedup_id,
        receipt.fingerprint,
        receipt.accepted_at,
        asked.resource.name,
        change.op or asked.op,
        (rows,),
        is_patient=asked.is_patient,
        caller=caller_name(asked.caller),
        receipt=_row_receipt(asked, receipt, dedup_id) if asked.has_events else "",
    )


def _row_receipt(asked: FrontRequest, receipt: Receipt, dedup_id: str) -> str:
    """The token of the receipt of a row alone, which of a single row is that of the answer. How
    many rows there are in all is not known before they are written."""
    alone = receipt._replace(id=UUID(dedup_id), messages=1, writes=1)
    return issue(alone, asked.receipt_key, asked.caller)


def _claims(changes: Sequence[RowChange]) -> Iterator[Step]:
    """Claims that change hands, one step each. Raises Problem 409 for one that two rows take."""
    before = {pk: change for change in changes for pk in change.released}
    takers: dict[str, RowChange] = {}
    for change in changes:
        for pk, unique in change.claims.items():
            if pk in takers:
                faults = _taken(change, unique)
                raise Problem("conflict", faults[0].detail, faults)
            takers[pk] = change
            owners = {change.pk, before[pk].pk} if pk in before else {change.pk}
            claim = entries.claim_entry(pk, change.pk)
            yield Step(Action("Put", claim, table.is_free(*sorted(owners))), change, claim=unique)
    for pk in before.keys() - takers.keys():
        released = Action("Delete", {"pk": {"S": pk}}, table.is_free(before[pk].pk))
        yield Step(released, before[pk])


def _refuse_large(steps: Sequence[Step]) -> None:
    """Raises Problem 413 for an entry, or all together, beyond what DynamoDB takes."""
    sizes = [entries.size(step.action.entry) for step in steps]
    for size, step in zip(sizes, steps, strict=True):
        if size > entries.MAX_ENTRY_BYTES and step.change:
            detail = (
                f"the row takes {size} bytes in DynamoDB, where it is kept twice: once to be read,"
                f" once to be poured; at most {entries.MAX_ENTRY_BYTES} are allowed"
            )
            fault = Fault(step.change.sent.pointer, "size", detail)
            raise Problem("row-too-large", detail, (fault,))
    if sum(sizes) > table.MAX_BYTES:
        raise Problem(
            "body-too-large",
            f"the rows take {sum(sizes)} bytes in DynamoDB, which takes at most {table.MAX_BYTES}"
            " at once: send them in several requests",
        )


def refuse(asked: FrontRequest, steps: Sequence[Step], refused: Mapping[int, Entry | None]) -> None:
    """Raises Problem for steps that DynamoDB refused and would refuse again; returns if rows were
    changed meanwhile, so that the write may be tried anew."""
    found: list[Problem] = []
    for number, entry in sorted(refused.items()):
        if not (step := steps[number]).change:
            continue
        problem = _problem(asked, step, step.change, entry or {})
        if problem is None:
            return
        found.append(problem)
    if found:
        faults = [fault for problem in found for fault in problem.faults]
        raise Problem(found[0].type, found[0].detail, faults)


def _problem(asked: FrontRequest, step: Step, change: RowChange, entry: Entry) -> Problem | None:
    """What a refused step means; None if the row was changed meanwhile."""
    if step.claim:
        faults = _taken(change, step.claim)
        return Problem("conflict", faults[0].detail, faults)
    if step.parent:
        faults = _missing(change, step.parent)
        return Problem("missing-parent", faults[0].detail, faults)
    if not asked.is_reading:
        try:
            judge(asked, change.sent, "row" in entry, entry.get("etag", {}).get("S"))
        except Problem as problem:
            return problem
    return None


def _taken(change: RowChange, unique: Unique) -> list[Fault]:
    row = change.row or {}
    values = render({column.name: row[column.name] for column in unique.columns})[:200]
    detail = f"another row has {values}, which {unique.name} allows once"
    pointer = change.sent.pointer
    return [Fault(f"{pointer}/{column.name}", "unique", detail) for column in unique.columns]


def _missing(change: RowChange, parent: Parent) -> list[Fault]:
    row = change.row or {}
    values = render({name: row[name] for name in parent.columns})[:200]
    detail = f"{parent.resource} has no row for {values}, which {parent.name} requires"
    pointer = change.sent.pointer
    return [Fault(f"{pointer}/{name}", "missing-parent", detail) for name in parent.columns]
