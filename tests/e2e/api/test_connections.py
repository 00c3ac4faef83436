"""Whatever comes in, the database sees no more connections than the budget."""

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import pytest

from chalicelib.postgres.connecting.access import role_url
from decanter.deployment import budget, functions
from decanter.deployment.stage import load
from decanter.local.cloud import STAGE, Cloud
from tests.kit.deployment import Deployment
from tests.kit.project import PROJECT
from tests.kit.waiting import LONG, until

SECONDS = 2
OPENED = re.compile(
    r"connection authorized: user=(\S+) database=(\S+) application_name=(decanter.*)"
)
CLOSED = re.compile(r"\[(\d+)\] LOG:  disconnection:")
PROCESS = re.compile(r"\[(\d+)\]")
SCHEDULED = {
    **dict.fromkeys(("version", "account", "region", "detail-type", "source", "time", "id"), ""),
    "detail": {},
    "resources": [],
}


@pytest.fixture
def watched(cloud: Cloud, deployed: Deployment) -> Iterator[Callable[[], tuple[Counter[str], int]]]:
    """`watched()`: the most connections that each role had at once since the test began, and all
    together, as the server's log has every one."""
    database = urlsplit(deployed.database_url).path[1:]
    admin = psycopg2.connect(deployed.database_url)
    admin.autocommit = True
    cursor = admin.cursor()

    names = ("log_connections", "log_disconnections")

    def of_a_new_session(name: str) -> str:
        with closing(psycopg2.connect(deployed.database_url)) as own, own.cursor() as asking:
            asking.execute(f"SHOW {name}")
            return str(asking.fetchone()[0])

    def set_logging(value: str) -> None:
        for name in names:
            cursor.execute(f"ALTER SYSTEM SET {name} = {value}")
        cursor.execute("SELECT pg_reload_conf()")
        until(lambda: of_a_new_session(names[-1]) == value)

    cursor.execute(
        "SELECT pid, usename::text FROM pg_stat_activity"
        " WHERE application_name LIKE 'decanter%' AND backend_type = 'client backend'"
        " AND datname = current_database()"
    )
    before = {str(pid): user for pid, user in cursor.fetchall()}
    start = cloud.postgres.log.stat().st_size
    set_logging("on")

    def most() -> tuple[Counter[str], int]:
        with cloud.postgres.log.open() as log:
            log.seek(start)
            lines = log.readlines()
        held = dict(before)
        peak = Counter(held.values())
        together = len(held)
        for line in lines:
            process = PROCESS.search(line)
            opened = OPENED.search(line)
            if opened and opened[2] == database:  # other deployments have budgets of their own
                assert process is not None
                held[process[1]] = opened[1]
            elif closed := CLOSED.search(line):
                held.pop(closed[1], None)
            now = Counter(held.values())
            peak |= now
            together = max(together, now.total())
        return peak, together

    yield most
    set_logging("off")
    admin.close()


def flood(deployed: Deployment, stopped: threading.Event) -> tuple[list[threading.Thread], Counter]:
    """Writes of both kinds and reads of all kinds, by many clients at once."""
    told: Counter[str] = Counter()

    def ask(*arguments: Any) -> None:
        try:
            answer = deployed.call(*arguments)
            told[f"{arguments[0]} {answer.status}"] += 1
        except Exception as error:
            told[type(error).__name__] += 1

    def write(client: int) -> None:
        number = 0
        while not stopped.is_set():
            number += 1
            row = {"icao": f"{client:02}{number % 100:02}", "name": "flood", "country": "CH"}
            row |= {"elevation_ft": 1, "latitude": 2, "longitude": 3, "timezone": "UTC"}
            ask("PUT", f"/stations/{row['icao']}", row)
            report = {"station": "FLOD", "observed_at": "2026-01-01T00:00:00Z"}
            ask("POST", "/observations", [report] * 20)

    def read(client: int) -> None:
        while not stopped.is_set():
            ask("GET", "/stations/FLOD")
            ask("GET", "/stations?limit=100&order=name")

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    threads += [threading.Thread(target=read, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    return threads, told


def test_under_a_flood_no_role_and_no_sum_exceeds_the_budget(
    cloud: Cloud,
    deployed: Deployment,
    watched: Callable[[], tuple[Counter[str], int]],
) -> None:
    stage = load(PROJECT, STAGE)
    station = {"name": "Flood", "country": "CH", "elevation_ft": 1, "latitude": 2, "longitude": 3}
    put = {**station, "timezone": "UTC"}
    wanted = {"Prefer": "wait=20"}
    until(lambda: deployed.call("PUT", "/stations/FLOD", put, wanted).status == 200)
    stopped = threading.Event()
    threads, told = flood(deployed, stopped)
    try:
        until(lambda: told["GET 200"] and told["PUT 202"])
        time.sleep(SECONDS / 2)
        for function, event in (("migrate", {}), ("sweep", SCHEDULED)):
            answer = deployed.aws("lambda").invoke(
                FunctionName=deployed.stack.function(function), Payload=json.dumps(event)
            )
            assert "FunctionError" not in answer
        time.sleep(SECONDS / 2)
    finally:
        stopped.set()
        for thread in threads:
            thread.join()

    peak, together = watched()
    assert told["GET 200"] > 0, told
    assert told["PUT 202"] > 0, told
    database = urlsplit(deployed.database_url).path[1:]
    for kind in functions.roles():
        assert 0 < peak[f"{database}_{kind}"] <= budget.of_role(stage, kind), peak
    assert {*peak} <= {"decanter", *(f"{database}_{kind}" for kind in functions.roles())}
    assert together <= sum(each.most for each in budget.holders(stage)), peak


def test_containers_too_many_are_not_let_in_and_nothing_is_lost(deployed: Deployment) -> None:
    """All connections of the drain's role are taken, as by containers that nobody counted."""
    secret = deployed.aws("secretsmanager").get_secret_value(
        SecretId=f"{deployed.stack.name}/drain-url"
    )["SecretString"]
    assert secret.startswith(role_url(deployed.database_url, "drain", None).split("@")[0])
    admin = psycopg2.connect(deployed.database_url)
    admin.autocommit = True
    cursor = admin.cursor()
    role = urlsplit(secret).username
    drains = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE usename = %s AND application_name = 'decanter-drain'"
    )
    held: list[Any] = []
    limit = budget.of_role(load(PROJECT, STAGE), "drain")
    try:
        end = time.monotonic() + LONG
        while len(held) < limit:
            cursor.execute(drains, (role,))
            with suppress(psycopg2.OperationalError):  # a drain was faster
                held.append(psycopg2.connect(secret))
            assert time.monotonic() < end
        with pytest.raises(psycopg2.OperationalError, match="too many connections for role"):
            psycopg2.connect(secret)
        row = {"name": "Late", "country": "CH", "elevation_ft": 1, "latitude": 2, "longitude": 3}
        answer = deployed.call("PUT", "/stations/FLAT", {**row, "timezone": "UTC"})
        assert answer.status == 202
        location = answer.headers["Location"]
        time.sleep(2)
        assert deployed.call("GET", location).body["state"] == "pending"
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE usename = %s",
            (role,),
        )
        assert cursor.fetchone() == (limit,)
    finally:
        for each in held:
            each.close()
        admin.close()
    until(lambda: deployed.call("GET", location).body.get("state", "pending") != "pending")
    assert deployed.call("GET", location).body["state"] == "applied"
