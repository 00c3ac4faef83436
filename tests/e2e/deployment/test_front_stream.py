"""The front table on the local cloud: what is written to it is in Postgres."""

import json
import time
from typing import Any
from uuid import uuid4

from chalicelib.buffer.dynamodb.entries import claim_entry, key_record, record_entry, record_pk
from decanter.deployment import smoke
from decanter.local.stack import hydrate
from tests.kit.databases import execute
from tests.kit.deployment import CLOCK, Deployment
from tests.kit.stream import record, write
from tests.kit.waiting import until

RESOURCE = "subscriptions"
ADD_STATION = """
    INSERT INTO stations (icao, name, country, elevation_ft, latitude, longitude, timezone)
    VALUES ('FRNT', 'Front', 'XX', 1, 2, 3, 'UTC') ON CONFLICT DO NOTHING
"""


def mapping(deployed: Deployment) -> dict[str, Any]:
    """The only event source mapping of the stream's drain."""
    function = deployed.stack.function("drain_stream")
    answer = deployed.aws("lambda").list_event_source_mappings(FunctionName=function)
    [found] = answer["EventSourceMappings"]
    return dict(found)


def entries_of_a_subscription() -> tuple[str, dict[str, Any], list[Any]]:
    """Its ID, the item that a client's write makes, and entries that the stream's drain is not to
    see."""
    key = str(uuid4())
    row = {"id": key, "email": f"{key}@example.com", "station": "FRNT", "wind_above_kt": 25.5}
    item = record(write("create", RESOURCE, row))["dynamodb"]["NewImage"]
    claim = claim_entry(f'unique/{RESOURCE}/email/["{key}"]', item["pk"]["S"])
    remembered = key_record(record_pk(uuid4()), "f" * 32, None, int(time.time()))
    return key, item, [claim, record_entry(remembered)]


def test_a_write_in_the_table_reaches_postgres_through_the_stream(deployed: Deployment) -> None:
    client, table = deployed.aws("dynamodb"), deployed.stack.front_table
    execute(deployed.database_url, ADD_STATION)
    key, item, others = entries_of_a_subscription()

    # At once, so that they are in one batch of the stream.
    puts = [{"Put": {"TableName": table, "Item": each}} for each in [*others, item]]
    client.transact_write_items(TransactItems=puts)

    def poured() -> Any:
        wanted = f"SELECT station, wind_above_kt, active FROM {RESOURCE} WHERE id = '{key}'"
        return execute(deployed.database_url, wanted)

    [(station, wind, active)] = until(poured, "the pour")
    assert (station, str(wind), active) == ("FRNT", "25.5", True)
    # Lambda knows the result a moment after the commit.
    until(lambda: mapping(deployed)["LastProcessingResult"].startswith("OK"))
    assert mapping(deployed)["LastProcessingResult"] == "OK - 1 records"  # and no others


def test_a_row_written_at_the_api_is_read_at_once_and_reaches_postgres(
    deployed: Deployment,
) -> None:
    execute(deployed.database_url, ADD_STATION)
    row = {"email": f"{uuid4()}@example.com", "station": "FRNT", "wind_above_kt": "30.5"}
    body = json.dumps(row).replace('"30.5"', "30.5").encode()
    json_type = {"Content-Type": "application/json"}

    created = deployed.call("POST", f"/{RESOURCE}", body, json_type)
    again = deployed.call("POST", f"/{RESOURCE}", body, json_type)
    read = deployed.call("GET", created.headers["Location"])

    assert (created.status, again.status, read.status) == (201, 409, 200)
    assert read.body | row == read.body == created.body
    wanted = f"SELECT id::text FROM {RESOURCE} WHERE email = '{row['email']}'"
    assert until(lambda: execute(deployed.database_url, wanted)) == [(read.body["id"],)]


def test_a_row_that_postgres_refuses_is_settled(deployed: Deployment) -> None:
    """Its key is in Postgres alone: other hands have written there."""
    key, email = str(uuid4()), f"{uuid4()}@example.com"
    execute(deployed.database_url, ADD_STATION)
    execute(
        deployed.database_url,
        f"INSERT INTO {RESOURCE} (id, email, station, wind_above_kt)"
        f" VALUES ('{key}', '{email}', 'FRNT', 1)",
    )
    row = {"id": key, "email": f"other-{email}", "station": "FRNT", "wind_above_kt": 2}
    created = deployed.call("POST", f"/{RESOURCE}", row)
    place = created.headers["Location"]
    assert (created.status, deployed.call("GET", place).body["wind_above_kt"]) == (201, 2)

    settle = deployed.stack.function("settle")

    def settled() -> bool:
        answer = deployed.aws("lambda").invoke(FunctionName=settle, Payload=json.dumps(CLOCK))
        assert "FunctionError" not in answer, answer["Payload"].read()
        return deployed.call("GET", place).body["email"] == email

    assert until(settled, "the end of the refused row")


def test_rows_that_postgres_has_are_loaded_into_the_local_table(deployed: Deployment) -> None:
    key, said = str(uuid4()), list[str]()
    execute(deployed.database_url, ADD_STATION)
    execute(
        deployed.database_url,
        f"INSERT INTO {RESOURCE} (id, email, station, wind_above_kt)"
        f" VALUES ('{key}', '{key}@example.com', 'FRNT', 1.5)",
    )
    assert deployed.call("GET", f"/{RESOURCE}/{key}").status == 404

    hydrate(deployed.cloud.ministack, deployed.stack, (RESOURCE,), said.append)
    assert said == []
    hydrate(deployed.cloud.ministack, deployed.stack, (), said.append)

    assert deployed.call("GET", f"/{RESOURCE}/{key}").body["wind_above_kt"] == "1.5"
    assert f"of {RESOURCE} into the front table" in said[0]
    again = {"email": f"{key}@example.com", "station": "FRNT", "wind_above_kt": 2}
    assert deployed.call("POST", f"/{RESOURCE}", again).status == 409


def test_the_stream_is_mapped_as_the_template_and_app_py_say(deployed: Deployment) -> None:
    found = mapping(deployed)
    client, table = deployed.aws("dynamodb"), deployed.stack.front_table
    described = client.describe_table(TableName=table)["Table"]
    reserved = deployed.aws("lambda").get_function_concurrency(
        FunctionName=deployed.stack.function("drain_stream")
    )

    assert found["EventSourceArn"] == described["LatestStreamArn"]
    assert (found["BatchSize"], found["StartingPosition"]) == (1000, "TRIM_HORIZON")
    assert found["MaximumBatchingWindowInSeconds"] == 1
    assert [*smoke.stream_faults(deployed.aws, "f", deployed.stack.function("drain_stream"))] == []
    assert reserved["ReservedConcurrentExecutions"] == deployed.stack.stage.caps["drain_stream"]
    expiry = client.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
    assert expiry == {"TimeToLiveStatus": "ENABLED", "AttributeName": "ttl"}
    assert described["StreamSpecification"]["StreamViewType"] == "NEW_IMAGE"
