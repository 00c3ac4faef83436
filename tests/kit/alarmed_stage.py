"""A stage with all alarms, and what CloudWatch counts of it."""

from dataclasses import replace

from decanter.deployment import template
from decanter.deployment.stage import load
from tests.kit.cloudwatch import Metrics
from tests.kit.destinations import TOPIC
from tests.kit.project import PROJECT

STAGE = replace(load(PROJECT, "dev"), fronts={"things": "dynamodb"}, events=TOPIC)
TEMPLATE = template.build(STAGE)
RESOURCES = TEMPLATE["Resources"]
PARAMETERS = {name: each.get("Default") for name, each in TEMPLATE["Parameters"].items()}
ALARMS = {
    name: each["Properties"]
    for name, each in RESOURCES.items()
    if each.get("Type") == "AWS::CloudWatch::Alarm"
}
FILTERS = [
    each["Properties"]
    for each in RESOURCES.values()
    if each.get("Type") == "AWS::Logs::MetricFilter"
]
OURS = "Decanter/decanter-dev"

MINUTE, HOUR = 60, 3600
START = 500_000 * HOUR
"""When the stage was there already."""


class Service(Metrics):
    """CloudWatch's metrics of a stage."""

    def __init__(self) -> None:
        super().__init__(FILTERS)

    def run(
        self, function: str, at: float, lines: list[str] | None = None, *, error: bool = False,
        throttled: bool = False, at_once: int = 1,
    ) -> None:  # fmt: skip
        """An invocation of a function that logs these lines."""
        if throttled:
            return self.put("AWS/Lambda", "Throttles", at, 1, FunctionName=function)
        for name, value in (("Invocations", 1), ("Errors", error), ("Throttles", 0),
                            ("ConcurrentExecutions", at_once)):  # fmt: skip
            self.put("AWS/Lambda", name, at, value, FunctionName=function)
        for line in lines or []:
            self.log(f"{function}Logs", at, line)
        return None

    def queue(self, queue: str, at: float, age: float = 0, dead: int = 0) -> None:
        """Metrics of SQS."""
        self.put("AWS/SQS", "ApproximateAgeOfOldestMessage", at, age, QueueName=f"{queue}Queue")
        self.put("AWS/SQS", "ApproximateNumberOfMessagesVisible", at, dead,
                 QueueName=f"{queue}DeadLetterQueue")  # fmt: skip

    def stream(self, at: float, age: float) -> None:
        """The age of the records of the front table's stream with which its drain is invoked."""
        self.put("AWS/Lambda", "IteratorAge", at, age * 1000, FunctionName="DrainStream")

    def requests(self, at: float, *, errors: int = 0, count: int = 5) -> None:
        """Requests to the API, each through the authorizer."""
        for number in range(count):
            self.put("AWS/ApiGateway", "5XXError", at, number < errors, ApiName="decanter-dev")
        self.run("APIHandler", at)
        self.run("Bearer", at)

    def database(self, at: float, connections: int) -> None:
        """The metric of RDS."""
        self.put("AWS/RDS", "DatabaseConnections", at, connections,
                 DBInstanceIdentifier="DatabaseInstance")  # fmt: skip
