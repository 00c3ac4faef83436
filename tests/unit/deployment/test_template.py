"""The merge template: what Chalice leaves out, with least privilege."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from botocore.session import Session

from chalicelib.errors import PROBLEMS
from chalicelib.settings import role_settings
from chalicelib.stage import Authentication
from decanter import package
from decanter.__main__ import main
from decanter.commands import errors
from decanter.deployment import budget, functions, packaging, template
from decanter.deployment.functions import FUNCTIONS
from decanter.deployment.stage import ConfigurationError, Stage, load
from tests.kit.destinations import TOPIC
from tests.kit.project import PROJECT

TEMPLATE = template.build(
    Stage("weather-prod", "jwt", drain_seconds=30, fronts={"things": "dynamodb"}, events=TOPIC)
)


def statements(role: str) -> list[dict[str, Any]]:
    [policy] = TEMPLATE["Resources"][role]["Properties"]["Policies"]
    found: list[dict[str, Any]] = policy["PolicyDocument"]["Statement"]
    return found


# What AWS knows no narrower resource for, and where it is needed.
ON_EVERYTHING = {
    "xray:PutTraceSegments": "traces belong to no resource",
    "xray:PutTelemetryRecords": "traces belong to no resource",
    "cloudwatch:GetMetricStatistics": "metrics are no resources",
    "ec2:CreateNetworkInterface": "the interface of a function in a VPC is not there before",
    "ec2:DescribeNetworkInterfaces": "it describes all of them",
    "ec2:DescribeSubnets": "it describes all of them",
    "ec2:DeleteNetworkInterface": "Lambda asks for it on everything",
    "ec2:AssignPrivateIpAddresses": "Lambda asks for it on everything",
    "ec2:UnassignPrivateIpAddresses": "Lambda asks for it on everything",
}
HOLDERS = frozenset(each.name for each in functions.holders())


def allowed(part: Any) -> Iterator[dict[str, Any]]:
    """All statements of a template that allow something."""
    if isinstance(part, dict):
        if part.get("Effect") == "Allow" and "Action" in part:
            yield part
        for each in part.values():
            yield from allowed(each)
    elif isinstance(part, list):
        for each in part:
            yield from allowed(each)


@pytest.mark.parametrize("in_vpc", [frozenset(), HOLDERS])
def test_nothing_is_allowed_on_everything_that_could_be_named(in_vpc: frozenset[str]) -> None:
    stage = Stage("p", "jwt", in_vpc=in_vpc, fronts={"things": "dynamodb"})
    found = [*allowed(template.build(stage)["Resources"])]
    everywhere = set()

    assert found
    for statement in found:
        assert "NotAction" not in statement
        assert "NotResource" not in statement
        assert all("*" not in action for action in statement["Action"])
        if statement["Resource"] == "*":
            everywhere |= set(statement["Action"])
        else:
            assert "*" not in json.dumps(statement["Resource"])
    needed = {action for action in ON_EVERYTHING if in_vpc or not action.startswith("ec2:")}
    assert everywhere == needed


def test_with_tokens_each_function_logs_in_as_its_own_role() -> None:
    made = template.build(Stage("p", "jwt", tokens=True, fronts={"things": "dynamodb"}))
    users = {}
    for name, role in ((each.name, each.execution_role) for each in functions.holders()):
        [policy] = made["Resources"][role]["Properties"]["Policies"]
        [allowed] = [
            each["Resource"]
            for each in policy["PolicyDocument"]["Statement"]
            if each["Action"] == ["rds-db:connect"]
        ]
        assert all(":dbuser:${DatabaseResource}/" in each["Fn::Sub"] for each in allowed)
        users[name] = [each["Fn::Sub"].rpartition("/")[2] for each in allowed]

    assert users == {
        "drain_ordered": ["*_drain", "*_drain_2"],
        "drain_unordered": ["*_drain", "*_drain_2"],
        "drain_stream": ["*_drain", "*_drain_2"],
        "reader": ["*_reader", "*_reader_2"],
        "migrate": ["*"],
        "operate": ["*_drain", "*_drain_2"],
        "sweep": ["*_sweep", "*_sweep_2"],
    }
    assert "Default" not in made["Parameters"]["DatabaseResource"]
    assert "rds-db" not in json.dumps(TEMPLATE)
    assert "rds-db" not in json.dumps(made["Resources"]["ApiHandlerRole"])


def test_on_dsql_each_role_is_mapped_to_the_roles_of_its_functions() -> None:
    made = template.build(Stage("p", "jwt", tokens=True, engine="dsql"))
    actions = {}
    for each in functions.holders():
        if each.needs_front:
            continue
        [policy] = made["Resources"][each.execution_role]["Properties"]["Policies"]
        [(actions[each.name], cluster)] = [
            (*statement["Action"], statement["Resource"][0]["Fn::Sub"])
            for statement in policy["PolicyDocument"]["Statement"]
            if statement["Action"][0].startswith("dsql:")
        ]
        assert cluster.endswith(
            ":dsql:${AWS::Region}:${AWS::AccountId}:cluster/${DatabaseResource}"
        )
    assert {name for name, action in actions.items() if action == "dsql:DbConnectAdmin"} == {
        "migrate"
    }
    variables = made["Resources"]["Migrate"]["Properties"]["Environment"]["Variables"]
    assert variables["DECANTER_DRAIN_IAM_ROLES"] == {
        "Fn::Join": [
            " ",
            [
                {"Fn::GetAtt": [role, "Arn"]}
                for role in ("DrainOrderedRole", "DrainUnorderedRole", "OperateRole")
            ],
        ]
    }
    assert made["Parameters"]["DatabaseResource"]["AllowedPattern"] == "^[a-z0-9]{26}$"
    assert "IAM_ROLES" not in json.dumps(TEMPLATE)


def test_each_function_has_a_role_of_its_own() -> None:
    roles = [each.execution_role for each in FUNCTIONS]

    assert len({*roles}) == len(roles)
    for role in roles:
        assert statements(role)


def test_only_functions_in_a_vpc_make_network_interfaces() -> None:
    stage = Stage("p", "jwt", in_vpc=frozenset({"reader"}))
    resources = template.build(stage)["Resources"]

    able = [name for name, each in resources.items() if "ec2:" in json.dumps(each)]

    assert able == ["ReaderRole"]


@pytest.mark.parametrize(
    "queue",
    ["OrderedQueue", "UnorderedQueue", "OrderedDeadLetterQueue", "UnorderedDeadLetterQueue"],
)
def test_queues_keep_their_messages_to_themselves_and_for_long(queue: str) -> None:
    resource = TEMPLATE["Resources"][queue]
    [statement] = TEMPLATE["Resources"][f"{queue}Policy"]["Properties"]["PolicyDocument"][
        "Statement"
    ]

    assert statement == {
        "Sid": "OnlyWithTls",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "sqs:*",
        "Resource": {"Fn::GetAtt": [queue, "Arn"]},
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    assert TEMPLATE["Resources"][f"{queue}Policy"]["Properties"]["Queues"] == [{"Ref": queue}]
    assert resource["Properties"]["SqsManagedSseEnabled"] is True
    assert resource["Properties"]["MaximumMessageSize"] == 1_048_576
    assert resource["Properties"]["MessageRetentionPeriod"] == 14 * 24 * 3600
    # A stack that is deleted leaves them; one that could not be created does not.
    assert resource["DeletionPolicy"] == "RetainExceptOnCreate"
    assert resource["UpdateReplacePolicy"] == "Retain"


@pytest.mark.parametrize("name", ["Ordered", "Unordered"])
def test_a_dead_letter_queue_takes_from_its_queue_only(name: str) -> None:
    queue, dead = (TEMPLATE["Resources"][f"{name}{kind}"] for kind in ("Queue", "DeadLetterQueue"))
    allow = dead["Properties"]["RedriveAllowPolicy"]

    assert allow["redrivePermission"] == "byQueue"
    [source] = allow["sourceQueueArns"]
    assert source["Fn::Sub"].endswith(f":{queue['Properties']['QueueName']}")
    target = queue["Properties"]["RedrivePolicy"]["deadLetterTargetArn"]
    assert target == {"Fn::GetAtt": [f"{name}DeadLetterQueue", "Arn"]}


def test_a_database_may_be_away_for_12_hours() -> None:
    """The arithmetic: every delivery of a message fails while the database is away, and each hides
    it for the visibility timeout, whatever the drain does meanwhile. SQS moves it when it has been
    received more than maxReceiveCount times."""
    for queue in ("OrderedQueue", "UnorderedQueue"):
        properties = TEMPLATE["Resources"][queue]["Properties"]
        assert properties["VisibilityTimeout"] == {"Ref": "VisibilityTimeout"}
        hidden = TEMPLATE["Parameters"]["VisibilityTimeout"]["Default"]
        receives = properties["RedrivePolicy"]["maxReceiveCount"]

        endured = hidden * receives

        assert receives <= 1000  # the most that SQS takes
        assert endured == 12.5 * 3600
        assert endured < properties["MessageRetentionPeriod"]


def test_every_function_is_traced_and_logs_to_a_group_that_forgets() -> None:
    for function, role in ((each.logical, each.execution_role) for each in FUNCTIONS):
        properties = TEMPLATE["Resources"][function]["Properties"]
        assert properties["Tracing"] == "Active"
        assert "xray:PutTraceSegments" in json.dumps(statements(role))
        assert properties["LoggingConfig"]["LogGroup"] == {"Ref": f"{function}Logs"}
        logs = TEMPLATE["Resources"][f"{function}Logs"]["Properties"]
        assert logs["RetentionInDays"] == {"Ref": "LogRetentionDays"}
    assert TEMPLATE["Resources"]["RestAPI"]["Properties"]["TracingEnabled"] is True


def test_each_function_has_the_url_of_its_own_role_only() -> None:
    kinds = {"DrainOrdered": "Drain", "DrainUnordered": "Drain", "Reader": "Reader"}
    kinds |= {"DrainStream": "Drain", "Sweep": "Sweep"}
    for function, kind in kinds.items():
        variables = TEMPLATE["Resources"][function]["Properties"]["Environment"]["Variables"]
        condition, own, owners = variables["DECANTER_DATABASE_URL"]["Fn::If"]
        assert condition == f"Has{kind}UrlSecret"
        assert f"${{{kind}UrlSecret}}" in own["Fn::Sub"]
        assert "${DatabaseUrlSecret}" in owners["Fn::Sub"]
        assert not [name for name in variables if name in ("DECANTER_DRAIN_URL",)]
    migrate = TEMPLATE["Resources"]["Migrate"]["Properties"]["Environment"]["Variables"]
    assert "${DatabaseUrlSecret}" in migrate["DECANTER_DATABASE_URL"]["Fn::Sub"]


def test_the_migrate_function_is_given_every_role() -> None:
    found = load(PROJECT, "dev")
    variables = template.build(found)["Resources"]["Migrate"]["Properties"]["Environment"]
    settings = {
        name: "url" if name.endswith("_URL") else value
        for name, value in variables["Variables"].items()
    }

    roles = role_settings({**settings, "DECANTER_DATABASE_URL": "x"})

    assert {role.kind: role.connections for role in roles} == {
        "drain": 2 * (4 + 2 + 4 + 1),
        "reader": 2 * 4,
        "sweep": 2 * 1,
    }
    assert budget.total(found) == 4 + 2 + 4 + 4 + 1 + 1 + 1


def test_whatever_counts_connections_counts_those_of_the_budget() -> None:
    caps = {"drain_ordered": 7, "drain_unordered": 4, "reader": 3, "operate": 1}
    found = Stage("p", "jwt", caps=caps, mappings={"drain_ordered": 5, "drain_unordered": 2})
    made = template.build(found)

    variables = made["Resources"]["Migrate"]["Properties"]["Environment"]["Variables"]
    alarm = made["Resources"]["Connections"]["Properties"]
    # The ordered drain is also invoked by its schedule, which only reserved concurrency limits.
    assert budget.total(found) == 7 + 2 + 3 + 1
    assert variables["DECANTER_DRAIN_CONNECTIONS"] == str(2 * (7 + 2 + 1))
    assert made["Parameters"]["ConnectionsAlarm"]["Default"] == 2 * (7 + 2 + 3 + 1)
    assert alarm["Threshold"] == 9  # 90 % of the 5 + 2 + 3 that work steadily


def test_a_role_of_functions_without_a_cap_has_no_connection_limit() -> None:
    made = template.build(Stage("p", "jwt", caps={"drain_unordered": 2, "reader": 3}))

    variables = made["Resources"]["Migrate"]["Properties"]["Environment"]["Variables"]
    assert variables["DECANTER_DRAIN_CONNECTIONS"] == ""  # which the migrate function refuses
    assert variables["DECANTER_READER_CONNECTIONS"] == str(2 * 3)


def test_functions_are_updated_when_a_secret_changes() -> None:
    for function in (each.logical for each in functions.holders()):
        variables = TEMPLATE["Resources"][function]["Properties"]["Environment"]["Variables"]
        assert variables["DECANTER_SECRETS_VERSION"] == {"Ref": "SecretsVersion"}


def test_vpc_settings_are_found_where_chalice_looks_for_them(tmp_path: Path) -> None:
    folder = project(tmp_path, DECANTER_AUTH="iam")
    file = folder / ".chalice" / "config.json"
    document = json.loads(file.read_text())
    document["stages"]["prod"]["lambda_functions"] = {
        "reader": {"subnet_ids": ["subnet-1"], "reserved_concurrency": 3}
    }
    file.write_text(json.dumps(document))

    found = load(folder, "prod")

    assert (found.in_vpc, found.caps) == (frozenset({"reader"}), {"reader": 3})
    document["subnet_ids"] = ["subnet-2"]
    file.write_text(json.dumps(document))
    assert load(folder, "prod").in_vpc == frozenset(each.name for each in FUNCTIONS)


def test_the_api_function_has_neither_database_nor_network() -> None:
    function = TEMPLATE["Resources"]["APIHandler"]["Properties"]

    assert "DECANTER_DATABASE_URL" not in function["Environment"]["Variables"]
    assert "ec2:" not in json.dumps(statements("ApiHandlerRole"))


@pytest.mark.parametrize(
    ("drain", "queue"), [("DrainOrdered", "Ordered"), ("DrainUnordered", "Unordered")]
)
def test_drains_wait_for_their_queue_and_report_failed_messages(drain: str, queue: str) -> None:
    resource = TEMPLATE["Resources"][drain]
    event = resource["Properties"]["Events"][f"{drain}SqsEventSource"]

    assert resource["DependsOn"] == [f"{queue}Queue"]
    # Chalice's value of Queue stands: to merge another one into it makes it invalid.
    assert event == {
        "Properties": {"FunctionResponseTypes": ["ReportBatchItemFailures"], "Enabled": True}
    }


def test_queues_have_the_names_that_app_py_listens_to() -> None:
    from chalicelib.settings import queue_name

    for logical, suffix in (("OrderedQueue", "ordered.fifo"), ("UnorderedQueue", "unordered")):
        name = TEMPLATE["Resources"][logical]["Properties"]["QueueName"]
        assert name == queue_name(suffix, {"DECANTER_QUEUES": "weather-prod"})


def test_a_message_is_hidden_until_its_drain_is_done_and_no_longer(tmp_path: Path) -> None:
    """From delivery to the end of the drain's timeout: batching window, cold start, and timeout."""
    configured = load(PROJECT, "dev").configuration["stages"]["dev"]["lambda_functions"]
    longest = max(
        configured[name]["lambda_timeout"] for name in ("drain_ordered", "drain_unordered")
    )
    hidden = TEMPLATE["Parameters"]["VisibilityTimeout"]

    assert hidden["Default"] == hidden["MinValue"] == longest + 15
    folder = project(tmp_path, DECANTER_AUTH="iam")
    file = folder / ".chalice" / "config.json"
    assert load(folder, "prod").drain_seconds == 60  # Chalice's own
    document = json.loads(file.read_text())
    document["stages"]["prod"]["lambda_functions"] = {"drain_unordered": {"lambda_timeout": 200}}
    file.write_text(json.dumps(document))
    made = template.build(load(folder, "prod"))["Parameters"]["VisibilityTimeout"]
    assert made["Default"] == made["MinValue"] == 215


def test_rows_that_wait_in_the_database_have_a_clock() -> None:
    properties = TEMPLATE["Resources"]["DrainOrdered"]["Properties"]

    assert properties["Events"]["DrainOrderedSchedule"] == {
        "Type": "Schedule",
        "Properties": {"Schedule": "rate(1 minute)"},
    }
    # A minute that is missed is not made up for: the next one comes.
    assert properties["EventInvokeConfig"] == {
        "MaximumRetryAttempts": 0,
        "MaximumEventAgeInSeconds": 60,
    }


def test_a_stage_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigurationError, match="no stage 'nope'"):
        load(PROJECT, "nope")


def answers(stage: Stage) -> dict[str, Any]:
    body = template.build(stage)["Resources"]["RestAPI"]["Properties"]["DefinitionBody"]
    found: dict[str, Any] = body["x-amazon-apigateway-gateway-responses"]
    return found


def gateway_types() -> list[str]:
    """All response types of API Gateway."""
    model = Session().get_service_model("apigateway")
    return list(model.shape_for("GatewayResponseType").enum)


@pytest.mark.parametrize("authentication", ["jwt", "iam"])
def test_whatever_api_gateway_answers_is_a_problem(authentication: Authentication) -> None:
    found = answers(Stage("p", authentication))

    assert set(found) == set(gateway_types())
    for answer in found.values():
        [(content_type, text)] = answer["responseTemplates"].items()
        problem = json.loads(text)
        kind = problem["type"].removeprefix("urn:decanter:problem:")
        status, title = PROBLEMS[kind]
        assert content_type == "application/json"  # the one that API Gateway always finds
        assert (problem["status"], problem["title"]) == (status, title)
        assert answer["statusCode"] == str(status)
        assert problem["detail"]
        assert problem["instance"] == "urn:uuid:$context.requestId"
        assert status < 500 or status == 503
        headers = answer["responseParameters"]
        assert headers["gatewayresponse.header.Content-Type"] == "'application/problem+json'"
        assert ("gatewayresponse.header.WWW-Authenticate" in headers) == (status == 401)
        assert ("gatewayresponse.header.Retry-After" in headers) == (status in (429, 503))
        assert not any("Access-Control" in name for name in headers)


@pytest.mark.parametrize(
    ("authentication", "kind", "expected"),
    [
        ("jwt", "UNAUTHORIZED", "unauthorized"),
        ("jwt", "ACCESS_DENIED", "forbidden"),
        ("jwt", "MISSING_AUTHENTICATION_TOKEN", "unknown-path"),
        ("jwt", "DEFAULT_4XX", "unknown-path"),
        ("iam", "MISSING_AUTHENTICATION_TOKEN", "unauthorized"),
        ("iam", "INVALID_SIGNATURE", "unauthorized"),
        ("iam", "EXPIRED_TOKEN", "unauthorized"),
        ("iam", "ACCESS_DENIED", "forbidden"),
        ("jwt", "AUTHORIZER_FAILURE", "unavailable"),
        ("jwt", "AUTHORIZER_CONFIGURATION_ERROR", "unavailable"),
        ("jwt", "INTEGRATION_TIMEOUT", "unavailable"),
        ("jwt", "INTEGRATION_FAILURE", "unavailable"),
        ("jwt", "DEFAULT_5XX", "unavailable"),
        ("jwt", "THROTTLED", "throttled"),
        ("jwt", "QUOTA_EXCEEDED", "throttled"),
        ("jwt", "REQUEST_TOO_LARGE", "body-too-large"),
        ("jwt", "UNSUPPORTED_MEDIA_TYPE", "unsupported-media-type"),
        ("jwt", "BAD_REQUEST_BODY", "bad-request"),
    ],
)
def test_each_kind_of_answer_has_its_type(
    authentication: Authentication, kind: str, expected: str
) -> None:
    text = answers(Stage("p", authentication))[kind]["responseTemplates"]
    assert json.loads(text["application/json"])["type"] == f"urn:decanter:problem:{expected}"


def test_a_browser_is_asked_for_a_password_where_tokens_are_taken() -> None:
    def challenge(authentication: Authentication) -> str:
        answer = answers(Stage("p", authentication))["UNAUTHORIZED"]
        found: str = answer["responseParameters"]["gatewayresponse.header.WWW-Authenticate"]
        return found

    assert challenge("jwt").startswith("'Basic realm=\"")
    assert "Bearer" in challenge("jwt")
    assert "Basic" not in challenge("iam")


def test_errors_of_the_gateway_can_be_read_by_scripts_of_the_origin() -> None:
    for answer in answers(Stage("p", "jwt", "https://app.test")).values():
        headers = answer["responseParameters"]
        origin = headers["gatewayresponse.header.Access-Control-Allow-Origin"]
        assert origin == "'https://app.test'"
        exposed = headers["gatewayresponse.header.Access-Control-Expose-Headers"]
        assert "Retry-After" in exposed


def test_the_authorizer_may_write_its_logs_and_traces_and_nothing_else() -> None:
    logs, traces = statements("BearerRole")

    assert logs == {
        "Effect": "Allow",
        "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
        "Resource": [{"Fn::GetAtt": ["BearerLogs", "Arn"]}],
    }
    assert all(action.startswith("xray:Put") for action in traces["Action"])
    file = json.loads((PROJECT / ".chalice" / "policy-bearer.json").read_text())
    assert all(
        action.startswith("logs:") for each in file["Statement"] for action in each["Action"]
    )


def test_the_authorizer_is_given_the_issuer_and_no_secret() -> None:
    variables = TEMPLATE["Resources"]["Bearer"]["Properties"]["Environment"]["Variables"]

    assert variables == {
        "DECANTER_JWT_ISSUER": {"Ref": "JwtIssuer"},
        "DECANTER_JWT_AUDIENCE": {"Ref": "JwtAudience"},
        "DECANTER_JWT_JWKS_URL": {"Ref": "JwtJwksUrl"},
    }
    for name in ("JwtIssuer", "JwtAudience"):
        assert "Default" not in TEMPLATE["Parameters"][name]


@pytest.mark.parametrize(
    ("url", "accepted"),
    [
        ("https://issuer.test/x", True),
        ("http://127.0.0.1:4566/x", True),
        ("http://localhost/decanter", True),
        ("http://issuer.test", False),
        ("http://localhost.evil.test", False),
        ("http://localhost@evil.test", False),
        ("issuer.test", False),
    ],
)
def test_an_issuer_that_could_be_forged_is_no_parameter(url: str, accepted: bool) -> None:
    parameters = TEMPLATE["Parameters"]

    assert bool(re.fullmatch(parameters["JwtIssuer"]["AllowedPattern"], url)) is accepted
    assert bool(re.fullmatch(parameters["JwtJwksUrl"]["AllowedPattern"], url)) is accepted
    assert re.fullmatch(parameters["JwtJwksUrl"]["AllowedPattern"], "")


def test_a_stage_with_signatures_has_no_authorizer() -> None:
    found = template.build(Stage("p", "iam"))

    assert not [name for name in found["Resources"] if name.startswith("Bearer")]
    assert not [name for name in found["Parameters"] if name.startswith("Jwt")]
    assert "BearerFunction" not in found["Outputs"]


def project(folder: Path, **variables: str) -> Path:
    (folder / ".chalice").mkdir()
    stage = {"environment_variables": {"DECANTER_QUEUES": "p", **variables}}
    (folder / ".chalice" / "config.json").write_text(json.dumps({"stages": {"prod": stage}}))
    return folder


def test_a_stage_is_read_from_the_configuration(tmp_path: Path) -> None:
    found = load(
        project(
            tmp_path,
            DECANTER_AUTH="jwt",
            DECANTER_CORS_ORIGIN="https://app.test",
            DECANTER_JWT_ISSUER="https://issuer.test",
            DECANTER_JWT_AUDIENCE="weather",
        ),
        "prod",
    )

    expected = Stage("p", "jwt", "https://app.test", "https://issuer.test", "weather", name="prod")
    assert found == expected
    parameters = template.build(found)["Parameters"]
    assert parameters["JwtIssuer"]["Default"] == "https://issuer.test"
    assert parameters["JwtAudience"]["Default"] == "weather"
    assert parameters["JwtJwksUrl"]["Default"] == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "cannot be read: No such file"),
        ("{bad", "cannot be read: .*line 1"),
        ("[]", "is not an IAM policy: Statement"),
        ('{"Statement": [1]}', "is not an IAM policy: Statement"),
    ],
)
def test_a_file_that_is_no_policy_is_reported_by_its_name(
    tmp_path: Path, text: str | None, expected: str
) -> None:
    (tmp_path / ".chalice").mkdir()
    shutil.copy2(PROJECT / ".chalice" / "config.json", tmp_path / ".chalice")
    if text is not None:
        (tmp_path / ".chalice" / "policy-api.json").write_text(text)

    with pytest.raises(ConfigurationError, match=rf"policy-api\.json {expected}"):
        packaging.package(tmp_path, load(tmp_path, "dev"), tmp_path / "out")


def test_what_chalice_says_is_shown_without_its_traceback(tmp_path: Path) -> None:
    folder = project(tmp_path)
    (folder / "app.py").write_text("\n\nraise SystemError\n")

    with pytest.raises(package.PackagingError) as raised:
        package.run_chalice(folder, "prod", tmp_path / "out")

    explained = errors.explain(raised.value) or ""
    assert explained.startswith("chalice package failed: app.py:3: Sys")


@pytest.mark.parametrize(
    ("function", "settings", "expected"),
    [
        (None, {"environment_variables": {"N": 900}}, r"dev\.environment_variables\.N is 900\."),
        ("reader", {"environment_variables": {"N": True}}, r"reader\.environment_variables\.N is "),
        ("reader", {"environment_variables": []}, r"reader\.environment_variables is not an obj"),
        ("reader", {"reserved_concurrency": "4"}, r"reader\.reserved_concurrency is '4'\. .*whole"),
        ("drain_ordered", {"lambda_timeout": 1.5}, r"ordered\.lambda_timeout is 1\.5"),
        ("reader", {"lambda_timeout": 901}, "lambda_timeout is 901. Make it .* from 1 to 900"),
        (None, {"lambda_memory_size": -1}, r"stages\.dev\.lambda_memory_size is -1"),
    ],
)
def test_settings_that_chalice_could_not_take(
    tmp_path: Path, function: str | None, settings: dict[str, Any], expected: str
) -> None:
    whole = json.loads((PROJECT / ".chalice" / "config.json").read_text())
    place = whole["stages"]["dev"]
    (place["lambda_functions"][function] if function else place).update(settings)
    (tmp_path / ".chalice").mkdir()
    (tmp_path / ".chalice" / "config.json").write_text(json.dumps(whole))

    with pytest.raises(ConfigurationError, match=expected):
        load(tmp_path, "dev")


@pytest.mark.parametrize(
    ("variables", "cure"),
    [
        ({}, 'DECANTER_AUTH is not set. Set it to "jwt"'),
        ({"DECANTER_AUTH": "iam", "DECANTER_CORS_ORIGIN": "*"}, "Name one origin"),
    ],
)
def test_a_choice_that_cannot_be_makes_no_template(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    variables: dict[str, str],
    cure: str,
) -> None:
    with patch("decanter.commands.template.PROJECT", project(tmp_path, **variables)):
        assert main(["template", "--stage", "prod"]) == 1

    shown = capsys.readouterr()
    assert shown.out == ""
    assert "Stage 'prod'" in shown.err
    assert cure in shown.err


def test_no_secret_is_in_the_template() -> None:
    text = json.dumps(TEMPLATE)

    assert "postgresql:" not in text
    # The receipt key, the stack's own or a shared one; the owner's URL for migrate and in place of
    # the roles' (three drains, operate, reader, sweep); the roles' for them, and for migrate.
    assert text.count("{{resolve:secretsmanager:") == 2 + 7 + 6 + 3
