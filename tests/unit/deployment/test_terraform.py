"""Terraform makes what CloudFormation makes: value by value, of the same template."""

import json
import os
import shutil
import subprocess
import sys
from typing import Any

import pytest

from chalicelib.settings import queue_bytes
from decanter import terraform
from decanter.deployment import template
from tests.kit.project import PROJECT

STAGE = template.stage(PROJECT, "dev")
MERGED = template.build(STAGE)
OWN = terraform.own(STAGE)


@pytest.fixture(scope="module")
def chalice(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Chalice's own file, of this project without its dependencies."""
    source = tmp_path_factory.mktemp("terraform") / "source"
    ignored = shutil.ignore_patterns("__pycache__", "deployments", "deployed")
    for folder in ("chalicelib", ".chalice"):
        shutil.copytree(PROJECT / folder, source / folder, ignore=ignored)
    shutil.copy(PROJECT / "app.py", source)
    (source / "requirements.txt").write_text("")
    file = source / ".chalice" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "automatic_layer": False}))
    command = [sys.executable, "-c", "from chalice.cli import main; main()"]
    command += ["--project-dir", str(source), "package", "--stage", "dev"]
    out = source.parent / "out"
    subprocess.run(
        [*command, "--pkg-format", "terraform", str(out)],
        env={**os.environ, "AWS_DEFAULT_REGION": "us-east-1"},
        check=True,
        capture_output=True,
    )
    found: dict[str, Any] = json.loads((out / terraform.CHALICE).read_text())
    return found


@pytest.fixture(scope="module")
def override(chalice: dict[str, Any]) -> dict[str, Any]:
    return terraform.override(STAGE, chalice)


def of_kind(kind: str) -> list[str]:
    return [name for name, each in MERGED["Resources"].items() if each.get("Type") == kind]


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("AWS::SQS::Queue", "aws_sqs_queue"),
        ("AWS::SQS::QueuePolicy", "aws_sqs_queue_policy"),
        ("AWS::Logs::LogGroup", "aws_cloudwatch_log_group"),
        ("AWS::Logs::MetricFilter", "aws_cloudwatch_log_metric_filter"),
        ("AWS::CloudWatch::Alarm", "aws_cloudwatch_metric_alarm"),
        ("AWS::CloudWatch::Dashboard", "aws_cloudwatch_dashboard"),
    ],
)
def test_what_one_makes_the_other_makes(theirs: str, ours: str) -> None:
    assert {terraform.snake(name) for name in of_kind(theirs)} == {*OWN["resource"][ours]}


def test_queues_have_the_same_values() -> None:
    for name in of_kind("AWS::SQS::Queue"):
        theirs = MERGED["Resources"][name]["Properties"]
        ours = OWN["resource"]["aws_sqs_queue"][terraform.snake(name)]
        assert ours["name"] == theirs["QueueName"]
        assert ours["message_retention_seconds"] == theirs["MessageRetentionPeriod"]
        assert ours["max_message_size"] == queue_bytes(terraform.MESSAGE_BYTES) == 256 * 1024
        assert ours["sqs_managed_sse_enabled"] is theirs["SqsManagedSseEnabled"]
        assert ours.get("fifo_queue") == theirs.get("FifoQueue")
        assert ours.get("deduplication_scope") == theirs.get("DeduplicationScope")
        assert ours["lifecycle"] == {"prevent_destroy": True}
        if "RedrivePolicy" in theirs:
            redrive = json.loads(ours["redrive_policy"])
            assert redrive["maxReceiveCount"] == theirs["RedrivePolicy"]["maxReceiveCount"]
            target = theirs["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"][0]
            assert redrive["deadLetterTargetArn"] == (
                f"${{aws_sqs_queue.{terraform.snake(target)}.arn}}"
            )
            assert ours["visibility_timeout_seconds"] == "${var.visibility_timeout}"
    for name, variable in OWN["variable"].items():
        [theirs] = [
            each for key, each in MERGED["Parameters"].items() if terraform.snake(key) == name
        ]
        if name != "receipt_key_secret":
            assert variable.get("default") == theirs.get("Default")


def test_queue_policies_are_the_same() -> None:
    for name in of_kind("AWS::SQS::QueuePolicy"):
        [theirs] = MERGED["Resources"][name]["Properties"]["PolicyDocument"]["Statement"]
        ours = OWN["resource"]["aws_sqs_queue_policy"][terraform.snake(name)]
        [statement] = json.loads(ours["policy"])["Statement"]
        assert {**statement, "Resource": 0} == {**theirs, "Resource": 0}
        queue = terraform.snake(theirs["Resource"]["Fn::GetAtt"][0])
        assert statement["Resource"] == f"${{aws_sqs_queue.{queue}.arn}}"


def test_alarms_have_the_same_values() -> None:
    for name in of_kind("AWS::CloudWatch::Alarm"):
        theirs = MERGED["Resources"][name]["Properties"]
        ours = OWN["resource"]["aws_cloudwatch_metric_alarm"][terraform.snake(name)]
        for key in ("EvaluationPeriods", "ComparisonOperator", "TreatMissingData"):
            assert ours[terraform.snake(key)] == theirs[key]
        for key in ("MetricName", "Namespace", "Statistic", "Period", "DatapointsToAlarm"):
            assert ours.get(terraform.snake(key)) == theirs.get(key)
        assert len(ours.get("dimensions", {})) == len(theirs.get("Dimensions", []))
        if not isinstance(theirs["Threshold"], dict):
            assert ours["threshold"] == theirs["Threshold"]
        for one, other in zip(ours.get("metric_query", []), theirs.get("Metrics", []), strict=True):
            assert one.get("expression") == other.get("Expression")
            if stat := other.get("MetricStat"):
                assert (one["metric"]["period"], one["metric"]["stat"]) == (
                    stat["Period"],
                    stat["Stat"],
                )
                assert one["metric"]["metric_name"] == stat["Metric"]["MetricName"]
                assert len(one["metric"]["dimensions"]) == len(stat["Metric"].get("Dimensions", []))


def test_the_api_has_the_name_that_its_requests_are_counted_under(
    override: dict[str, Any],
) -> None:
    [name] = [each["name"] for each in override["resource"]["aws_api_gateway_rest_api"].values()]
    alarm = OWN["resource"]["aws_cloudwatch_metric_alarm"]["api_errors"]

    assert alarm["dimensions"] == {"ApiName": name}
    assert json.loads(override["locals"]["chalice_api_swagger"])["info"]["title"] == name


def test_the_clock_of_the_drain_is_the_same() -> None:
    theirs = MERGED["Resources"]["DrainOrdered"]["Properties"]
    ours = {kind: made["drain_ordered_schedule"] for kind, made in OWN["resource"].items()
            if "drain_ordered_schedule" in made}  # fmt: skip

    schedule = theirs["Events"]["DrainOrderedSchedule"]["Properties"]["Schedule"]
    rule = "${aws_cloudwatch_event_rule.drain_ordered_schedule"
    assert ours["aws_cloudwatch_event_rule"]["schedule_expression"] == schedule
    assert ours["aws_cloudwatch_event_target"]["rule"] == f"{rule}.name}}"
    assert ours["aws_lambda_permission"]["source_arn"] == f"{rule}.arn}}"
    limits = theirs["EventInvokeConfig"]
    config = ours["aws_lambda_function_event_invoke_config"]
    assert config["maximum_retry_attempts"] == limits["MaximumRetryAttempts"]
    assert config["maximum_event_age_in_seconds"] == limits["MaximumEventAgeInSeconds"]


def test_functions_are_given_the_same(chalice: dict[str, Any], override: dict[str, Any]) -> None:
    functions = override["resource"]["aws_lambda_function"]
    assert {*functions} == {*chalice["resource"]["aws_lambda_function"]}
    for name, (logical, _role) in STAGE.functions.items():
        theirs = MERGED["Resources"][logical]["Properties"]
        function = "api_handler" if name == "api" else name
        ours = functions[function]
        variables = {*theirs["Environment"]["Variables"]} - {"DECANTER_SECRETS_VERSION"}
        sample = chalice["resource"]["aws_lambda_function"][function]["environment"]["variables"]
        sizes = {"DECANTER_MESSAGE_BYTES": str(terraform.MESSAGE_BYTES)} if name == "api" else {}
        assert {*ours["environment"]["variables"]} == variables | {*sample} | {*sizes}
        assert ours["environment"]["variables"].items() >= sizes.items()
        assert ours["tracing_config"] == {"mode": theirs["Tracing"]}
    drains = override["resource"]["aws_lambda_event_source_mapping"]
    assert {*drains} == {*chalice["resource"]["aws_lambda_event_source_mapping"]}
    for drain in drains.values():
        assert drain["function_response_types"] == ["ReportBatchItemFailures"]


def test_roles_may_do_the_same(chalice: dict[str, Any], override: dict[str, Any]) -> None:
    policies = override["resource"]["aws_iam_role_policy"]
    assert {*policies} == {*chalice["resource"]["aws_iam_role_policy"]}
    for name, (_function, role) in STAGE.functions.items():
        [theirs] = MERGED["Resources"][role]["Properties"]["Policies"]
        function = "api_handler" if name == "api" else name
        ours = json.loads(policies[f"{function}_role"]["policy"])
        expected = theirs["PolicyDocument"]["Statement"]
        assert [each["Action"] for each in ours["Statement"]] == [
            each["Action"] for each in expected
        ]
        for one, other in zip(ours["Statement"], expected, strict=True):
            assert (one["Resource"] == "*") is (other["Resource"] == "*")


def test_the_gateway_answers_the_same(override: dict[str, Any]) -> None:
    swagger = json.loads(override["locals"]["chalice_api_swagger"])
    theirs = MERGED["Resources"]["RestAPI"]["Properties"]["DefinitionBody"]
    key = "x-amazon-apigateway-gateway-responses"

    assert swagger[key] == theirs[key]
    assert {"/health", "/{resource}"} <= {*swagger["paths"]}


def test_nothing_of_cloudformation_is_left(override: dict[str, Any]) -> None:
    text = json.dumps([OWN, override])

    for leftover in ("Fn::", '"Ref"', "AWS::", "resolve:"):
        assert leftover not in text
    assert '""' not in json.dumps(OWN["resource"]).replace('\\"\\"', "")


def test_versions_are_lifted(chalice: dict[str, Any], override: dict[str, Any]) -> None:
    assert chalice["terraform"]["required_version"].endswith("< 1.4.0")
    assert "<" not in override["terraform"]["required_version"]
    providers = override["terraform"]["required_providers"]
    assert {*providers} == {*chalice["terraform"]["required_providers"]}
