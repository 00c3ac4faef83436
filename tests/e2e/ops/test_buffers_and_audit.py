"""Operators pause buffers, redrive dead letters and audit a deployed stage."""

import json
import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from chalicelib.messages.accepted import LoggedRequest
from chalicelib.messages.receipt import new_id
from tests.kit.databases import execute
from tests.kit.deployed_operator import HOUR_MS, Operator, kill, log, put, send, settled, status
from tests.kit.deployment import CLOCK, Deployment
from tests.kit.waiting import until


def name_of(deployed: Deployment, icao: str) -> Any:
    return execute(deployed.database_url, f"SELECT name FROM stations WHERE icao = '{icao}'")


def invoke_audit(deployed: Deployment) -> Any:
    """What a run of the audit function answers."""
    answer = deployed.aws("lambda").invoke(
        FunctionName=deployed.stack.function("audit"), Payload=json.dumps(CLOCK)
    )
    assert "FunctionError" not in answer, answer["Payload"].read()
    return json.loads(answer["Payload"].read())


def test_a_paused_buffer_accepts_writes_and_pours_none(
    deployed: Deployment, operator: Operator
) -> None:
    assert operator.act(kind="pause", buffer="ordered", note="a test")["state"] == "done"
    receipt = put(deployed, "PAUS", "Waiting")
    other = send(deployed, "POST", "/observations", _observation())

    assert operator.state("ordered") == "Disabled"
    assert operator.state("unordered") == "Enabled"
    assert invoke_audit(deployed)["paused"] == 1
    assert settled(deployed, other) == "rejected"  # as its station waits: this buffer is poured
    assert status(deployed, receipt) == "pending"
    again = deployed.call(
        "POST", "/ops/acts", {"kind": "pause", "buffer": "ordered"}, token=operator.token
    )
    assert (again.status, again.body["type"]) == (409, "urn:decanter:problem:conflict")

    operator.act(kind="resume", buffer="ordered")

    assert settled(deployed, receipt) == "applied"
    assert name_of(deployed, "PAUS") == [("Waiting",)]
    kinds = [each["kind"] for each in operator.get("/ops/acts")["acts"]]
    assert kinds[:2] == ["resume", "pause"]
    assert invoke_audit(deployed)["paused"] == 0


def _observation() -> Any:
    return {"station": "PAUS", "observed_at": "2026-01-01T00:00:00Z"}


def test_a_redriven_dead_letter_never_overwrites_what_is_newer(
    deployed: Deployment, operator: Operator
) -> None:
    operator.act(kind="pause", buffer="ordered")
    late = [put(deployed, "LAT1", "Old"), put(deployed, "LAT2", "Late")]
    kill(deployed, len(late))
    newer = put(deployed, "LAT1", "New")
    operator.act(kind="resume", buffer="ordered")
    assert settled(deployed, newer) == "applied"

    found = operator.get("/ops/dead-letters?buffer=ordered")

    assert (found["count"], found["unknown"]) == (2, [])
    assert [each["newer"] for each in found["messages"]] == [True, False]
    assert {each["poured"] for each in found["messages"]} == {False}
    assert {each["resource"] for each in found["messages"]} == {"stations"}

    act = operator.act(kind="redrive", buffer="ordered", per_second=50)

    assert (act["state"], act["done"]) == ("done", 2)
    assert [settled(deployed, each) for each in late] == ["rejected", "applied"]
    assert name_of(deployed, "LAT1") == [("New",)]
    assert name_of(deployed, "LAT2") == [("Late",)]
    rejected = execute(
        deployed.database_url,
        f"SELECT type FROM decanter.rejection WHERE dedup_id = '{found['messages'][0]['id']}'",
    )
    assert rejected == [("superseded",)]
    assert operator.get("/ops/dead-letters?buffer=ordered")["messages"] == []


def test_what_was_accepted_is_accounted_for_and_what_is_lost_is_named(
    deployed: Deployment, operator: Operator
) -> None:
    receipt = put(deployed, "AUDT", "Counted")
    settled(deployed, receipt)
    long_ago = int(time.time() * 1_000) - 2 * HOUR_MS
    lost = LoggedRequest(str(new_id(long_ago)), long_ago, "stations", 3, 1, "f" * 32)

    def audit(milliseconds: int) -> Any:
        moment = datetime.fromtimestamp(milliseconds / 1_000, UTC)
        hour = moment.replace(minute=0, second=0, microsecond=0).isoformat()
        return operator.get(f"/ops/audit?hour={quote(hour)}")

    def counted() -> Any:
        found = {each["resource"]: each for each in audit(int(time.time() * 1_000))["resources"]}
        return found.get("stations")

    now = until(counted, "a line of the log")
    assert now["applied"] >= 1
    assert now["accepted"] == now["applied"] + now["rejected"] + now["waiting"]
    assert now["missing"] == 0

    log(deployed, lost)
    found = audit(long_ago)

    assert (found["is_complete"], found["unknown"]) == (True, [])
    assert [each["id"] for each in found["missing"]] == [lost.id]
    assert found["missing"][0]["writes"] == 3
    [stations] = [each for each in found["resources"] if each["resource"] == "stations"]
    assert (stations["accepted"], stations["missing"]) == (3, 3)


def test_a_missing_write_is_seen_by_the_audit_function(deployed: Deployment) -> None:
    an_hour_ago = int(time.time() * 1_000) // 300_000 * 300_000 - HOUR_MS - 60_000
    lost = LoggedRequest(str(new_id(an_hour_ago)), an_hour_ago, "stations", 2, 1, "f" * 32)
    log(deployed, lost)

    assert invoke_audit(deployed) == {"paused": 0, "missing": 2}
