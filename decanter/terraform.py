"""``python -m decanter terraform``: what Chalice's Terraform lacks.

Chalice writes ``chalice.tf.json``. Two files go beside it: ``decanter.tf.json`` with queues, logs,
alarms and the dashboard, and ``decanter_override.tf.json``, which Terraform merges into Chalice's:
newer versions of Terraform and its providers, and all settings of the functions. Every value is
taken from ``decanter.deployment.template``.
"""

import json
import re
import shutil
from pathlib import Path
from typing import Any

from chalicelib.settings import message_bytes, queue_bytes
from decanter.deployment import pipeline, preflight, template
from decanter.package import layer, run_chalice
from decanter.package.runtime import target

Json = dict[str, Any]

VERSIONS = {
    "required_version": ">= 1.5",
    "required_providers": {
        # From 6 on there is no invoke_url of a deployment, which Chalice's output needs.
        "aws": {"source": "hashicorp/aws", "version": ">= 5.32, < 6"},
        "null": {"source": "hashicorp/null", "version": ">= 3, < 4"},
    },
}
MESSAGE_BYTES = 250_000
"""Largest message: version 5 of the AWS provider gives no queue more than 256 KiB."""

OWN, OVERRIDE, CHALICE = "decanter.tf.json", "decanter_override.tf.json", "chalice.tf.json"

_RESOLVED = re.compile(r"\{\{resolve:secretsmanager:\$\{([A-Za-z]+)\}:SecretString\}\}")
_SUBSTITUTED = re.compile(r"\$\{([A-Za-z:]+)(?:\.([A-Za-z]+))?\}")
_PSEUDO = {
    "AWS::Partition": "data.aws_partition.chalice.partition",
    "AWS::Region": "data.aws_region.chalice.name",
    "AWS::AccountId": "data.aws_caller_identity.chalice.account_id",
}
_KINDS = {
    "AWS::SQS::Queue": ("aws_sqs_queue", {"": "url", "Arn": "arn", "QueueName": "name"}),
    "AWS::Logs::LogGroup": (
        "aws_cloudwatch_log_group",
        {"": "name", "Arn": "arn"},
    ),
}
_FUNCTION_ATTRIBUTES = {"": "function_name", "Arn": "arn"}


def own(stage: template.Stage) -> Json:
    """``decanter.tf.json``: what Chalice does not make at all."""
    merged = template.build(stage)
    resources: dict[str, Json] = {}
    for name, resource in merged["Resources"].items():
        kind = resource.get("Type")
        properties = _value(resource.get("Properties", {}))
        match kind:
            case "AWS::SQS::Queue":
                made = ("aws_sqs_queue", _queue(properties))
            case "AWS::SQS::QueuePolicy":
                [queue] = properties["Queues"]
                policy = json.dumps(properties["PolicyDocument"])
                made = ("aws_sqs_queue_policy", {"queue_url": queue, "policy": policy})
            case "AWS::Logs::LogGroup":
                made = ("aws_cloudwatch_log_group", _snake(properties, LogGroupName="name"))
            case "AWS::Logs::MetricFilter":
                made = ("aws_cloudwatch_log_metric_filter", _filter(snake(name), properties))
            case "AWS::CloudWatch::Alarm":
                made = ("aws_cloudwatch_metric_alarm", _alarm(stage, name, resource, properties))
            case "AWS::CloudWatch::Dashboard":
                made = ("aws_cloudwatch_dashboard", _snake(properties))
            case _:
                continue
        resources.setdefault(made[0], {})[snake(name)] = made[1]
    resources |= _wake_up(merged["Resources"][template.DRAIN_ORDERED[0]]["Properties"])
    secrets = [name for name in merged["Parameters"] if name.endswith("Secret")]
    return {
        "variable": {
            snake(name): _variable(stage, name, parameter)
            for name, parameter in merged["Parameters"].items()
            if name != "SecretsVersion"  # Terraform reads secrets each time
        },
        "data": {
            "aws_secretsmanager_secret_version": {
                snake(name): {"secret_id": f"${{var.{snake(name)}}}"} for name in secrets
            }
        },
        "resource": resources,
        "output": {
            snake(name): {"value": _value(output["Value"])}
            for name, output in merged["Outputs"].items()
            if "Condition" not in output  # what only the stack makes
        },
    }


def override(stage: template.Stage, chalice: Json) -> Json:
    """``decanter_override.tf.json``: what is otherwise in Chalice's. chalice: its file."""
    resources = template.build(stage)["Resources"]
    functions, mappings, policies = {}, {}, {}
    for name, (logical, role) in stage.functions.items():
        properties = _value(resources[logical]["Properties"])
        function = _function(name)
        theirs = chalice["resource"]["aws_lambda_function"][function]
        variables = {**theirs["environment"]["variables"], **properties["Environment"]["Variables"]}
        variables.pop("DECANTER_SECRETS_VERSION", None)
        if logical == template.API[0]:
            most = min(MESSAGE_BYTES, message_bytes(variables))
            variables["DECANTER_MESSAGE_BYTES"] = str(most)
        functions[function] = {
            "environment": {"variables": variables},
            "tracing_config": {"mode": properties["Tracing"]},
            "logging_config": {
                "log_format": "Text",
                "log_group": properties["LoggingConfig"]["LogGroup"],
            },
        }
        [policy] = _value(resources[role]["Properties"]["Policies"])
        policies[f"{function}_role"] = {"policy": json.dumps(policy["PolicyDocument"])}
        for event in properties.get("Events", {}).values():
            if event.get("Type") == "Schedule":
                continue
            [queue] = resources[logical]["DependsOn"]
            mappings[f"{function}-sqs-event-source"] = {
                "event_source_arn": f"${{aws_sqs_queue.{snake(queue)}.arn}}",
                "function_response_types": event["Properties"]["FunctionResponseTypes"],
            }
    swagger = json.loads(chalice["locals"]["chalice_api_swagger"])
    definition = resources["RestAPI"]["Properties"]["DefinitionBody"]
    return {
        "terraform": VERSIONS,
        "locals": {"chalice_api_swagger": json.dumps(_merged(swagger, definition))},
        "resource": {
            "aws_lambda_function": functions,
            "aws_lambda_event_source_mapping": mappings,
            "aws_iam_role_policy": policies,
            "aws_api_gateway_rest_api": {"rest_api": {"name": definition["info"]["title"]}},
        },
    }


def make(project: Path, stage: str, out: Path) -> Path:
    """Have Chalice write its Terraform into ``out``, and write ours beside it."""
    found = template.stage(project, stage)
    preflight.refuse(preflight.configuration(project, stage))
    shutil.rmtree(out, ignore_errors=True)
    layer.place(project, target(project, stage))
    run_chalice(project, stage, out, "--pkg-format", "terraform")
    chalice = json.loads((out / CHALICE).read_text())
    for name, document in ((OWN, own(found)), (OVERRIDE, override(found, chalice))):
        (out / name).write_text(json.dumps(document, indent=2) + "\n")
    return out


def main(project: Path, stage: str) -> int:
    """The command."""

    def run() -> int:
        out = make(project, stage, project / "build" / "terraform" / stage)
        print(f"Now, in {out.relative_to(project)}: terraform init, plan and apply.")
        return 0

    return pipeline.told(run)


def snake(name: str) -> str:
    """A name as Terraform has them: OrderedQueue → ordered_queue."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _function(name: str) -> str:
    return "api_handler" if name == "api" else name


def _value(part: Any) -> Any:
    """A part of a template with its intrinsic functions as expressions of Terraform.

    Secrets are always there: what CloudFormation does without one is left out.
    """
    if isinstance(part, list):
        return [_value(each) for each in part]
    if not isinstance(part, dict):
        return part
    match part:
        case {"Ref": "AWS::NoValue"}:
            return None
        case {"Ref": name}:
            return f"${{{_reference(name, '')}}}"
        case {"Fn::GetAtt": [name, "Arn"]} if name.endswith("Logs"):
            # Terraform's ARN of a log group has no :* at the end, which its streams need.
            return f"${{{_reference(name, 'Arn')}}}:*"
        case {"Fn::GetAtt": [name, attribute]}:
            return f"${{{_reference(name, attribute)}}}"
        case {"Fn::Sub": text} if found := _RESOLVED.fullmatch(text):
            secret = snake("ReceiptKeySecret" if found[1] == "ReceiptKey" else found[1])
            return f"${{data.aws_secretsmanager_secret_version.{secret}.secret_string}}"
        case {"Fn::Sub": text}:
            return _SUBSTITUTED.sub(
                lambda found: f"${{{_reference(found[1], found[2] or '')}}}", text
            )
        case {"Fn::If": ["HasAlarmTopic", *_]}:
            return '${var.alarm_topic == "" ? [] : [var.alarm_topic]}'
        case {"Fn::If": ["OwnReceiptKey", _, shared]}:
            return _value(shared)
        case {"Fn::If": [_, present, _]}:
            return _value(present)
    return {name: _value(each) for name, each in part.items()}


def _reference(name: str, attribute: str) -> str:
    if name in _PSEUDO:
        return _PSEUDO[name]
    functions = {logical: key for key, (logical, _role) in template.FUNCTIONS.items()}
    if name in functions:
        function = _function(functions[name])
        return f"aws_lambda_function.{function}.{_FUNCTION_ATTRIBUTES[attribute]}"
    if name.endswith("Queue"):
        kind, attributes = _KINDS["AWS::SQS::Queue"]
        return f"{kind}.{snake(name)}.{attributes[attribute]}"
    if name.endswith("Logs"):
        kind, attributes = _KINDS["AWS::Logs::LogGroup"]
        return f"{kind}.{snake(name)}.{attributes[attribute]}"
    if name == "Dashboard":
        return "aws_cloudwatch_dashboard.dashboard.dashboard_name"
    return f"var.{snake(name)}"


def _variable(stage: template.Stage, name: str, parameter: Json) -> Json:
    found: Json = {
        "type": "number" if parameter["Type"] == "Number" else "string",
        "description": parameter["Description"],
    }
    if name == "ReceiptKeySecret":
        return {**found, "default": f"{stage.prefix}/receipt-key"}
    return {**found, "default": parameter["Default"]} if "Default" in parameter else found


def _queue(properties: Json) -> Json:
    names = {
        "QueueName": "name",
        "MaximumMessageSize": "max_message_size",
        "VisibilityTimeout": "visibility_timeout_seconds",
        "MessageRetentionPeriod": "message_retention_seconds",
    }
    found = _snake({**properties, "MaximumMessageSize": queue_bytes(MESSAGE_BYTES)}, **names)
    for policy in ("redrive_policy", "redrive_allow_policy"):
        if policy in found:
            found[policy] = json.dumps(found[policy])
    return {**found, "lifecycle": {"prevent_destroy": True}}


def _filter(name: str, properties: Json) -> Json:
    [transformation] = properties["MetricTransformations"]
    return {
        "name": name,
        "log_group_name": properties["LogGroupName"],
        "pattern": properties["FilterPattern"],
        "metric_transformation": {
            "namespace": transformation["MetricNamespace"],
            "name": transformation["MetricName"],
            "value": transformation["MetricValue"],
            "unit": transformation["Unit"],
        },
    }


def _alarm(stage: template.Stage, name: str, resource: Json, properties: Json) -> Json:
    special = {"OKActions": "ok_actions", "TreatMissingData": "treat_missing_data"}
    found = _snake({k: v for k, v in properties.items() if k not in ("Dimensions", "Metrics")})
    found |= {special[k]: properties[k] for k in special}
    found["alarm_name"] = f"{stage.prefix}-{name}"
    if "Dimensions" in properties:
        found["dimensions"] = _dimensions(properties)
    if "Metrics" in properties:
        found["metric_query"] = [_query(each) for each in properties["Metrics"]]
    if resource.get("Condition") == "WatchesDatabase":
        found["count"] = '${var.database_instance == "" ? 0 : 1}'
    return found


def _wake_up(properties: Json) -> Json:
    """The clock of the ordered drain."""
    name, function = "drain_ordered_schedule", "${aws_lambda_function.drain_ordered"
    [schedule] = [
        each["Properties"]["Schedule"]
        for each in properties["Events"].values()
        if each.get("Type") == "Schedule"
    ]
    rule = f"${{aws_cloudwatch_event_rule.{name}"
    return {
        "aws_cloudwatch_event_rule": {name: {"schedule_expression": schedule}},
        "aws_cloudwatch_event_target": {
            name: {"rule": f"{rule}.name}}", "arn": f"{function}.arn}}"},
        },
        "aws_lambda_permission": {
            name: {
                "function_name": f"{function}.function_name}}",
                "action": "lambda:InvokeFunction",
                "principal": "events.amazonaws.com",
                "source_arn": f"{rule}.arn}}",
            }
        },
        "aws_lambda_function_event_invoke_config": {
            name: {
                "function_name": f"{function}.function_name}}",
                **_snake(properties["EventInvokeConfig"]),
            }
        },
    }


def _query(metric: Json) -> Json:
    found = {k: v for k, v in _snake(metric).items() if k != "metric_stat"}
    if "MetricStat" in metric:
        stat = metric["MetricStat"]
        found["metric"] = {
            "namespace": stat["Metric"]["Namespace"],
            "metric_name": stat["Metric"]["MetricName"],
            "dimensions": _dimensions(stat["Metric"]),
            "period": stat["Period"],
            "stat": stat["Stat"],
        }
    return found


def _dimensions(metric: Json) -> Json:
    return {each["Name"]: each["Value"] for each in metric.get("Dimensions", [])}


def _snake(properties: Json, **names: str) -> Json:
    return {names.get(name, snake(name)): value for name, value in properties.items()}


def _merged(one: Any, other: Any) -> Any:
    """As Chalice merges templates: objects are merged, whatever else is replaced."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one | {
            name: _merged(one[name], value) if name in one else value
            for name, value in other.items()
        }
    return other
