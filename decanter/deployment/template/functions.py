"""What each function is told, what invokes it, where it logs, and what its role allows."""

from collections.abc import Mapping
from typing import Any

from chalicelib.settings import role_names
from decanter.deployment import budget, functions
from decanter.deployment.functions import QUEUES, WAKE_UP, WAKE_UP_CONFIG, Function
from decanter.deployment.references import Json, allow, arn, secret
from decanter.deployment.stage import Stage

_SECRETS_VERSION = {"DECANTER_SECRETS_VERSION": {"Ref": "SecretsVersion"}}

# Functions in a VPC make network interfaces; AWS knows no narrower resource for that.
_NETWORK = allow(
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

# Traces belong to no resource; AWS knows only all of them.
_TRACES = allow(["xray:PutTraceSegments", "xray:PutTelemetryRecords"], "*")


def resources(stage: Stage) -> Json:
    """The functions of a stage with their roles and logs."""
    return {
        name: resource
        for each in stage.functions
        for name, resource in _function(stage, each).items()
    }


def _function(stage: Stage, function: Function) -> Json:
    own_variables, own_statements = _special(stage, function)
    properties: Json = {
        "Environment": {"Variables": {**_variables(function), **own_variables}},
        "LoggingConfig": {"LogGroup": {"Ref": f"{function.logical}Logs"}},
        "Tracing": "Active",
    }
    resource: Json = {"Properties": properties}
    if function.queue:
        # Chalice names the queue instead of referring to it.
        resource["DependsOn"] = [f"{function.queue.logical}Queue"]
        source = {"FunctionResponseTypes": ["ReportBatchItemFailures"]}
        properties["Events"] = {f"{function.logical}SqsEventSource": {"Properties": source}}
    if function.has_clock:
        properties.setdefault("Events", {})[f"{function.logical}Schedule"] = {
            "Type": "Schedule",
            "Properties": {"Schedule": WAKE_UP},
        }
        properties["EventInvokeConfig"] = WAKE_UP_CONFIG
    statements = [*own_statements, *_statements(stage, function)]
    role = {
        "PolicyName": f"{function.execution_role}Policy",
        "PolicyDocument": {"Version": "2012-10-17", "Statement": statements},
    }
    return {
        function.logical: resource,
        # Chalice's policy files cannot name what the stack creates; here the ARNs are exact.
        function.execution_role: {"Properties": {"Policies": [role]}},
        f"{function.logical}Logs": {
            "Type": "AWS::Logs::LogGroup",
            "Properties": {
                "LogGroupName": f"/decanter/{stage.prefix}/{function.name}",
                "RetentionInDays": {"Ref": "LogRetentionDays"},
            },
        },
    }


def _variables(function: Function) -> Json:
    found: Json = {}
    if function.role:
        found = {"DECANTER_DATABASE_URL": _url(function.role), **_SECRETS_VERSION}
    if function.queue:
        found["DECANTER_PARTIAL_RESPONSES"] = "1"
    return found


def _statements(stage: Stage, function: Function) -> list[Json]:
    found = []
    if function.queue:
        actions = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]
        found.append(allow(actions, [arn(f"{function.queue.logical}Queue")]))
    if function.role and stage.tokens:
        found.append(allow(["rds-db:connect"], _database_users(function.role)))
    if function.role and function.name in stage.in_vpc:
        found.append(_NETWORK)
    logs = ["logs:CreateLogStream", "logs:PutLogEvents"]
    return [*found, allow(logs, [arn(f"{function.logical}Logs")]), _TRACES]


def _special(stage: Stage, function: Function) -> tuple[Mapping[str, Any], list[Json]]:
    """Variables and statements that only this function has."""
    match function.name:
        case "api":
            return _API_VARIABLES, _api_statements(stage)
        case "bearer":
            return _BEARER_VARIABLES, []
        case "migrate":
            return _migrate_variables(stage), []
    return {}, []


_READER = functions.function("reader").logical

_API_VARIABLES: Json = {
    **{
        f"DECANTER_{each.name.upper()}_QUEUE_URL": {"Ref": f"{each.logical}Queue"}
        for each in QUEUES
    },
    "DECANTER_READER_FUNCTION": {"Ref": _READER},
    "DECANTER_RECEIPT_KEY": {
        "Fn::If": ["OwnReceiptKey", secret("ReceiptKey"), secret("ReceiptKeySecret")]
    },
    **_SECRETS_VERSION,
}

_BEARER_VARIABLES = {
    "DECANTER_JWT_ISSUER": {"Ref": "JwtIssuer"},
    "DECANTER_JWT_AUDIENCE": {"Ref": "JwtAudience"},
    "DECANTER_JWT_JWKS_URL": {"Ref": "JwtJwksUrl"},
}


def _api_statements(stage: Stage) -> list[Json]:
    queues = [arn(f"{each.logical}Queue") for each in QUEUES]
    found = [
        allow(["sqs:SendMessage", "sqs:GetQueueAttributes"], queues),
        allow(["lambda:InvokeFunction"], [arn(_READER)]),
    ]
    if stage.limits_backlog:  # AWS knows no narrower resource for metrics
        found.append(allow(["cloudwatch:GetMetricStatistics"], "*"))
    return found


def _migrate_variables(stage: Stage) -> Json:
    """The URLs of the roles that are to be made. An empty one: none is made."""
    variables: Json = {}
    for role in functions.roles():
        own = functions.secret_parameter(role)
        variables[f"DECANTER_{role.upper()}_URL"] = {"Fn::If": [f"Has{own}", secret(own), ""]}
        variables[f"DECANTER_{role.upper()}_CONNECTIONS"] = str(budget.of_role(stage, role) or "")
    return variables


def _url(role: str) -> Json:
    """That of the role, or the owner's where it has none of its own."""
    own, owners = functions.secret_parameter(role), functions.secret_parameter(functions.OWNER)
    if own == owners:
        return secret(owners)
    return {"Fn::If": [f"Has{own}", secret(own), secret(owners)]}


def _database_users(role: str) -> list[Json]:
    """Roles are called like the database, whose name only the secret has, and their kind, by turns
    with a number. The owner may be called anything."""
    users = ["*"] if role == functions.OWNER else role_names("*", role)
    place = "${AWS::Partition}:rds-db:${AWS::Region}:${AWS::AccountId}:dbuser:${DatabaseResource}"
    return [{"Fn::Sub": f"arn:{place}/{user}"} for user in users]
