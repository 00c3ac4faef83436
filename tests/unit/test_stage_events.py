"""Where a stage publishes events, and the function that it then has."""

import os
import subprocess
import sys

import pytest

from chalicelib import stage
from chalicelib.errors import NotConfigured
from tests.kit.destinations import BUS, FIFO, TOPIC
from tests.kit.project import PROJECT

FUNCTIONS = "import app; print('publish' in app.app.handler_map)"


def events(arn: str) -> stage.Destination | None:
    return stage.events({"DECANTER_EVENTS": arn})


@pytest.mark.parametrize(
    ("arn", "service", "region", "name", "is_fifo"),
    [
        (TOPIC.arn, "sns", "eu-central-1", "requests", False),
        (FIFO.arn, "sns", "eu-central-1", "requests.fifo", True),
        (BUS.arn, "events", "eu-central-1", "requests", False),
        ("arn:aws-cn:sns:cn-north-1:123456789012:a_b-C", "sns", "cn-north-1", "a_b-C", False),
        (
            "arn:aws-us-gov:events:us-gov-west-1:123456789012:event-bus/team/a.b",
            "events",
            "us-gov-west-1",
            "team/a.b",
            False,
        ),
        (
            "arn:aws:events:us-east-1:123456789012:event-bus/x.fifo",
            "events",
            "us-east-1",
            "x.fifo",
            False,
        ),
    ],
)
def test_topics_and_buses_of_all_partitions(
    arn: str, service: str, region: str, name: str, is_fifo: bool
) -> None:
    assert (found := events(arn)) == stage.Destination(arn, service, region, name)
    assert found is not None
    assert found.is_topic is (service == "sns")
    assert found.is_fifo is is_fifo


@pytest.mark.parametrize(
    "arn",
    [
        "requests",
        "arn:aws:sqs:eu-central-1:123456789012:requests",
        "arn:aws:lambda:eu-central-1:123456789012:function:requests",
        "arn:aws:sns:eu-central-1:123456789012:requests:8f0c4b5e-subscription",
        "arn:aws:sns:eu-central-1:123456789012:requests.other",
        "arn:aws:sns:eu-central-1::requests",
        "arn:aws:sns::123456789012:requests",
        "arn:aws:events:eu-central-1:123456789012:requests",
        "arn:aws:events:eu-central-1:123456789012:rule/requests",
        "arn:aws:sns:eu-central-1:123456789012:event-bus/requests",
        "arn:azure:sns:eu-central-1:123456789012:requests",
        "arn:aws:sns:eu-central-1:123456789012:requêtes",
        f"{TOPIC.arn}\n",
        f" {TOPIC.arn}",
        f"{TOPIC.arn},{BUS.arn}",
    ],
)
def test_anything_else_is_refused_and_says_what_would_be_right(arn: str) -> None:
    with pytest.raises(NotConfigured) as refused:
        events(arn)

    assert f"DECANTER_EVENTS is {arn!r}" in str(refused.value)
    for part in ("arn:aws:sns:", ".fifo", ":event-bus/", ".chalice/config.json"):
        assert part in str(refused.value)


@pytest.mark.parametrize("environment", [{}, {"DECANTER_EVENTS": ""}])
def test_without_the_setting_there_are_no_events(environment: dict[str, str]) -> None:
    assert stage.events(environment) is None


@pytest.mark.parametrize(("arn", "said"), [(TOPIC.arn, "True"), ("", "False"), ("x", "")])
def test_only_a_stage_with_events_has_the_function(arn: str, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FUNCTIONS],
        cwd=PROJECT,
        env={**os.environ, "DECANTER_AUTH": "jwt", "DECANTER_EVENTS": arn},
        capture_output=True,
        text=True,
    )

    assert done.stdout.strip() == said, done.stderr
    assert said or "DECANTER_EVENTS is 'x'. Set it to the ARN" in done.stderr
