"""DynamoDB in virtual time: one table, with what Powertools' persistence layer asks of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from decanter.proof.simulation.engine import Engine, Task
from decanter.proof.simulation.plan import Fault
from decanter.proof.simulation.steps import Step

_SECONDS = 0.005
_CONDITION = (
    "attribute_not_exists(#id) OR #expiry < :now OR (#status = :inprogress AND"
    " attribute_exists(#in_progress_expiry) AND #in_progress_expiry < :now_in_millis)"
)
_UNAVAILABLE = {
    "Error": {"Code": "InternalServerError", "Message": "by the simulation"},
    "ResponseMetadata": {"HTTPStatusCode": 500},
}

Item = dict[str, dict[str, str]]
Answer = tuple[str | None, Any]


@dataclass
class Table:
    """A table whose key is one string. A fault of a call is one of a statement: `cut` fails it
    before it is done, `lose` loses its answer, `freeze` and `slow` delay it."""

    engine: Engine
    items: dict[str, Item] = field(default_factory=dict)

    def call(self, task: Task, step: Step, fault: Fault | None) -> None:
        name = fault.name if fault else ""
        seconds = fault.seconds if fault and name in ("freeze", "slow") else _SECONDS
        self.engine.after(seconds, lambda: self._do(task, step, name))

    def _do(self, task: Task, step: Step, fault: str) -> None:
        if task.is_over:
            return
        operation: Callable[..., Answer] = getattr(self, step.detail["operation"])
        verdict, value = (
            ("error", _UNAVAILABLE) if fault == "cut" else operation(**step.detail["parameters"])
        )
        if fault == "lose":
            verdict, value = "time-out", None

        def go_on() -> None:
            if not task.is_over:
                self.engine.reply(task, verdict, value)

        self.engine.after(_SECONDS, go_on)

    def get_item(self, Key: Item, **_: Any) -> Answer:
        item = self.items.get(_name(Key))
        return None, {"Item": item} if item else {}

    def put_item(self, Item: Item, **condition: Any) -> Answer:
        old = self.items.get(_name(Item))
        if old is not None and not _holds(old, **condition):
            error = {"Code": "ConditionalCheckFailedException", "Message": "by the condition"}
            return "error", {"Error": error, "Item": old}
        self.items[_name(Item)] = Item
        return None, {}

    def update_item(
        self,
        Key: Item,
        UpdateExpression: str,
        ExpressionAttributeNames: dict[str, str],
        ExpressionAttributeValues: Item,
        **_: Any,
    ) -> Answer:
        item = self.items.setdefault(_name(Key), dict(Key))
        for change in UpdateExpression.removeprefix("SET ").split(", "):
            name, value = change.split(" = ")
            item[ExpressionAttributeNames[name]] = ExpressionAttributeValues[value]
        return None, {}

    def delete_item(self, Key: Item, **_: Any) -> Answer:
        self.items.pop(_name(Key), None)
        return None, {}


def _name(key: Item) -> str:
    return key["id"]["S"]


def _holds(
    item: Item,
    ConditionExpression: str,
    ExpressionAttributeNames: dict[str, str],
    ExpressionAttributeValues: Item,
    **_: Any,
) -> bool:
    """Whether an item that is there may be overwritten: by the one condition that is known here."""
    if ConditionExpression != _CONDITION:
        raise ValueError(f"Powertools has another condition now: {ConditionExpression}")
    names, values = ExpressionAttributeNames, ExpressionAttributeValues
    in_progress = item.get(names["#in_progress_expiry"])
    return int(item[names["#expiry"]]["N"]) < int(values[":now"]["N"]) or (
        item[names["#status"]] == values[":inprogress"]
        and in_progress is not None
        and int(in_progress["N"]) < int(values[":now_in_millis"]["N"])
    )
