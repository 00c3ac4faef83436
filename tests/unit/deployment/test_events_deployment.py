"""A stage that publishes events: its template, its policies, and what is checked before."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from decanter.deployment import budget, chalice_deploy, functions, preflight, template
from decanter.deployment.aws import Aws
from decanter.deployment.findings import PreflightFailed
from decanter.deployment.preflight import events
from decanter.deployment.stage import ConfigurationError, Stage, load, policy
from decanter.local.events import localized
from tests.kit.destinations import BUS, FIFO, TOPIC, destination
from tests.kit.mocked_aws import mocked_aws
from tests.kit.project import HOME, PROJECT

REGION = "eu-central-1"
PLAIN = Stage("p", "jwt", name="dev", configuration={"app_name": "app"})


def properties(stage: Stage, name: str = "Publish") -> dict[str, Any]:
    found: dict[str, Any] = template.build(stage)["Resources"][name]["Properties"]
    return found


def packaged(arn: str = TOPIC.arn, cap: int | None = 1) -> dict[str, Any]:
    """A packaged template, as far as the checks read it: variables of the stage are Chalice's."""
    made = template.build(replace(PLAIN, events=destination(arn)))
    publish = made["Resources"]["Publish"]["Properties"]
    publish["Environment"]["Variables"]["DECANTER_EVENTS"] = arn
    if cap is not None:
        publish["ReservedConcurrentExecutions"] = cap
    return made


@pytest.mark.parametrize(
    ("events", "action"), [(TOPIC, "sns:Publish"), (FIFO, "sns:Publish"), (BUS, "events:PutEvents")]
)
def test_the_function_may_publish_there_and_ask_operate_and_nothing_else(
    events: Any, action: str
) -> None:
    stage = replace(PLAIN, events=events)
    [allowed] = properties(stage, "PublishRole")["Policies"]
    found = {
        action: each["Resource"]
        for each in allowed["PolicyDocument"]["Statement"]
        for action in each["Action"]
        if not action.startswith(("logs:", "xray:"))
    }

    assert found == {
        action: [events.arn],
        "lambda:InvokeFunction": [{"Fn::GetAtt": ["Operate", "Arn"]}],
    }
    assert properties(stage)["Environment"]["Variables"] == {
        "DECANTER_OPERATE_FUNCTION": {"Ref": "Operate"}
    }


def test_chalice_deploy_allows_the_same() -> None:
    for chosen, action in ((TOPIC, "sns:Publish"), (BUS, "events:PutEvents")):
        stage, document = replace(PLAIN, events=chosen), policy(HOME, "policy-publish.json")
        chalice_deploy._rename_resources(document, stage)
        chalice_deploy._adapt_statements(document, stage, ["publish"], {})
        found = {each["Action"][0]: each["Resource"] for each in document["Statement"]}
        assert found.pop("logs:CreateLogGroup")
        assert found == {
            action: [chosen.arn],
            "lambda:InvokeFunction": ["arn:*:lambda:*:*:function:app-dev-operate"],
        }


def test_it_holds_no_connection() -> None:
    stage = replace(load(PROJECT, "dev"), events=TOPIC)

    assert budget.total(stage) == budget.total(load(PROJECT, "dev"))
    assert "publish" in [each.name for each in stage.functions]
    assert "publish" not in "\n".join(budget.table(budget.holders(stage)))


@pytest.mark.parametrize("build", [template.build, lambda stage: template.of_queues(stage, "", "")])
def test_a_stage_without_events_has_nothing_of_them(build: Any) -> None:
    text = json.dumps(build(PLAIN)).lower()

    assert "publish" not in text
    assert '"sns:' not in text


def test_the_setting_is_read_once_and_refused_with_what_would_be_right(tmp_path: Path) -> None:
    folder = project(tmp_path, TOPIC.arn)
    assert load(folder, "dev").events == TOPIC
    wrong = project(tmp_path / "wrong", "arn:aws:sqs:eu-central-1:123456789012:requests")
    with pytest.raises(ConfigurationError, match=r"Stage 'dev': DECANTER_EVENTS is .*event-bus/"):
        load(wrong, "dev")


def test_an_app_without_the_function_is_refused(tmp_path: Path) -> None:
    folder = project(tmp_path, TOPIC.arn)
    text = (PROJECT / "app.py").read_text()
    (folder / "app.py").write_text(text.replace("if stage.events():", "if False:"))
    (folder / "chalicelib").symlink_to(PROJECT / "chalicelib")

    with pytest.raises(PreflightFailed, match="no function publish on a schedule"):
        preflight.load(folder, "dev")

    (folder / "app.py").write_text(text)
    assert preflight.load(folder, "dev").events == TOPIC


def project(folder: Path, arn: str) -> Path:
    whole = json.loads((PROJECT / ".chalice" / "config.json").read_text())
    whole["stages"]["dev"]["environment_variables"]["DECANTER_EVENTS"] = arn
    (folder / ".chalice").mkdir(parents=True)
    (folder / ".chalice" / "config.json").write_text(json.dumps(whole))
    return folder


def test_the_local_cloud_has_one_of_the_same_kind_and_name() -> None:
    stage = load(PROJECT, "dev")
    for chosen, arn in (
        (FIFO, "arn:aws:sns:us-east-1:000000000000:requests.fifo"),
        (BUS, "arn:aws:events:us-east-1:000000000000:event-bus/requests"),
    ):
        local = localized(stage.with_events(chosen.arn))
        assert local.events == destination(arn)
        assert local.variables(functions.function("publish"))["DECANTER_EVENTS"] == arn
    assert localized(stage) is stage


# Checks before a deployment


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mocked_aws():
        yield lambda service: boto3.client(service, region_name=REGION)


def names(aws: Aws, document: dict[str, Any]) -> list[str]:
    return [each.name for each in events.destination(aws, document)]


def test_a_topic_and_a_bus_that_exist_are_in_order(aws: Aws) -> None:
    topic = aws("sns").create_topic(Name="requests")["TopicArn"]
    bus = aws("events").create_event_bus(Name="requests")["EventBusArn"]

    assert names(aws, packaged(topic)) == names(aws, packaged(bus)) == []
    assert names(aws, template.build(PLAIN)) == []


@pytest.mark.parametrize("missing", [TOPIC, FIFO, BUS])
def test_one_that_does_not_exist_is_told_before_anything_is_changed(aws: Aws, missing: Any) -> None:
    [found] = events.destination(aws, packaged(missing.arn))

    assert found.name == "events-missing"
    assert missing.arn in found.text


def test_one_in_another_region_is_refused(aws: Aws) -> None:
    for arn in (TOPIC.arn, BUS.arn):
        elsewhere = arn.replace(REGION, "us-east-1")
        [found] = events.destination(aws, packaged(elsewhere))
        assert found.name == "events-region"
        assert f"{elsewhere}, in us-east-1, and the stage is deployed in {REGION}" in found.text


@pytest.mark.parametrize("cap", [None, 2])
def test_two_at_a_time_would_publish_twice(aws: Aws, cap: int | None) -> None:
    topic = aws("sns").create_topic(Name="requests")["TopicArn"]

    assert names(aws, packaged(topic, cap)) == ["events-concurrency"]


def test_one_of_another_account_may_be_hidden(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    client = aws("sns")

    def refuse(code: str) -> None:
        def get(**_: Any) -> None:
            raise ClientError({"Error": {"Code": code}}, "GetTopicAttributes")

        monkeypatch.setattr(client, "get_topic_attributes", get)

    refuse("AuthorizationError")
    assert names(lambda _service: client, packaged()) == []
    refuse("InternalError")
    with pytest.raises(ClientError):
        names(lambda _service: client, packaged())
