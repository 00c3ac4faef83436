"""DynamoDB in virtual time: one table, with what Decanter asks of it, and the changes that its
stream carries.

https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from decanter.proof.simulation.expression import Entry, NotSimulated, holds

MOST_ACTIONS = 100
TOKEN_SECONDS = 600.0

_COMMON = {
    "TableName",
    "ConditionExpression",
    "ExpressionAttributeNames",
    "ExpressionAttributeValues",
    "ReturnValuesOnConditionCheckFailure",
}
_KNOWN: Mapping[str, frozenset[str]] = {
    "get_item": frozenset({"TableName", "Key", "ConsistentRead"}),
    "batch_get_item": frozenset({"RequestItems"}),
    "put_item": frozenset({*_COMMON, "Item", "ReturnValues"}),
    "transact_write_items": frozenset({"TransactItems", "ClientRequestToken"}),
    "scan": frozenset({"TableName", "ConsistentRead", "FilterExpression",
                       "ExpressionAttributeNames"}),
    "Put": frozenset({*_COMMON, "Item"}),
    "Delete": frozenset({*_COMMON, "Key"}),
    "ConditionCheck": frozenset({*_COMMON, "Key"}),
}  # fmt: skip
"""Parameters by operation, and by action of a transaction."""

_CHECK_FAILED = "The conditional request failed"


class TableRefusal(Exception):
    """An error of DynamoDB. response: as botocore has it."""

    def __init__(self, code: str, text: str, **members: Any) -> None:
        super().__init__(text)
        self.response = error(code, text, **members)


def error(code: str, text: str = "by the simulation", status: int = 400, **members: Any) -> Any:
    """The response of an error."""
    return {
        "Error": {"Code": code, "Message": text},
        "ResponseMetadata": {"HTTPStatusCode": status},
        **members,
    }


Changes = Mapping[str, Entry | None]
"""Entries by name, as they are after a call; None: removed."""


@dataclass
class Table:
    """written: is called with the changes of each call that changes anything."""

    written: Callable[[Changes], None] = lambda _changes: None
    entries: dict[str, Entry] = field(default_factory=dict)
    _tokens: dict[str, tuple[float, Any]] = field(default_factory=dict)

    def call(self, operation: str, parameters: Mapping[str, Any], now: float) -> Mapping[str, Any]:
        """The reply to a call. Raises TableRefusal, and NotSimulated for what Decanter has never
        asked."""
        _check(operation, parameters)
        if operation == "transact_write_items":
            return self._transact(parameters, now)
        calls: Mapping[str, Callable[..., Mapping[str, Any]]] = {
            "get_item": self._get,
            "batch_get_item": self._get_many,
            "put_item": self._put,
            "scan": self._scan,
        }
        return calls[operation](parameters)

    def remove(self, pk: str) -> None:
        """Remove an entry, as the time to live does."""
        if self.entries.pop(pk, None) is not None:
            self.written({pk: None})

    def _get(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        entry = self.entries.get(_name(parameters["Key"]))
        return {} if entry is None else {"Item": entry}

    def _get_many(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        ((name, wanted),) = parameters["RequestItems"].items()
        pks = [_name(key) for key in wanted["Keys"]]
        if len({*pks}) < len(pks) or len(pks) > MOST_ACTIONS:
            raise TableRefusal("ValidationException", "duplicates, or too many keys")
        found = [self.entries[pk] for pk in pks if pk in self.entries]
        return {"Responses": {name: found}, "UnprocessedKeys": {}}

    def _put(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        old = self.entries.get(_name(parameters["Item"]))
        if not holds(parameters, old, "ConditionExpression"):
            raise TableRefusal(
                "ConditionalCheckFailedException", _CHECK_FAILED, **_old(parameters, old)
            )
        self._change([("Put", parameters)])
        wants_old = parameters.get("ReturnValues") == "ALL_OLD" and old is not None
        return {"Attributes": old} if wants_old else {}

    def _scan(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        found = [e for e in self.entries.values() if holds(parameters, e, "FilterExpression")]
        return {"Items": found, "Count": len(found)}

    def _transact(self, parameters: Mapping[str, Any], now: float) -> Mapping[str, Any]:
        actions = [action for each in parameters["TransactItems"] for action in each.items()]
        token = parameters["ClientRequestToken"]
        at, known = self._tokens.get(token, (-TOKEN_SECONDS, None))
        if now - at < TOKEN_SECONDS:
            if known != actions:
                raise TableRefusal("IdempotentParameterMismatchException", "another request")
            return {}
        pks = [_pk(kind, each) for kind, each in actions]
        if len({*pks}) < len(pks) or len(pks) > MOST_ACTIONS:
            raise TableRefusal("ValidationException", "two actions on one item, or too many")
        reasons = [self._reason(kind, each) for kind, each in actions]
        if any(each["Code"] != "None" for each in reasons):
            text = f"Transaction cancelled [{', '.join(each['Code'] for each in reasons)}]"
            raise TableRefusal("TransactionCanceledException", text, CancellationReasons=reasons)
        self._tokens[token] = now, actions
        self._change(actions)
        return {}

    def _reason(self, kind: str, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        _check(kind, parameters)
        old = self.entries.get(_pk(kind, parameters))
        if holds(parameters, old, "ConditionExpression"):
            return {"Code": "None"}
        failed = {"Code": "ConditionalCheckFailed", "Message": _CHECK_FAILED}
        return {**failed, **_old(parameters, old)}

    def _change(self, actions: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        changes: dict[str, Entry | None] = {}
        for kind, parameters in actions:
            pk = _pk(kind, parameters)
            if kind == "Put" and self.entries.get(pk) != parameters["Item"]:
                changes[pk] = self.entries[pk] = parameters["Item"]
            elif kind == "Delete" and self.entries.pop(pk, None) is not None:
                changes[pk] = None
        if changes:
            self.written(changes)


def _check(operation: str, parameters: Mapping[str, Any]) -> None:
    if not {*parameters} <= _KNOWN.get(operation, frozenset()):
        raise NotSimulated(f"{operation} with {sorted(parameters)}")


def _pk(kind: str, parameters: Mapping[str, Any]) -> str:
    return _name(parameters["Item" if kind == "Put" else "Key"])


def _name(key: Entry) -> str:
    return str(key["pk"]["S"])


def _old(parameters: Mapping[str, Any], old: Entry | None) -> Mapping[str, Any]:
    wants_old = parameters.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
    return {"Item": old} if wants_old and old is not None else {}
