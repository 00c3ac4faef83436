"""What REST clients expect of writes, on the deployed stack: keys, waiting, bulk, pressure."""

import json
import os
import random
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg2
import pytest

from tests.kit.waiting import until

KEYS = int(os.environ.get("DECANTER_KEYS", "40"))  # 200 in the long variant
OBSERVED_AT = "2026-01-01T00:00:00Z"
PROBLEM = "urn:decanter:problem:"


@pytest.fixture(scope="module", autouse=True)
def station(deployed):
    body = {
        "icao": "FRNT",
        "name": "Front",
        "country": "DE",
        "elevation_ft": 1,
        "latitude": 1,
        "longitude": 1,
        "timezone": "UTC",
    }
    wanted = {"Prefer": "wait=20"}
    until(lambda: deployed.call("PUT", "/stations/FRNT", body, wanted).status == 200)


@pytest.fixture
def query(deployed):
    connection = psycopg2.connect(deployed.database_url)
    connection.autocommit = True

    def query(sql, *values):
        with connection.cursor() as cursor:
            cursor.execute(sql, values)
            return cursor.fetchall() if cursor.description else []

    yield query
    connection.close()


def observation(**report):
    return {"station": "FRNT", "observed_at": OBSERVED_AT, "report": report}


def final(call, location):
    def look():
        answer = call("GET", location)
        is_final = answer.status == 200 and answer.body["state"] != "pending"
        return answer.body if is_final else None

    return until(look, f"the outcome of {location}")


# Keys


def test_ten_retries_of_every_key_have_one_effect(call, query):
    """From 20 threads; a tenth of the retries have another body under the same key."""
    choice = random.Random(7)
    requests = [
        (key, "other" if choice.random() < 0.1 else "first")
        for key in range(KEYS)
        for _ in range(10)
    ]
    choice.shuffle(requests)
    test = f"storm-{time.time_ns()}"

    def send(request):
        key, version = request
        body = observation(test=test, key=key, version=version)
        while True:
            answer = call("POST", "/observations", body, {"Idempotency-Key": f'"{test}-{key}"'})
            if answer.status != 503:
                return request, answer

    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(send, requests))

    assert {answer.status for _, answer in answers} <= {202, 422}
    refused = [answer for _, answer in answers if answer.status == 422]
    assert all(answer.body["type"] == f"{PROBLEM}key-reused" for answer in refused)
    locations = defaultdict(set)
    for request, answer in answers:
        if answer.status == 202:
            locations[request].add(answer.headers["Location"])
    assert all(len(found) == 1 for found in locations.values())  # a receipt for a content
    states = {request: final(call, location) for request, (location,) in locations.items()}
    rows = query(
        "SELECT (report->>'key')::int, report->>'version' FROM observations"
        " WHERE report->>'test' = %s",
        test,
    )
    assert Counter(key for key, _ in rows) == dict.fromkeys(range(KEYS), 1)
    for key, version in rows:
        other = "first" if version == "other" else "other"
        assert states[key, version]["state"] == "applied"
        if (key, other) in states:
            assert states[key, other]["state"] == "rejected"
            assert states[key, other]["rejections"][0]["type"] == "key-reused"


def test_a_bulk_request_is_split_the_same_way_on_every_retry(call, query):
    test = f"bulk-{time.time_ns()}"
    rows = [
        {"icao": f"M{i:03}", "name": test, "country": "DE", "elevation_ft": 1, "latitude": 1,
         "longitude": 1, "timezone": "UTC"}
        for i in range(300)
    ]  # fmt: skip
    body = "\n".join(map(json.dumps, rows)).encode()
    headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": test}

    receipts = {call("POST", "/stations", body, headers).body["receipt"] for _ in range(3)}

    (receipt,) = receipts
    assert final(call, f"/writes/{receipt}")["applied"] == 300
    assert query("SELECT count(*) FROM stations WHERE name = %s", test) == [(300,)]


# Bulk


def test_csv_with_bad_lines_pours_the_good_ones(call, query):
    test = f"csv-{time.time_ns()}"
    text = (
        "station,observed_at,temperature_c,report\n"
        f'FRNT,{OBSERVED_AT},-1.5,"{{""test"": ""{test}""}}"\n'
        f'FRNT,{OBSERVED_AT},warm,"{{""test"": ""{test}""}}"\n'
        f'FRNT,{OBSERVED_AT},,"{{""test"": ""{test}""}}"\n'
    )
    answer = call(
        "POST",
        "/observations",
        text.encode(),
        {"Content-Type": "text/csv", "Prefer": "handling=lenient, wait=20"},
    )

    assert answer.status == 200
    assert answer.body["state"] == "applied"
    assert [(each["item"], each["line"]) for each in answer.body["refused"]] == [(1, 3)]
    found = query("SELECT temperature_c::text FROM observations WHERE report->>'test' = %s", test)
    assert sorted(found, key=str) == [("-1.5",), (None,)]


# Waiting


def test_waiting_answers_with_the_outcome_and_the_row(call):
    row = {"icao": "WAIT", "name": "x", "country": "DE", "elevation_ft": 1, "latitude": 1,
           "longitude": "1", "timezone": "UTC"}  # fmt: skip
    assert call("POST", "/stations", row).status == 422
    row["longitude"] = 1

    created = call("POST", "/stations", row, {"Prefer": "wait=20, return=representation"})
    again = call("POST", "/stations", row, {"Prefer": "wait=20, return=representation"})
    ignored = call("POST", "/stations", row, {"Prefer": "wait=20, resolution=ignore-duplicates"})
    row["name"] = "y"
    merged = call(
        "POST", "/stations", [row],
        {"Prefer": "wait=20, resolution=merge-duplicates, return=representation"},
    )  # fmt: skip

    assert created.status == 201
    assert created.body["icao"] == "WAIT"
    assert created.body["active"] is True
    assert again.status == 200
    assert again.body["state"] == "rejected"
    assert again.body["rejections"][0]["type"] == "conflict"
    assert ignored.status == 201
    assert merged.status == 201
    assert merged.body[0]["name"] == "y"


def test_waiting_holds_no_connection_while_no_drain_is_at_work(deployed, call, query):
    mappings = deployed.aws("lambda")
    (mapping,) = [
        each["UUID"]
        for each in mappings.list_event_source_mappings()["EventSourceMappings"]
        if each["FunctionArn"].endswith(deployed.stack.function("drain_ordered"))
    ]
    mappings.update_event_source_mapping(UUID=mapping, Enabled=False)
    try:
        time.sleep(1)
        query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'decanter-reader' AND datname = current_database()"
        )
        with ThreadPoolExecutor(12) as threads:
            waiting = [
                threads.submit(
                    call, "PATCH", "/stations/FRNT", {"city": str(i)}, {"Prefer": "wait=5"}
                )
                for i in range(12)
            ]
            held = []
            until = time.monotonic() + 3.5
            while time.monotonic() < until:
                ((now,),) = query(
                    "SELECT count(*) FROM pg_stat_activity"
                    " WHERE application_name = 'decanter-reader' AND datname = current_database()"
                )
                held.append(now)
                time.sleep(0.02)
            answers = [each.result() for each in waiting]
    finally:
        mappings.update_event_source_mapping(UUID=mapping, Enabled=True)

    # A function that runs by schedule may have one for a moment, or the one that was ended.
    assert held.count(0) > len(held) / 2
    assert {answer.status for answer in answers} == {202}
    for answer in answers:
        assert final(call, answer.headers["Location"])["state"] == "applied"


# Reading one's own write, and changing only what one has read


def test_of_two_who_change_the_same_version_one_is_refused(call):
    written = call("PATCH", "/stations/FRNT", {"city": "one"})
    receipt = written.body["receipt"]
    read = call("GET", f"/stations/FRNT?after={receipt}")
    assert read.status == 200
    assert read.body["city"] == "one"
    version = {"If-Match": read.headers["ETag"]}

    answers = [
        call("PATCH", "/stations/FRNT", {"city": city}, version) for city in ("two", "three")
    ]
    states = [final(call, answer.headers["Location"]) for answer in answers]

    assert [state["state"] for state in states] == ["applied", "rejected"]
    assert states[1]["rejections"][0]["type"] == "precondition-failed"
    now = call("GET", f"/stations/FRNT?after={answers[0].body['receipt']}")
    assert now.body["city"] == "two"
    same = call("GET", "/stations/FRNT", headers={"If-None-Match": now.headers["ETag"]})
    assert (same.status, same.body) == (304, b"")
    told = call("GET", f"/stations/FRNT?after={answers[1].body['receipt']}")
    assert (told.status, told.body["type"]) == (404, f"{PROBLEM}write-rejected")


def test_put_only_if_it_is_not_there(call):
    body = {"name": "x", "country": "DE", "elevation_ft": 1, "latitude": 1, "longitude": 1,
            "timezone": "UTC"}  # fmt: skip
    wanted = {"If-None-Match": "*", "Prefer": "wait=20"}

    states = [call("PUT", "/stations/ONCE", body, wanted).body["state"] for _ in range(2)]

    assert states == ["applied", "rejected"]


def test_a_list_is_read_page_by_page_to_its_end(call):
    rows = [
        {"icao": f"L{i:03}", "name": "listed", "country": "LI", "elevation_ft": i % 7,
         "latitude": 1, "longitude": 1, "timezone": "UTC"}
        for i in range(50)
    ]  # fmt: skip
    assert call("POST", "/stations", rows, {"Prefer": "wait=20"}).status == 201
    path, found = "/stations?country=LI&order=elevation_ft.desc&limit=9", []

    while path:
        answer = call("GET", path)
        assert answer.status == 200
        found += answer.body
        link = answer.headers.get("Link")
        path = link[1 : link.index(">")] if link else None

    wanted = sorted(rows, key=lambda row: (-row["elevation_ft"], row["icao"]))
    assert [row["icao"] for row in found] == [row["icao"] for row in wanted]


# Pressure


def test_writes_are_refused_while_the_backlog_is_too_old(deploy, copy_project):
    project = copy_project()
    file = project / ".chalice" / "config.json"
    configuration = json.loads(file.read_text())
    configuration["stages"]["dev"]["environment_variables"]["DECANTER_BACKLOG_LIMIT_SECONDS"] = "60"
    file.write_text(json.dumps(configuration))
    deployment = deploy(project, "pressure")
    metrics = deployment.aws("cloudwatch")
    metrics.put_metric_data(
        Namespace="AWS/SQS",
        MetricData=[
            {
                "MetricName": "ApproximateAgeOfOldestMessage",
                "Dimensions": [{"Name": "QueueName", "Value": "pressure-ordered.fifo"}],
                "Timestamp": datetime.now(UTC) - timedelta(seconds=90),
                "Value": 61,
            }
        ],
    )

    answer = deployment.call("DELETE", "/stations/FRNT")

    assert answer.status == 429, answer
    assert answer.body["type"] == f"{PROBLEM}backlog"
    assert int(answer.headers["Retry-After"]) > 0
    taken = deployment.call("POST", "/observations", observation(test="pressure"))
    assert taken.status == 202
