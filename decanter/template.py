"""What CloudFormation needs beside the template that ``chalice package`` makes.

Chalice writes functions, triggers, routes and roles; it creates no queues, does not set
``FunctionResponseTypes``, and knows nothing of secrets. ``build`` makes the template that is
merged into Chalice's (dicts merge, lists and scalars replace):

    python -m decanter template --stage dev > build/merge.json
    chalice package --stage dev --merge-template build/merge.json build/dev
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chalicelib import stage as choices
from chalicelib.errors import NotConfigured
from decanter import gateway

Json = dict[str, Any]

RETENTION_SECONDS = 14 * 24 * 3600  # the most SQS allows
MAX_RECEIVES = 1000  # the most SQS allows: every retry of a long database outage counts as one
LOG_RETENTION_DAYS = 30

# Logical names in Chalice's template, per function: (function, role).
API = ("APIHandler", "ApiHandlerRole")
BEARER = ("Bearer", "BearerRole")  # of stages that take tokens
DRAIN_ORDERED = ("DrainOrdered", "DrainOrderedRole")
DRAIN_UNORDERED = ("DrainUnordered", "DrainUnorderedRole")
READER = ("Reader", "ReaderRole")
MIGRATE = ("Migrate", "MigrateRole")
SWEEP = ("Sweep", "SweepRole")
FUNCTIONS = {
    "api": API,
    "bearer": BEARER,
    "drain_ordered": DRAIN_ORDERED,
    "drain_unordered": DRAIN_UNORDERED,
    "reader": READER,
    "migrate": MIGRATE,
    "sweep": SWEEP,
}


class ConfigurationError(Exception):
    """``.chalice/config.json`` lacks what the template is built from."""


@dataclass(frozen=True)
class Stage:
    """What the template is built from.

    prefix: of queue names. cors_origin: whose scripts may call; None: nobody's. issuer, audience
    and jwks_url: defaults of the template's parameters; None: to be given when deploying.
    limits_backlog: whether writes are refused while the queues are too old.
    """

    prefix: str
    authentication: choices.Authentication
    cors_origin: str | None = None
    issuer: str | None = None
    audience: str | None = None
    jwks_url: str | None = None
    limits_backlog: bool = False

    @property
    def functions(self) -> dict[str, tuple[str, str]]:
        """The functions of the stage, as ``FUNCTIONS``."""
        tokens = self.authentication == "jwt"
        return {name: each for name, each in FUNCTIONS.items() if tokens or each != BEARER}


def stage(project: Path, name: str, prefix: str | None = None) -> Stage:
    """The stage of that name. Another prefix puts it beside. Raises ConfigurationError."""
    variables = stage_configuration(project, name).get("environment_variables", {})
    try:
        return Stage(
            prefix or queue_prefix(project, name),
            choices.authentication(variables),
            choices.cors_origin(variables),
            variables.get("DECANTER_JWT_ISSUER"),
            variables.get("DECANTER_JWT_AUDIENCE"),
            variables.get("DECANTER_JWT_JWKS_URL"),
            bool(variables.get("DECANTER_BACKLOG_LIMIT_SECONDS")),
        )
    except NotConfigured as error:
        raise ConfigurationError(f"Stage {name!r}: {error}") from None


def stage_configuration(project: Path, stage: str) -> Json:
    """The stage's part of ``.chalice/config.json``. Raises ConfigurationError."""
    configuration = json.loads((project / ".chalice" / "config.json").read_text())
    stages: Json = configuration.get("stages", {})
    if stage not in stages:
        known = ", ".join(sorted(stages))
        raise ConfigurationError(f"There is no stage {stage!r} in .chalice/config.json: {known}.")
    settings: Json = stages[stage]
    return settings


def queue_prefix(project: Path, stage: str) -> str:
    """The prefix of the stage's queue names. Raises ConfigurationError."""
    variables = stage_configuration(project, stage).get("environment_variables", {})
    prefix = variables.get("DECANTER_QUEUES")
    if not isinstance(prefix, str) or not prefix:
        raise ConfigurationError(
            f"environment_variables of stage {stage!r} in .chalice/config.json need "
            'DECANTER_QUEUES, the prefix of queue names, such as "decanter-prod".'
        )
    return prefix


def build(stage: Stage) -> Json:
    """The merge template of a stage."""
    prefix = stage.prefix
    return {
        "Parameters": _parameters(stage),
        "Conditions": {"OwnReceiptKey": {"Fn::Equals": [{"Ref": "ReceiptKeySecret"}, ""]}},
        "Resources": {
            **_queue("Ordered", f"{prefix}-ordered", fifo=True),
            **_queue("Unordered", f"{prefix}-unordered", fifo=False),
            "ReceiptKey": _receipt_key(),
            **{
                f"{function}Logs": _log_group(prefix, name)
                for name, (function, _role) in stage.functions.items()
            },
            # In the definition of the API, as a change of it makes a new deployment of the stage.
            "RestAPI": {
                "Properties": {
                    "DefinitionBody": gateway.definition(stage.authentication, stage.cors_origin)
                }
            },
            **_api(stage.limits_backlog),
            **(_bearer() if BEARER in stage.functions.values() else {}),
            **_drain(DRAIN_ORDERED, "Ordered"),
            **_drain(DRAIN_UNORDERED, "Unordered"),
            **_database_function(READER),
            **_database_function(MIGRATE),
            **_database_function(SWEEP),
        },
        "Outputs": {
            "OrderedQueueUrl": {"Value": {"Ref": "OrderedQueue"}},
            "UnorderedQueueUrl": {"Value": {"Ref": "UnorderedQueue"}},
            "OrderedDeadLetterQueueUrl": {"Value": {"Ref": "OrderedDeadLetterQueue"}},
            "UnorderedDeadLetterQueueUrl": {"Value": {"Ref": "UnorderedDeadLetterQueue"}},
            **{
                f"{function}Function": {"Value": {"Ref": function}}
                for function, _role in stage.functions.values()
            },
        },
    }


def _parameters(stage: Stage) -> Json:
    return {
        "DatabaseUrlSecret": {
            "Type": "String",
            "Default": f"{stage.prefix}/database-url",
            "Description": (
                "Name or ARN of the Secrets Manager secret that holds the libpq URL of the "
                "database; it must exist before the stack does."
            ),
        },
        "ReceiptKeySecret": {
            "Type": "String",
            "Default": "",
            "Description": (
                "Name or ARN of a secret that signs receipts; empty: the stack makes its own. "
                "Stacks that share it know each other's receipts."
            ),
        },
        "VisibilityTimeout": {
            "Type": "Number",
            "Default": 180,
            "MinValue": 30,
            "MaxValue": 43200,
            "Description": (
                "Seconds until a message that was not poured is tried again; "
                "six times the timeout of the drain functions is advised, less is refused."
            ),
        },
        **(_token_parameters(stage) if BEARER in stage.functions.values() else {}),
    }


def _token_parameters(stage: Stage) -> Json:
    secure = r"https://[^\s]+|http://(127\.0\.0\.1|localhost)([:/][^\s]*)?"
    return {
        "JwtIssuer": {
            "Type": "String",
            "AllowedPattern": f"^({secure})$",
            "ConstraintDescription": "an https URL (http on loopback only)",
            "Description": "The OIDC issuer of the tokens: their claim iss, to the letter.",
            **_default(stage.issuer),
        },
        "JwtAudience": {
            "Type": "String",
            "MinLength": 1,
            "Description": "What the claim aud of a token must be or contain: this API.",
            **_default(stage.audience),
        },
        "JwtJwksUrl": {
            "Type": "String",
            "AllowedPattern": f"^({secure})?$",
            "ConstraintDescription": "an https URL (http on loopback only), or nothing",
            "Description": (
                "Where the issuer's keys are; empty: where its /.well-known/openid-configuration "
                "says."
            ),
            "Default": stage.jwks_url or "",
        },
    }


def _default(value: str | None) -> Json:
    return {} if value is None else {"Default": value}


def _queue(name: str, queue_name: str, *, fifo: bool) -> Json:
    suffix = ".fifo" if fifo else ""
    common: Json = {"MessageRetentionPeriod": RETENTION_SECONDS, "SqsManagedSseEnabled": True}
    if fifo:
        common |= {
            "FifoQueue": True,
            "ContentBasedDeduplication": False,
            "DeduplicationScope": "messageGroup",
            "FifoThroughputLimit": "perMessageGroupId",
        }
    return {
        f"{name}DeadLetterQueue": {
            "Type": "AWS::SQS::Queue",
            # A queue under another name leaves its messages where they are.
            "UpdateReplacePolicy": "Retain",
            "Properties": {"QueueName": f"{queue_name}-dlq{suffix}", **common},
        },
        f"{name}Queue": {
            "Type": "AWS::SQS::Queue",
            "UpdateReplacePolicy": "Retain",
            "Properties": {
                "QueueName": f"{queue_name}{suffix}",
                "VisibilityTimeout": {"Ref": "VisibilityTimeout"},
                "RedrivePolicy": {
                    "deadLetterTargetArn": _arn(f"{name}DeadLetterQueue"),
                    "maxReceiveCount": MAX_RECEIVES,
                },
                **common,
            },
        },
    }


def _receipt_key() -> Json:
    return {
        "Type": "AWS::SecretsManager::Secret",
        "Condition": "OwnReceiptKey",
        # Receipts in clients' hands are signed with it.
        "UpdateReplacePolicy": "Retain",
        "Properties": {
            "Description": "Signs the receipts of accepted writes.",
            "GenerateSecretString": {"PasswordLength": 64, "ExcludePunctuation": True},
        },
    }


def _log_group(prefix: str, name: str) -> Json:
    return {
        "Type": "AWS::Logs::LogGroup",
        "Properties": {
            "LogGroupName": f"/decanter/{prefix}/{name}",
            "RetentionInDays": LOG_RETENTION_DAYS,
        },
    }


def _api(limits_backlog: bool) -> Json:
    variables = {
        "DECANTER_ORDERED_QUEUE_URL": {"Ref": "OrderedQueue"},
        "DECANTER_UNORDERED_QUEUE_URL": {"Ref": "UnorderedQueue"},
        "DECANTER_READER_FUNCTION": {"Ref": READER[0]},
        "DECANTER_RECEIPT_KEY": {
            "Fn::If": ["OwnReceiptKey", _secret("ReceiptKey"), _secret("ReceiptKeySecret")]
        },
    }
    statements = [
        _allow(
            ["sqs:SendMessage", "sqs:GetQueueAttributes"],
            [_arn("OrderedQueue"), _arn("UnorderedQueue")],
        ),
        _allow(["lambda:InvokeFunction"], [_arn(READER[0])]),
    ]
    if limits_backlog:  # AWS knows no narrower resource for metrics
        statements.append(_allow(["cloudwatch:GetMetricStatistics"], "*"))
    return _function(API, variables, statements)


def _bearer() -> Json:
    variables = {
        "DECANTER_JWT_ISSUER": {"Ref": "JwtIssuer"},
        "DECANTER_JWT_AUDIENCE": {"Ref": "JwtAudience"},
        "DECANTER_JWT_JWKS_URL": {"Ref": "JwtJwksUrl"},
    }
    return _function(BEARER, variables, [])


def _drain(names: tuple[str, str], queue: str) -> Json:
    function = names[0]
    resources = _database_function(
        names,
        {"DECANTER_PARTIAL_RESPONSES": "1"},
        [
            _allow(
                ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"],
                [_arn(f"{queue}Queue")],
            )
        ],
    )
    # Chalice names the queue instead of referring to it.
    resources[function]["DependsOn"] = [f"{queue}Queue"]
    resources[function]["Properties"]["Events"] = {
        f"{function}SqsEventSource": {
            "Properties": {"FunctionResponseTypes": ["ReportBatchItemFailures"]}
        }
    }
    return resources


def _database_function(
    names: tuple[str, str], variables: Json | None = None, statements: list[Json] | None = None
) -> Json:
    # Functions in a VPC make network interfaces; AWS knows no narrower resource for that.
    network = _allow(
        [
            "ec2:CreateNetworkInterface",
            "ec2:DescribeNetworkInterfaces",
            "ec2:DescribeSubnets",
            "ec2:DeleteNetworkInterface",
            "ec2:AssignPrivateIpAddresses",
            "ec2:UnassignPrivateIpAddresses",
        ],
        "*",
    )
    return _function(
        names,
        {"DECANTER_DATABASE_URL": _secret("DatabaseUrlSecret"), **(variables or {})},
        [*(statements or []), network],
    )


def _function(names: tuple[str, str], variables: Mapping[str, Any], statements: list[Json]) -> Json:
    function, role = names
    logs = _allow(["logs:CreateLogStream", "logs:PutLogEvents"], [_arn(f"{function}Logs")])
    document = {"Version": "2012-10-17", "Statement": [*statements, logs]}
    return {
        function: {
            "Properties": {
                "Environment": {"Variables": variables},
                "LoggingConfig": {"LogGroup": {"Ref": f"{function}Logs"}},
            }
        },
        # Chalice's policy files cannot name what the stack creates; here the ARNs are exact.
        role: {
            "Properties": {
                "Policies": [{"PolicyName": f"{role}Policy", "PolicyDocument": document}]
            }
        },
    }


def _allow(actions: list[str], resources: list[Json] | str) -> Json:
    return {"Effect": "Allow", "Action": actions, "Resource": resources}


def _secret(name: str) -> Json:
    """The value of the secret that the parameter or resource names, read when deploying."""
    return {"Fn::Sub": f"{{{{resolve:secretsmanager:${{{name}}}:SecretString}}}}"}


def _arn(logical_name: str) -> Json:
    return {"Fn::GetAtt": [logical_name, "Arn"]}


def main(project: Path, name: str) -> int:
    """``python -m decanter template``: print the merge template of a stage."""
    try:
        found = stage(project, name)
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(build(found), indent=2))
    return 0
