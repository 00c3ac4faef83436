"""A deployed stage as moves between SQS and the front table see it, without AWS."""

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from botocore.exceptions import ClientError

from decanter.deployment import front_states, functions
from tests.kit.fronted import NAME

LOCAL = SimpleNamespace(endpoint_url="http://127.0.0.1:1")
OUTPUTS = {
    functions.function("api").output: "api",
    functions.function("reader").output: "reader",
    functions.FRONT_TABLE_OUTPUT: NAME,
    **{output: name for name, output in functions.queue_outputs().items()},
}


@dataclass
class DeployedFake:
    """Lambda and SQS of a stage; DynamoDB is moto's.

    states: of its resources. served: of the contract that the API function serves, `resources`.
    read: answers the questions of the reader. queued: messages by queue. asked: what the reader was
    asked. busy: how many calls of it are refused. ages: of the ordered queue's oldest message.
    """

    dynamodb: Any
    states: dict[str, str] = field(default_factory=dict)
    served: dict[str, Any] = field(default_factory=dict)
    read: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda _: {}
    queued: dict[str, int] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    busy: int = 0
    ages: list[Any] = field(default_factory=list)
    meta = LOCAL
    exceptions = SimpleNamespace(ResourceNotFoundException=LookupError)

    def __call__(self, service: str) -> Any:
        return self.dynamodb if service == "dynamodb" else self

    def get_function_configuration(self, FunctionName: str) -> Any:
        if FunctionName not in ("api", "app-dev"):
            raise self.exceptions.ResourceNotFoundException
        table = {"DECANTER_FRONT_TABLE": NAME} if self.states else {}
        return {
            "Environment": {"Variables": {**table, **front_states.variables(self.states)}},
            "LastModified": "2026-01-31T12:00:00.000+0000",
            "ResponseMetadata": {"HTTPHeaders": {"date": "Sat, 31 Jan 2026 12:00:20 GMT"}},
        }

    def get_metric_statistics(self, Dimensions: list[Any], **_: Any) -> Any:
        assert Dimensions == [{"Name": "QueueName", "Value": "ordered"}]
        return {"Datapoints": self.ages}

    def get_queue_attributes(self, QueueUrl: str, AttributeNames: list[str]) -> Any:
        counts = dict.fromkeys(AttributeNames, "0")
        counts["ApproximateNumberOfMessages"] = str(self.queued.get(QueueUrl, 0))
        return {"Attributes": counts}

    def invoke(self, FunctionName: str, Payload: bytes) -> Any:
        if self.busy:
            self.busy -= 1
            raise ClientError({"Error": {"Code": "TooManyRequestsException"}}, "Invoke")
        event = json.loads(Payload)
        if FunctionName == "api":
            body = json.dumps({"x-decanter": {"resources": self.served}})
            return self._answer({"statusCode": 200, "body": body})
        assert FunctionName in ("reader", "app-dev-reader")
        self.asked.append(event["ask"])
        return self._answer(self.read(event))

    def _answer(self, payload: Mapping[str, Any]) -> Any:
        failed = {"FunctionError": "Unhandled"} if "errorMessage" in payload else {}
        return {"Payload": io.BytesIO(json.dumps(payload).encode()), **failed}
