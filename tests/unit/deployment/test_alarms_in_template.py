"""Which metrics are made of which lines, who is told by alarms, and that the runbook knows them."""

import json
import re
import time
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

from chalicelib.authorizer.keys import IssuerUnavailable
from chalicelib.authorizer.tokens import InvalidToken
from chalicelib.buffer.sqs import take
from chalicelib.drain import handler
from decanter.deployment import log_metrics, template
from decanter.deployment.stage import Stage
from tests.kit.alarmed_stage import (
    ALARMS,
    FILTERS,
    RESOURCES,
    STAGE,
    START,
    Service,
)
from tests.kit.cloudwatch import read
from tests.kit.function_logs import (
    audited,
    drained,
    heard,
    judged,
    published,
    rejected,
    settled,
    swept,
)
from tests.kit.project import PROJECT

# Filters and logs


def test_each_line_is_read_by_its_own_filter_and_no_other() -> None:
    expected: list[tuple[str, list[str], dict[str, float]]] = [
        ("DrainOrdered", drained(START, START - 3.5, START), {"Lag": 3.5}),
        ("DrainUnordered", drained(START, START - 3.5), {"Lag": 3.5}),
        ("DrainUnordered", drained(START, START - 80, unwell=True), {"Lag": 80}),
        ("DrainStream", drained(START, START - 3.5), {"Lag": 3.5}),
        ("DrainStream", rejected(7), {"Rejections": 7}),
        ("Settle", settled(back=2, marked=3), {"MarkedItems": 3}),
        ("DrainOrdered", drained(START), {"Waiting": 0}),
        ("DrainOrdered", drained(START, waits=12.3), {"Waiting": 12.3}),
        ("DrainOrdered", rejected(7), {"Rejections": 7}),
        ("DrainUnordered", rejected(7), {"Rejections": 7}),
        ("Sweep", swept(), {"Swept": 1}),
        ("Sweep", swept(is_done=False), {}),
        ("Sweep", swept(fails=True), {}),
        ("Audit", audited(), {"Unaccounted": 0, "PausedBuffers": 0}),
        ("Audit", audited(7, "Disabled", "Enabled"), {"Unaccounted": 7, "PausedBuffers": 1}),
        ("Publish", published(), {"Unpublished": 0, "RefusedEvents": 0}),
        ("Publish", published(77.5, 3), {"Unpublished": 77.5, "RefusedEvents": 3}),
        ("Bearer", judged(IssuerUnavailable("gone")), {"AuthorizerErrors": 1}),
        ("Bearer", judged(InvalidToken("expired")), {}),
    ]
    for function, lines, made in expected:
        service = Service()
        for line in lines:
            service.log(f"{function}Logs", START, line)
        assert {key[1]: values[0][1] for key, values in service.values.items()} == made, lines


def test_a_message_that_cannot_be_read_shows_its_age_in_the_queue() -> None:
    record = {"messageId": "1", "body": "{}",
              "attributes": {"SentTimestamp": str(START * 1000)}}  # fmt: skip
    batch = take.deliveries({"Records": [record]})

    with patch.object(time, "time", lambda: START + 5.5), heard() as lines:
        handler._log_lag(batch)

    assert read(log_metrics.LAG.pattern, "$lag", lines[0]) == 5.5


def test_metrics_of_our_own_are_made_by_a_filter_and_shown_and_watched() -> None:
    made = {
        (each["MetricNamespace"], each["MetricName"])
        for found in FILTERS
        for each in found["MetricTransformations"]
    }
    text = RESOURCES["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    shown = {
        tuple(metric)
        for widget in json.loads(text)["widgets"]
        for metric in widget["properties"]["metrics"]
        if metric[0].startswith("Decanter/")
    }
    alarmed = {
        (metric["Namespace"], metric["MetricName"])
        for each in ALARMS.values()
        for metric in [
            each if "Namespace" in each else {"Namespace": "", "MetricName": ""},
            *[part["MetricStat"]["Metric"] for part in each.get("Metrics", [])[1:]],
        ]
        if metric["Namespace"].startswith("Decanter/")
    }

    assert made == shown == alarmed


def test_the_dashboard_tells_one_callers_flood_from_a_queue_that_is_slow_for_all() -> None:
    text = RESOURCES["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    queues = {
        metric[1]: metric[3]
        for widget in json.loads(text)["widgets"]
        for metric in widget["properties"]["metrics"]
        if metric[1].endswith("Groups")
    }

    assert queues == {
        "ApproximateNumberOfNoisyGroups": "${UnorderedQueue.QueueName}",
        "ApproximateAgeOfOldestMessageInQuietGroups": "${UnorderedQueue.QueueName}",
    }


# What else an alarm is


def test_alarms_go_to_a_topic_if_there_is_one_and_say_what_to_do() -> None:
    for properties in ALARMS.values():
        assert properties["AlarmActions"] == {
            "Fn::If": ["HasAlarmTopic", [{"Ref": "AlarmTopic"}], {"Ref": "AWS::NoValue"}]
        }
        assert properties["AlarmDescription"].endswith(".")


def test_the_runbook_says_of_each_alarm_what_it_means_and_what_to_do() -> None:
    text = (PROJECT / "docs" / "operating.md").read_text()
    table = text.split("\n## Alarms\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| (.+) \| (.+) \|$", table, re.M)
    named = [name for names, *_ in rows for name in re.findall(r"\w+", names)]

    assert sorted(named) == sorted(ALARMS)
    for names, _, cure in rows:
        assert "](" in cure or "the log of" in cure or "deploy" in cure, names
    logs = {*re.findall(r"the log of `(\w+)`", text)}
    assert logs
    assert logs <= {each.name for each in STAGE.functions}


def test_the_name_that_requests_are_counted_under_is_the_apis() -> None:
    """Chalice gives the APIs of all stages the same name."""
    name = RESOURCES["RestAPI"]["Properties"]["DefinitionBody"]["info"]["title"]

    assert ALARMS["ApiErrors"]["Dimensions"] == [{"Name": "ApiName", "Value": name}]
    assert name == STAGE.prefix


def test_a_stage_with_signatures_has_no_alarm_of_an_authorizer() -> None:
    found = template.build(Stage("p", "iam"))["Resources"]

    assert "AuthorizerErrors" not in found
    assert "Bearer" not in json.dumps(found)


def test_the_way_of_chalice_deploy_has_the_same_alarms() -> None:
    """Only the names of functions, logs and the API are Chalice's."""
    plain = template.of_queues(STAGE, "app-dev", "app")
    text = json.dumps(plain["Resources"])
    names = {each.logical: f"app-dev-{each.name}" for each in STAGE.functions}
    for logical, name in {**names, "APIHandler": "app-dev"}.items():
        text = text.replace(f'"Value": "{name}"', f'"Value": {{"Ref": "{logical}"}}')
        text = text.replace(f'"/aws/lambda/{name}"', f'{{"Ref": "{logical}Logs"}}')
    named = json.loads(text.replace('"Value": "app"', f'"Value": "{STAGE.prefix}"'))
    known = {*plain["Resources"], *plain["Parameters"], "AWS::NoValue"}

    for name, resource in RESOURCES.items():
        if resource.get("Type") in ("AWS::CloudWatch::Alarm", "AWS::Logs::MetricFilter"):
            assert named[name] == resource
    assert "${" not in json.dumps(plain["Resources"]).replace("${AWS::", "").replace(
        "Queue.QueueName}", ""
    ).replace("${Ordered", "").replace("${Unordered", "").replace("DeadLetter", "").replace(
        "${FrontTable}", ""
    )
    assert {*_referred(plain["Resources"])} <= known


def _referred(part: Any) -> Iterator[str]:
    match part:
        case {"Ref": str(name)}:
            yield name
        case dict():
            for each in part.values():
                yield from _referred(each)
        case list():
            for each in part:
                yield from _referred(each)
