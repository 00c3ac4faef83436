"""Alarms look at metrics that are there: of AWS, and of what the drain logs."""

import json
import logging
import re
from typing import Any

import pytest

from chalicelib.drain import faults, handler
from chalicelib.settings import LEDGER_DAYS
from decanter import template, watching

TEMPLATE = template.build(template.Stage("p", "jwt", caps=dict.fromkeys(template.HOLDERS, 4)))
RESOURCES = TEMPLATE["Resources"]
ALARMS = {
    name: each["Properties"]
    for name, each in RESOURCES.items()
    if each.get("Type") == "AWS::CloudWatch::Alarm"
}


def fields(pattern: str, line: str) -> dict[str, str] | None:
    """As CloudWatch reads a line by a pattern of fields that blanks separate; None: no match."""
    wanted = [each.strip() for each in pattern.strip("[]").split(", ")]
    found = re.findall(r"\[[^]]*\]|\S+", line)
    if wanted[-1] == "...":
        wanted.pop()
        found = found[: len(wanted)]
    if len(found) != len(wanted):
        return None
    values = {}
    for field, value in zip(wanted, found, strict=True):
        name, _, required = field.partition("=")
        if required and required.strip('"') != value:
            return None
        values[name] = value
    return values


def line(record: logging.LogRecord) -> str:
    """As the application writes it, whose logger does not hand on to Lambda's."""
    from app import app

    assert app.log.name == record.name.partition(".")[0]
    assert not app.log.propagate
    handler, *_ = app.log.handlers
    return handler.format(record)


def source(module: Any) -> str:
    return str(module.__loader__.get_source(module.__name__))


@pytest.mark.parametrize(
    ("module", "values", "pattern", "name", "expected"),
    [
        (handler, (9, 10, 0.25, 3.5), watching.LAG_PATTERN, "lag", "3.5"),
        (faults, (7,), watching.REJECTIONS_PATTERN, "rejected", "7"),
    ],
)
def test_filters_read_what_the_drain_logs(
    module: Any, values: tuple[Any, ...], pattern: str, name: str, expected: str
) -> None:
    word = "poured" if name == "lag" else "rejected"
    [text] = re.findall(rf'"({word} %d [^"]*)"', source(module))
    record = logging.LogRecord("decanter.drain", logging.INFO, "", 0, text, values, None)

    found = fields(pattern, line(record))

    assert found is not None
    assert found[name] == expected


def test_filters_do_not_read_other_lines() -> None:
    for text in ("rejected nothing", f"refused 3 messages after {LEDGER_DAYS} days", "poured out"):
        record = logging.LogRecord("decanter.drain", logging.WARNING, "", 0, text, (), None)
        for pattern in (watching.LAG_PATTERN, watching.REJECTIONS_PATTERN):
            assert fields(pattern, line(record)) is None


def test_everything_that_may_go_wrong_has_an_alarm() -> None:
    watched = {
        (each.get("Namespace"), each.get("MetricName"), json.dumps(each.get("Dimensions")))
        for each in ALARMS.values()
    }
    for queue, function in watching.DRAINS:
        queue_name = json.dumps(
            [{"Name": "QueueName", "Value": {"Fn::GetAtt": [f"{queue}Queue", "QueueName"]}}]
        )
        dead = queue_name.replace(f"{queue}Queue", f"{queue}DeadLetterQueue")
        drain = json.dumps([{"Name": "FunctionName", "Value": {"Ref": function}}])
        assert ("AWS/SQS", "ApproximateAgeOfOldestMessage", queue_name) in watched
        assert ("AWS/SQS", "ApproximateNumberOfMessagesVisible", dead) in watched
        assert ("AWS/Lambda", "Errors", drain) in watched
        for metric in ("Rejections", "Lag"):
            assert ("Decanter/p", f"{queue}{metric}", "null") in watched
    assert ALARMS["DatabaseConnections"]["MetricName"] == "DatabaseConnections"


def test_metrics_of_our_own_are_made_by_a_filter() -> None:
    made = {
        (each["MetricNamespace"], each["MetricName"])
        for resource in RESOURCES.values()
        if resource.get("Type") == "AWS::Logs::MetricFilter"
        for each in resource["Properties"]["MetricTransformations"]
    }
    text = RESOURCES["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    shown = {
        tuple(metric)
        for widget in json.loads(text)["widgets"]
        for metric in widget["properties"]["metrics"]
        if metric[0].startswith("Decanter/")
    }
    alarmed = {
        (each["Namespace"], each["MetricName"])
        for each in ALARMS.values()
        if each.get("Namespace", "").startswith("Decanter/")
    }

    assert made == shown == alarmed
    assert len(made) == 4


def test_connections_are_watched_before_the_budget_is_used_up() -> None:
    properties = ALARMS["Connections"]
    total, *parts = properties["Metrics"]
    holders = {each["MetricStat"]["Metric"]["Dimensions"][0]["Value"]["Ref"] for each in parts}

    assert holders == {template.FUNCTIONS[name][0] for name in template.HOLDERS}
    assert all(part["Id"] in total["Expression"] for part in parts)
    assert 0 < properties["Threshold"] < 4 * len(template.HOLDERS)


def test_alarms_go_to_a_topic_if_there_is_one() -> None:
    for properties in ALARMS.values():
        assert properties["AlarmActions"] == {
            "Fn::If": ["HasAlarmTopic", [{"Ref": "AlarmTopic"}], {"Ref": "AWS::NoValue"}]
        }
        assert properties["TreatMissingData"] == "notBreaching"
        assert properties["AlarmDescription"].endswith(".")
