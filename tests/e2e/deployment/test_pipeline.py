"""Deployments: interrupted anywhere, under load, back and forth, and by `chalice deploy`."""

import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import psycopg2
import pytest

from decanter.deployment import (
    chalice_deploy,
    cloudformation,
    invocation,
    packaging,
    smoke,
    template,
)
from decanter.deployment import deploy as pipeline
from decanter.deployment import mappings as event_mappings
from decanter.deployment.stage import Stage, load
from decanter.deployment.template import queues
from decanter.local.cloud import Cloud
from decanter.package import Package
from tests.kit.databases import execute
from tests.kit.deployed_operator import STATION
from tests.kit.deployment import CHALICE, CLOCK, Deployment
from tests.kit.project import PROJECT
from tests.kit.stream import record, write
from tests.kit.waiting import LONG, until

KEYS = ("UL01", "UL02")
PAUSE_SECONDS = 0.05
DRAINS = ("drain_ordered", "drain_unordered")


class Killed(BaseException):
    """Stops a deployment as a signal would."""


@contextmanager
def connected(url: str) -> Iterator[Any]:
    connection = psycopg2.connect(url)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()


def killed_at(step: int) -> Callable[[str], None]:
    """Return a `say` that raises Killed before the step with this number."""
    seen = itertools.count()

    def say(_line: str) -> None:
        if next(seen) == step:
            raise Killed

    return say


def test_a_deployment_that_is_killed_after_any_step_is_run_again(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The same package each time: to make it changes nothing that is deployed.
    made: list[Package] = []
    package = packaging.package

    def once(*arguments: Any) -> Package:
        made[:] = made or [package(*arguments)]
        return made[0]

    monkeypatch.setattr(packaging, "package", once)
    names = {"prefix": "interrupted", "database": "interrupted"}
    steps: list[str] = []
    # While CloudFormation is at work: nobody waits for what it was asked for.
    for waits in (0, 1):
        seen = itertools.count()

        def wait(seen: Iterator[int] = seen, waits: int = waits) -> dict[str, int]:
            if next(seen) == waits:
                raise Killed
            return {"Delay": 1, "MaxAttempts": 300}

        with monkeypatch.context() as patched:
            patched.setattr(cloudformation, "_wait", wait)
            with pytest.raises(Killed):
                cloud.deploy(**names)
    for step in range(1, 5):
        with pytest.raises(Killed):
            cloud.deploy(**names, say=killed_at(step))

    stack = cloud.deploy(**names, say=steps.append)

    assert len(steps) == 5, steps  # each of them was killed once
    contract = json.loads((PROJECT / "chalicelib" / "contract.json").read_text())
    assert smoke.await_faults(cloud.client, stack, contract, LONG) == []
    assert execute(stack.database_url, "SELECT count(*) FROM stations") == [(0,)]


def test_a_smoke_test_sees_what_is_wrong(cloud: Cloud, deployed: Deployment) -> None:
    client = deployed.aws("lambda")
    function = deployed.stack.function("drain_unordered")
    [mapping] = client.list_event_source_mappings(FunctionName=function)["EventSourceMappings"]
    contract = json.loads((PROJECT / "chalicelib" / "contract.json").read_text())
    client.update_event_source_mapping(UUID=mapping["UUID"], FunctionResponseTypes=[])
    try:
        found = smoke.await_faults(cloud.client, deployed.stack, {**contract, "openapi": "3"}, 0)
    finally:
        client.update_event_source_mapping(
            UUID=mapping["UUID"], FunctionResponseTypes=["ReportBatchItemFailures"]
        )

    assert found == [
        "the API serves another contract than the packaged one",
        "the event source mapping of drain_unordered has partial responses off",
    ]
    assert smoke.await_faults(cloud.client, deployed.stack, contract, LONG) == []


def next_version(project: Path) -> Path:
    """Add a column to the project, with its contract and revision."""
    models = project / "chalicelib" / "models.py"
    text = models.read_text()
    changed = text.replace(
        "    city: Mapped[str | None]",
        "    remarks: Mapped[str | None]\n    city: Mapped[str | None]",
    )
    assert changed != text
    models.write_text(changed)
    for command in ("contract", "migration"):
        subprocess.run(
            [sys.executable, "-m", "decanter", command],
            cwd=project,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            check=True,
            capture_output=True,
        )
    return project


class Load:
    """Consecutive writes to two keys, and creates; counts what was accepted."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._change, args=(key,)) for key in KEYS]
        self._threads.append(threading.Thread(target=self._create))
        self.changes = dict.fromkeys(KEYS, 0)
        self.creates = 0
        self.faults: list[str] = []

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    def _change(self, key: str) -> None:
        while not self._done.is_set():
            number = self.changes[key] + 1
            self._send("PATCH", f"/stations/{key}", {"elevation_ft": number}, f"{key}-{number}")
            self.changes[key] = number

    def _create(self) -> None:
        while not self._done.is_set():
            number = self.creates + 1
            row = {"station": KEYS[0], "observed_at": "2026-01-01T00:00:00Z"}
            self._send("POST", "/observations", {**row, "wind_kt": number}, f"create-{number}")
            self.creates = number

    def _send(self, method: str, path: str, body: Any, key: str) -> None:
        """Send until accepted; without an answer, again with the same Idempotency-Key."""
        for _attempt in range(100):
            try:
                answer = self._deployment.call(
                    method, path, body, {"Idempotency-Key": f'"load-{key}"'}
                )
                if answer.status == 202:
                    time.sleep(PAUSE_SECONDS)
                    return
                self.faults.append(f"{answer.status}")
            except Exception as error:
                self.faults.append(repr(error))
            time.sleep(0.1)
        raise AssertionError(self.faults[-1])


@pytest.mark.long
def test_upgrade_and_rollback_under_load_lose_and_double_nothing(
    cloud: Cloud, deploy: Callable[..., Deployment], copy_project: Callable[[], Path]
) -> None:
    this = deploy(PROJECT, "under-load")
    url = this.database_url
    for key in KEYS:
        assert this.call("PUT", f"/stations/{key}", {**STATION, "elevation_ft": 0}).status == 202
    until(lambda: execute(url, "SELECT count(*) FROM public.stations") == [(len(KEYS),)])
    with connected(url) as cursor:
        cursor.execute(
            """
            CREATE TABLE public.history (number serial, icao text, elevation int);
            CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
            'BEGIN INSERT INTO public.history (icao, elevation)
                VALUES (NEW.icao, NEW.elevation_ft); RETURN NULL; END';
            CREATE TRIGGER noted AFTER UPDATE ON public.stations
                FOR EACH ROW EXECUTE FUNCTION public.note();
            """
        )
    newer = next_version(copy_project())

    with Load(this) as load:
        until(lambda: load.creates > 3)
        marks = [load.creates]
        for project in (newer, PROJECT):
            assert deploy(project, "under-load").stack.outputs == this.stack.outputs
            until(lambda: load.creates > marks[-1] + 3)
            marks.append(load.creates)

    remarks = "SELECT 1 FROM information_schema.columns WHERE column_name = 'remarks'"
    assert execute(url, remarks)
    until(lambda: pipeline.count_queued(cloud.client, this.stack.outputs) == 0)
    assert execute(url, "SELECT type, reason, row::text FROM decanter.rejection LIMIT 3") == []
    for key in KEYS:
        history = execute(
            url, f"SELECT elevation FROM public.history WHERE icao = '{key}' ORDER BY number"
        )
        # Once each, in order, to the last one.
        assert [number for (number,) in history] == [*range(1, load.changes[key] + 1)]
    created = execute(url, "SELECT wind_kt::int FROM observations ORDER BY 1")
    assert [number for (number,) in created] == [*range(1, load.creates + 1)]


@pytest.mark.parametrize(
    "steps",
    [pytest.param((2,), id="one"), pytest.param(range(6), id="all", marks=pytest.mark.long)],
)
def test_chalice_deploy_loses_nothing_wherever_it_is_stopped(
    cloud: Cloud, copy_project: Callable[[], Path], steps: Sequence[int]
) -> None:
    project = copy_project()
    file = project / ".chalice" / "config.json"
    configuration = json.loads(file.read_text())
    configuration["app_name"] = "plain"
    configuration["automatic_layer"] = False
    configuration["stages"]["dev"]["environment_variables"]["DECANTER_QUEUES"] = "plain-q"
    for name in DRAINS:
        configuration["stages"]["dev"]["lambda_functions"][name]["lambda_timeout"] = 10
    file.write_text(json.dumps(configuration))
    stage = load(project, "dev")
    cloud.postgres.ensure_database("plain")
    url = cloud.postgres.url("plain")
    cloud.client("secretsmanager").create_secret(Name="plain-q/database-url", SecretString=url)
    mappings = chalice_deploy.mapping_settings(stage)
    functions = [f"plain-dev-{name}" for name in DRAINS]
    stream = "plain-dev-drain_stream"
    assert [*mappings] == [*functions, stream]

    stacks = cloud.client("cloudformation")
    with patch.object(stacks, "get_waiter", side_effect=Killed), pytest.raises(Killed):
        chalice_deploy.make(cloud.client, stage, {})  # CloudFormation was asked, and is not done
    outputs = chalice_deploy.make(cloud.client, stage, {})
    for output in ("OrderedQueueUrl", "UnorderedQueueUrl"):  # so that a retry comes soon
        cloud.client("sqs").set_queue_attributes(
            QueueUrl=outputs[output], Attributes={"VisibilityTimeout": "11"}
        )
    plain = Plain(cloud, url, outputs)
    folder = chalice_deploy.prepare(cloud.client, project, stage, outputs)
    (folder / "requirements.txt").write_text("")  # MiniStack's interpreter has it all
    assert folder.stat().st_mode & 0o077 == 0

    chalice(cloud, folder)
    plain.send(1)
    plain.settle()  # there are no tables yet: everything stays queued
    assert plain.poured() == 0
    invocation.invoke(cloud.client, "plain-dev-migrate", {})
    for step in steps:
        with pytest.raises(Killed):
            chalice_deploy.turn_on(cloud.client, mappings, killed_at(step))
        plain.send(1)
        plain.settle()
    chalice_deploy.turn_on(cloud.client, mappings)
    plain.send(1)
    plain.settle()
    for function in functions:
        assert [*smoke.mapping_faults(cloud.client, function, function)] == []
        assert variables(cloud, function)["DECANTER_PARTIAL_RESPONSES"] == "1"
    # A later deployment removes the variable: whole batches fail then, and stay queued.
    chalice(cloud, folder)
    for function in functions:
        assert "DECANTER_PARTIAL_RESPONSES" not in variables(cloud, function)
    plain.send(1)
    plain.settle()
    chalice_deploy.turn_on(cloud.client, mappings)
    plain.send(1)
    plain.settle()
    until(lambda: plain.applied() == plain.good)
    assert [*smoke.stream_faults(cloud.client, stream, stream)] == []
    assert variables(cloud, stream)["DECANTER_PARTIAL_RESPONSES"] == "1"
    plain.put_in_front("P001")
    until(lambda: execute(url, "SELECT 1 FROM subscriptions WHERE station = 'P001'"))
    for _ in range(2):
        chalice_deploy.wake_up(cloud.client, functions[0])
    client = cloud.client("events")
    assert client.describe_rule(Name=functions[0])["ScheduleExpression"] == "rate(1 minute)"
    [target] = client.list_targets_by_rule(Rule=functions[0])["Targets"]
    assert target["Arn"].endswith(f":function:{functions[0]}")
    client.delete_rule(Name=functions[0])
    event_mappings.name_in_functions(cloud.client, stage)
    answer = cloud.client("lambda").list_event_source_mappings(FunctionName=functions[0])
    for name in ("plain-dev", "plain-dev-audit"):
        named = variables(cloud, name)["DECANTER_ORDERED_MAPPING"]
        assert [named] == [each["UUID"] for each in answer["EventSourceMappings"]]
    assert invocation.invoke(cloud.client, "plain-dev-audit", CLOCK) == {"paused": 0, "missing": 0}


def chalice(cloud: Cloud, folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHALICE, "--project-dir", str(folder), "deploy", "--stage", "dev"],
        env={**os.environ, **cloud.ministack.environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr


def variables(cloud: Cloud, function: str) -> dict[str, str]:
    settings = cloud.client("lambda").get_function_configuration(FunctionName=function)
    found: dict[str, str] = settings["Environment"]["Variables"]
    return found


class Plain:
    """Messages sent to a deployment by `chalice deploy`, and where they are."""

    def __init__(self, cloud: Cloud, url: str, outputs: dict[str, str]) -> None:
        self._cloud = cloud
        self._url = url
        self._outputs = outputs
        self.sent = 0
        self.good = 0

    def send(self, count: int) -> None:
        """Send stations, and observations of a missing station, which are retried."""
        for _each in range(count):
            self.good += 1
            self._write({"resource": "stations"}, {"icao": f"P{self.good:03}", **STATION})
            row = {"station": "NONE", "observed_at": "2026-01-01T00:00:00Z"}
            self._write({"resource": "observations"}, row)
            self.sent += 2

    def put_in_front(self, station: str) -> None:
        """Put a subscription in the front table."""
        row = {"id": str(uuid4()), "email": "a@b.test", "station": station, "wind_above_kt": 9}
        item = record(write("create", "subscriptions", row))["dynamodb"]["NewImage"]
        table = self._outputs["FrontTableName"]
        self._cloud.client("dynamodb").put_item(TableName=table, Item=item)

    def settle(self) -> None:
        """Wait until every message was delivered; all must be in the ledger or queued."""
        until(lambda: self._count("ApproximateNumberOfMessages") == 0)
        # A batch that is at work is still queued or already in the ledger, for a moment both.
        for _look in range(5):
            time.sleep(0.2)
            queued = pipeline.count_queued(self._cloud.client, self._outputs)
            assert queued + self.poured() >= self.sent, "a message is lost"

    def poured(self) -> int:
        if execute(self._url, "SELECT to_regclass('decanter.ledger') IS NULL") == [(True,)]:
            return 0
        [(count,)] = execute(self._url, "SELECT count(*) FROM decanter.ledger")
        return int(count)

    def applied(self) -> int:
        [(count,)] = execute(self._url, "SELECT count(*) FROM stations")
        return int(count)

    def _count(self, name: str) -> int:
        client = self._cloud.client("sqs")
        return sum(
            int(
                client.get_queue_attributes(QueueUrl=self._outputs[output], AttributeNames=[name])[
                    "Attributes"
                ][name]
            )
            for output in ("OrderedQueueUrl", "UnorderedQueueUrl")
        )

    def _write(self, parameters: dict[str, str], body: Any) -> None:
        event = invocation.gateway_event(
            "POST", "/{resource}", parameters, json.dumps(body), scope="*:write"
        )
        answer = self._cloud.client("lambda").invoke(
            FunctionName="plain-dev", Payload=json.dumps(event).encode()
        )
        payload = json.loads(answer["Payload"].read())
        assert payload["statusCode"] == 202, payload


def test_the_stacks_of_queues_and_of_all_have_the_same_queues() -> None:
    stage = Stage("p", "jwt")
    alone = template.of_queues(stage, "plain-dev", "plain")
    whole = template.build(stage)["Resources"]

    assert queues.resources("p").items() <= alone["Resources"].items()
    assert queues.resources("p").items() <= whole.items()
    assert len(json.dumps(alone).encode()) <= 51_200
