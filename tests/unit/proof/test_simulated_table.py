"""DynamoDB in virtual time answers as moto's does, call by call."""

import random
import time
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from chalicelib.buffer.dynamodb import entries, table
from chalicelib.buffer.dynamodb.entries import FrontItem
from chalicelib.buffer.dynamodb.table import Action, Requirement
from decanter.proof.simulation.expression import NotSimulated
from decanter.proof.simulation.table import Table, TableRefusal
from tests.kit.fronted import NAME, all_entries, dynamodb, make_table

PKS = [entries.item_pk("tags", [number]) for number in "123"]
CLAIMS = [entries.claim_pk("tags", "tags_b_key", [number]) for number in "12"]


class Both:
    """The client of Decanter's calls: moto's answers, and beside them the simulation's."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.table = Table(lambda changes: self.changes.append(changes))
        self.changes: list[Any] = []

    def __getattr__(self, operation: str) -> Any:
        def call(**parameters: Any) -> Any:
            own = self._simulated(operation, parameters)
            reply, failure = None, None
            try:
                reply = getattr(self.client, operation)(**parameters)
            except ClientError as error:
                reply, failure = error.response, error
            assert _seen(own) == _seen(reply)
            if failure:
                raise failure
            return reply

        return call

    def _simulated(self, operation: str, parameters: Any) -> Any:
        try:
            return self.table.call(operation, parameters, 0.0)
        except TableRefusal as refusal:
            return refusal.response


def _seen(reply: Any) -> Any:
    """What Decanter looks at in a reply."""
    found = {name: reply.get(name) or None for name in ("Item", "Attributes", "UnprocessedKeys")}
    pages = (reply.get("Responses") or {}).values()
    found["Responses"] = [sorted(page, key=lambda each: each["pk"]["S"]) for page in pages]
    found["Error"] = reply.get("Error", {}).get("Code")
    reasons = reply.get("CancellationReasons", [])
    found["Reasons"] = [(each["Code"], each.get("Item")) for each in reasons]
    return found


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> Iterator[Both]:
    monkeypatch.setenv("DECANTER_FRONT_TABLE", NAME)
    with dynamodb() as client:
        make_table(client)
        found = Both(client)
        monkeypatch.setattr(table, "_client", lambda: found)
        yield found


def _requirement(draw: random.Random) -> Requirement | None:
    etags = [str(draw.randint(1, 9)) for _ in range(2)]
    return draw.choice(
        (
            None, table.HAS_ROW, table.HAS_NO_ROW, table.IS_MISSING, table.IS_THERE,
            table.has_etag(etags), table.is_unchanged(etags[0]),
            table.is_free(*draw.sample(PKS, 2)), table.is_forgotten(draw.randint(1, 9)),
        )
    )  # fmt: skip


def _action(draw: random.Random, pk: str) -> Action:
    kind = draw.choice(("Put", "Put", "Put", "Delete", "ConditionCheck"))
    row = draw.choice((None, '{"id":1}'))
    item = FrontItem(pk, row, str(draw.randint(1, 9)), "{}", draw.randint(1, 9))
    made: Any = entries.item_entry(item)
    if pk in CLAIMS:
        made = entries.claim_entry(pk, draw.choice(PKS))
    requirement = _requirement(draw)
    if kind == "ConditionCheck" and requirement is None:
        requirement = table.IS_THERE
    return Action(kind, made if kind == "Put" else {"pk": {"S": pk}}, requirement)


def test_each_call_of_decanter_is_answered_as_moto_answers_it(both: Both) -> None:
    draw = random.Random(14)
    refused = 0
    for _ in range(50):
        pks = draw.sample([*PKS, *CLAIMS], draw.randint(1, 4))
        outcome = table.write([_action(draw, pk) for pk in pks], _late(), draw.random() < 0.5)
        refused += bool(outcome.refused)
        assert table.get_many(pks, _late()) == {
            pk: both.table.entries[pk] for pk in pks if pk in both.table.entries
        }

    assert both.table.entries == all_entries(both.client)
    assert 5 < refused < 45
    assert len(both.changes) > 5


def _late() -> float:
    return time.monotonic() + 60


def test_a_transaction_that_is_sent_again_is_done_once(both: Both) -> None:
    actions = [{"Put": {"TableName": NAME, "Item": {"pk": {"S": pk}}}} for pk in PKS]
    sent = {"TransactItems": actions, "ClientRequestToken": "one"}
    both.transact_write_items(**sent)
    both.table.remove(PKS[0])
    both.table.call("transact_write_items", sent, 599.0)
    assert PKS[0] not in both.table.entries

    both.table.call("transact_write_items", sent, 601.0)
    assert PKS[0] in both.table.entries


def test_what_changes_nothing_is_not_in_the_stream(both: Both) -> None:
    put = {"TableName": NAME, "Item": {"pk": {"S": "one"}}}
    both.put_item(**put)
    both.put_item(**put)

    assert both.changes == [{"one": {"pk": {"S": "one"}}}]


@pytest.mark.parametrize(
    ("operation", "parameters"),
    [
        ("update_item", {"TableName": NAME}),
        ("put_item", {"TableName": NAME, "Item": {"pk": {"S": "a"}}, "Expected": {}}),
        ("put_item", {"Item": {"pk": {"S": "a"}}, "ConditionExpression": "size(#a) < :b"}),
        (
            "put_item",
            {
                "Item": {"pk": {"S": "a"}},
                "ConditionExpression": "attribute_exists(#a)",
                "ExpressionAttributeNames": {"#a": "a", "#b": "b"},
            },
        ),
        (
            "put_item",
            {
                "Item": {"pk": {"S": "a"}},
                "ConditionExpression": "#a > :b",
                "ExpressionAttributeNames": {"#a": "a"},
                "ExpressionAttributeValues": {":b": {"N": "1"}},
            },
        ),
    ],
)
def test_what_is_not_simulated_is_refused(operation: str, parameters: Any) -> None:
    with pytest.raises(NotSimulated):
        Table().call(operation, parameters, 0.0)
