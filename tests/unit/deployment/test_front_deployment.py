"""The front table of a stage: in its template, before a deployment, and by `chalice deploy`."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest

from chalicelib.buffer.dynamodb import entries
from decanter.deployment import budget, chalice_deploy, deploy, functions, smoke, template
from decanter.deployment import mappings as event_mappings
from decanter.deployment.aws import Aws
from decanter.deployment.findings import Finding
from decanter.deployment.plan import DeploymentPlan
from decanter.deployment.preflight import front as checks
from decanter.deployment.stage import ConfigurationError, Stage, load, policy
from decanter.deployment.template import front
from tests.kit.mocked_aws import mocked_aws
from tests.kit.project import PROJECT

CAPS = {"drain_ordered": 4, "drain_unordered": 1, "drain_stream": 3, "operate": 1}
WITHOUT = Stage("p", "jwt", caps=CAPS)
STAGE = replace(WITHOUT, fronts={"things": "dynamodb"})
TEMPLATE = template.build(STAGE)
ROLES = {"drain": 4 + 1 + 3 + 1, "reader": 0, "owner": 0, "sweep": 0}
"""The budget by database role, of the caps that are set."""
PLAIN = replace(STAGE, name="dev", configuration={"app_name": "app"})
ITEM = 'row/things/["1"]'


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mocked_aws():
        yield lambda service: boto3.client(service, region_name="eu-central-1")


def copied(folder: Path) -> Path:
    """A copy of the project, as far as a stage is read from it."""
    for name in ("chalicelib", ".chalice"):
        shutil.copytree(PROJECT / name, folder / name)
    shutil.copy2(PROJECT / "app.py", folder)
    return folder


# In the template


def test_the_table_keeps_what_it_has_and_streams_new_images() -> None:
    assert TEMPLATE["Resources"]["FrontTable"] == {
        "Type": "AWS::DynamoDB::Table",
        "DeletionPolicy": "RetainExceptOnCreate",
        "UpdateReplacePolicy": "Retain",
        "Properties": {
            "TableName": "p-front",
            "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
            "BillingMode": "PAY_PER_REQUEST",
            "SSESpecification": {"SSEEnabled": True},
            "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
            "TimeToLiveSpecification": {"AttributeName": "ttl", "Enabled": True},
            "StreamSpecification": {"StreamViewType": "NEW_IMAGE"},
        },
    }


def test_entries_have_the_attributes_that_the_table_is_told_of() -> None:
    entry = entries.item_entry(entries.tombstone(ITEM, "e", "message", 0))

    assert {front.KEY, front.EXPIRY, front.WRITE} <= {*entry}
    assert entry[front.WRITE] == {"S": "message"}


def passes(pattern: Any, record: Any) -> bool:
    """Whether a filter lets a record pass that asks only for what exists. To Lambda, only what has
    no members of its own can exist."""
    if pattern == [{"exists": True}]:
        return record is not None and not isinstance(record, dict)
    return all(passes(each, (record or {}).get(name)) for name, each in pattern.items())


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (entries.item_entry(entries.FrontItem(ITEM, "{}", "e", "message")), True),
        (entries.item_entry(entries.tombstone(ITEM, "e", "message", 0)), True),
        (entries.item_entry(entries.FrontItem(ITEM, "{}", "e")), False),
        (entries.claim_entry("unique/things/u/[1]", ITEM), False),
        (entries.record_entry(entries.key_record("key/1", "f", None, 0)), False),
        (None, False),
    ],
    ids=["write", "delete", "set back", "claim", "key record", "removed"],
)
def test_the_stream_delivers_writes_and_nothing_else(image: Any, expected: bool) -> None:
    [allowed] = front.MAPPING["FilterCriteria"]["Filters"]
    record = {"eventName": "MODIFY", "dynamodb": {"NewImage": image} if image else {}}

    assert passes(json.loads(allowed["Pattern"]), record) is expected


def test_the_streams_drain_is_given_every_record_until_it_is_poured() -> None:
    events = TEMPLATE["Resources"]["DrainStream"]["Properties"]["Events"]
    [name], [event] = events, events.values()
    properties = {**event["Properties"]}
    del properties["FilterCriteria"]

    assert name == "DrainStreamDynamodbEventSource"  # Chalice's, which has the rest
    assert properties == {
        "Stream": {"Fn::GetAtt": ["FrontTable", "StreamArn"]},
        "ParallelizationFactor": 1,
        "MaximumRetryAttempts": -1,
        "MaximumRecordAgeInSeconds": -1,
        "BisectBatchOnFunctionError": True,
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "Enabled": True,
    }
    variables = TEMPLATE["Resources"]["DrainStream"]["Properties"]["Environment"]["Variables"]
    assert variables["DECANTER_PARTIAL_RESPONSES"] == "1"


def test_api_and_settle_know_the_table_and_the_drain_does_not() -> None:
    table = {"Ref": "FrontTable"}
    found = {
        name: each["Properties"]["Environment"]["Variables"].get("DECANTER_FRONT_TABLE")
        for name, each in TEMPLATE["Resources"].items()
        if "Environment" in each.get("Properties", {})
    }

    assert {name for name, value in found.items() if value == table} == {"APIHandler", "Settle"}
    assert not any(value for value in found.values() if value != table)
    settle = json.dumps(TEMPLATE["Resources"]["Settle"])
    assert "DECANTER_DATABASE_URL" not in settle
    assert '"DECANTER_READER_FUNCTION": {"Ref": "Reader"}' in settle


@pytest.mark.parametrize(
    ("role", "resource"),
    [
        ("ApiHandlerRole", {"Fn::GetAtt": ["FrontTable", "Arn"]}),
        ("SettleRole", {"Fn::GetAtt": ["FrontTable", "Arn"]}),
        ("DrainStreamRole", {"Fn::GetAtt": ["FrontTable", "StreamArn"]}),
    ],
)
def test_a_function_may_use_this_table_or_its_stream_alone(role: str, resource: Any) -> None:
    [policy] = TEMPLATE["Resources"][role]["Properties"]["Policies"]
    [named] = [
        each["Resource"]
        for each in policy["PolicyDocument"]["Statement"]
        if any(action.startswith("dynamodb:") for action in each["Action"])
    ]

    assert named == [resource]


def test_the_api_function_knows_the_budget_of_each_role_and_who_reads_the_stream() -> None:
    given = TEMPLATE["Resources"]["APIHandler"]["Properties"]["Environment"]["Variables"]

    assert json.loads(given["DECANTER_BUDGET"]) == budget.by_role(STAGE) == ROLES
    assert sum(ROLES.values()) == budget.total(STAGE)
    assert given["DECANTER_STREAM_FUNCTION"] == {"Ref": "DrainStream"}
    without = template.build(WITHOUT)["Resources"]["APIHandler"]["Properties"]["Environment"]
    assert "DECANTER_STREAM_FUNCTION" not in without["Variables"]


def test_the_cap_of_the_streams_drain_is_part_of_the_budget() -> None:
    assert budget.total(STAGE) == 4 + 1 + 3 + 1
    assert budget.of_role(STAGE, "drain") == budget.OVERLAP * (4 + 1 + 3 + 1)
    assert [each.steady for each in budget.holders(STAGE) if each.function.reads_stream] == [3]


MONITORING = {"Connections", "Dashboard", "Unaccounted"}
"""Alarms and dashboard, as far as they are otherwise in a stage with a front table."""


@pytest.mark.parametrize(
    ("build", "changed"),
    [
        (
            template.build,
            {"APIHandler", "ApiHandlerRole", "Audit", "AuditRole", "Migrate", *MONITORING},
        ),
        (lambda stage: template.of_queues(stage, "app-dev", "app"), MONITORING),
    ],
    ids=["stack", "chalice deploy"],
)
def test_a_stage_without_a_front_has_nothing_of_it(
    build: Callable[[Stage], Any], changed: set[str]
) -> None:
    made, other = build(WITHOUT), build(STAGE)
    text = json.dumps(made).lower()

    assert not [word for word in ("front", "settle", "dynamodb", "drainstream") if word in text]
    assert budget.total(WITHOUT) == 4 + 1 + 1
    both = {*made["Resources"]} & {*other["Resources"]}
    differing = {name for name in both if made["Resources"][name] != other["Resources"][name]}
    added = {*other["Resources"]} - {*made["Resources"]}
    assert both == {*made["Resources"]}
    assert differing == changed
    assert all(
        name.startswith(("Front", "DrainStream", "Stream", "Settle", "Marked")) for name in added
    )
    assert added


# Before a deployment


def found(aws: Aws, check: Callable[[Aws, Any], Iterator[Finding]], stage: Stage) -> list[str]:
    findings = [*check(aws, template.build(stage))]
    assert all("p-front" in each.text for each in findings)
    return [each.name for each in findings]


def create(aws: Aws, **changed: Any) -> None:
    """Create the table as in the template, but for these properties."""
    wanted = {**TEMPLATE["Resources"]["FrontTable"]["Properties"], **changed}
    wanted.pop("PointInTimeRecoverySpecification")
    expiry = wanted.pop("TimeToLiveSpecification")
    stream = {"StreamEnabled": True, **wanted.pop("StreamSpecification")}
    wanted["SSESpecification"] = {"Enabled": True}
    aws("dynamodb").create_table(**wanted, StreamSpecification=stream)
    if expiry["Enabled"]:
        aws("dynamodb").update_time_to_live(TableName="p-front", TimeToLiveSpecification=expiry)


def test_a_resource_with_a_front_needs_its_table(aws: Aws) -> None:
    assert found(aws, checks.existing, STAGE) == ["table-missing"]
    assert found(aws, checks.existing, WITHOUT) == []
    create(aws)
    assert found(aws, checks.existing, STAGE) == []


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"StreamSpecification": {"StreamViewType": "KEYS_ONLY"}}, "no stream of new images"),
        ({"TimeToLiveSpecification": {"AttributeName": "ttl", "Enabled": False}}, "time to live"),
        (
            {
                "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
                "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            },
            "another key",
        ),
    ],
)
def test_a_table_that_would_not_do_is_refused(
    aws: Aws, changed: dict[str, Any], expected: str
) -> None:
    create(aws, **changed)

    [fault] = checks.existing(aws, TEMPLATE)

    assert (fault.name, expected in fault.text) == ("table-unfit", True)


def test_a_new_stack_takes_no_table_that_is_there(aws: Aws) -> None:
    assert found(aws, checks.taken, STAGE) == []
    create(aws)
    assert found(aws, checks.taken, STAGE) == ["table-taken"]
    assert found(aws, checks.taken, WITHOUT) == []


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [({}, {"queued": 0}), ({"FrontTableName": "p-front"}, {})],
)
def test_writes_in_a_stream_are_not_counted_as_none(
    monkeypatch: pytest.MonkeyPatch, outputs: dict[str, str], expected: dict[str, int]
) -> None:
    """The migrate function then looks for what could break them."""
    events: list[Any] = []
    monkeypatch.setattr(deploy, "count_queued", lambda *_: 0)
    monkeypatch.setattr(
        deploy, "invoke", lambda _aws, _name, event: events.append(event) or {"pending": ["1"]}
    )
    plan = DeploymentPlan(None, "p", None, {})  # type: ignore[arg-type]
    away = SimpleNamespace(meta=SimpleNamespace(endpoint_url="https://x.test"))

    deploy._migrate(lambda _service: away, plan, "m", outputs, 1, events.append)

    [asked] = [each for each in events if isinstance(each, dict) and "dry_run" not in each]
    assert asked == expected


def test_a_front_without_a_function_on_its_stream_is_refused(tmp_path: Path) -> None:
    project = copied(tmp_path)
    app = project / "app.py"
    app.write_text(app.read_text().replace("if stage.has_front():", "if False:"))

    with pytest.raises(ConfigurationError, match="no function drain_stream"):
        load(project, "dev")


# After it


class Mappings:
    """Lambda with one mapping."""

    meta = SimpleNamespace(endpoint_url="http://127.0.0.1")

    def __init__(self, **mapping: Any) -> None:
        self.mapping = {"UUID": "1", "State": "Enabled", **mapping}

    def list_event_source_mappings(self, **_: Any) -> Any:
        return {"EventSourceMappings": [self.mapping]}

    def update_event_source_mapping(self, UUID: str, **settings: Any) -> None:
        assert self.mapping["UUID"] == UUID
        self.mapping |= settings


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, []),
        ({"State": "Disabled"}, []),  # an operator has paused it
        ({"State": "Creating"}, ["is Creating, not Enabled"]),
        ({"FunctionResponseTypes": []}, ["has partial responses off"]),
        ({"FilterCriteria": {}}, ["has no filter"]),
        ({"MaximumRetryAttempts": 3}, ["has MaximumRetryAttempts 3, and drops records"]),
        (
            {"MaximumRecordAgeInSeconds": 60},
            ["has MaximumRecordAgeInSeconds 60, and drops records"],
        ),
    ],
)
def test_a_mapping_that_would_drop_records_is_told(
    changed: dict[str, Any], expected: list[str]
) -> None:
    mappings = Mappings(**{**front.MAPPING, **changed})

    faults = [*smoke.stream_faults(lambda _service: mappings, "drain_stream", "f")]

    assert faults == [f"the event source mapping of drain_stream {each}" for each in expected]


# By `chalice deploy`


def test_chalice_is_told_of_table_and_stream(aws: Aws) -> None:
    aws("secretsmanager").create_secret(
        Name="p/database-url", SecretString="postgresql://o:x@db.test/p"
    )
    outputs = {each.url_output: each.name for each in functions.QUEUES}
    outputs |= {"FrontTableName": "p-front", "FrontStreamArn": "arn:stream"}

    told = chalice_deploy._variables(aws, PLAIN, outputs)

    assert told["api_handler"]["DECANTER_FRONT_TABLE"] == "p-front"
    assert told["api_handler"]["DECANTER_FRONT_STREAM"] == "arn:stream"
    assert told["api_handler"]["DECANTER_STREAM_FUNCTION"] == "app-dev-drain_stream"
    assert json.loads(told["api_handler"]["DECANTER_BUDGET"]) == ROLES
    assert told["settle"] == {
        "DECANTER_FRONT_TABLE": "p-front",
        "DECANTER_READER_FUNCTION": "app-dev-reader",
    }
    assert told["drain_stream"] == {"DECANTER_DATABASE_URL": "postgresql://o:x@db.test/p"}
    without = chalice_deploy._variables(aws, replace(PLAIN, fronts={}), outputs)
    assert "FRONT" not in json.dumps(without)
    assert {"settle", "drain_stream"}.isdisjoint(without)


def test_policies_name_the_table_of_the_stage() -> None:
    for file in ("policy-api.json", "policy-settle.json", "policy-drain-stream.json"):
        document = policy(PROJECT, file)
        chalice_deploy._rename_resources(document, PLAIN)
        named = [arn for each in document["Statement"] for arn in each["Resource"]]
        assert [arn for arn in named if ":table/p-front" in arn], file
        assert "decanter-dev" not in json.dumps(named)


def test_what_chalice_leaves_out_is_set_in_the_mapping_of_the_stream() -> None:
    mappings = Mappings(FunctionResponseTypes=["ReportBatchItemFailures"], BatchSize=1000)

    event_mappings.await_settings(lambda _service: mappings, "f", front.MAPPING)

    assert front.MAPPING.items() <= mappings.mapping.items()
    assert chalice_deploy.mapping_settings(PLAIN) == {
        "app-dev-drain_ordered": {"FunctionResponseTypes": ["ReportBatchItemFailures"]},
        "app-dev-drain_unordered": {"FunctionResponseTypes": ["ReportBatchItemFailures"]},
        "app-dev-drain_stream": front.MAPPING,
    }
    assert "app-dev-drain_stream" not in chalice_deploy.mapping_settings(replace(PLAIN, fronts={}))


@pytest.mark.parametrize("has_front", [True, False])
def test_a_stage_has_a_front_if_its_contract_has_one(tmp_path: Path, has_front: bool) -> None:
    project = copied(tmp_path)
    rules = project / "chalicelib" / "rules.jsonl"
    if not has_front:
        lines = rules.read_text().splitlines(keepends=True)
        rules.write_text("".join(line for line in lines if '"front":' not in line))

    stage = load(project, "dev")

    assert stage.has_front is has_front
    assert ("FrontTable" in template.build(stage)["Resources"]) is has_front
