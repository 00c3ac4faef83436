"""The dashboard of a stage in CloudWatch."""

import json
from collections.abc import Iterator, Sequence

from decanter.deployment import functions
from decanter.deployment.alarms import namespace
from decanter.deployment.functions import QUEUES, Queue
from decanter.deployment.references import Json
from decanter.deployment.stage import Stage


def resources(stage: Stage, api: str) -> Json:
    """The dashboard as a resource of the template. api: the name of the API."""
    widgets = [_placed(place, widget) for place, widget in enumerate(_widgets(stage, api))]
    return {
        "Dashboard": {
            "Type": "AWS::CloudWatch::Dashboard",
            "Properties": {
                "DashboardName": stage.prefix,
                "DashboardBody": {"Fn::Sub": json.dumps({"widgets": widgets})},
            },
        }
    }


def _widgets(stage: Stage, api: str) -> Iterator[Json]:
    def ours(*names: str) -> list[list[str]]:
        return [[namespace(stage), name] for name in names]

    drains = [each.logical for each in stage.functions if each.role == "drain"]
    holders = [each.logical for each in stage.holders]
    shared = [queue for queue in QUEUES if not queue.is_fifo]  # fairly, by SQS
    visible, age = "ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage"
    requests = [
        ["AWS/ApiGateway", name, "ApiName", api] for name in ("Count", "4XXError", "5XXError")
    ]
    yield _widget("Requests", requests, "Sum")
    yield _widget("Response time (ms)", [_of_function("Duration", "APIHandler")], "p99")
    yield _widget("Queued messages", _of_queues(visible, "Queue"), "Maximum")
    quiet = _of_queues(f"{age}InQuietGroups", "Queue", shared)
    yield _widget("Age of the oldest message (s)", _of_queues(age, "Queue") + quiet, "Maximum")
    noisy = _of_queues("ApproximateNumberOfNoisyGroups", "Queue", shared)
    yield _widget("Callers with more than their share in flight", noisy, "Maximum")
    yield _widget("Lag and wait in the database (s)", ours("Lag", "Waiting"), "Maximum")
    yield _widget("Rejections", ours("Rejections"), "Sum")
    yield _widget("Dead letters", _of_queues(visible, "DeadLetterQueue"), "Maximum")
    yield _widget(
        "Drains: invocations and errors",
        [_of_function(name, drain) for drain in drains for name in ("Invocations", "Errors")],
        "Sum",
    )
    yield _widget(
        "Containers that may hold a connection",
        [_of_function("ConcurrentExecutions", holder) for holder in holders],
        "Maximum",
        stacked=True,
    )
    reader = [_of_function(name, "Reader") for name in ("Errors", "Throttles")]
    yield _widget("Reader: errors and throttles", reader, "Sum")
    audit = [_of_function(name, "Audit") for name in ("Invocations", "Errors")]
    yield _widget(
        "Missing writes and paused buffers", ours("Unaccounted", "PausedBuffers"), "Maximum"
    )
    yield _widget("Audit: invocations and errors", audit, "Sum")
    yield _widget("Completed sweeps", ours("Swept"), "Sum", period=3600)
    if stage.authentication == "jwt":
        yield _widget("Authorizer: unable to verify", ours("AuthorizerErrors"), "Sum")
    if stage.has_front:
        yield from _of_front(stage)
    if stage.events:
        publish = [_of_function(name, "Publish") for name in ("Invocations", "Errors")]
        yield _widget("Age of the oldest unpublished event (s)", ours("Unpublished"), "Maximum")
        yield _widget("Refused events", ours("RefusedEvents"), "Sum")
        yield _widget("Publish: invocations and errors", publish, "Sum")


def _of_front(stage: Stage) -> Iterator[Json]:
    """Widgets of the front table, its stream, and the functions that only it has."""
    streams = [each.logical for each in stage.functions if each.reads_stream]
    consumed = [_of_table(f"Consumed{kind}CapacityUnits") for kind in ("Read", "Write")]
    throttled = [_of_table(f"{kind}ThrottleEvents") for kind in ("Read", "Write")]
    age = [_of_function("IteratorAge", each) for each in streams]
    settle = [_of_function(name, "Settle") for name in ("Invocations", "Errors")]
    yield _widget("Age of the front table's stream (ms)", age, "Maximum")
    yield _widget("Front table: capacity units consumed", consumed, "Sum")
    yield _widget("Front table: throttled requests", throttled, "Sum")
    yield _widget("Settle: invocations and errors", settle, "Sum")
    yield _widget("Marked items", [[namespace(stage), "MarkedItems"]], "Sum")


def _of_function(metric: str, function: str) -> list[str]:
    return ["AWS/Lambda", metric, "FunctionName", f"${{{function}}}"]


def _of_table(metric: str) -> list[str]:
    return ["AWS/DynamoDB", metric, "TableName", f"${{{functions.FRONT_TABLE}}}"]


def _of_queues(metric: str, kind: str, queues: Sequence[Queue] = QUEUES) -> list[list[str]]:
    return [
        ["AWS/SQS", metric, "QueueName", f"${{{queue.logical}{kind}.QueueName}}"]
        for queue in queues
    ]


def _widget(
    title: str, metrics: list[list[str]], statistic: str, *, stacked: bool = False, period: int = 60
) -> Json:
    return {
        "title": title,
        "region": "${AWS::Region}",
        "metrics": metrics,
        "stat": statistic,
        "period": period,
        "view": "timeSeries",
        "stacked": stacked,
    }


def _placed(place: int, properties: Json) -> Json:
    corner = {"x": place % 3 * 8, "y": place // 3 * 6}
    return {"type": "metric", **corner, "width": 8, "height": 6, "properties": properties}
