"""Alarms of a stage, as resources of CloudFormation."""

from collections.abc import Sequence
from math import ceil
from typing import Any

from decanter.deployment import budget, functions, log_metrics
from decanter.deployment.references import Json, is_given
from decanter.deployment.stage import Stage

LAG_SECONDS = 900
"""A write that waited longer than this raises an alarm."""

CONNECTIONS_SHARE = 0.9
"""Part of the connections that drains and reader can reach that raises an alarm when it is in use
for five minutes."""

_AGAIN = {"Statistic": "Sum", "Threshold": 0, "EvaluationPeriods": 60, "DatapointsToAlarm": 3}
"""In three minutes of an hour: what fails again and again, not what failed once. A message that
fails comes back after the visibility timeout, which is 20 minutes at most."""

_LATE = {**_AGAIN, "Statistic": "Maximum", "Threshold": {"Ref": "LagAlarmSeconds"}}

_STEADILY = {"Statistic": "Maximum", "EvaluationPeriods": 5}

_NEVER = {"Threshold": 1, "ComparisonOperator": "LessThanThreshold"}
"""What should happen does not; no data says so too."""


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
        "HasAlarmTopic": is_given("AlarmTopic"),
        "WatchesDatabase": is_given("DatabaseInstance"),
    }


def resources(stage: Stage, api: str) -> Json:
    """All alarms, and the metrics that are made of logs. api: the name of the API."""
    return {
        **_function_alarms(stage),
        **_queue_alarms(),
        **_write_alarms(stage),
        **_request_alarms(stage, api),
        **_schedule_alarms(stage),
        **_connection_alarms(stage),
    }


def namespace(stage: Stage) -> str:
    """Of the metrics that are made of the stage's logs."""
    return f"Decanter/{stage.prefix}"


def _function_alarms(stage: Stage) -> Json:
    """What the rows of the functions say of their alarms and metrics."""
    found: Json = {}
    for each in stage.functions:
        for metric in each.metrics:
            name = f"{each.logical}{metric.filter_name}"
            found[name] = metric.resource(each.logical, namespace(stage))
        if each.errors:
            errors = _of_function("Errors", each.logical)
            found[f"{each.logical}Errors"] = _alarm(each.errors, errors, **_AGAIN)
    return found


def _queue_alarms() -> Json:
    """Queues that grow old, and dead-letter queues that are not empty."""
    found: Json = {}
    for function, queue in functions.drains():
        # In a standard queue's, SQS goes on counting from the first sending.
        kept = "kept for 14 days" if queue.is_fifo else "kept until they are 14 days old"
        # A standard queue's age leaves out what was received three times: see the alarm Lag.
        found[f"{queue.logical}QueueAge"] = _alarm(
            f"The oldest message of the {queue.name} queue waits too long: the drain is slower "
            "than the writes, the database is away, or nobody takes messages from the queue. See "
            f"the log of {function.logical}; if it has no new lines, see whether its mapping is "
            "enabled.",
            _of_queue("ApproximateAgeOfOldestMessage", f"{queue.logical}Queue"),
            **_STEADILY,
            Threshold={"Ref": "LagAlarmSeconds"},
        )
        found[f"{queue.logical}DeadLetters"] = _alarm(
            f"There are messages in the dead-letter queue of the {queue.name} queue. They are "
            f"{kept}; redrive them when the reason is gone, which the log of {function.logical} "
            "tells.",
            _of_queue("ApproximateNumberOfMessagesVisible", f"{queue.logical}DeadLetterQueue"),
            Statistic="Maximum",
            Threshold=0,
        )
    return found


def _write_alarms(stage: Stage) -> Json:
    """Writes that are rejected or late. Either drain may reject a write of the other's queue that
    has waited in the database."""
    return {
        "Rejections": _alarm(
            "Writes were rejected; decanter.rejection says which and why. Their clients have to "
            "send them again, put right.",
            _of_log(log_metrics.REJECTIONS, stage),
            Statistic="Sum",
            Period=300,
            Threshold=0,
        ),
        "Lag": _alarm(
            "Messages reach a drain long after their writes were accepted, for the first time or "
            "again and again: there are more than it pours, or it cannot pour them. The logs of "
            "both drains tell which, and why.",
            _of_log(log_metrics.LAG, stage),
            **_LATE,
        ),
    }


def _request_alarms(stage: Stage, api: str) -> Json:
    """Requests that are not answered as they should be."""
    watched = [each.logical for each in stage.functions if not each.may_be_throttled]
    found: Json = {
        "ApiErrors": _alarm(
            "Requests are answered with 5xx again and again. The log of APIHandler says why; if it "
            "says nothing, see the alarms of reader, authorizer and throttles.",
            _metric("AWS/ApiGateway", "5XXError", ApiName=api),
            **_AGAIN,
        ),
        "Throttles": _alarm(
            "Requests or batches are turned away again and again, as a function has all the "
            "containers that it may have. If it is Reader, raise its reserved_concurrency within "
            "the connection budget; if it is any other, the account's limit of concurrency.",
            {"Metrics": _sum("Throttles", "Sum", watched)},
            **{key: value for key, value in _AGAIN.items() if key != "Statistic"},
        ),
    }
    if stage.authentication == "jwt":
        # Its metric Errors counts the tokens that are refused as well.
        found["AuthorizerErrors"] = _alarm(
            "The authorizer cannot tell whether tokens are good: requests are answered with 503. "
            "The log of Bearer says why: the issuer is out of reach, or it is not the one that the "
            "parameters name.",
            _of_log(log_metrics.AUTHORIZER_ERRORS, stage),
            **_AGAIN,
        )
    return found


def _schedule_alarms(stage: Stage) -> Json:
    """What the clocks should do: pour what waits in the database, and sweep."""
    # FILL may make nothing of a metric without any data, so there is a zero beside it.
    swept = "IF(clock > 0, SUM([clock * 0, FILL(done, 0)]), 1)"
    return {
        "Waiting": _alarm(
            "A write that was accepted waits in decanter.waiting for too long; its reason there "
            "says for what: end the transaction that holds a lock, or make the table, column or "
            "privilege that is missing.",
            _of_log(log_metrics.WAITING, stage),
            **_LATE,
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
        # In hours in which the other clock ran: a stage that is not as old has nothing to sweep.
        "SweepStopped": _alarm(
            "No sweep has come to its end for twelve hours: the ledger grows. The log of Sweep "
            "says why: it fails, or it is out of time again and again. If it has no new lines, see "
            "whether the rule that invokes it every hour is there and enabled.",
            {
                "Metrics": [
                    _expression("swept", swept, "sweeps that ended"),
                    _stat("clock", _of_function("Invocations", "DrainOrdered"), "Sum", 3600),
                    _stat("done", _of_log(log_metrics.SWEPT, stage), "Sum", 3600),
                ]
            },
            EvaluationPeriods=12,
            **_NEVER,
        ),
    }


def _connection_alarms(stage: Stage) -> Json:
    """Connections near what the functions can reach, or above what the database was planned for."""
    holders = [each.logical for each in stage.functions if each.is_steady]
    instance = {"Ref": "DatabaseInstance"}
    return {
        "Connections": _alarm(
            "Drains and reader use nearly all connections that they may have: writes wait for the "
            "drain, reads for the reader. If that lasts, raise their caps within what the database "
            "grants; `decanter budget` prints both.",
            {"Metrics": _sum("ConcurrentExecutions", "Maximum", holders)},
            EvaluationPeriods=5,
            Threshold=max(1, ceil(budget.steady(stage) * CONNECTIONS_SHARE)),
            ComparisonOperator="GreaterThanOrEqualToThreshold",
        ),
        "DatabaseConnections": {
            "Condition": "WatchesDatabase",
            **_alarm(
                "The database has more connections than were planned for: see pg_stat_activity for "
                "who holds them.",
                _metric("AWS/RDS", "DatabaseConnections", DBInstanceIdentifier=instance),
                **_STEADILY,
                Threshold={"Ref": "ConnectionsAlarm"},
            ),
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
    return [_expression("total", expression, metric), *parts]


def _expression(name: str, expression: str, label: str) -> Json:
    return {"Id": name, "Expression": expression, "Label": label, "ReturnData": True}


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


def _of_queue(metric: str, queue: str) -> Json:
    return _metric("AWS/SQS", metric, QueueName={"Fn::GetAtt": [queue, "QueueName"]})


def _of_log(metric: log_metrics.LogMetric, stage: Stage) -> Json:
    return _metric(namespace(stage), metric.name)
