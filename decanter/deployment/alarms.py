"""Alarms, metrics and the dashboard of a stage, as resources of CloudFormation."""

import json
from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from typing import Any, NamedTuple

Json = dict[str, Any]

LAG_SECONDS = 900
"""A write that waited longer than this raises an alarm."""

CONNECTIONS_SHARE = 0.9
"""Part of the connections that drains and reader can reach that raises an alarm when it is in use
for five minutes."""

# Chalice's own prefix of a line of a log, in place of Lambda's: decanter.drain - INFO - …
_PREFIX = "logger, dash1, level, dash2, "
LAG_PATTERN = f'[{_PREFIX}word=received, messages, what="messages,", name=lag, lag, unit=s]'
REJECTIONS_PATTERN = f'[{_PREFIX}word=rejected, rejected, what="writes;", ...]'
WAITING_PATTERN = (
    f'[{_PREFIX}word=waiting, writes, what="writes,", the=the, oldest=oldest, for=for, seconds,'
    " unit=s]"
)
SWEEP_PATTERN = f'[{_PREFIX}word=swept, rows, what="rows,", end=done]'
AUTHORIZER_PATTERN = f"[{_PREFIX}word=unable, to=to, check=check, ...]"

_AGAIN = {"Statistic": "Sum", "Threshold": 0, "EvaluationPeriods": 60, "DatapointsToAlarm": 3}
"""In three minutes of an hour: what fails again and again, not what failed once. A message that
fails comes back after the visibility timeout, which is 20 minutes at most."""

_NEVER = {"Threshold": 1, "ComparisonOperator": "LessThanThreshold"}
"""What should happen does not; no data says so too."""


class Drain(NamedTuple):
    """A queue and the function that takes from it; logical names in the template."""

    queue: str
    function: str


DRAINS = (Drain("Ordered", "DrainOrdered"), Drain("Unordered", "DrainUnordered"))
HOLDERS = ("DrainOrdered", "DrainUnordered", "Reader")
"""Functions that hold connections for as long as there is work; the others do now and then."""


def parameters(connections: int) -> Json:
    """Parameters of the template that the alarms refer to. connections: that all functions of both
    versions side by side may hold."""
    return {
        "AlarmTopic": {
            "Type": "String",
            "Default": "",
            "AllowedPattern": "^(arn:[^:]+:sns:[^:]+:[0-9]+:.+)?$",
            "ConstraintDescription": "the ARN of an SNS topic, or nothing",
            "Description": "ARN of the SNS topic that alarms are sent to; empty: to nobody.",
        },
        "LagAlarmSeconds": {
            "Type": "Number",
            "Default": LAG_SECONDS,
            "MinValue": 1,
            "Description": "How long a write may wait before an alarm is raised.",
        },
        "DatabaseInstance": {
            "Type": "String",
            "Default": "",
            "Description": (
                "Identifier of the RDS instance whose connections are watched; empty: none is."
            ),
        },
        "ConnectionsAlarm": {
            "Type": "Number",
            "Default": max(1, connections),
            "MinValue": 1,
            "Description": (
                "Connections of that instance, those of other programs included, that raise an "
                "alarm. The default is the connection budget while two versions run side by side."
            ),
        },
    }


def conditions() -> Json:
    """Conditions that the alarms refer to."""
    return {
        "HasAlarmTopic": _not_empty("AlarmTopic"),
        "WatchesDatabase": _not_empty("DatabaseInstance"),
    }


def resources(
    prefix: str, connections: int, holders: Sequence[str], api: str, *, authorizes: bool
) -> Json:
    """All alarms, the metrics that are made of logs, and the dashboard.

    connections: that drains and reader hold when they have as much work as they can do. holders:
    functions that may hold one at all. api: the name of the API. authorizes: whether there is an
    authorizer function.
    """
    return {
        **_queue_alarms(),
        **_drain_alarms(prefix),
        **_request_alarms(prefix, api, authorizes=authorizes),
        **_schedule_alarms(prefix),
        **_connection_alarms(connections),
        **_dashboard(prefix, holders, api, authorizes=authorizes),
    }


def _queue_alarms() -> Json:
    """Queues that grow old, and dead-letter queues that are not empty."""
    found: Json = {}
    for queue, function in DRAINS:
        # In a standard queue's, SQS goes on counting from the first sending.
        kept = "kept for 14 days" if queue == "Ordered" else "kept until they are 14 days old"
        # A standard queue's age leaves out what was received three times: see the alarm Lag.
        found[f"{queue}QueueAge"] = _alarm(
            f"The oldest message of the {queue.lower()} queue waits too long: the drain is slower "
            "than the writes, the database is away, or nobody takes messages from the queue. See "
            f"the log of {function}; if it has no new lines, see whether its mapping is enabled.",
            _metric("AWS/SQS", "ApproximateAgeOfOldestMessage", QueueName=_name(f"{queue}Queue")),
            Statistic="Maximum",
            EvaluationPeriods=5,
            Threshold={"Ref": "LagAlarmSeconds"},
        )
        found[f"{queue}DeadLetters"] = _alarm(
            f"There are messages in the dead-letter queue of the {queue.lower()} queue. They are "
            f"{kept}; redrive them when the reason is gone, which the log of {function} tells.",
            _metric(
                "AWS/SQS",
                "ApproximateNumberOfMessagesVisible",
                QueueName=_name(f"{queue}DeadLetterQueue"),
            ),
            Statistic="Maximum",
            Threshold=0,
        )
    return found


def _drain_alarms(prefix: str) -> Json:
    """Drains that fail, and writes that are rejected or late."""
    found: Json = {}
    for queue, function in DRAINS:
        found |= {
            f"{function}Errors": _alarm(
                f"The drain of the {queue.lower()} queue fails again and again. The messages stay "
                f"queued. The log of {function} says why: bring the database back, invoke migrate, "
                "or grant what is missing.",
                _of_function("Errors", function),
                **_AGAIN,
            ),
            f"{function}Rejected": _filter(
                function, prefix, "Rejections", REJECTIONS_PATTERN, "$rejected"
            ),
            f"{function}Received": _filter(function, prefix, "Lag", LAG_PATTERN, "$lag", "Seconds"),
        }
    # Either drain may reject a write of the other's queue that has waited in the database.
    found["Rejections"] = _alarm(
        "Writes were rejected; decanter.rejection says which and why. Their clients have to send "
        "them again, put right.",
        _metric(_namespace(prefix), "Rejections"),
        Statistic="Sum",
        Period=300,
        Threshold=0,
    )
    found["Lag"] = _alarm(
        "Messages reach a drain long after their writes were accepted, for the first time or again "
        "and again: there are more than it pours, or it cannot pour them. The logs of both drains "
        "tell which, and why.",
        _metric(_namespace(prefix), "Lag"),
        **{**_AGAIN, "Statistic": "Maximum", "Threshold": {"Ref": "LagAlarmSeconds"}},
    )
    return found


def _request_alarms(prefix: str, api: str, *, authorizes: bool) -> Json:
    """Requests that are not answered as they should be."""
    found: Json = {
        "ApiErrors": _alarm(
            "Requests are answered with 5xx again and again. The log of APIHandler says why; if it "
            "says nothing, see the alarms of reader, authorizer and throttles.",
            _metric("AWS/ApiGateway", "5XXError", ApiName=api),
            **_AGAIN,
        ),
        "ReaderErrors": _alarm(
            "The reader fails again and again: reads are answered with 5xx. The log of Reader says "
            "why.",
            _of_function("Errors", "Reader"),
            **_AGAIN,
        ),
        "Throttles": _alarm(
            "Requests or batches are turned away again and again, as a function has all the "
            "containers that it may have. If it is Reader, raise its reserved_concurrency within "
            "the connection budget; if it is any other, the account's limit of concurrency.",
            {"Metrics": _sum("Throttles", "Sum", [*_throttled(authorizes=authorizes)])},
            **{key: value for key, value in _AGAIN.items() if key != "Statistic"},
        ),
    }
    if authorizes:
        # Its metric Errors counts the tokens that are refused as well.
        found |= {
            "BearerUnable": _filter("Bearer", prefix, "AuthorizerErrors", AUTHORIZER_PATTERN, "1"),
            "AuthorizerErrors": _alarm(
                "The authorizer cannot tell whether tokens are good: requests are answered with "
                "503. The log of Bearer says why: the issuer is out of reach, or it is not the one "
                "that the parameters name.",
                _metric(_namespace(prefix), "AuthorizerErrors"),
                **_AGAIN,
            ),
        }
    return found


def _throttled(*, authorizes: bool) -> Iterator[str]:
    """Functions that should never be throttled. The ordered drain may be: its clock asks for a
    container more than its queue takes, and may go without while there is work."""
    yield from ("APIHandler", "Reader", "DrainUnordered")
    if authorizes:
        yield "Bearer"


def _schedule_alarms(prefix: str) -> Json:
    """What the clocks should do: pour what waits in the database, and sweep."""
    return {
        "DrainOrderedWaiting": _filter(
            "DrainOrdered", prefix, "Waiting", WAITING_PATTERN, "$seconds", "Seconds"
        ),
        "Waiting": _alarm(
            "A write that was accepted waits in decanter.waiting for too long; its reason there "
            "says for what: end the transaction that holds a lock, or make the table, column or "
            "privilege that is missing.",
            _metric(_namespace(prefix), "Waiting"),
            **{**_AGAIN, "Statistic": "Maximum", "Threshold": {"Ref": "LagAlarmSeconds"}},
        ),
        "ClockStopped": _alarm(
            "The ordered drain was not invoked for a quarter of an hour, not even by its clock: "
            "writes that wait in the database stay there. See whether the rule that invokes "
            "DrainOrdered once a minute is there and enabled, and whether the function is "
            "throttled.",
            _of_function("Invocations", "DrainOrdered"),
            Statistic="Sum",
            EvaluationPeriods=15,
            TreatMissingData="breaching",
            **_NEVER,
        ),
        "SweepEnded": _filter("Sweep", prefix, "Swept", SWEEP_PATTERN, "1"),
        # In hours in which the other clock ran: a stage that is not as old has nothing to sweep.
        # FILL may make nothing of a metric without any data, so there is a zero beside it.
        "SweepStopped": _alarm(
            "No sweep has come to its end for twelve hours: the ledger grows. The log of Sweep "
            "says why: it fails, or it is out of time again and again. If it has no new lines, see "
            "whether the rule that invokes it every hour is there and enabled.",
            {
                "Metrics": [
                    {
                        "Id": "swept",
                        "Expression": "IF(clock > 0, SUM([clock * 0, FILL(done, 0)]), 1)",
                        "Label": "sweeps that ended",
                        "ReturnData": True,
                    },
                    _stat("clock", _of_function("Invocations", "DrainOrdered"), "Sum", 3600),
                    _stat("done", _metric(_namespace(prefix), "Swept"), "Sum", 3600),
                ]
            },
            EvaluationPeriods=12,
            **_NEVER,
        ),
    }


def _connection_alarms(connections: int) -> Json:
    """Connections near what the functions can reach, or above what the database was planned for."""
    return {
        "Connections": _alarm(
            "Drains and reader use nearly all connections that they may have: writes wait for the "
            "drain, reads for the reader. If that lasts, raise their caps within what the database "
            "grants; `decanter budget` prints both.",
            {"Metrics": _sum("ConcurrentExecutions", "Maximum", HOLDERS)},
            EvaluationPeriods=5,
            Threshold=max(1, ceil(connections * CONNECTIONS_SHARE)),
            ComparisonOperator="GreaterThanOrEqualToThreshold",
        ),
        "DatabaseConnections": {
            "Condition": "WatchesDatabase",
            **_alarm(
                "The database has more connections than were planned for: see pg_stat_activity for "
                "who holds them.",
                _metric(
                    "AWS/RDS",
                    "DatabaseConnections",
                    DBInstanceIdentifier={"Ref": "DatabaseInstance"},
                ),
                Statistic="Maximum",
                EvaluationPeriods=5,
                Threshold={"Ref": "ConnectionsAlarm"},
            ),
        },
    }


def _dashboard(prefix: str, holders: Sequence[str], api: str, *, authorizes: bool) -> Json:
    """What happens in a stage, on one page."""
    drains = DRAINS
    widgets = [
        _widget(
            0,
            "Requests",
            [
                ["AWS/ApiGateway", "Count", "ApiName", api],
                ["AWS/ApiGateway", "4XXError", "ApiName", api],
                ["AWS/ApiGateway", "5XXError", "ApiName", api],
            ],
            "Sum",
        ),
        _widget(
            1,
            "Answers take (ms)",
            [["AWS/Lambda", "Duration", "FunctionName", "${APIHandler}"]],
            "p99",
        ),
        _widget(
            2,
            "Messages that wait",
            [
                [
                    "AWS/SQS",
                    "ApproximateNumberOfMessagesVisible",
                    "QueueName",
                    f"${{{each.queue}Queue.QueueName}}",
                ]
                for each in drains
            ],
            "Maximum",
        ),
        _widget(
            3,
            "Age of the oldest message (s)",
            [
                [
                    "AWS/SQS",
                    "ApproximateAgeOfOldestMessage",
                    "QueueName",
                    f"${{{each.queue}Queue.QueueName}}",
                ]
                for each in drains
            ],
            "Maximum",
        ),
        _widget(
            4,
            "Lag in the queue, and wait in the database (s)",
            [[_namespace(prefix), "Lag"], [_namespace(prefix), "Waiting"]],
            "Maximum",
        ),
        _widget(
            5,
            "Rejections",
            [[_namespace(prefix), "Rejections"]],
            "Sum",
        ),
        _widget(
            6,
            "Dead letters",
            [
                [
                    "AWS/SQS",
                    "ApproximateNumberOfMessagesVisible",
                    "QueueName",
                    f"${{{each.queue}DeadLetterQueue.QueueName}}",
                ]
                for each in drains
            ],
            "Maximum",
        ),
        _widget(
            7,
            "Drain: batches and failures",
            [
                ["AWS/Lambda", metric, "FunctionName", f"${{{each.function}}}"]
                for each in drains
                for metric in ("Invocations", "Errors")
            ],
            "Sum",
        ),
        _widget(
            8,
            "Containers that may hold a connection",
            [
                ["AWS/Lambda", "ConcurrentExecutions", "FunctionName", f"${{{holder}}}"]
                for holder in holders
            ],
            "Maximum",
            stacked=True,
        ),
        _widget(
            9,
            "Reader: errors and throttles",
            [
                ["AWS/Lambda", metric, "FunctionName", "${Reader}"]
                for metric in ("Errors", "Throttles")
            ],
            "Sum",
        ),
        _widget(10, "Sweeps that ended", [[_namespace(prefix), "Swept"]], "Sum", period=3600),
        *(
            [
                _widget(
                    11,
                    "Authorizer: unable to tell",
                    [[_namespace(prefix), "AuthorizerErrors"]],
                    "Sum",
                )
            ]
            if authorizes
            else []
        ),
    ]
    return {
        "Dashboard": {
            "Type": "AWS::CloudWatch::Dashboard",
            "Properties": {
                "DashboardName": prefix,
                "DashboardBody": {"Fn::Sub": json.dumps({"widgets": widgets})},
            },
        }
    }


def _widget(
    place: int,
    title: str,
    metrics: list[list[str]],
    statistic: str,
    *,
    stacked: bool = False,
    period: int = 60,
) -> Json:
    return {
        "type": "metric",
        "x": place % 3 * 8,
        "y": place // 3 * 6,
        "width": 8,
        "height": 6,
        "properties": {
            "title": title,
            "region": "${AWS::Region}",
            "metrics": metrics,
            "stat": statistic,
            "period": period,
            "view": "timeSeries",
            "stacked": stacked,
        },
    }


def _alarm(description: str, metric: Json, **settings: Any) -> Json:
    topic = {"Fn::If": ["HasAlarmTopic", [{"Ref": "AlarmTopic"}], {"Ref": "AWS::NoValue"}]}
    period = {} if "Metrics" in metric else {"Period": 60}
    return {
        "Type": "AWS::CloudWatch::Alarm",
        "Properties": {
            "AlarmDescription": description,
            "EvaluationPeriods": 1,
            "ComparisonOperator": "GreaterThanThreshold",
            # Metrics of what does not happen are missing: no message, no age.
            "TreatMissingData": "notBreaching",
            "AlarmActions": topic,
            "OKActions": topic,
            **metric,
            **period,
            **settings,
        },
    }


def _sum(metric: str, statistic: str, functions: Sequence[str]) -> list[Json]:
    """What a metric of all these functions adds up to."""
    parts = [
        _stat(f"m{number}", _of_function(metric, function), statistic, 60)
        for number, function in enumerate(functions)
    ]
    expression = "SUM([" + ", ".join(f"FILL({part['Id']}, 0)" for part in parts) + "])"
    total = {"Id": "total", "Expression": expression, "Label": metric, "ReturnData": True}
    return [total, *parts]


def _stat(name: str, metric: Json, statistic: str, period: int) -> Json:
    return {
        "Id": name,
        "ReturnData": False,
        "MetricStat": {"Metric": metric, "Period": period, "Stat": statistic},
    }


def _of_function(metric: str, function: str) -> Json:
    return _metric("AWS/Lambda", metric, FunctionName={"Ref": function})


def _metric(namespace: str, name: str, **dimensions: Any) -> Json:
    found: Json = {"Namespace": namespace, "MetricName": name}
    if dimensions:
        found["Dimensions"] = [{"Name": key, "Value": value} for key, value in dimensions.items()]
    return found


def _filter(
    function: str, prefix: str, metric: str, pattern: str, value: str, unit: str = "Count"
) -> Json:
    return {
        "Type": "AWS::Logs::MetricFilter",
        "Properties": {
            "LogGroupName": {"Ref": f"{function}Logs"},
            "FilterPattern": pattern,
            "MetricTransformations": [
                {
                    "MetricNamespace": _namespace(prefix),
                    "MetricName": metric,
                    "MetricValue": value,
                    "Unit": unit,
                }
            ],
        },
    }


def _namespace(prefix: str) -> str:
    return f"Decanter/{prefix}"


def _name(queue: str) -> Mapping[str, Any]:
    return {"Fn::GetAtt": [queue, "QueueName"]}


def _not_empty(parameter: str) -> Json:
    return {"Fn::Not": [{"Fn::Equals": [{"Ref": parameter}, ""]}]}
