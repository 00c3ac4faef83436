"""Alarms, metrics and the dashboard of a stage, as resources of CloudFormation."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

Json = dict[str, Any]

LAG_SECONDS = 900
"""A write that waited longer than this in a queue raises an alarm."""

CONNECTIONS_SHARE = 0.9
"""Part of the connection budget that raises an alarm when it is in use for five minutes."""

# Chalice's own prefix of a line of a log, in place of Lambda's: decanter.drain - INFO - …
_PREFIX = "logger, dash1, level, dash2, "
LAG_PATTERN = (
    f"[{_PREFIX}word=poured, poured, of=of, messages, what=messages, in=in, seconds, "
    'unit="s,", name=lag, lag, s=s]'
)
REJECTIONS_PATTERN = f'[{_PREFIX}word=rejected, rejected, what="writes;", ...]'


class Drain(NamedTuple):
    """A queue and the function that takes from it; logical names in the template."""

    queue: str
    function: str


DRAINS = (Drain("Ordered", "DrainOrdered"), Drain("Unordered", "DrainUnordered"))


def parameters() -> Json:
    """Parameters of the template that the alarms refer to."""
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
            "Description": "How long a write may wait in a queue before an alarm is raised.",
        },
    }


def database_parameters(connections: int) -> Json:
    """Parameters of the alarm of an RDS database. connections: of both versions side by side."""
    return {
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
    return {"HasAlarmTopic": _not_empty("AlarmTopic")}


def queue_alarms(drains: Iterable[Drain] = DRAINS) -> Json:
    """Queues that grow old, and dead-letter queues that are not empty."""
    found: Json = {}
    for queue, _function in drains:
        # In a standard queue's, SQS goes on counting from the first sending.
        kept = "kept for 14 days" if queue == "Ordered" else "kept until they are 14 days old"
        found[f"{queue}QueueAge"] = _alarm(
            f"The oldest message of the {queue.lower()} queue waits too long: the drain is slower "
            "than the writes, or the database is away.",
            _metric("AWS/SQS", "ApproximateAgeOfOldestMessage", QueueName=_name(f"{queue}Queue")),
            Statistic="Maximum",
            EvaluationPeriods=5,
            Threshold={"Ref": "LagAlarmSeconds"},
        )
        found[f"{queue}DeadLetters"] = _alarm(
            f"There are messages in the dead-letter queue of the {queue.lower()} queue. They are "
            f"{kept}; redrive them when the reason is gone.",
            _metric(
                "AWS/SQS",
                "ApproximateNumberOfMessagesVisible",
                QueueName=_name(f"{queue}DeadLetterQueue"),
            ),
            Statistic="Maximum",
            Threshold=0,
        )
    return found


def function_alarms(prefix: str, budget: int, holders: Sequence[str]) -> Json:
    """Drains that fail, writes that are rejected or late, and connections near the budget.

    budget: connections that the functions may hold. holders: logical names of the functions that
    hold them.
    """
    found: Json = {}
    for queue, function in DRAINS:
        found |= {
            f"{function}Errors": _alarm(
                f"The drain of the {queue.lower()} queue fails again and again; its log says why. "
                "The messages stay queued.",
                _metric("AWS/Lambda", "Errors", FunctionName={"Ref": function}),
                EvaluationPeriods=5,
                DatapointsToAlarm=3,
                Statistic="Sum",
                Threshold=0,
            ),
            f"{queue}Rejected": _filter(function, prefix, f"{queue}Rejections", REJECTIONS_PATTERN),
            f"{queue}Rejections": _alarm(
                f"Writes of the {queue.lower()} queue were rejected; decanter.rejection says why.",
                _metric(_namespace(prefix), f"{queue}Rejections"),
                Statistic="Sum",
                Period=300,
                Threshold=0,
            ),
            f"{queue}Poured": _filter(function, prefix, f"{queue}Lag", LAG_PATTERN, "Seconds"),
            f"{queue}Lag": _alarm(
                f"Writes of the {queue.lower()} queue are poured long after they were accepted.",
                _metric(_namespace(prefix), f"{queue}Lag"),
                Statistic="Maximum",
                EvaluationPeriods=3,
                Threshold={"Ref": "LagAlarmSeconds"},
            ),
        }
    found["Connections"] = _alarm(
        "Nearly all connections of the budget are in use: writes wait for the drain, reads for the "
        "reader.",
        {"Metrics": _sum_of_containers(holders)},
        EvaluationPeriods=5,
        Threshold=max(1, int(budget * CONNECTIONS_SHARE)),
    )
    found["DatabaseConnections"] = {
        "Condition": "WatchesDatabase",
        **_alarm(
            "The database has more connections than were planned for.",
            _metric(
                "AWS/RDS", "DatabaseConnections", DBInstanceIdentifier={"Ref": "DatabaseInstance"}
            ),
            Statistic="Maximum",
            EvaluationPeriods=5,
            Threshold={"Ref": "ConnectionsAlarm"},
        ),
    }
    return found


def database_conditions() -> Json:
    """Condition of the alarm of an RDS database."""
    return {"WatchesDatabase": _not_empty("DatabaseInstance")}


def dashboard(prefix: str, holders: Sequence[str], api: str = "APIHandler") -> Json:
    """What happens in a stage, on one page."""
    drains = DRAINS
    widgets = [
        _widget(
            0,
            "Requests",
            [
                ["AWS/Lambda", "Invocations", "FunctionName", f"${{{api}}}"],
                ["AWS/Lambda", "Errors", "FunctionName", f"${{{api}}}"],
                ["AWS/Lambda", "Throttles", "FunctionName", f"${{{api}}}"],
            ],
            "Sum",
        ),
        _widget(
            1,
            "Answers take (ms)",
            [["AWS/Lambda", "Duration", "FunctionName", f"${{{api}}}"]],
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
            "Lag: accepted to poured (s)",
            [[_namespace(prefix), f"{each.queue}Lag"] for each in drains],
            "Maximum",
        ),
        _widget(
            5,
            "Rejections",
            [[_namespace(prefix), f"{each.queue}Rejections"] for each in drains],
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
    place: int, title: str, metrics: list[list[str]], statistic: str, *, stacked: bool = False
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
            "period": 60,
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


def _sum_of_containers(holders: Sequence[str]) -> list[Json]:
    """What ConcurrentExecutions of all these functions add up to."""
    parts: list[Json] = [
        {
            "Id": f"m{number}",
            "ReturnData": False,
            "MetricStat": {
                "Metric": {
                    "Namespace": "AWS/Lambda",
                    "MetricName": "ConcurrentExecutions",
                    "Dimensions": [{"Name": "FunctionName", "Value": {"Ref": holder}}],
                },
                "Period": 60,
                "Stat": "Maximum",
            },
        }
        for number, holder in enumerate(holders)
    ]
    expression = "SUM([" + ", ".join(f"FILL({part['Id']}, 0)" for part in parts) + "])"
    total = {"Id": "total", "Expression": expression, "Label": "containers", "ReturnData": True}
    return [total, *parts]


def _metric(namespace: str, name: str, **dimensions: Any) -> Json:
    found: Json = {"Namespace": namespace, "MetricName": name}
    if dimensions:
        found["Dimensions"] = [{"Name": key, "Value": value} for key, value in dimensions.items()]
    return found


def _filter(function: str, prefix: str, name: str, pattern: str, unit: str = "Count") -> Json:
    value = "$lag" if name.endswith("Lag") else "$rejected"
    return {
        "Type": "AWS::Logs::MetricFilter",
        "Properties": {
            "LogGroupName": {"Ref": f"{function}Logs"},
            "FilterPattern": pattern,
            "MetricTransformations": [
                {
                    "MetricNamespace": _namespace(prefix),
                    "MetricName": name,
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
