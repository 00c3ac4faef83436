"""What CloudFormation needs beside the template that ``chalice package`` makes.

Chalice writes functions, triggers, routes and roles; it creates no queues, does not set
``FunctionResponseTypes``, and knows nothing of secrets. ``build`` makes the template that is
merged into Chalice's (dicts merge, lists and scalars replace):

    python -m decanter template --stage dev > build/merge.json
    chalice package --stage dev --merge-template build/merge.json build/dev
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chalicelib import stage as choices
from chalicelib.errors import NotConfigured
from chalicelib.settings import LANES, queue_bytes, role_names
from decanter.deployment import alarms, gateway

Json = dict[str, Any]

RETENTION_SECONDS = 14 * 24 * 3600  # the most SQS allows
MAX_RECEIVES = 1000  # the most SQS allows: every retry of a long database outage counts as one
VISIBILITY_MARGIN_SECONDS = 15
"""From when SQS hands out a message to when its drain begins to count its timeout: the batching
window (1 s), a cold start (10 s at most), and a little."""

DRAIN_SECONDS = 60  # Chalice's timeout of a function that says none
WAKE_UP = "rate(1 minute)"
"""When a drain is invoked without messages: rows that wait in the database are settled then."""

WAKE_UP_CONFIG = {"MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 60}
"""Of these invocations: the next minute has its own."""

LOG_RETENTION_DAYS = 30
OVERLAP = 2  # containers of the old and of the new version, for minutes after a deployment

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
HOLDERS = ("drain_ordered", "drain_unordered", "reader", "migrate", "sweep")
"""Functions that hold database connections; no other may be in a VPC."""

KINDS = {"drain": ("drain_ordered", "drain_unordered"), "reader": ("reader",), "sweep": ("sweep",)}
"""Functions that share a database role, by the kind that ``chalicelib.settings.ROLES`` names."""


# A queue keeps its messages when its stack is deleted, or it gets another name. What a failed
# deployment had made is gone, so that it can be made again.
_RETAINED = {"DeletionPolicy": "RetainExceptOnCreate", "UpdateReplacePolicy": "Retain"}

# The project's own app and its own chalicelib, whatever this process has imported.
_READ_APP = """
import json, app
mappings = {event.name: event.maximum_concurrency for event in app.app.event_sources
            if hasattr(event, "maximum_concurrency")}
print(json.dumps({"name": app.app.app_name, "mappings": mappings}))
"""


_NUMBERS = {
    "reserved_concurrency": (0, 1_000_000),
    "lambda_timeout": (1, 900),
    "lambda_memory_size": (128, 10_240),
}
"""What Lambda takes."""


class ConfigurationError(Exception):
    """``.chalice/config.json`` lacks what the template is built from."""


@dataclass(frozen=True)
class Stage:
    """What the template is built from.

    prefix: of queue names. cors_origin: whose scripts may call; None: nobody's. issuer, audience
    and jwks_url: defaults of the template's parameters; None: to be given when deploying.
    limits_backlog: whether writes are refused while the queues are too old. caps: reserved
    concurrency by function. in_vpc: functions with subnets. tokens: they log in to the database
    with tokens of RDS. drain_seconds: the longest timeout of a drain. mappings: most invocations
    that a function's queue makes at once.
    """

    prefix: str
    authentication: choices.Authentication
    cors_origin: str | None = None
    issuer: str | None = None
    audience: str | None = None
    jwks_url: str | None = None
    limits_backlog: bool = False
    caps: Mapping[str, int] = field(default_factory=dict)
    in_vpc: frozenset[str] = frozenset()
    tokens: bool = False
    drain_seconds: int = DRAIN_SECONDS
    mappings: Mapping[str, int] = field(default_factory=dict)

    @property
    def steady(self) -> int:
        """Connections that drains and reader hold when they have as much work as they can do: of
        the ordered queue, Lambda takes no more batches at once than it has lanes."""
        lanes = {"drain_ordered": LANES}
        names = ("drain_ordered", "drain_unordered", "reader")
        caps = [[each.get(name) for each in (self.caps, self.mappings, lanes)] for name in names]
        return sum(min((each for each in cap if each), default=0) for cap in caps)

    @property
    def budget(self) -> int:
        """The connection budget: what all functions together may hold."""
        return sum(self.caps.get(name, 0) for name in HOLDERS)

    def connections(self, kind: str) -> int:
        """Most connections of a kind's role, while two versions run side by side."""
        return max(1, OVERLAP * sum(self.caps.get(name, 0) for name in KINDS[kind]))

    @property
    def authorizes(self) -> bool:
        """Whether there is an authorizer function."""
        return self.authentication == "jwt"

    @property
    def functions(self) -> dict[str, tuple[str, str]]:
        """The functions of the stage, as ``FUNCTIONS``."""
        return {name: each for name, each in FUNCTIONS.items() if self.authorizes or each != BEARER}


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
            {
                function: cap
                for function in HOLDERS
                if (cap := function_setting(project, name, function, "reserved_concurrency"))
            },
            frozenset(
                function
                for function in FUNCTIONS
                if function_setting(project, name, function, "subnet_ids")
            ),
            variables.get("DECANTER_DATABASE_IAM") == "1",
            drain_seconds(project, name),
            {function: cap for function, cap in mappings(project, name).items() if cap},
        )
    except NotConfigured as error:
        raise ConfigurationError(f"Stage {name!r}: {error}") from None


def stage_configuration(project: Path, stage: str) -> Json:
    """The stage's part of ``.chalice/config.json``. Raises ConfigurationError."""
    stages: Json = configuration(project)["stages"]
    if stage not in stages:
        known = ", ".join(sorted(stages))
        raise ConfigurationError(f"There is no stage {stage!r} in .chalice/config.json: {known}.")
    settings: Json = stages[stage]
    return settings


def configuration(project: Path) -> Json:
    """``.chalice/config.json``. Raises ConfigurationError for what it is not."""
    name = ".chalice/config.json"
    try:
        found: Any = json.loads((project / name).read_text())
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigurationError(f"{name} cannot be read: {reason}.") from error
    stages = found.get("stages") if isinstance(found, dict) else None
    if not isinstance(stages, dict) or not all(isinstance(each, dict) for each in stages.values()):
        raise ConfigurationError(f"{name} lacks stages, an object of objects by their names.")
    for place, settings in {"": found, **{f"stages.{key}.": stages[key] for key in stages}}.items():
        for objection in _objections(place, settings):
            raise ConfigurationError(f"{name}: {objection}.")
    read: Json = found
    return read


def _objections(place: str, settings: Json) -> Iterator[str]:
    """What is not as Chalice and Lambda take it. place: ends with a point."""
    for member in ("environment_variables", "lambda_functions"):
        if not isinstance(settings.get(member, {}), dict):
            yield f"{place}{member} is no object"
            return
    for variable, value in settings.get("environment_variables", {}).items():
        if not isinstance(value, str):
            yield f'{place}environment_variables.{variable} is {value!r}. Write it as a text, in ""'
    for number, (least, most) in _NUMBERS.items():
        value = settings.get(number)
        if value is not None and (type(value) is not int or not least <= value <= most):
            yield f"{place}{number} is {value!r}. Make it a whole number from {least} to {most}"
    for function, own in settings.get("lambda_functions", {}).items():
        inner = f"{place}lambda_functions.{function}"
        if not isinstance(own, dict):
            yield f"{inner} is no object"
        else:
            yield from _objections(f"{inner}.", own)


def function_setting(project: Path, stage: str, function: str, name: str) -> Any:
    """A setting of a function, looked for where Chalice does; None: there is none.

    function: one of ``FUNCTIONS``. Raises ConfigurationError.
    """
    own = "api_handler" if function == "api" else function
    settings = stage_configuration(project, stage)
    top = configuration(project)
    for place in (
        settings.get("lambda_functions", {}).get(own, {}),
        settings,
        top.get("lambda_functions", {}).get(own, {}),
        top,
    ):
        if name in place:
            return place[name]
    return None


def policy_files(project: Path, stage: str) -> dict[str, list[str]]:
    """Files of policies, and the functions that have them. Raises ConfigurationError."""
    found: dict[str, list[str]] = {}
    for name in FUNCTIONS:
        if file := function_setting(project, stage, name, "iam_policy_file"):
            found.setdefault(file, []).append(name)
    return found


def policy(project: Path, name: str) -> Json:
    """A policy of functions. Raises ConfigurationError for what is none."""
    try:
        found = json.loads((project / ".chalice" / name).read_text())
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigurationError(f".chalice/{name} cannot be read: {reason}.") from error
    statements = found.get("Statement") if isinstance(found, dict) else None
    if not isinstance(statements, list) or not all(isinstance(each, dict) for each in statements):
        raise ConfigurationError(
            f".chalice/{name} is no policy of IAM: it lacks Statement, a list of objects."
        )
    read: Json = found
    return read


def mappings(project: Path, stage: str) -> dict[str, int | None]:
    """Most concurrent invocations that a function's queue makes, by function. Raises
    ConfigurationError."""
    found: dict[str, int | None] = _app(project, stage)["mappings"]
    return found


def api_name(project: Path, stage: str) -> str:
    """What Chalice calls the API. Raises ConfigurationError."""
    return str(_app(project, stage)["name"])


def _app(project: Path, stage: str) -> Json:
    """What app.py says; of a project without one, nothing."""
    if not (project / "app.py").exists():
        return {"name": "", "mappings": {}}
    variables = stage_configuration(project, stage).get("environment_variables", {})
    done = subprocess.run(
        [sys.executable, "-c", _READ_APP],
        cwd=project,
        env={**os.environ, **variables, "AWS_CHALICE_CLI_MODE": "true"},
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ConfigurationError(f"app.py cannot be read for stage {stage!r}: {reason}")
    found: Json = json.loads(done.stdout)
    return found


def drain_seconds(project: Path, stage: str) -> int:
    """The longest timeout of a drain. Raises ConfigurationError."""
    found = [function_setting(project, stage, name, "lambda_timeout") for name in KINDS["drain"]]
    return max(each or DRAIN_SECONDS for each in found)


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
        "Conditions": {
            "OwnReceiptKey": {"Fn::Equals": [{"Ref": "ReceiptKeySecret"}, ""]},
            **{f"Has{_secret_parameter(kind)}": _given(_secret_parameter(kind)) for kind in KINDS},
            **alarms.conditions(),
        },
        "Resources": {
            **queues(prefix),
            **alarm_resources(stage, prefix),
            "ReceiptKey": _receipt_key(),
            **{
                f"{function}Logs": _log_group(prefix, name)
                for name, (function, _role) in stage.functions.items()
            },
            # In the definition of the API, as a change of it makes a new deployment of the stage.
            "RestAPI": {
                "Properties": {
                    "TracingEnabled": True,
                    "DefinitionBody": {
                        **gateway.definition(stage.authentication, stage.cors_origin),
                        # The API's name. Its metrics have nothing else to tell stages apart.
                        "info": {"title": prefix},
                    },
                }
            },
            **_api(stage.limits_backlog),
            **(_bearer() if stage.authorizes else {}),
            **_woken(_drain(stage, "drain_ordered", "Ordered")),
            **_drain(stage, "drain_unordered", "Unordered"),
            **_database_function(stage, "reader", _database_url("reader")),
            **_database_function(stage, "migrate", _migrate_variables(stage)),
            **_database_function(stage, "sweep", _database_url("sweep")),
        },
        "Outputs": {
            **queue_outputs(),
            **{
                f"{function}Function": {"Value": {"Ref": function}}
                for function, _role in stage.functions.values()
            },
            "DashboardName": {"Value": {"Ref": "Dashboard"}},
            "ReceiptKeySecret": {"Condition": "OwnReceiptKey", "Value": {"Ref": "ReceiptKey"}},
        },
    }


def queues(prefix: str) -> Json:
    """Both queues with their dead-letter queues and policies. Needs ``queue_parameters``."""
    return {
        **_queue("Ordered", f"{prefix}-ordered", fifo=True),
        **_queue("Unordered", f"{prefix}-unordered", fifo=False),
    }


def alarm_resources(stage: Stage, api: str) -> Json:
    """Alarms and dashboard. api: the name of the API. Need ``watching.parameters``."""
    holders = [FUNCTIONS[name][0] for name in HOLDERS]
    return alarms.resources(stage.prefix, stage.steady, holders, api, authorizes=stage.authorizes)


def queue_outputs() -> Json:
    """URLs of the queues."""
    names = ("OrderedQueue", "UnorderedQueue", "OrderedDeadLetterQueue", "UnorderedDeadLetterQueue")
    return {f"{name}Url": {"Value": {"Ref": name}} for name in names}


def queue_parameters(drain_seconds: int) -> Json:
    """What the queues refer to."""
    least = least_visibility(drain_seconds)
    return {
        "VisibilityTimeout": {
            "Type": "Number",
            "Default": least,
            "MinValue": least,
            # Longer would not help: messages would be too old before they are dead letters.
            "MaxValue": RETENTION_SECONDS // MAX_RECEIVES,
            "Description": (
                "Seconds until a message that was not poured is tried again. The least that is "
                f"safe is the default: the timeout of the drain functions and "
                f"{VISIBILITY_MARGIN_SECONDS} s. With {MAX_RECEIVES} deliveries, a database may be "
                f"away for {MAX_RECEIVES} times as long before good messages become dead letters."
            ),
        }
    }


def least_visibility(drain_seconds: int) -> int:
    """The shortest visibility timeout, in seconds, in which a drain is done with a message.

    AWS advises six times the timeout, for messages that are throttled: those of a mapping with
    MaximumConcurrency are not.
    """
    return drain_seconds + VISIBILITY_MARGIN_SECONDS


def _parameters(stage: Stage) -> Json:
    return {
        "DatabaseUrlSecret": {
            "Type": "String",
            "Default": f"{stage.prefix}/database-url",
            "Description": (
                "Name or ARN of the Secrets Manager secret that holds the libpq URL of the "
                "database's owner; it must exist before the stack does. It is for migrations."
            ),
        },
        **{
            _secret_parameter(kind): {
                "Type": "String",
                "Default": f"{stage.prefix}/{kind}-url",
                "Description": (
                    f"Name or ARN of the secret that holds the libpq URL of the {kind}'s role; "
                    f"empty: it has no role of its own and uses the owner's URL."
                ),
            }
            for kind in KINDS
        },
        "SecretsVersion": {
            "Type": "String",
            "Default": "",
            "Description": (
                "Changes when a secret does: CloudFormation reads secrets of what it updates only."
            ),
        },
        "ReceiptKeySecret": {
            "Type": "String",
            "Default": "",
            "Description": (
                "Name or ARN of a secret with the keys of receipts, separated by spaces: the first "
                "signs, all verify. Empty: the stack makes its own. Stacks that share it know each "
                "other's receipts."
            ),
        },
        "LogRetentionDays": {
            "Type": "Number",
            "Default": LOG_RETENTION_DAYS,
            "AllowedValues": [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1827],
            "Description": "How many days logs are kept.",
        },
        **(_resource_parameter() if stage.tokens else {}),
        **queue_parameters(stage.drain_seconds),
        **alarms.parameters(OVERLAP * stage.budget),
        **(_token_parameters(stage) if stage.authorizes else {}),
    }


def _resource_parameter() -> Json:
    return {
        "DatabaseResource": {
            "Type": "String",
            "AllowedPattern": "^(db|cluster|prx)-[A-Za-z0-9]+$",
            "ConstraintDescription": "the resource ID of an RDS instance, cluster or proxy",
            "Description": "Resource ID of the database, such as db-ABC; its tokens are asked for.",
        }
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
    common: Json = {
        "MaximumMessageSize": queue_bytes(),
        "MessageRetentionPeriod": RETENTION_SECONDS,
        "SqsManagedSseEnabled": True,
    }
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
            **_RETAINED,
            "Properties": {
                "QueueName": f"{queue_name}-dlq{suffix}",
                "RedriveAllowPolicy": {
                    "redrivePermission": "byQueue",
                    "sourceQueueArns": [_queue_arn(f"{queue_name}{suffix}")],
                },
                **common,
            },
        },
        f"{name}Queue": {
            "Type": "AWS::SQS::Queue",
            **_RETAINED,
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
        f"{name}QueuePolicy": _encrypted_only(f"{name}Queue"),
        f"{name}DeadLetterQueuePolicy": _encrypted_only(f"{name}DeadLetterQueue"),
    }


def _encrypted_only(queue: str) -> Json:
    """Whoever asks, and may: not without TLS."""
    statement = {
        "Sid": "OnlyWithTls",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "sqs:*",
        "Resource": _arn(queue),
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    return {
        "Type": "AWS::SQS::QueuePolicy",
        "Properties": {
            "Queues": [{"Ref": queue}],
            "PolicyDocument": {"Version": "2012-10-17", "Statement": [statement]},
        },
    }


def _receipt_key() -> Json:
    return {
        "Type": "AWS::SecretsManager::Secret",
        "Condition": "OwnReceiptKey",
        # Receipts in clients' hands are signed with it.
        **_RETAINED,
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
            "RetentionInDays": {"Ref": "LogRetentionDays"},
        },
    }


def _api(limits_backlog: bool) -> Json:
    variables = {
        "DECANTER_ORDERED_QUEUE_URL": {"Ref": "OrderedQueue"},
        "DECANTER_UNORDERED_QUEUE_URL": {"Ref": "UnorderedQueue"},
        "DECANTER_READER_FUNCTION": {"Ref": READER[0]},
        "DECANTER_SECRETS_VERSION": {"Ref": "SecretsVersion"},
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


def _drain(stage: Stage, name: str, queue: str) -> Json:
    function = FUNCTIONS[name][0]
    resources = _database_function(
        stage,
        name,
        {**_database_url("drain"), "DECANTER_PARTIAL_RESPONSES": "1"},
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


def _woken(resources: Json) -> Json:
    """The ordered drain, which also has a clock. One is enough: rows that wait are in the database,
    whichever queue they came from."""
    properties = resources[DRAIN_ORDERED[0]]["Properties"]
    properties["Events"][f"{DRAIN_ORDERED[0]}Schedule"] = {
        "Type": "Schedule",
        "Properties": {"Schedule": WAKE_UP},
    }
    properties["EventInvokeConfig"] = WAKE_UP_CONFIG
    return resources


def _secret_parameter(kind: str) -> str:
    return f"{kind.capitalize()}UrlSecret"


def _database_url(kind: str) -> Json:
    """The variable of a function that logs in as its kind's role."""
    own = _secret_parameter(kind)
    url = {"Fn::If": [f"Has{own}", _secret(own), _secret("DatabaseUrlSecret")]}
    return {"DECANTER_DATABASE_URL": url}


def _migrate_variables(stage: Stage) -> Json:
    """The owner's URL, and those of the roles that are to be made. An empty one: none is made."""
    variables: Json = {"DECANTER_DATABASE_URL": _secret("DatabaseUrlSecret")}
    for kind in KINDS:
        own = _secret_parameter(kind)
        variables[f"DECANTER_{kind.upper()}_URL"] = {"Fn::If": [f"Has{own}", _secret(own), ""]}
        variables[f"DECANTER_{kind.upper()}_CONNECTIONS"] = str(stage.connections(kind))
    return variables


def _database_function(
    stage: Stage, name: str, variables: Json, statements: list[Json] | None = None
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
    in_vpc = [network] if name in stage.in_vpc else []
    tokens = [_allow(["rds-db:connect"], _database_users(name))] if stage.tokens else []
    return _function(
        FUNCTIONS[name],
        {**variables, "DECANTER_SECRETS_VERSION": {"Ref": "SecretsVersion"}},
        [*(statements or []), *tokens, *in_vpc],
    )


def _database_users(function: str) -> list[Json]:
    """Roles are called like the database, whose name only the secret has, and their kind, by turns
    with a number. The owner may be called anything."""
    users = [
        name
        for kind, functions in KINDS.items()
        if function in functions
        for name in role_names("*", kind)
    ]
    place = "${AWS::Partition}:rds-db:${AWS::Region}:${AWS::AccountId}:dbuser:${DatabaseResource}"
    return [{"Fn::Sub": f"arn:{place}/{user}"} for user in users or ["*"]]


def _function(names: tuple[str, str], variables: Mapping[str, Any], statements: list[Json]) -> Json:
    function, role = names
    logs = _allow(["logs:CreateLogStream", "logs:PutLogEvents"], [_arn(f"{function}Logs")])
    # Traces belong to no resource; AWS knows only all of them.
    traces = _allow(["xray:PutTraceSegments", "xray:PutTelemetryRecords"], "*")
    document = {"Version": "2012-10-17", "Statement": [*statements, logs, traces]}
    return {
        function: {
            "Properties": {
                "Environment": {"Variables": variables},
                "LoggingConfig": {"LogGroup": {"Ref": f"{function}Logs"}},
                "Tracing": "Active",
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


def _given(parameter: str) -> Json:
    return {"Fn::Not": [{"Fn::Equals": [{"Ref": parameter}, ""]}]}


def _queue_arn(name: str) -> Json:
    """Of a queue that cannot be referred to, for it refers to this one."""
    return {"Fn::Sub": f"arn:${{AWS::Partition}}:sqs:${{AWS::Region}}:${{AWS::AccountId}}:{name}"}


def _arn(logical_name: str) -> Json:
    return {"Fn::GetAtt": [logical_name, "Arn"]}
