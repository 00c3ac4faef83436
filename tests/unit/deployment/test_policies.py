"""A function may call what its code calls, and nothing else, however it is deployed."""

import ast
import json
from functools import cache
from typing import Any

import pytest
from botocore import xform_name
from botocore.session import Session

from decanter.deployment import chalice_deploy, template
from decanter.deployment.functions import FUNCTIONS, holders
from decanter.deployment.stage import Stage, load
from decanter.package import services
from tests.kit.destinations import BUS, TOPIC
from tests.kit.project import HOME

HOLDERS = tuple(each.name for each in holders())
ALL = tuple(each.name for each in FUNCTIONS)
DRAINS = ("drain_ordered", "drain_unordered", "drain_stream")
ROOMS = {
    "api": ("api",),
    "asking.py": ("api", "audit", "publish", "settle"),
    "audit": ("api", "audit"),
    "buffer/.": ALL,
    "buffer/mappings.py": ("api", "audit"),
    "buffer/sqs": ("api",),
    "buffer/dynamodb": ("api", "settle"),
    "authorizer": ("bearer",),
    "drain": (*DRAINS, "operate"),
    "operate": ("operate",),
    "reader": ("reader",),
    "migrate": ("migrate",),
    "sweep": ("sweep",),
    "publish": ("publish",),
    "settle": ("settle",),
    "postgres": HOLDERS,
    "messages": ALL,
    "contract": ("api", "audit"),
    "migrations": ("migrate",),
    ".": ALL,
}
"""Files and folders of chalicelib, by the functions whose code calls AWS there; of one that ends
with a point, only the files in it that are not named."""

NOT_OF_SETTLE = "dynamodb:ConditionCheckItem"
"""The only action of the front table's calls for a part that settle's writes do not have."""
NOT_OF_AUDIT = "lambda:UpdateEventSourceMapping"
"""The only action of the mappings' calls that the audit does not have: it looks at them."""
OTHERWISE = {
    "sqs:SendMessageBatch": {"sqs:SendMessage"},
    "sqs:ChangeMessageVisibilityBatch": {"sqs:ChangeMessageVisibility"},
    # SQS moves messages with the rights of the caller.
    "sqs:StartMessageMoveTask": {
        "sqs:StartMessageMoveTask",
        "sqs:ReceiveMessage",
        "sqs:DeleteMessage",
        "sqs:SendMessage",
    },
    "lambda:Invoke": {"lambda:InvokeFunction"},
    "sns:PublishBatch": {"sns:Publish"},
    # Those of the parts that a transaction of chalicelib.buffer.dynamodb.table may have.
    "dynamodb:TransactWriteItems": {
        "dynamodb:PutItem",
        "dynamodb:DeleteItem",
        "dynamodb:ConditionCheckItem",
    },
}
"""Actions of operations that are not named like them."""

OF_LAMBDA = {
    "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes",
    "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:DescribeStream",
    "dynamodb:ListStreams",
    "logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents",
    "xray:PutTraceSegments", "xray:PutTelemetryRecords",
    "ec2:CreateNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets",
    "ec2:DeleteNetworkInterface", "ec2:AssignPrivateIpAddresses", "ec2:UnassignPrivateIpAddresses",
}  # fmt: skip
"""What Lambda does in the function's name."""

REDRIVE = {"sqs:StartMessageMoveTask", "sqs:ListMessageMoveTasks", "sqs:CancelMessageMoveTask"}

STAGES = {
    "plain": Stage("p", "jwt"),
    "vpc": Stage("p", "jwt", in_vpc=frozenset(HOLDERS)),
    "tokens": Stage("p", "jwt", tokens=True),
    "front": Stage("p", "jwt", fronts={"things": "dynamodb"}),
    "topic": Stage("p", "jwt", events=TOPIC),
    "bus": Stage("p", "jwt", events=BUS),
}


@cache
def called(room: str) -> set[str]:
    """Actions for the client operations that the code of a room names."""
    folder = HOME / "chalicelib" / room
    paths = [folder] if room.endswith(".py") else [*folder.rglob("*.py")]
    if room.endswith("."):
        paths = [
            path
            for path in folder.glob("*.py")
            if path.relative_to(HOME / "chalicelib").as_posix() not in ROOMS
        ]
    names = set()
    made = set()
    for path in paths:
        made |= {service for _line, service in services._clients(path)}
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                names.add(node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                names.add(node.value)
    return {
        action
        for service in made
        for operation in Session().get_service_model(service).operation_names
        if xform_name(operation) in names
        for named in [f"{service}:{operation}"]
        for action in OTHERWISE.get(named, {named})
    }


def actions(statements: list[dict[str, Any]]) -> set[str]:
    return {action for each in statements for action in each["Action"]}


def of_template(stage: Stage) -> dict[str, set[str]]:
    resources = template.build(stage)["Resources"]
    found = {}
    for each in stage.functions:
        [policy] = resources[each.execution_role]["Properties"]["Policies"]
        found[each.name] = actions(policy["PolicyDocument"]["Statement"])
    return found


def of_chalice(stage: Stage) -> dict[str, set[str]]:
    """Actions allowed by the policies that `decanter queues` writes."""
    urls = {name: {"DECANTER_DATABASE_URL": "postgresql://owner@h/d"} for name in HOLDERS}
    found = {}
    for file, names in load(HOME, "dev").policy_files.items():
        policy = json.loads((HOME / ".chalice" / file).read_text())
        chalice_deploy._adapt_statements(policy, stage, names, urls)
        for name in {*names} & {each.name for each in stage.functions}:
            found[name] = actions(policy["Statement"])
    return found


@pytest.mark.parametrize("way", [of_template, of_chalice])
@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_a_function_may_do_what_its_code_calls_and_nothing_else(stage: Stage, way: Any) -> None:
    allowed = way(stage)
    needed: dict[str, set[str]] = {each.name: set() for each in stage.functions}
    for room, functions in ROOMS.items():
        for function in needed.keys() & functions:
            needed[function] |= called(room)
    needed["audit"].remove(NOT_OF_AUDIT)
    if stage.has_front:
        needed["settle"].remove(NOT_OF_SETTLE)
    else:
        needed["api"] = {each for each in needed["api"] if not each.startswith("dynamodb:")}
    if stage.events:
        needed["publish"].remove("events:PutEvents" if stage.events.is_topic else "sns:Publish")
    if stage.tokens:
        for holder in needed.keys() & HOLDERS:
            needed[holder].add("rds-db:connect")

    assert needed["api"] >= {"sqs:SendMessage", "sqs:GetQueueAttributes", "lambda:InvokeFunction"}
    assert {name: found - OF_LAMBDA for name, found in allowed.items()} == {
        name: found - OF_LAMBDA for name, found in needed.items()
    }
    assert needed["api"] <= allowed["api"]


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_both_ways_allow_the_same(stage: Stage) -> None:
    traces = {"xray:PutTraceSegments", "xray:PutTelemetryRecords"}  # chalice deploy traces nothing
    groups = {"logs:CreateLogGroup"}  # the template has made them

    assert {name: found - groups for name, found in of_chalice(stage).items()} == {
        name: found - traces for name, found in of_template(stage).items()
    }


def test_on_dsql_only_holders_log_in_and_only_to_their_cluster() -> None:
    url = "postgresql://admin@foo0bar1.dsql.us-east-2.on.aws/postgres"
    urls = {name: {"DECANTER_DATABASE_URL": url} for name in HOLDERS}
    stage = Stage("p", "jwt", tokens=True, engine="dsql")
    known = load(HOME, "dev").policy_files
    for file, names in known.items():
        policy = json.loads((HOME / ".chalice" / file).read_text())
        chalice_deploy._adapt_statements(policy, stage, names, urls)
        logins = [each for each in policy["Statement"] if each["Sid"] == "LogIn"]
        assert [each["Action"] for each in logins] == (
            [["dsql:DbConnectAdmin"]] if {*names} & {*HOLDERS} else []
        )
        for each in logins:
            assert each["Resource"] == ["arn:*:dsql:*:*:cluster/foo0bar1"]

    found = {
        name: {each for each in allowed if not each.startswith(("logs:", "xray:", "ec2:"))}
        for name, allowed in of_template(stage).items()
    }
    for name in found.keys() & HOLDERS:
        expected = "dsql:DbConnectAdmin" if name == "migrate" else "dsql:DbConnect"
        assert {each for each in found.pop(name) if each.startswith("dsql:")} == {expected}
    assert not any(each.startswith("dsql:") for allowed in found.values() for each in allowed)


def test_every_room_is_looked_at() -> None:
    def folders(place: str) -> set[str]:
        found = {path.name for path in (HOME / "chalicelib" / place).iterdir() if path.is_dir()}
        return {name for name in found if name != "__pycache__"}

    named = [room for room in ROOMS if not room.endswith((".", ".py"))]
    assert folders(".") == {room.partition("/")[0] for room in named}
    assert {f"buffer/{name}" for name in folders("buffer")} < {*named}


def test_settle_checks_no_conditions_on_other_entries() -> None:
    code = "".join(path.read_text() for path in (HOME / "chalicelib" / "settle").glob("*.py"))

    assert "Action(" in code
    assert "ConditionCheck" not in code


def test_the_audit_changes_no_mapping() -> None:
    code = "".join(path.read_text() for path in (HOME / "chalicelib" / "audit").glob("*.py"))

    assert "mappings.states(" in code
    assert "set_enabled" not in code


def test_dead_letters_are_looked_at_and_moved_by_the_api_function_alone() -> None:
    for way in (of_template, of_chalice):
        may = {name for name, found in way(STAGES["front"]).items() if found >= REDRIVE}
        assert may == {"api"}


def test_mappings_are_those_of_the_drains_however_a_stage_is_deployed() -> None:
    for file in ("policy-api.json", "policy-audit.json"):
        document = json.loads((HOME / ".chalice" / file).read_text())
        stage = Stage("p", "jwt", name="dev", configuration={"app_name": "app"})
        chalice_deploy._rename_resources(document, stage)
        [statement] = [
            each
            for each in document["Statement"]
            if "lambda:GetEventSourceMapping" in each["Action"]
        ]
        # Their UUIDs are not known before `chalice deploy` has made them.
        assert statement["Resource"] == ["arn:*:lambda:*:*:event-source-mapping:*"]
        assert statement["Condition"] == {
            "ArnLike": {
                "lambda:FunctionArn": [
                    f"arn:*:lambda:*:*:function:app-dev-{drain}" for drain in DRAINS
                ]
            }
        }
