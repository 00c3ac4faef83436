"""Findings before a deployment: each has a name and says what to do."""

import copy
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, NoCredentialsError

from chalicelib.postgres.connecting.access import url_parts
from decanter.deployment import (
    budget,
    chalice_deploy,
    cloudformation,
    deploy,
    functions,
    invocation,
    preflight,
    secrets,
    template,
)
from decanter.deployment.aws import Aws
from decanter.deployment.budget import Holder
from decanter.deployment.findings import DeploymentError, Finding, PreflightFailed
from decanter.deployment.plan import DeploymentPlan
from decanter.deployment.stage import Stage, engines, load
from tests.kit.mocked_aws import mocked_aws
from tests.kit.project import PROJECT

STAGE = Stage("p", "iam", drain_seconds=30)
GRANTED = {
    "max_connections": 100,
    "superuser_reserved_connections": 3,
    "reserved_connections": 2,
    "others": 10,
    "others_of_database": 10,
    "database_limit": -1,
    "owner": "app",
    "owner_limit": -1,
    "role_limits": {"p_reader": 12},
}


def document() -> dict[str, Any]:
    """A packaged template, as far as checks read it."""
    made = template.build(STAGE)
    for name, cap in (("DrainOrdered", 4), ("DrainUnordered", 2)):
        properties = made["Resources"][name]["Properties"]
        properties |= {"Timeout": 30, "ReservedConcurrentExecutions": cap}
        event = properties["Events"][f"{name}SqsEventSource"]
        event["Properties"]["ScalingConfig"] = {"MaximumConcurrency": cap}
    for name in ("Reader", "Migrate", "Operate", "Sweep"):
        made["Resources"][name]["Properties"]["ReservedConcurrentExecutions"] = 1
    return made


class Package:
    """A package that is nothing but its template."""

    folder = Path()

    def __init__(self) -> None:
        self.template = document()


def plan(**parameters: str) -> DeploymentPlan:
    return DeploymentPlan(Package(), "p", "", parameters)  # type: ignore[arg-type]


def names(faults: list[Finding]) -> list[str]:
    for fault in faults:
        # Every one says what to do.
        assert any(
            word in fault.text
            for word in ("Set", "set", "move", "take it", "make", "Give", "Lower", "Import",
                         "create-secret", "Log in", "continue-update", "see", "Use", "there are",
                         "There is no stage", "raised", "Make", "Leave")
        ), fault  # fmt: skip
    return [fault.name for fault in faults]


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mocked_aws():
        yield lambda service: granting(boto3.client(service, region_name="eu-central-1"), 1000)


def granting(client: Any, limit: int, others: int = 0) -> Any:
    """The client with GetAccountSettings, which moto lacks."""
    account = {"ConcurrentExecutions": limit, "UnreservedConcurrentExecutions": limit - others}
    client.get_account_settings = lambda: {"AccountLimit": account}
    return client


def keep(aws: Aws, name: str, url: str) -> None:
    aws("secretsmanager").create_secret(Name=name, SecretString=url)


def complete(aws: Aws) -> None:
    keep(aws, "p/database-url", "postgresql://owner:x@db.test/p")
    for kind in functions.roles():
        keep(aws, f"p/{kind}-url", f"postgresql://{kind}:x@db.test/p")


def configured_findings(project: Path, stage: str = "dev") -> list[Finding]:
    """Findings in the stage's configuration."""
    try:
        preflight.load(project, stage)
    except PreflightFailed as error:
        return [*error.findings]
    return []


def test_what_is_in_order_is_not_refused(aws: Aws) -> None:
    complete(aws)

    assert [*preflight.caps(document())] == []
    assert preflight.online(aws, plan()) == []
    assert [*budget.connections(GRANTED, 12)] == []
    assert configured_findings(PROJECT) == []


def test_the_destination_of_events_is_checked(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    complete(aws)
    monkeypatch.setattr(
        "decanter.deployment.preflight.events.destination",
        lambda _aws, document: [Finding("destination", f"{len(document) > 0}")],
    )

    assert Finding("destination", "True") in preflight.online(aws, plan())
    assert Finding("destination", "True") in preflight.plain(aws, document(), "p", "app-dev")


def test_moves_of_resources_are_checked(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    complete(aws)
    monkeypatch.setattr(
        "decanter.deployment.preflight.front.moves",
        lambda _aws, document, deployed: [Finding("moved", f"{len(document) > 0} {deployed}")],
    )

    assert Finding("moved", "True None") in preflight.online(aws, plan())
    assert Finding("moved", "True None") in preflight.plain(aws, document(), "p", "app-dev")


def configured(folder: Path, function: str, **settings: Any) -> Path:
    target = folder / ".chalice"
    target.mkdir()
    whole = json.loads((PROJECT / ".chalice" / "config.json").read_text())
    functions = whole["stages"]["dev"]["lambda_functions"]
    functions[function] = {**functions[function], **settings}
    (target / "config.json").write_text(json.dumps(whole))
    return folder


def test_a_wrong_stage(tmp_path: Path) -> None:
    assert names(configured_findings(configured(tmp_path, "reader"), "nope")) == ["stage"]


@pytest.mark.parametrize("function", ["api_handler", "bearer"])
def test_a_vpc_on_the_request_path(tmp_path: Path, function: str) -> None:
    folder = configured(tmp_path, function, subnet_ids=["subnet-1"])

    [fault] = configured_findings(folder)

    assert names([fault]) == ["vpc-on-request-path"]
    assert function.removesuffix("_handler") in fault.text


def test_functions_with_a_database_may_be_in_a_vpc(tmp_path: Path) -> None:
    folder = configured(tmp_path, "reader", subnet_ids=["subnet-1"], security_group_ids=["sg-1"])

    assert configured_findings(folder) == []


def test_partial_responses_that_a_new_mapping_would_not_have(tmp_path: Path) -> None:
    variables = {"DECANTER_PARTIAL_RESPONSES": "1"}
    folder = configured(tmp_path, "drain_ordered", environment_variables=variables)

    assert names(configured_findings(folder)) == ["partial-responses-in-configuration"]


@pytest.mark.parametrize(("cap", "expected"), [(1, "mapping-cap"), (5, "reserved-below-cap")])
def test_caps_that_do_not_go_together(cap: int, expected: str) -> None:
    made = document()
    event = made["Resources"]["DrainOrdered"]["Properties"]["Events"]["DrainOrderedSqsEventSource"]
    event["Properties"]["ScalingConfig"]["MaximumConcurrency"] = cap

    [fault] = preflight.caps(made)

    assert names([fault]) == [expected]
    assert "drain_ordered" in fault.text


def test_a_mapping_without_a_cap() -> None:
    made = document()
    [event] = made["Resources"]["DrainUnordered"]["Properties"]["Events"].values()
    del event["Properties"]["ScalingConfig"]

    assert names([*preflight.caps(made)]) == ["mapping-cap"]


def test_a_function_that_nothing_limits() -> None:
    made = document()
    del made["Resources"]["Reader"]["Properties"]["ReservedConcurrentExecutions"]

    assert names([*preflight.caps(made)]) == ["no-cap"]


@pytest.mark.parametrize(
    ("granted", "most"),
    [({}, 43), ({"others": 85}, 12), ({"max_connections": 25}, 12), ({"database_limit": 30}, 12)],
)
def test_caps_whose_sum_exceeds_the_database(granted: dict[str, int], most: int) -> None:
    found = [*budget.connections({**GRANTED, **granted}, most)]

    assert names(found) == ["budget"]
    assert str(2 * most) in found[0].text


def test_the_last_connection_is_granted() -> None:
    left = 100 - 3 - 2 - 10
    assert [*budget.connections({**GRANTED, "others": 11}, left // 2)] == []
    assert [*budget.connections({**GRANTED, "others": 12}, left // 2)]


def on_workers(**workers: dict[str, Any]) -> list[Finding]:
    """Findings for a drain and a reader, with four shards of a table on each worker."""
    holders = [Holder(functions.function(name), None, 3) for name in ("drain_stream", "reader")]
    return budget.findings(holders, {**GRANTED, "shards": 4, "workers": workers})


def test_a_worker_grants_what_is_opened_there_by_the_last_session() -> None:
    wanted = 2 * (3 * 4 + 3)
    assert on_workers(w={**GRANTED, "others": 95 - wanted}) == []

    [found] = on_workers(w={**GRANTED, "others": 96 - wanted}, x=GRANTED)

    assert found.name == "budget-of-worker"
    assert "15 connections to the worker w, and 30 while" in found.text
    assert "each of the 4 shards" in found.text
    assert "29 left (max_connections 100, 5 reserved, 66 of other programs)" in found.text


def test_a_worker_that_does_not_answer_is_named() -> None:
    [found] = on_workers(w={"error": "connection refused"}, x=GRANTED)

    assert found.name == "worker"
    assert "the worker w could not be asked" in found.text
    assert "connection refused" in found.text


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [("29", "visibility-below-timeout"), ("44", "visibility-below-timeout"), ("45", None)],
)
def test_a_visibility_timeout_that_is_too_short(
    aws: Aws, seconds: str, expected: str | None
) -> None:
    complete(aws)
    found = names(preflight.online(aws, plan(VisibilityTimeout=seconds)))

    assert {*found} == ({expected} if expected else set())


def test_missing_secrets(aws: Aws) -> None:
    faults = preflight.online(aws, plan())

    assert names(faults) == ["missing-secret"] * 4
    assert "create-secret --name p/database-url" in faults[0].text
    assert all("python -m decanter secrets" in fault.text for fault in faults[1:])


def test_a_url_without_verification(aws: Aws) -> None:
    complete(aws)
    aws("secretsmanager").put_secret_value(
        SecretId="p/drain-url", SecretString="postgresql://d:geheim@db.test/p?sslmode=require"
    )

    [fault] = preflight.online(aws, plan())

    assert names([fault]) == ["unsafe-url"]
    assert "p/drain-url" in fault.text
    assert "geheim" not in fault.text


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://db.test/p", "names no user"),
        ("postgresql://owner:x@db.test", "names no database"),
        ("postgresql://owner:x@db.test/p?sslmode=disable", "sslmode=verify-full"),
        ("postgresql://o@wner:x@db.test/p", "percent-encoded"),
    ],
)
def test_a_url_that_no_function_could_use(aws: Aws, url: str, expected: str) -> None:
    complete(aws)
    aws("secretsmanager").put_secret_value(SecretId="p/database-url", SecretString=url)

    [fault] = preflight.online(aws, plan())
    with pytest.raises(PreflightFailed) as refused:
        chalice_deploy._variables(aws, STAGE, {"OrderedQueueUrl": "o", "UnorderedQueueUrl": "u"})

    assert fault.name == "unsafe-url"
    assert expected in fault.text
    assert refused.value.findings == [fault]


def test_parameters_that_lack_or_are_not_known(aws: Aws) -> None:
    made = plan(Visibilities="1", VisibilityTimeout="abc", LagAlarmSeconds="1.5")
    made.package.template["Parameters"]["Visible"] = {"Type": "String", "Description": "Needed."}
    # A package reads its template anew each time; this one does not.
    found = preflight.online(aws, made)

    assert sorted(names(found)) == ["missing-parameter", *["parameter"] * 2, "unknown-parameter"]
    said = "\n".join(map(str, found))
    assert "no parameter Visibilities" in said
    assert "--parameter Visible=VALUE" in said
    assert "VisibilityTimeout is 'abc'. Give it a whole number" in said


def test_a_queue_that_is_not_the_stacks(aws: Aws) -> None:
    complete(aws)
    aws("sqs").create_queue(QueueName="p-unordered")

    assert names(preflight.online(aws, plan())) == ["queue-taken"]


def test_nobody_who_is_logged_in() -> None:
    def client(_service: str) -> Any:
        raise NoCredentialsError

    assert names(preflight.online(client, plan())) == ["credentials"]


class Fake:
    """A client with prepared answers."""

    def __init__(self, **answers: Any) -> None:
        self.__dict__.update(answers)


def deployed_as(aws: Aws, status: str, answer: Any, error: bool = False) -> Aws:
    """A stack in that state, whose migrate function gives that answer."""
    stack = {
        "StackStatus": status,
        "Parameters": [],
        "Outputs": [
            {"OutputKey": "MigrateFunction", "OutputValue": "m"},
            {"OutputKey": "OrderedQueueUrl", "OutputValue": "q"},
        ],
    }
    body = io.BytesIO(json.dumps(answer).encode())
    reserving = Fake(
        invoke=lambda **_: {"Payload": body, **({"FunctionError": "x"} if error else {})},
        get_function_concurrency=lambda **_: {},
        exceptions=Fake(ResourceNotFoundException=KeyError),
    )
    fakes = {
        "cloudformation": Fake(
            describe_stacks=lambda **_: {"Stacks": [stack]},
            get_template=lambda **_: {"TemplateBody": document()},
        ),
        "lambda": granting(reserving, 1000),
    }
    return lambda service: fakes.get(service) or aws(service)


def test_a_stack_that_cannot_be_updated(aws: Aws) -> None:
    stuck = deployed_as(aws, "UPDATE_ROLLBACK_FAILED", {})

    assert names(preflight.online(stuck, plan())) == ["stack-stuck"]


def test_a_database_that_is_out_of_reach(aws: Aws) -> None:
    complete(aws)
    away = deployed_as(aws, "CREATE_COMPLETE", {"errorMessage": "could not connect"}, error=True)

    [fault] = preflight.online(away, plan())

    assert names([fault]) == ["database"]
    assert "could not connect" in fault.text


def test_a_database_that_grants_too_little(aws: Aws) -> None:
    complete(aws)
    small = deployed_as(aws, "CREATE_COMPLETE", {**GRANTED, "max_connections": 20})

    reader = Holder(functions.function("reader"), None, 12)

    found = preflight.online(small, replace(plan(), holders=[reader]))

    assert names(found) == ["budget"]


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        ([], ["queue-missing", "queue-missing"]),
        (["p-ordered.fifo", "p-unordered.fifo"], ["queue-missing", "no-dead-letters"]),
        (["p-ordered", "p-unordered"], ["queue-missing", "no-dead-letters"]),
    ],
)
def test_queues_of_chalice_deploy(aws: Aws, made: list[str], expected: list[str]) -> None:
    for name in made:
        attributes = {"VisibilityTimeout": "45"}
        fifo = {"FifoQueue": "true"} if name.endswith(".fifo") else {}
        aws("sqs").create_queue(QueueName=name, Attributes={**attributes, **fifo})

    faults = preflight.plain(aws, document(), "p", "app-dev")

    assert sorted(names(faults)) == sorted(expected)
    if made:
        [missing] = [fault for fault in faults if fault.name == "queue-missing"]
        assert "of the wrong type" in missing.text


def test_queues_as_they_are_made_are_in_order(aws: Aws) -> None:
    resources = template.of_queues(Stage("p", "jwt"), "a", "a")["Resources"]
    for name in ("Ordered", "Unordered"):
        dead = resources[f"{name}DeadLetterQueue"]["Properties"]["QueueName"]
        fifo = {"FifoQueue": "true"} if name == "Ordered" else {}
        url = aws("sqs").create_queue(QueueName=dead, Attributes=fifo)["QueueUrl"]
        arn = aws("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        redrive = {"deadLetterTargetArn": arn["Attributes"]["QueueArn"], "maxReceiveCount": "1000"}
        queue = resources[f"{name}Queue"]["Properties"]["QueueName"]
        settings = {"VisibilityTimeout": "45", "RedrivePolicy": json.dumps(redrive), **fifo}
        settings["MaximumMessageSize"] = str(
            resources[f"{name}Queue"]["Properties"]["MaximumMessageSize"]
        )
        aws("sqs").create_queue(QueueName=queue, Attributes=settings)

    assert preflight.plain(aws, document(), "p", "app-dev") == []

    # One that was made before SQS took as much, or by somebody else.
    url = aws("sqs").get_queue_url(QueueName="p-unordered")["QueueUrl"]
    small = {"MaximumMessageSize": "262144"}
    aws("sqs").set_queue_attributes(QueueUrl=url, Attributes=small)
    [fault] = preflight.plain(aws, document(), "p", "app-dev")
    assert names([fault]) == ["message-size"]
    assert f"--queue-url {url} --attributes MaximumMessageSize=1048576" in fault.text
    fitting = document()
    variables = fitting["Resources"]["APIHandler"]["Properties"]["Environment"]["Variables"]
    variables["DECANTER_MESSAGE_BYTES"] = "250000"
    assert preflight.plain(aws, fitting, "p", "app-dev") == []


@pytest.mark.parametrize(
    ("limit", "others", "held", "asked"),
    [
        (1000, 0, 0, None),
        (110, 0, 0, None),  # 10 are reserved, and 100 are not
        (109, 0, 0, 110),
        (1000, 891, 0, 1001),
        (1000, 900, 10, None),  # a later deployment
        (1000, 900, 9, 1001),
        (10, 0, 0, 110),  # a new account
        (50, 0, 0, 110),
    ],
)
def test_an_account_with_less_than_the_functions_reserve(
    limit: int, others: int, held: int, asked: int | None
) -> None:
    def reserved(FunctionName: str) -> Any:  # as boto3 has it
        return {"ReservedConcurrentExecutions": held} if FunctionName == "reader" else {}

    fake = Fake(
        get_function_concurrency=reserved, exceptions=Fake(ResourceNotFoundException=KeyError)
    )
    client = granting(fake, limit, others)

    found = [*preflight.concurrency(lambda _service: client, document(), ["drain", "reader"])]

    assert names(found) == ([] if asked is None else ["concurrency"])
    if asked:
        assert f"raised to {asked} or more" in found[0].text
        assert "least possible sum is 8" in found[0].text  # two drains at 2, four others at 1


def test_what_is_reserved_is_asked_before_anything_is_changed(aws: Aws) -> None:
    complete(aws)

    def small(service: str) -> Any:
        return granting(aws(service), 10)

    assert names(preflight.online(small, plan())) == ["concurrency"]
    assert "concurrency" in names(preflight.plain(small, document(), "p", "app-dev"))


def changed(folder: Path, function: str | None = None, **variables: str) -> Path:
    """A project with additional variables of its stage or of a function."""
    whole = json.loads((PROJECT / ".chalice" / "config.json").read_text())
    place = whole["stages"]["dev"]
    if function:
        place = place["lambda_functions"][function]
    place.setdefault("environment_variables", {}).update(variables)
    whole["stages"]["twin"] = {"environment_variables": {"DECANTER_QUEUES": "twin"}}
    (folder / ".chalice").mkdir(parents=True)
    (folder / ".chalice" / "config.json").write_text(json.dumps(whole))
    return folder


@pytest.mark.parametrize(
    ("variable", "value", "name"),
    [
        *[("MESSAGE_BYTES", value, "message-bytes") for value in ("0", "9999", "1000001", "1MiB")],
        *[("BACKLOG_LIMIT_SECONDS", value, "backlog-limit") for value in ("15min", "0")],
        *[(f"{each}CALLER_BACKLOG", "-1", "caller-backlog") for each in ("", "LONE_")],
        ("PARENT_PATIENCE_SECONDS", "1.5", "parent-patience"),
        *[("QUEUES", value, "prefix") for value in ("a_b", "9lives", "a b", "p" * 61)],
        ("QUEUES", "twin", "prefix-taken"),
    ],
)
def test_a_variable_that_no_function_could_work_with(
    tmp_path: Path, variable: str, value: str, name: str
) -> None:
    folder = changed(tmp_path / "all", **{f"DECANTER_{variable}": value})
    assert names(configured_findings(folder)) == [name]
    if not name.startswith("prefix"):
        own = changed(tmp_path / "own", "drain_ordered", **{f"DECANTER_{variable}": value})
        assert names(configured_findings(own)) == [name]


@pytest.mark.parametrize("chosen", ["aurora", "Postgres"])
def test_an_engine_that_is_not_known(tmp_path: Path, chosen: str) -> None:
    folder = changed(tmp_path / "all", DECANTER_ENGINE=chosen)
    with pytest.raises(PreflightFailed, match=f"DECANTER_ENGINE is '{chosen}'.*citus, dsql, or"):
        preflight.load(folder, "dev")
    own = changed(tmp_path / "own", "migrate", DECANTER_ENGINE=chosen)
    assert names(configured_findings(own)) == ["engine"]


def test_a_stage_on_another_engine_logs_in_as_that_has_it(tmp_path: Path) -> None:
    stage = load(changed(tmp_path, DECANTER_ENGINE="dsql"), "dev")
    local = stage.with_engine("postgres")

    assert (stage.engine, stage.tokens) == ("dsql", True)
    assert (local.engine, local.tokens) == ("postgres", False)
    assert local.variables(functions.function("migrate"))["DECANTER_ENGINE"] == "postgres"


def test_models_that_the_stages_engine_cannot_hold(tmp_path: Path) -> None:
    folder = changed(tmp_path / "project", DECANTER_ENGINE="dsql")
    assert engines(folder) == ["dsql", "postgres"]
    for name in ("chalicelib", "decanter"):
        (folder / name).symlink_to(PROJECT / name)

    with pytest.raises(PreflightFailed) as caught:
        preflight.load(folder, "dev")

    assert names(caught.value.findings) == ["engine-models"]
    assert "dsql', which cannot hold column observations.id is an identity" in str(caught.value)


def test_every_call_to_s3_says_whose_the_bucket_is(aws: Aws, tmp_path: Path) -> None:
    said: dict[str, set[str | None]] = {}

    def client(service: str) -> Any:
        def note(params: dict[str, str], model: Any, **_: Any) -> None:
            said.setdefault(model.name, set()).add(params.get("ExpectedBucketOwner"))

        made = aws(service)
        made.meta.events.register("provide-client-params.s3", note)
        return made

    (tmp_path / "code.zip").write_bytes(b"code")
    package = Fake(
        folder=tmp_path,
        template={"Resources": {"F": {"Properties": {"CodeUri": "code.zip"}}}},
    )

    for _again in range(2):
        bucket = cloudformation.ensure_bucket(client)
        cloudformation.upload(client, package.template, package.folder, bucket)
        package.template["Resources"]["F"]["Properties"]["CodeUri"] = "code.zip"
    cloudformation._body(client, bucket, {"Description": "x" * 60_000})

    account = aws("sts").get_caller_identity()["Account"]
    assert account in bucket
    assert said.pop("CreateBucket") == {None}  # whoever makes it owns it
    assert said == {name: {account} for name in ("HeadBucket", "HeadObject", "PutObject")}


def migrating(
    *queued: int,
    later: Sequence[str] = ("REVOKE UPDATE ON t FROM d",),
    place: str = "http://127.0.0.1:1",
) -> Any:
    """A stack whose queues hold these numbers of messages, one a call, and the events that its
    migrate function gets."""
    counts, asked = iter(queued), []

    def invoke(Payload: bytes, **_: Any) -> Any:  # as boto3 has it
        asked.append(json.loads(Payload))
        answer = {"later": [], "notes": [], "warnings": []}
        if not asked[-1].get("revoke"):
            answer = {"later": later, "notes": ["n"], "warnings": ["w"]}
        return {"Payload": io.BytesIO(json.dumps(answer).encode())}

    def counted(AttributeNames: list[str], **_: Any) -> Any:  # as boto3 has it
        return {"Attributes": dict.fromkeys(AttributeNames, next(counts, 0))}

    fakes = {
        "sqs": Fake(get_queue_attributes=counted),
        "lambda": Fake(invoke=invoke),
        "apigateway": Fake(meta=Fake(endpoint_url=place)),
    }
    return fakes.__getitem__, asked


def test_rights_are_taken_back_when_nothing_is_queued(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploy, "_PAUSE_SECONDS", 0)
    outputs = {"MigrateFunction": "m", "OrderedQueueUrl": "q"}
    later, said = ["REVOKE UPDATE ON t FROM d"], []
    aws, asked = migrating(3, 1, 0)

    deploy._revoke(aws, outputs, later, said.append)

    assert (asked, len(said)) == ([{"revoke": True}], 1)

    monkeypatch.setattr(deploy, "_REVOKE_SECONDS", 0.01)
    aws, asked = migrating(*[1] * 1_000_000)
    deploy._revoke(aws, outputs, later, said.append)
    assert asked == []
    assert "  REVOKE UPDATE ON t FROM d" in said
    assert "migrate --revoke" in said[-1]


@pytest.mark.parametrize(
    ("serves", "sessions", "place", "expected"),
    [
        (False, 0, "https://x.test", {"new_passwords": True}),
        (True, 0, "https://x.test", {}),
        (False, 1, "https://x.test", {}),  # another stage uses the database
        (False, 1, "http://127.0.0.1:1", {"new_passwords": True}),
    ],
)
def test_only_where_nothing_serves_a_password_is_changed(
    serves: bool, sessions: int, place: str, expected: dict[str, Any]
) -> None:
    outputs = {"APIHandlerFunction": "api"} if serves else {}
    aws, asked = migrating(place=place)
    said: list[str] = []

    later = deploy._migrate(aws, plan(), "m", outputs, sessions, said.append)

    assert asked == [{"dry_run": True}, expected]
    assert later == ["REVOKE UPDATE ON t FROM d"]
    assert said[1:] == ["note: n", "warning: w"]


def test_new_passwords_are_those_of_other_roles(aws: Aws) -> None:
    keep(aws, "p/database-url", "postgresql://owner:x@db.test/shop")

    def urls() -> dict[str, dict[str, str]]:
        client = aws("secretsmanager")
        return {
            kind: url_parts(client.get_secret_value(SecretId=f"p/{kind}-url")["SecretString"])
            for kind in functions.roles()
        }

    assert len(secrets.ensure(aws, "p")) == 3
    first = urls()
    assert secrets.ensure(aws, "p") == []
    assert first["drain"]["user"] == "shop_drain"

    secrets.ensure(aws, "p", rotate=True)
    second = urls()
    secrets.ensure(aws, "p", tokens=True)
    third = urls()
    assert secrets.ensure(aws, "p", tokens=True) == []
    secrets.ensure(aws, "p")
    fourth = urls()

    for kind in functions.roles():
        found = [each[kind] for each in (first, second, third, fourth)]
        assert [each["user"] for each in found] == [f"shop_{kind}", f"shop_{kind}_2"] * 2
        assert ["password" in each for each in found] == [True, True, False, True]
        assert len({each.get("password") for each in found}) == 4
    keep_server = "postgresql://owner:y@new.test/shop"
    aws("secretsmanager").put_secret_value(SecretId="p/database-url", SecretString=keep_server)
    secrets.ensure(aws, "p")
    assert urls()["drain"] == {**fourth["drain"], "host": "new.test"}


def test_only_the_migrate_function_is_replaced_first() -> None:
    old = document()
    for each in ("Migrate", "Reader"):
        old["Resources"][each]["Properties"] |= {"CodeUri": "s3://b/old", "Layers": [{"Ref": "L"}]}
    old["Resources"]["L"] = {"Properties": {"ContentUri": "s3://b/old-layer"}}
    new = copy.deepcopy(old)
    for each in ("Migrate", "Reader"):
        new["Resources"][each]["Properties"]["CodeUri"] = "s3://b/new"
    new["Resources"]["L"]["Properties"]["ContentUri"] = "s3://b/new-layer"
    new["Parameters"]["Newer"] = {"Type": "String", "Default": ""}
    environment = new["Resources"]["Migrate"]["Properties"]["Environment"]["Variables"]
    environment["NEWER"] = {"Ref": "Newer"}

    step = template.only_migrate(new, old, "")

    migrate = step["Resources"].pop("Migrate")
    assert migrate["Properties"]["CodeUri"] == "s3://b/new"
    assert migrate["Properties"]["Layers"] == [{"Ref": "MigrateL"}]
    assert step["Resources"].pop("MigrateL") == new["Resources"]["L"]
    assert step["Parameters"].pop("Newer")
    del old["Resources"]["Migrate"]
    assert step == old


def test_only_the_migrate_function_is_given_new_secrets_first() -> None:
    step = template.only_migrate(document(), document(), "newer")

    variables = {
        name: step["Resources"][name]["Properties"]["Environment"]["Variables"]
        for name in ("Migrate", "Reader", "DrainOrdered")
    }
    said = {name: each["DECANTER_SECRETS_VERSION"] for name, each in variables.items()}
    # A password that was changed is one of the database only when the migration has set it.
    before = {"Ref": "SecretsVersion"}
    assert said == {"Migrate": "newer", "Reader": before, "DrainOrdered": before}


def busy(times: int) -> Aws:
    """Lambda with a function that is busy the first times it is invoked."""
    seen = iter(range(times))

    def invoke(**_: Any) -> Any:
        if next(seen, None) is not None:
            error = {"Code": "TooManyRequestsException", "Message": "Rate Exceeded."}
            raise ClientError({"Error": error}, "Invoke")
        return {"Payload": io.BytesIO(b'{"applied": []}')}

    return lambda _service: Fake(invoke=invoke)


def test_a_migration_waits_for_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invocation, "_PAUSE_SECONDS", 0)

    assert invocation.invoke(busy(3), "migrate", {}) == {"applied": []}

    monkeypatch.setattr(invocation, "_BUSY_SECONDS", 0)
    with pytest.raises(DeploymentError, match="at work for another deployment"):
        invocation.invoke(busy(3), "migrate", {})


def test_without_a_stack_there_is_the_migrate_function_alone() -> None:
    step = template.only_migrate(document(), None, "")

    assert {*step["Resources"]} == {"Migrate", "MigrateRole", "MigrateLogs"}
    assert {*step["Outputs"]} == {"MigrateFunction"}
    assert {*step["Parameters"]} == {
        "DatabaseUrlSecret", "DrainUrlSecret", "ReaderUrlSecret", "SweepUrlSecret",
        "LogRetentionDays",
    }  # fmt: skip


def test_a_status_that_cannot_be_asked_is_no_missing_stack() -> None:
    def describe(**_: Any) -> Any:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "DescribeStacks")

    with pytest.raises(ClientError, match="AccessDenied"):
        cloudformation.describe(lambda _service: Fake(describe_stacks=describe), "p")
