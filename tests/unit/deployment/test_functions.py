"""A function is one row of the registry, which template, budget, roles and alarms read."""

import json
from typing import Any

import boto3
import pytest

from app import app
from chalicelib.settings import ROLES, queue_name
from decanter.deployment import budget, functions, preflight, secrets, template
from decanter.deployment.functions import FUNCTIONS, Function
from decanter.deployment.stage import Stage, load
from tests.kit.mocked_aws import mocked_aws
from tests.kit.project import PROJECT

ARCHIVE = Function("archive_rows", "archive", is_steady=True, errors="The archive fails.")
STAGE = Stage(
    "p",
    "jwt",
    caps={"reader": 4, "archive_rows": 3},
    in_vpc=frozenset({"archive_rows"}),
    tokens=True,
    fronts={"things": "dynamodb"},
)


@pytest.fixture
def another_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functions, "FUNCTIONS", (*FUNCTIONS, ARCHIVE))


def actions(role: dict[str, Any]) -> set[str]:
    [policy] = role["Properties"]["Policies"]
    return {each for allowed in policy["PolicyDocument"]["Statement"] for each in allowed["Action"]}


@pytest.mark.usefixtures("another_row")
def test_a_made_up_function_is_in_the_template() -> None:
    made = template.build(STAGE)

    resources = made["Resources"]
    properties = resources["ArchiveRows"]["Properties"]
    url = properties["Environment"]["Variables"]["DECANTER_DATABASE_URL"]
    assert url["Fn::If"][0] == "HasArchiveUrlSecret"
    assert properties["LoggingConfig"]["LogGroup"] == {"Ref": "ArchiveRowsLogs"}
    assert resources["ArchiveRowsLogs"]["Properties"]["LogGroupName"] == "/decanter/p/archive_rows"
    allowed = actions(resources["ArchiveRowsRole"])
    assert {"ec2:CreateNetworkInterface", "rds-db:connect", "logs:PutLogEvents"} <= allowed
    assert made["Outputs"]["ArchiveRowsFunction"] == {"Value": {"Ref": "ArchiveRows"}}


@pytest.mark.usefixtures("another_row")
def test_a_made_up_function_is_in_the_connection_budget() -> None:
    assert budget.total(STAGE) == 4 + 3
    assert "archive_rows        3          6  archive" in "\n".join(
        budget.table(budget.holders(STAGE))
    )
    uncapped = template.build(STAGE)
    for name in ("DrainOrdered", "DrainUnordered"):
        source = uncapped["Resources"][name]["Properties"]["Events"][f"{name}SqsEventSource"]
        source["Properties"]["ScalingConfig"] = {"MaximumConcurrency": 2}
    assert [each.text.split()[0] for each in preflight.caps(uncapped)] == [
        each.name for each in STAGE.holders
    ]


@pytest.mark.usefixtures("another_row")
def test_a_made_up_function_has_its_database_role() -> None:
    made = template.build(STAGE)

    assert made["Parameters"]["ArchiveUrlSecret"]["Default"] == "p/archive-url"
    assert "HasArchiveUrlSecret" in made["Conditions"]
    variables = made["Resources"]["Migrate"]["Properties"]["Environment"]["Variables"]
    assert variables["DECANTER_ARCHIVE_CONNECTIONS"] == str(2 * 3)
    with mocked_aws():
        client = boto3.client("secretsmanager", region_name="eu-central-1")
        client.create_secret(Name="p/database-url", SecretString="postgresql://o:x@db.test/p")
        assert "p/archive-url" in secrets.ensure(lambda _service: client, "p")


@pytest.mark.usefixtures("another_row")
def test_a_made_up_function_is_watched() -> None:
    resources = template.build(STAGE)["Resources"]

    assert resources["ArchiveRowsErrors"]["Properties"]["AlarmDescription"] == "The archive fails."
    assert '{"Ref": "ArchiveRows"}' in json.dumps(resources["Connections"])
    assert "${ArchiveRows}" in json.dumps(resources["Dashboard"])


def test_a_drain_needs_no_queue() -> None:
    caps = {"drain_ordered": 4, "drain_unordered": 2, "drain_stream": 3, "operate": 1}

    resources = template.build(Stage("p", "jwt", caps=caps, fronts={"things": "dynamodb"}))[
        "Resources"
    ]

    variables = resources["Migrate"]["Properties"]["Environment"]["Variables"]
    assert variables["DECANTER_DRAIN_CONNECTIONS"] == str(2 * (4 + 2 + 3 + 1))
    assert '{"Ref": "DrainStream"}' in json.dumps(resources["Connections"])
    widgets = json.loads(resources["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"])[
        "widgets"
    ]
    [drains] = [each for each in widgets if each["properties"]["title"].startswith("Drains")]
    assert "${DrainStream}" in json.dumps(drains)


def test_the_migrate_function_makes_the_roles_of_all_rows() -> None:
    assert functions.roles() == [*ROLES]


def test_each_function_of_app_py_has_a_row_with_its_queue() -> None:
    sources = {each.name: getattr(each, "queue", None) for each in app.event_sources}
    own = {*sources, *(each.name for each in app.pure_lambda_functions)}
    authorizers = {each.name for each in app.builtin_auth_handlers}

    assert {each.name for each in load(PROJECT, "dev").functions} == {"api"} | own | authorizers
    assert {name: queue for name, queue in sources.items() if queue} == {
        drain.name: queue_name(queue.suffix) for drain, queue in functions.drains()
    }
