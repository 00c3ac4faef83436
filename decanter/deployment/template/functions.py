"""The functions: environment, events, logs and permissions."""

import json
from collections.abc import Mapping
from typing import Any

from chalicelib.settings import mapping_variable, role_names
from decanter.deployment import budget, front_states, functions
from decanter.deployment.functions import QUEUES, Function
from decanter.deployment.references import Json, allow, arn, secret
from decanter.deployment.stage import Stage
from decanter.deployment.template import front

_SECRETS_VERSION = {"DECANTER_SECRETS_VERSION": {"Ref": "SecretsVersion"}}

# Functions in a VPC make network interfaces; these actions accept no narrower resource.
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

# Said, so that a deployment can say otherwise of a buffer that an operator has paused.
_NOT_PAUSED = {"Enabled": True}

# Traces belong to no resource.
_TRACES = allow(["xray:PutTraceSegments", "xray:PutTelemetryRecords"], "*")


def resources(stage: Stage) -> Json:
    """The functions of a stage with their IAM roles and logs."""
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
        # Chalice names the queue instead of referring to it, so CloudFormation knows no order.
        resource["DependsOn"] = [f"{function.queue.logical}Queue"]
        source = {"FunctionResponseTypes": [functions.PARTIAL_RESPONSES], **_NOT_PAUSED}
        properties["Events"] = {function.event_source: {"Properties": source}}
    if function.reads_stream:
        source = {**front.event(), **_NOT_PAUSED}
        properties["Events"] = {function.event_source: {"Properties": source}}
    if function.has_clock:
        properties.setdefault("Events", {})[f"{function.logical}Schedule"] = {
            "Type": "Schedule",
            "Properties": {"Schedule": functions.WAKE_UP},
        }
        properties["EventInvokeConfig"] = functions.WAKE_UP_CONFIG
    statements = [*own_statements, *_statements(stage, function)]
    role = {
        "PolicyName": f"{function.execution_role}Policy",
        "PolicyDocument": {"Version": "2012-10-17", "Statement": statements},
    }
    return {
        function.logical: resource,
        # With exact ARNs, in place of Chalice's policy files, which cannot refer to the stack.
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
    if function.queue or function.reads_stream:
        found["DECANTER_PARTIAL_RESPONSES"] = "1"
    return found


def _statements(stage: Stage, function: Function) -> list[Json]:
    found = []
    if function.queue:
        actions = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]
        found.append(allow(actions, [arn(f"{function.queue.logical}Queue")]))
    if function.reads_stream:
        found.append(allow(_READ_STREAM, [front.stream_arn()]))
    if function.role and stage.tokens:
        found.append(_login(stage, function.role))
    if function.role and function.name in stage.in_vpc:
        found.append(_NETWORK)
    logs = ["logs:CreateLogStream", "logs:PutLogEvents"]
    return [*found, allow(logs, [arn(f"{function.logical}Logs")]), _TRACES]


def _special(stage: Stage, function: Function) -> tuple[Mapping[str, Any], list[Json]]:
    """Variables and policy statements that only this function has."""
    match function.name:
        case "api":
            return _api_variables(stage), _api_statements(stage)
        case "bearer":
            return _BEARER_VARIABLES, []
        case "migrate":
            return _migrate_variables(stage), []
        case "audit":
            return _audit_variables(stage), _audit_statements(stage)
        case "settle":
            return {**_TABLE_VARIABLE, **_READER_VARIABLE}, [_READ_ROWS, _on_table(_SETTLE)]
        case "publish":
            return _OPERATE_VARIABLE, _publish_statements(stage)
    return {}, []


_READER = functions.function("reader").logical
_READER_VARIABLE = {"DECANTER_READER_FUNCTION": {"Ref": _READER}}
_OPERATE = functions.function("operate").logical
_OPERATE_VARIABLE = {"DECANTER_OPERATE_FUNCTION": {"Ref": _OPERATE}}
_TABLE_VARIABLE = {"DECANTER_FRONT_TABLE": {"Ref": functions.FRONT_TABLE}}
_READ_ROWS = allow(["lambda:InvokeFunction"], [arn(_READER)])
_READ_STREAM = [
    "dynamodb:GetRecords",
    "dynamodb:GetShardIterator",
    "dynamodb:DescribeStream",
    "dynamodb:ListStreams",
]

# Actions of calls on the front table; the parts of a transaction need those of single calls.
_SETTLE = [
    "dynamodb:GetItem",
    "dynamodb:BatchGetItem",
    "dynamodb:PutItem",
    "dynamodb:DeleteItem",
]
# To look at dead letters, and to have SQS move them with the rights of the caller.
_REDRIVE = [
    "sqs:GetQueueAttributes",
    "sqs:ReceiveMessage",
    "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessage",
    "sqs:StartMessageMoveTask",
    "sqs:ListMessageMoveTasks",
    "sqs:CancelMessageMoveTask",
]
_WRITE = [*_SETTLE, "dynamodb:ConditionCheckItem"]

_API_LOGS = f"{functions.function('api').logical}Logs"
_API_LOGS_VARIABLES = {
    "DECANTER_API_LOGS": {"Ref": _API_LOGS},
    "DECANTER_LOG_DAYS": {"Ref": "LogRetentionDays"},
}
_READ_ACCEPTED = allow(["logs:FilterLogEvents"], [arn(_API_LOGS)])
_READ_METRICS = allow(["cloudwatch:GetMetricStatistics"], "*")  # metrics are no resources

_QUEUE_VARIABLES = {each.url_variable: {"Ref": f"{each.logical}Queue"} for each in QUEUES}
_API_VARIABLES: Json = {
    **_QUEUE_VARIABLES,
    **_READER_VARIABLE,
    **_OPERATE_VARIABLE,
    **_API_LOGS_VARIABLES,
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


def _api_variables(stage: Stage) -> Json:
    found = {
        **_API_VARIABLES,
        **_mapping_variables(stage),
        "DECANTER_BUDGET": json.dumps(budget.by_role(stage)),
    }
    if not stage.has_front:
        return found
    stream = {"DECANTER_STREAM_FUNCTION": {"Ref": functions.function("drain_stream").logical}}
    return {**found, **_TABLE_VARIABLE, **stream, **front_states.variables(stage.fronts)}


def _mapping_variables(stage: Stage) -> Json:
    """The UUIDs of the buffers' mappings."""
    return {
        mapping_variable(each.buffer): {"Ref": each.mapping}
        for each in stage.functions
        if each.buffer
    }


def _mapping_arns(stage: Stage) -> list[Json]:
    prefix = "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:event-source-mapping"
    return [{"Fn::Sub": f"{prefix}:${{{each.mapping}}}"} for each in stage.functions if each.buffer]


def _on_table(actions: list[str]) -> Json:
    return allow(actions, [arn(functions.FRONT_TABLE)])


def _api_statements(stage: Stage) -> list[Json]:
    queues = [arn(f"{each.logical}Queue") for each in QUEUES]
    dead_letters = [arn(f"{each.logical}DeadLetterQueue") for each in QUEUES]
    found = [
        allow(["sqs:SendMessage", "sqs:GetQueueAttributes"], queues),
        allow(_REDRIVE, dead_letters),
        allow(["lambda:InvokeFunction"], [arn(_READER), arn(_OPERATE)]),
        allow(
            ["lambda:GetEventSourceMapping", "lambda:UpdateEventSourceMapping"],
            _mapping_arns(stage),
        ),
        _READ_METRICS,
        _READ_ACCEPTED,
    ]
    if stage.has_front:
        found.append(_on_table(_WRITE))
    return found


def _audit_variables(stage: Stage) -> Json:
    return {
        **_QUEUE_VARIABLES,
        **_READER_VARIABLE,
        **_API_LOGS_VARIABLES,
        **_mapping_variables(stage),
    }


def _audit_statements(stage: Stage) -> list[Json]:
    queues = [f"{each.logical}{kind}Queue" for kind in ("", "DeadLetter") for each in QUEUES]
    return [
        allow(["sqs:GetQueueAttributes"], [*map(arn, queues)]),
        allow(["lambda:GetEventSourceMapping"], _mapping_arns(stage)),
        _READ_METRICS,
        _READ_ACCEPTED,
        _READ_ROWS,
    ]


def _publish_statements(stage: Stage) -> list[Json]:
    asking = allow(["lambda:InvokeFunction"], [arn(_OPERATE)])
    if stage.events is None:
        return [asking]
    action = "sns:Publish" if stage.events.is_topic else "events:PutEvents"
    return [allow([action], [stage.events.arn]), asking]


def _migrate_variables(stage: Stage) -> Json:
    """URLs and connection limits of the database roles to make. Where a URL is empty, none is made;
    without a limit, the migrate function refuses."""
    variables: Json = {}
    for role in functions.roles():
        own = functions.secret_parameter(role)
        variables[f"DECANTER_{role.upper()}_URL"] = {"Fn::If": [f"Has{own}", secret(own), ""]}
        variables[f"DECANTER_{role.upper()}_CONNECTIONS"] = str(budget.of_role(stage, role) or "")
        if stage.engine == "dsql":
            own_roles = [each.execution_role for each in stage.holders if each.role == role]
            arns = [{"Fn::GetAtt": [each, "Arn"]} for each in own_roles]
            variables[f"DECANTER_{role.upper()}_IAM_ROLES"] = {"Fn::Join": [" ", arns]}
    return variables


def _url(role: str) -> Json:
    """The URL of a role, or the owner's if it has none."""
    own, owners = functions.secret_parameter(role), functions.secret_parameter(functions.OWNER)
    if own == owners:
        return secret(owners)
    return {"Fn::If": [f"Has{own}", secret(own), secret(owners)]}


def _login(stage: Stage, role: str) -> Json:
    """The statement that lets a function log in with a token."""
    if stage.engine != "dsql":
        return allow(["rds-db:connect"], _database_users(role))
    action = "dsql:DbConnectAdmin" if role == functions.OWNER else "dsql:DbConnect"
    place = "arn:${AWS::Partition}:dsql:${AWS::Region}:${AWS::AccountId}"
    return allow([action], [{"Fn::Sub": f"{place}:cluster/${{DatabaseResource}}"}])


def _database_users(role: str) -> list[Json]:
    """ARNs of a role's users. Their names contain the database's, which only the secret has; the
    owner may have any name."""
    users = ["*"] if role == functions.OWNER else role_names("*", role)
    prefix = "${AWS::Partition}:rds-db:${AWS::Region}:${AWS::AccountId}:dbuser:${DatabaseResource}"
    return [{"Fn::Sub": f"arn:{prefix}/{user}"} for user in users]
