"""What is packaged: the functions run on the zips alone, and what cannot be deployed is refused."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import pytest
from chalice.local import LambdaEventConverter, RouteMatcher

from decanter.__main__ import main
from decanter.deployment import packaging
from decanter.deployment.stage import load
from decanter.local.cloud import STAGE
from decanter.package import Package, PackagingError, Runtime, archive, contents, layer, zips
from tests.kit.databases import execute
from tests.kit.deployed_operator import STATION
from tests.kit.deployment import Deployment
from tests.kit.opened import opened
from tests.kit.project import PROJECT

BIN = Path(sys.executable).parent
THIS = Runtime(sys.version_info[:2])
SCHEDULED = {
    "version": "0",
    "account": "0",
    "region": "us-east-1",
    "detail": {},
    "detail-type": "Scheduled Event",
    "source": "aws.events",
    "time": "2026-01-01T00:00:00Z",
    "id": "1",
    "resources": [],
}
RUN = """
import json, os, sys
given = json.load(sys.stdin)
sys.path[:0] = given["path"]
sys.dont_write_bytecode = True
os.environ.update(given["environment"])
assert not any("site-packages" in path for path in sys.path[2:]), sys.path
"""
CALL = """
import importlib
class Context:
    aws_request_id = "1"
    def get_remaining_time_in_millis(self): return 30_000
module, name = given["handler"].split(".")
answer = getattr(importlib.import_module(module), name)(given["event"], Context())
files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
print(json.dumps({"answer": answer, "files": [file for file in files if file]}))
"""
IMPORT_ALL = """
import pkgutil, importlib, chalicelib
for module in pkgutil.walk_packages(chalicelib.__path__, "chalicelib."):
    importlib.import_module(module.name)
    print(module.name)
"""
CALL_SERVICES = """
from chalicelib import aws
calls = {
    "sqs": lambda client: client.list_queues(),
    "dynamodb": lambda client: client.list_tables(),
    "lambda": lambda client: client.list_functions(),
    "cloudwatch": lambda client: client.list_metrics(),
    "logs": lambda client: client.describe_log_groups(),
    "sns": lambda client: client.list_topics(),
    "events": lambda client: client.list_event_buses(),
    "sts": lambda client: client.get_caller_identity(),
}
for service in given["services"]:
    print(service, calls[service](aws.client(service))["ResponseMetadata"]["HTTPStatusCode"])
"""


class Ran(NamedTuple):
    """What a function answered, and the files below the layer that it loaded."""

    answer: Any
    loaded: set[str]


def packed(project: Path, out: Path) -> Package:
    return packaging.package(project, load(project, STAGE), out)


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> Package:
    with opened("config.json") as files:
        made = packed(PROJECT, tmp_path_factory.mktemp("packaged") / "out")
    assert files.count(PROJECT / ".chalice" / "config.json") == 1  # the stage is handed on
    return made


@pytest.fixture(scope="module")
def unpacked(packaged: Package, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Where Lambda would have the code and the packages of the layer."""
    folder = tmp_path_factory.mktemp("unpacked")
    for path in (packaged.code, packaged.layer):
        with zipfile.ZipFile(path) as zipped:
            zipped.extractall(folder / path.stem)
    return [folder / packaged.code.stem, folder / packaged.layer.stem / THIS.site_packages]


@pytest.fixture
def alone(unpacked: list[Path], deployed: Deployment) -> Callable[..., str]:
    """`alone(program, **given)`: run it on the zips alone; returns what it prints."""

    def alone(program: str, **given: Any) -> str:
        given["path"] = [str(path) for path in unpacked]
        given["environment"] = deployed.cloud.ministack.environment | given.get("environment", {})
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-W", "error", "-c", RUN + program],
            input=json.dumps(given),
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return alone


@pytest.fixture
def call(
    alone: Callable[..., str], packaged: Package, deployed: Deployment, unpacked: list[Path]
) -> Callable[..., Ran]:
    """`call(function, event, **environment)`: run a function as it is deployed."""

    def call(function: str, event: Any, **environment: str) -> Ran:
        deployed_name = deployed.stack.function(function)
        settings = deployed.aws("lambda").get_function_configuration(FunctionName=deployed_name)
        variables = settings["Environment"]["Variables"] | environment
        printed = alone(CALL, handler=settings["Handler"], event=event, environment=variables)
        said = json.loads(printed.splitlines()[-1])
        below = f"{unpacked[1]}/"
        files = {file.removeprefix(below) for file in said["files"] if file.startswith(below)}
        return Ran(said["answer"], files)

    return call


@pytest.fixture
def queue(deployed: Deployment) -> Iterator[str]:
    """A queue that nothing drains."""
    client = deployed.aws("sqs")
    url = client.create_queue(QueueName="zip.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    yield url
    client.delete_queue(QueueUrl=url)


def api_event(method: str, path: str, body: Any = None) -> dict[str, Any]:
    """As API Gateway sends it, for a caller who may do everything."""
    os.environ["DECANTER_AUTH"] = "jwt"
    from app import app

    events = LambdaEventConverter(RouteMatcher(list(app.routes)))
    sent = b"" if body is None else json.dumps(body).encode()
    event = events.create_lambda_event(method, path, {"Content-Type": "application/json"}, sent)
    context: dict[str, Any] = event["requestContext"]
    context["authorizer"] = {"name": "me", "scopes": "*:read *:write", "exp": "99999999999"}
    return {**event, "body": sent.decode()}


# The zips


def test_functions_and_layer_are_small(packaged: Package) -> None:
    assert packaged.code.stat().st_size + packaged.layer.stat().st_size <= contents.TOTAL_BYTES


def test_the_layer_is_what_chalice_builds_less_what_is_left_out(tmp_path: Path) -> None:
    """Chalice's own way with the same requirements.txt; so it takes hashes, too."""
    from chalice.deploy.packager import DependencyBuilder
    from chalice.utils import OSUtils

    DependencyBuilder(OSUtils()).build_site_packages(
        THIS.abi, str(PROJECT / "requirements.txt"), str(tmp_path)
    )
    theirs = {
        path.relative_to(tmp_path).as_posix(): path.read_bytes()
        for path in tmp_path.rglob("*")
        if path.is_file() and ".data/" not in path.relative_to(tmp_path).as_posix()
    }
    prefix = f"{THIS.site_packages}/"
    made = archive.read(layer.build_cached(PROJECT, THIS))
    ours = {name.removeprefix(prefix): content for name, content in made.items()}

    assert {re.sub(r"\.pyc$", ".py", name) for name in ours} == {
        name for name in theirs if contents.is_packaged(name)
    }
    for name, content in ours.items():
        if not name.endswith(".pyc"):
            assert content == theirs[name], name
    for rule in contents.LEFT_OUT:
        assert any(fnmatchcase(name, rule) for name in theirs), f"{rule} fits no file"


def test_the_same_project_gives_the_same_bytes(
    packaged: Package,
    copy_project: Callable[[], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project = copy_project()
    (project / "chalicelib" / "errors.py").touch()  # another date
    monkeypatch.setattr(zips, "CODES", tmp_path / "codes")  # nothing is in the cache

    again = packed(project, tmp_path / "again")

    assert again.code.read_bytes() == packaged.code.read_bytes()
    assert again.layer.read_bytes() == packaged.layer.read_bytes()
    assert again.template == packaged.template


def test_another_code_is_not_taken_from_the_cache(
    packaged: Package, copy_project: Callable[[], Path], tmp_path: Path
) -> None:
    project = copy_project()
    with (project / "app.py").open("a") as file:
        file.write("# changed\n")

    changed = archive.read(packed(project, tmp_path / "changed").code)

    assert changed["app.py"].endswith(b"# changed\n")
    assert changed.keys() == archive.read(packaged.code).keys()


def test_chalice_itself_takes_the_layer(copy_project: Callable[[], Path], tmp_path: Path) -> None:
    """As `chalice deploy` does, by the same code."""
    project = copy_project()
    with patch("decanter.commands.package.PROJECT", project):
        assert main(["package", "--stage", STAGE, "--layer-only"]) == 0

    done = subprocess.run(
        [BIN / "chalice", "package", "--stage", STAGE, str(tmp_path / "plain")],
        cwd=project,
        env={**os.environ, "AWS_DEFAULT_REGION": "eu-central-1"},
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    assert "Reusing existing shared layer" in done.stdout + done.stderr
    assert (
        Package(tmp_path / "plain").layer.read_bytes()
        == layer.build_cached(PROJECT, THIS).read_bytes()
    )


def test_a_stage_on_arm_is_one_in_the_template(
    copy_project: Callable[[], Path], tmp_path: Path
) -> None:
    """Chalice writes it; the layer is a stand-in, as this Python may be too old for a real one."""
    project = copy_project()
    configuration = project / ".chalice" / "config.json"
    document = json.loads(configuration.read_text())
    document["stages"][STAGE]["lambda_architecture"] = "arm64"
    configuration.write_text(json.dumps(document))
    name = layer.chalice_name(project, Runtime(THIS.python, "arm64"))
    archive.write(project / ".chalice" / "deployments" / name, {"python/x.py": b"x = 1"})

    done = subprocess.run(
        [BIN / "chalice", "package", "--stage", STAGE, str(tmp_path / "arm")],
        cwd=project,
        env={**os.environ, "AWS_DEFAULT_REGION": "eu-central-1"},
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    assert load(project, STAGE).architecture == "arm64"
    resources = Package(tmp_path / "arm").template["Resources"].values()
    functions = [each for each in resources if each["Type"] == "AWS::Serverless::Function"]
    assert len(functions) == len(load(project, STAGE).functions)
    assert all(each["Properties"]["Architectures"] == ["arm64"] for each in functions)


REGIONS = ("us-east-1", "cn-north-1", "us-gov-west-1")
"""One of each partition."""

OF_SAM = {
    *(f"AWS::Lambda::{name}" for name in ("Function", "LayerVersion", "Permission")),
    *(f"AWS::ApiGateway::{name}" for name in ("RestApi", "Deployment", "Stage")),
    *("AWS::Events::Rule", "AWS::IAM::Role", "AWS::Lambda::EventSourceMapping"),
}
"""Types that SAM makes of its own."""

SCHEMAS = """
import sys
from cfnlint.helpers import REGIONS
from cfnlint.schema import PROVIDER_SCHEMA_MANAGER as schemas
for name in sys.argv[1:]:
    print(name, [len(each) for each, _ in schemas.get_resource_schemas_by_regions(name, REGIONS)])
print("all", [len(REGIONS)])
"""


def test_the_template_passes_cfn_lint(packaged: Package) -> None:
    """As `make lint-template` does for all regions, in the time of a few."""
    [lint] = re.findall(r"cfn-lint (.*) -- ", (PROJECT / "Makefile").read_text())
    assert lint == "--regions ALL_REGIONS"  # no rule is left out
    command = [BIN / "cfn-lint", "--regions", *REGIONS, "--", packaged.folder / "sam.json"]

    done = subprocess.run(command, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout


def test_cfn_lint_knows_the_same_of_the_types_in_all_regions(packaged: Package) -> None:
    types = {each["Type"] for each in packaged.template["Resources"].values()} | OF_SAM

    done = subprocess.run(
        [sys.executable, "-c", SCHEMAS, *sorted(types)], capture_output=True, text=True, check=True
    )

    *found, regions = (line.split(" ", 1) for line in done.stdout.splitlines())
    assert {name for name, _ in found} == types
    assert {schemas for _, schemas in found} == {regions[1]}, found


# The functions, on the zips alone


def test_every_module_can_be_imported(alone: Callable[..., str]) -> None:
    imported = alone(IMPORT_ALL, environment={"DECANTER_AUTH": "jwt"}).split()

    assert {"chalicelib.models", "chalicelib.drain.handler", "chalicelib.authorizer.handler"} < set(
        imported
    )


def test_every_service_that_is_packaged_can_be_called(alone: Callable[..., str]) -> None:
    said = alone(CALL_SERVICES, services=list(contents.SERVICES))

    assert said.split() == [word for service in contents.SERVICES for word in (service, "200")]


def test_a_write_goes_all_its_way(
    call: Callable[..., Ran], queue: str, deployed: Deployment
) -> None:
    accepted = call(
        "api",
        api_event("POST", "/stations", {"icao": "ZIPS", **STATION}),
        DECANTER_ORDERED_QUEUE_URL=queue,
        DECANTER_BACKLOG_LIMIT_SECONDS="60",  # asks CloudWatch
    ).answer
    assert accepted["statusCode"] == 202, accepted
    received = deployed.aws("sqs").receive_message(QueueUrl=queue, AttributeNames=["All"])
    [message] = received["Messages"]

    record = {
        "messageId": message["MessageId"],
        "body": message["Body"],
        "attributes": message["Attributes"],
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:zip.fifo",
    }
    poured = call("drain_ordered", {"Records": [record]}).answer
    read = call("api", api_event("GET", "/stations/ZIPS")).answer

    assert poured == {"batchItemFailures": []}
    assert execute(deployed.database_url, "SELECT name FROM stations WHERE icao = 'ZIPS'") == [
        (STATION["name"],)
    ]
    assert read["statusCode"] == 200, read


def test_the_other_functions_run(call: Callable[..., Ran], deployed: Deployment) -> None:
    token = {
        "type": "TOKEN",
        "methodArn": "arn:aws:execute-api:us-east-1:000000000000:api/api/GET/stations",
        "authorizationToken": f"Bearer {deployed.token()}",
    }

    allowed = call("bearer", token).answer
    read = call(
        "reader", {"ask": "list", "resource": "stations", "filters": "{}", "limit": 1,
                   "order": [["icao", "asc"]], "from": None}
    ).answer  # fmt: skip

    assert allowed["policyDocument"]["Statement"][0]["Effect"] == "Allow"
    assert "body" in read
    assert call("migrate", {}).answer
    assert call("sweep", SCHEDULED).answer is not None


def test_what_a_request_waits_for_is_bytecode(
    call: Callable[..., Ran], deployed: Deployment
) -> None:
    token = {"type": "TOKEN", "methodArn": "arn:aws:execute-api:x:0:a/b/GET/c",
             "authorizationToken": f"Bearer {deployed.token()}"}  # fmt: skip
    for function, event in (("api", api_event("GET", "/stations/ZIPS")), ("bearer", token)):
        loaded = call(function, event).loaded
        sources = {name for name in loaded if name.endswith(".py")}

        assert any(name.endswith(".pyc") for name in loaded)
        assert not sources, function


def test_most_of_what_a_drain_loads_is_bytecode(call: Callable[..., Ran]) -> None:
    loaded = call("drain_ordered", {"Records": []}).loaded
    modules = [name for name in loaded if name.endswith((".py", ".pyc"))]
    sources = [name for name in modules if name.endswith(".py")]

    assert any("sqlalchemy" in name for name in modules)
    assert len(sources) < 0.2 * len(modules), sources


# Refusals


def test_a_stale_contract_is_refused(copy_project: Callable[[], Path], tmp_path: Path) -> None:
    project = copy_project()
    file = project / "chalicelib" / "contract.json"
    file.write_text(file.read_text().replace('"info"', '"infos"', 1))

    with pytest.raises(PackagingError, match="make contract"):
        packed(project, tmp_path / "out")
    assert not (tmp_path / "out" / "sam.json").exists()


def test_models_without_a_revision_are_refused(
    copy_project: Callable[[], Path], tmp_path: Path
) -> None:
    project = copy_project()
    models = project / "chalicelib" / "models.py"
    text = models.read_text()
    assert "    city: Mapped" in text
    models.write_text(
        text.replace("    city: Mapped", "    nick: Mapped[str | None]\n    city: Mapped", 1)
    )
    subprocess.run([sys.executable, "-m", "decanter", "contract"], cwd=project, check=True)

    with pytest.raises(PackagingError, match=r"(?s)make migration.*nick"):
        packed(project, tmp_path / "out")
    assert not (tmp_path / "out" / "sam.json").exists()


def test_a_wrong_zip_is_not_left_to_be_deployed(
    copy_project: Callable[[], Path], tmp_path: Path
) -> None:
    project = copy_project()
    (project / "chalicelib" / ".env").write_text("PASSWORD=1")

    with pytest.raises(PackagingError, match=r"chalicelib/\.env would be deployed"):
        packed(project, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.zip"))


def test_another_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")

    with pytest.raises(PackagingError, match="is not a package"):
        packed(PROJECT, tmp_path)
    assert (tmp_path / "thesis.txt").exists()


def test_the_command_says_what_was_made(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "decanter", "package", "--stage", STAGE]

    done = subprocess.run(
        [*command, "--out", str(tmp_path / "out")], cwd=PROJECT, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    assert f"stage {STAGE}, {THIS.name} on x86_64" in done.stdout
    assert re.search(r"total +[12]\d\.\d MiB\n", done.stdout)
    for function in ("api", "drain_ordered", "migrate"):
        assert re.search(rf"^  {function} +\d+ MB +\d+ s$", done.stdout, re.M)


def test_the_command_refuses_a_stage_that_is_not_there(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "decanter", "package", "--stage", "nowhere"]

    done = subprocess.run(
        [*command, "--out", str(tmp_path / "out")], cwd=PROJECT, capture_output=True, text=True
    )

    assert done.returncode == 1
    assert "There is no stage 'nowhere' in .chalice/config.json: dev" in done.stderr
    assert "Traceback" not in done.stderr
    shutil.rmtree(tmp_path)
