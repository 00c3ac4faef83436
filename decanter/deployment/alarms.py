"""The alarms of a stage, as resources of its template."""

from collections.abc import Sequence
from math import ceil
from typing import Any

from chalicelib.settings import AUDIT_MINUTES
from chalicelib.settings import namespace as metric_namespace_of
from decanter.deployment import budget, functions, log_metrics
from decanter.deployment.references import Json, is_given
from decanter.deployment.stage import Stage

LAG_SECONDS = 900
"""A write that waits longer raises an alarm."""

STREAM_AGE_SECONDS = 6 * 3600
"""A record that waits longer in the front table's stream raises an alarm, long before the stream
drops it, after 24 hours."""

UNPUBLISHED_SECONDS = 300
"""An event that waits longer raises an alarm."""

CONNECTIONS_SHARE = 0.9
"""The part of the connections of drains and reader that raises an alarm when in use for five
minutes."""

_REPEATED = {"Threshold": 0, "EvaluationPeriods": 60, "DatapointsToAlarm": 3}
"""In three minutes of an hour. A message that fails comes back after the visibility timeout, 20
minutes at most, so that its third failure still counts."""

_LATE = {**_REPEATED, "Statistic": "Maximum", "Threshold": {"Ref": "LagAlarmSeconds"}}

_STEADILY = {"Statistic": "Maximum", "EvaluationPeriods": 5}

_NEVER = {"Threshold": 1, "ComparisonOperator": "LessThanThreshold"}
"""Something that should happen does not."""


def parameters(connections: int) -> Json:
    """Parameters that the alarms refer to. connections: the budget while two versions run side by
    side."""
    return {
        "AlarmTopic": {
            "Type": "String",
            "Default": "",
            "AllowedPattern": "^(arn:[^:]+:sns:[^:]+:[0-9]+:.+)?$",
            "ConstraintDescription": "the ARN of an SNS topic, or nothing",
            "Description": "ARN of the SNS topic that alarms are sent to; empty: none.",
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
                "Identifier of the RDS instance whose connections are watched; empty: none."
            ),
        },
        "ConnectionsAlarm": {
            "Type": "Number",
            "Default": max(1, connections),
            "MinValue": 1,
            "Description": (
                "Connections of that instance, including those of other programs, above which an "
                "alarm is raised. Default: the budget while two versions run side by side."
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
    """All alarms, and the filters that extract metrics from logs. api: the name of the API."""
    return {
        **_function_alarms(stage),
        **_queue_alarms(),
        **_front_alarms(stage),
        **_write_alarms(stage),
        **_request_alarms(stage, api),
        **_schedule_alarms(stage),
        **_audit_alarms(stage),
        **_event_alarms(stage),
        **_connection_alarms(stage),
    }


def namespace(stage: Stage) -> str:
    """Namespace of the metrics that are extracted from the stage's logs."""
    return metric_namespace_of(stage.prefix)


def _function_alarms(stage: Stage) -> Json:
    """Alarms and metric filters from the functions' rows."""
    found: Json = {}
    for each in stage.functions:
        for metric in each.metrics:
            name = f"{each.logical}{metric.filter_name}"
            found[name] = metric.resource(each.logical, namespace(stage))
        if each.errors:
            errors = _of_function("Errors", each.logical)
            found[f"{each.logical}Errors"] = _alarm(each.errors, errors, **_REPEATED)
    return found


def _queue_alarms() -> Json:
    """Alarms on old messages and on dead letters."""
    found: Json = {}
    for function, queue in functions.drains():
        # In a standard dead-letter queue, the age counts from when a message was first sent.
        kept = "kept for 14 days" if queue.is_fifo else "kept until they are 14 days old"
        # The age of a standard queue ignores messages received three times: see the alarm Lag.
        found[f"{queue.logical}QueueAge"] = _alarm(
            f"The oldest message of the {queue.name} queue waits too long: writes come faster than "
            "the drain pours them, the database is down, or nothing takes messages off the queue. "
            f"See the log of {function.logical}; if it has no new lines, check that the event "
            "source mapping is enabled.",
            _of_queue("ApproximateAgeOfOldestMessage", f"{queue.logical}Queue"),
            **_STEADILY,
            Threshold={"Ref": "LagAlarmSeconds"},
        )
        found[f"{queue.logical}DeadLetters"] = _alarm(
            f"There are messages in the dead-letter queue of the {queue.name} queue, {kept}. See "
            f"the log of {function.logical} for the reason, remove it, and redrive them.",
            _of_queue("ApproximateNumberOfMessagesVisible", f"{queue.logical}DeadLetterQueue"),
            Statistic="Maximum",
            Threshold=0,
        )
    return found


def _front_alarms(stage: Stage) -> Json:
    """Alarms on old records of the stream, and on items whose rows Postgres refused."""
    if not stage.has_front:
        return {}
    [drain] = [each.logical for each in stage.functions if each.reads_stream]
    return {
        "StreamAge": _alarm(
            f"Records of the front table's stream reach {drain} {STREAM_AGE_SECONDS // 3600} hours "
            "late, and the stream drops them after 24 hours. See its log for why it cannot pour "
            "them.",
            _of_function("IteratorAge", drain),
            Statistic="Maximum",
            # Between two attempts at the same records, there may be minutes without data.
            Period=300,
            Threshold=STREAM_AGE_SECONDS * 1000,
        ),
        "MarkedItems": _alarm(
            "Items of the front table keep rows that Postgres refused, as they cannot hold those "
            "that it has. See the log of Settle for which and why; their clients must write them "
            "again, smaller.",
            _of_log(log_metrics.MARKED, stage),
            Period=300,
            Threshold=0,
        ),
        "SettleStopped": _alarm(
            "Settle was not invoked for a quarter of an hour: rows that Postgres refused stay in "
            "the front table. Check that the rule that invokes it once a minute exists and is "
            "enabled.",
            _of_function("Invocations", "Settle"),
            EvaluationPeriods=15,
            TreatMissingData="breaching",
            **_NEVER,
        ),
    }


def _write_alarms(stage: Stage) -> Json:
    """Alarms on rejected and late writes. Both are metrics of all drains: a drain may reject a
    write of another buffer that waited in the database."""
    return {
        "Rejections": _alarm(
            "Writes were rejected: see decanter.rejection for which and why. Their clients must "
            "correct them and send them again.",
            _of_log(log_metrics.REJECTIONS, stage),
            Period=300,
            Threshold=0,
        ),
        "Lag": _alarm(
            "Messages reach a drain long after their writes were accepted, for the first time or "
            "repeatedly: writes come faster than it pours them, or it cannot pour them. See the "
            "logs of the drains for which, and why.",
            _of_log(log_metrics.LAG, stage),
            **_LATE,
        ),
    }


def _request_alarms(stage: Stage, api: str) -> Json:
    """Alarms on requests that fail."""
    watched = [each.logical for each in stage.functions if not each.may_be_throttled]
    found: Json = {
        "ApiErrors": _alarm(
            "Requests are repeatedly answered with 5xx. See the log of APIHandler for the reason; "
            "if it has none, see the alarms ReaderErrors, AuthorizerErrors and Throttles.",
            _metric("AWS/ApiGateway", "5XXError", ApiName=api),
            **_REPEATED,
        ),
        "Throttles": _alarm(
            "Requests or batches are repeatedly throttled, as a function has all the containers "
            "that it may have. If it is Reader, raise its reserved_concurrency within the "
            "connection budget; if not, raise the account's limit of concurrent executions.",
            {"Metrics": _sum("Throttles", "Sum", watched)},
            **_REPEATED,
        ),
    }
    if stage.authentication == "jwt":
        # Lambda's metric Errors counts refused tokens as well.
        found["AuthorizerErrors"] = _alarm(
            "The authorizer cannot verify tokens: requests are answered with 503. See the log of "
            "Bearer for the reason: the issuer cannot be reached, or is not the one in the stack's "
            "parameters.",
            _of_log(log_metrics.AUTHORIZER_ERRORS, stage),
            **_REPEATED,
        )
    return found


def _schedule_alarms(stage: Stage) -> Json:
    """Alarms on scheduled work: pouring writes that wait in the database, and sweeping."""
    drain = next(each.logical for each in stage.functions if each.has_clock)
    # FILL may return nothing for a metric without any data; the zero beside it fills the gap.
    swept = "IF(clock > 0, SUM([clock * 0, FILL(done, 0)]), 1)"
    return {
        "Waiting": _alarm(
            "An accepted write waits in decanter.waiting for too long. See its reason there: end "
            "the transaction that holds a lock, or create the missing table, column or privilege.",
            _of_log(log_metrics.WAITING, stage),
            **_LATE,
        ),
        "ClockStopped": _alarm(
            f"{drain} was not invoked for a quarter of an hour, not even by its schedule: writes "
            "that wait in the database stay there. Check that the rule that invokes it once a "
            "minute exists and is enabled, and that the function is not throttled.",
            _of_function("Invocations", drain),
            EvaluationPeriods=15,
            TreatMissingData="breaching",
            **_NEVER,
        ),
        # Only hours in which the drain's schedule ran count: a new stage has nothing to sweep.
        "SweepStopped": _alarm(
            "No sweep has completed for twelve hours: the ledger grows. See the log of Sweep: it "
            "fails, or runs out of time. If it has no new lines, check that the rule that invokes "
            "it every hour exists and is enabled.",
            {
                "Metrics": [
                    _expression("swept", swept, "completed sweeps"),
                    _stat("clock", _of_function("Invocations", drain), "Sum", 3600),
                    _stat("done", _of_log(log_metrics.SWEPT, stage), "Sum", 3600),
                ]
            },
            EvaluationPeriods=12,
            **_NEVER,
        ),
    }


def _audit_alarms(stage: Stage) -> Json:
    """Alarms on writes that are not accounted for, and on buffers that are not poured."""
    period = AUDIT_MINUTES * 60
    cure = " In front, `python -m decanter reconcile` pours what the stream has dropped."
    return {
        "Unaccounted": _alarm(
            "Accepted writes are neither applied nor rejected, and do not wait either: see the log "
            f"of Audit for which.{cure if stage.has_front else ''}",
            _of_log(log_metrics.UNACCOUNTED, stage),
            Period=period,
            Threshold=0,
        ),
        "Paused": _alarm(
            "Nothing is taken from a buffer, as its event source mapping is disabled or missing: "
            "writes are accepted, and wait. `python -m decanter ops overview` shows which; resume "
            "it with `python -m decanter ops resume`, or deploy again if there is no mapping.",
            _of_log(log_metrics.PAUSED, stage),
            Period=period,
            Statistic="Maximum",
            Threshold=0,
        ),
        "AuditStopped": _alarm(
            "The audit was not invoked for half an hour: nobody sees whether writes are missing, "
            f"or a buffer is paused. Check that the rule that invokes it every {AUDIT_MINUTES} "
            "minutes exists and is enabled.",
            _of_function("Invocations", "Audit"),
            Period=period,
            EvaluationPeriods=30 // AUDIT_MINUTES,
            TreatMissingData="breaching",
            **_NEVER,
        ),
    }


def _event_alarms(stage: Stage) -> Json:
    """Alarms on events that are not published."""
    if stage.events is None:
        return {}
    return {
        "Unpublished": _alarm(
            "Events about requests wait for more than "
            f"{UNPUBLISHED_SECONDS // 60} minutes to be published. See the log of Publish: the "
            "topic or bus throttles it, the operate function is busy, or more requests end than "
            "are published one batch after the other.",
            _of_log(log_metrics.UNPUBLISHED, stage),
            **{**_REPEATED, "Statistic": "Maximum", "Threshold": UNPUBLISHED_SECONDS},
        ),
        "RefusedEvents": _alarm(
            "The topic or bus has refused single events, which were given up, so that they do not "
            "stop all others. See the log of Publish for which and why: their consumers must be "
            "told otherwise.",
            _of_log(log_metrics.REFUSED_EVENTS, stage),
            Period=300,
            Threshold=0,
        ),
        "PublishStopped": _alarm(
            "Publish was not invoked for a quarter of an hour: events about requests wait in "
            "decanter.outbox. Check that the rule that invokes it once a minute exists and is "
            "enabled.",
            _of_function("Invocations", "Publish"),
            EvaluationPeriods=15,
            TreatMissingData="breaching",
            **_NEVER,
        ),
    }


def _connection_alarms(stage: Stage) -> Json:
    """Alarms on connections near the functions' caps, or above the budget."""
    holders = [each.logical for each in stage.functions if each.is_steady]
    instance = {"Ref": "DatabaseInstance"}
    return {
        "Connections": _alarm(
            "Drains and reader use nearly all connections that they may have, so writes and reads "
            "wait for them. If that lasts, raise their caps within what the database grants; "
            "`python -m decanter budget` prints both.",
            {"Metrics": _sum("ConcurrentExecutions", "Maximum", holders)},
            EvaluationPeriods=5,
            Threshold=max(1, ceil(budget.steady(stage) * CONNECTIONS_SHARE)),
            ComparisonOperator="GreaterThanOrEqualToThreshold",
        ),
        "DatabaseConnections": {
            "Condition": "WatchesDatabase",
            **_alarm(
                "The database has more connections than planned: see pg_stat_activity for who "
                "holds them.",
                _metric("AWS/RDS", "DatabaseConnections", DBInstanceIdentifier=instance),
                **_STEADILY,
                Threshold={"Ref": "ConnectionsAlarm"},
            ),
        },
    }


def _alarm(description: str, metric: Json, **settings: Any) -> Json:
    topic = {"Fn::If": ["HasAlarmTopic", [{"Ref": "AlarmTopic"}], {"Ref": "AWS::NoValue"}]}
    single = {} if "Metrics" in metric else {"Period": 60, "Statistic": "Sum"}
    return {
        "Type": "AWS::CloudWatch::Alarm",
        "Properties": {
            "AlarmDescription": description,
            "EvaluationPeriods": 1,
            "ComparisonOperator": "GreaterThanThreshold",
            # Metrics have no data while nothing happens: without messages there is no age.
            "TreatMissingData": "notBreaching",
            "AlarmActions": topic,
            "OKActions": topic,
            **metric,
            **single,
            **settings,
        },
    }


def _sum(metric: str, statistic: str, functions: Sequence[str]) -> list[Json]:
    """The sum of a metric over functions."""
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
