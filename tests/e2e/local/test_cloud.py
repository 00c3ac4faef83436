"""The local cloud: what is deployed is what was declared, and nothing is left behind."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from decanter.local.cloud import Cloud, local_cloud
from decanter.local.demo import airports, pour, subscription
from decanter.local.demo.airports import RESOURCE
from decanter.local.demo.client import Client, Status
from decanter.local.postgres import Postgres
from decanter.local.supervisor import CloudBusyError
from tests.kit.databases import execute
from tests.kit.deployed_operator import STATION
from tests.kit.deployment import Deployment
from tests.kit.processes import gone
from tests.kit.project import PROJECT
from tests.kit.waiting import LONG, until


def outcome(client: Client, receipt: str) -> Status:
    def look() -> Status | None:
        status = client.status(receipt)
        return status if status is not None and status.is_final else None

    found = until(look, "an outcome")
    assert found is not None
    return found


@pytest.fixture
def home() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="decanter-home-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_the_deployed_api_answers(deployed: Deployment) -> None:
    with urllib.request.urlopen(f"{deployed.api_url}/health") as answer:
        assert answer.status == 200


def test_a_write_is_accepted_poured_and_reported(deployed: Deployment) -> None:
    client = deployed.client()

    body = json.dumps([{"icao": "ZZ01", **STATION}]).encode()
    receipt = client.create(RESOURCE, body, "test-cloud-1")

    assert outcome(client, receipt).state == "applied"
    assert execute(deployed.database_url, "SELECT name FROM stations WHERE icao = 'ZZ01'")


def test_the_demo_pours_all_that_it_sends(
    deployed: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = [*islice(airports.requests(), 3)]
    monkeypatch.setattr(airports, "requests", lambda: iter(sent))

    tally = pour.pour(deployed.cloud, deployed.stack)

    assert tally.accepted == tally.applied == tally.new == sum(each.rows for each in sent)
    assert tally.connections >= 1


def test_the_demo_shows_a_row_that_is_stored_at_once(deployed: Deployment) -> None:
    client = deployed.client()
    body = json.dumps([{"icao": "LSZH", **STATION}]).encode()
    outcome(client, client.create(RESOURCE, body, "test-cloud-subscription"))

    shown = subscription.show(deployed.cloud, deployed.stack)

    assert shown.refusal.startswith("409 Conflict")
    query = "SELECT station, wind_above_kt::int FROM subscriptions"
    assert execute(deployed.database_url, query) == [("LSZH", 25)]


@pytest.mark.parametrize("name", ["ordered", "unordered"])
def test_queues_keep_what_they_take(deployed: Deployment, name: str) -> None:
    def attributes(queue: str) -> dict[str, str]:
        found: dict[str, str] = deployed.aws("sqs").get_queue_attributes(
            QueueUrl=deployed.queue_urls[queue], AttributeNames=["All"]
        )["Attributes"]
        return found

    queue, dead = attributes(name), attributes(f"{name}_dlq")

    for each in (queue, dead):
        assert each["MessageRetentionPeriod"] == str(14 * 24 * 3600)
        assert each["SqsManagedSseEnabled"] == "true"
        assert each.get("FifoQueue") == ("true" if name == "ordered" else None)
    redrive = json.loads(queue["RedrivePolicy"])
    assert redrive["deadLetterTargetArn"] == dead["QueueArn"]
    assert int(redrive["maxReceiveCount"]) == 1000
    if name == "ordered":
        assert queue["DeduplicationScope"] == "messageGroup"
        assert queue["FifoThroughputLimit"] == "perMessageGroupId"
        assert queue["ContentBasedDeduplication"] == "false"


@pytest.mark.parametrize(("drain", "cap"), [("drain_ordered", 4), ("drain_unordered", 2)])
def test_drains_report_failed_messages_under_a_cap(
    deployed: Deployment, drain: str, cap: int
) -> None:
    client = deployed.aws("lambda")
    function = deployed.stack.function(drain)

    [mapping] = client.list_event_source_mappings(FunctionName=function)["EventSourceMappings"]
    settings = client.get_function_configuration(FunctionName=function)

    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["ScalingConfig"]["MaximumConcurrency"] == cap
    assert settings["Environment"]["Variables"]["DECANTER_PARTIAL_RESPONSES"] == "1"
    reserved = client.get_function_concurrency(FunctionName=function)
    assert reserved["ReservedConcurrentExecutions"] >= cap


def test_the_ordered_drain_has_a_clock(deployed: Deployment) -> None:
    client = deployed.aws("events")
    function = deployed.aws("lambda").get_function_configuration(
        FunctionName=deployed.stack.function("drain_ordered")
    )["FunctionArn"]

    clocks = [
        rule["ScheduleExpression"]
        for rule in client.list_rules()["Rules"]
        for target in client.list_targets_by_rule(Rule=rule["Name"])["Targets"]
        if target["Arn"] == function
    ]

    assert clocks == ["rate(1 minute)"]


def test_the_api_function_knows_no_database(deployed: Deployment) -> None:
    settings = deployed.aws("lambda").get_function_configuration(
        FunctionName=deployed.stack.function("api")
    )

    variables = settings["Environment"]["Variables"]

    assert "DECANTER_DATABASE_URL" not in variables
    assert not any("postgresql:" in value for value in variables.values())


def enabled(deployed: Deployment, drain: str, wanted: bool) -> Callable[[], bool]:
    """Pause the mapping of a drain, or resume it; returns what tells whether it is enabled."""
    client = deployed.aws("lambda")
    function = deployed.stack.function(drain)

    def mapping() -> Any:
        [found] = client.list_event_source_mappings(FunctionName=function)["EventSourceMappings"]
        return found

    client.update_event_source_mapping(UUID=mapping()["UUID"], Enabled=wanted)
    return lambda: bool(mapping()["State"] == "Enabled")


def test_deploying_again_keeps_receipts_and_rows_and_what_is_paused(
    cloud: Cloud, deployed: Deployment
) -> None:
    client = deployed.client()
    is_enabled = enabled(deployed, "drain_unordered", False)
    body = json.dumps([{"icao": "ZZ02", **STATION}]).encode()
    receipt = client.create(RESOURCE, body, "test-cloud-2")
    before = outcome(client, receipt)
    said: list[str] = []

    again = cloud.deploy(say=said.append)

    assert again.outputs == deployed.stack.outputs
    assert not is_enabled()
    assert [line for line in said if "unordered buffer is paused, and stays so" in line]
    enabled(deployed, "drain_unordered", True)
    assert outcome(client, receipt) == before
    assert client.create(RESOURCE, body, "test-cloud-2") == receipt


def test_what_functions_import_is_packaged(
    cloud: Cloud, deployed: Deployment, tmp_path: Path
) -> None:
    for archive in (cloud.home / "build" / deployed.stack.name / "package").glob("*.zip"):
        with zipfile.ZipFile(archive) as zipped:
            zipped.extractall(tmp_path)
    [layer] = tmp_path.glob("python/lib/python3.*/site-packages")
    program = (
        f"import os, sys; sys.path[:0] = [{str(tmp_path)!r}, {str(layer)!r}]; "
        "os.environ['DECANTER_AUTH'] = 'jwt'; "
        "import app, chalicelib.authorizer.handler, jwt.algorithms, "
        "chalicelib.drain.handler, chalicelib.reader.handler, "
        "chalicelib.api.writes.calls, chalicelib.api.reads.client, chalicelib.buffer.sqs.put, "
        "chalicelib.migrate.handler; "
        "assert jwt.algorithms.has_crypto"
    )

    # No site-packages: everything must come from the zips.
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True)

    assert done.returncode == 0, done.stderr.decode()


def test_another_project_has_queues_and_a_database_of_its_own(
    deployed: Deployment,
    deploy: Callable[[Path, str], Deployment],
    copy_project: Callable[[], Path],
) -> None:
    other = deploy(copy_project(), "other-project")

    assert set(other.queue_urls.values()).isdisjoint(deployed.queue_urls.values())
    assert execute(other.database_url, "SELECT count(*) FROM stations") == [(0,)]


def test_postgres_comes_back_on_its_port_with_its_rows(home: Path) -> None:
    postgres = Postgres(home)
    postgres.start()
    try:
        url = postgres.url()
        connection = psycopg2.connect(url)
        with connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE kept AS SELECT 1 AS number")
        connection.close()
        postgres.start()  # it runs already
        postgres.stop()
        postgres.stop()  # it is stopped already
        postgres.start()

        assert postgres.url() == url
        assert execute(url, "SELECT number FROM kept") == [(1,)]
        assert execute(
            url,
            "SELECT current_setting('fsync'), current_setting('TimeZone'),"
            " current_setting('max_connections')",
        ) == [("on", "UTC", "100")]
    finally:
        postgres.stop()


def test_postgres_recovers_from_being_killed(home: Path) -> None:
    postgres = Postgres(home)
    postgres.start()
    try:
        pid = int((postgres.data / "postmaster.pid").read_text().splitlines()[0])
        os.kill(pid, signal.SIGKILL)
        postgres.start()

        assert execute(postgres.url(), "SELECT 1") == [(1,)]
    finally:
        postgres.stop()
    assert gone(postgres.data)


def test_the_password_is_nobody_elses(home: Path) -> None:
    postgres = Postgres(home)
    postgres.start()
    try:
        assert (home / "postgres.json").stat().st_mode & 0o077 == 0
        with pytest.raises(psycopg2.OperationalError, match="password"):
            psycopg2.connect(postgres.url(), password="guess")
    finally:
        postgres.stop()


def test_two_clouds_never_share_a_folder(cloud: Cloud) -> None:
    with pytest.raises(CloudBusyError, match="--data-dir"), local_cloud(cloud.home):
        pass


@pytest.mark.parametrize("seconds", [0.4, 1.0])
def test_no_process_is_left(home: Path, seconds: float) -> None:
    """As it starts; test_fresh_clone kills one that serves."""
    command = [sys.executable, "-m", "decanter", "cloud", "--data-dir", str(home)]
    # What ignores a signal has its children ignore it too, as in the background of a script; for
    # children of what catches it, it is as in a terminal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(
            command, cwd=PROJECT, stdout=subprocess.DEVNULL, start_new_session=True
        )
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        time.sleep(seconds)
        # To the whole process group, as a terminal does.
        os.killpg(process.pid, signal.SIGINT)
        process.wait(timeout=LONG)

        assert gone(home)
    finally:
        process.kill()
        process.wait()
