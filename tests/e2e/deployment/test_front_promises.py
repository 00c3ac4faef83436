"""Rows behind the front table, on the local cloud: races, many writes, a database that is down."""

import json
import random
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from threading import Barrier
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import pytest

from tests.kit.databases import execute
from tests.kit.deployment import Answer, Deployment
from tests.kit.waiting import until

STATION = "PRMS"
ADD_STATION = f"""
    INSERT INTO stations (icao, name, country, elevation_ft, latitude, longitude, timezone)
    VALUES ('{STATION}', 'Promises', 'XX', 1, 2, 3, 'UTC') ON CONFLICT DO NOTHING
"""
MANY = {"Prefer": "resolution=merge-duplicates"}


@pytest.fixture(autouse=True)
def station(deployed: Deployment) -> None:
    execute(deployed.database_url, ADD_STATION)


def subscription(key: UUID, wind: str) -> dict[str, Any]:
    return {
        "id": str(key),
        "email": f"{key}@example.com",
        "station": STATION,
        "wind_above_kt": wind,
    }


def body(*rows: dict[str, Any]) -> bytes:
    """The rows as JSON, with all digits of their numbers."""
    texts = [json.dumps(row).replace(f'"{row["wind_above_kt"]}"', row["wind_above_kt"])
             for row in rows]  # fmt: skip
    return (texts[0] if len(texts) == 1 else f"[{','.join(texts)}]").encode()


def in_postgres(deployed: Deployment, keys: list[UUID]) -> dict[str, Any]:
    """The rows as the API shows them, by key."""
    wanted = """
        SELECT id::text, row_to_json(subscriptions)::text FROM subscriptions
        WHERE id = ANY (%s::uuid[])
    """
    found = execute(deployed.database_url, wanted, ([str(key) for key in keys],))
    return {key: compared(json.loads(text, parse_float=str)) for key, text in found}


def compared(row: dict[str, Any]) -> dict[str, Any]:
    """Two spellings of one time are equal."""
    return row | {"created_at": datetime.fromisoformat(row["created_at"])}


def test_of_two_clients_that_create_one_key_one_is_told_so_and_the_other_of_a_conflict(
    deployed: Deployment,
) -> None:
    keys = [uuid4() for _ in range(10)]
    together = Barrier(2)

    def create(wind: str) -> list[Answer]:
        answers = []
        for key in keys:
            together.wait()
            answers.append(deployed.call("POST", "/subscriptions", body(subscription(key, wind))))
        return answers

    with ThreadPoolExecutor(2) as clients:
        first, second = clients.map(create, ["1.5", "2.5"])

    for one, other in zip(first, second, strict=True):
        assert sorted([one.status, other.status]) == [201, 409]
    created = [
        one if one.status == 201 else other for one, other in zip(first, second, strict=True)
    ]
    found = until(lambda: len(rows := in_postgres(deployed, keys)) == len(keys) and rows)
    assert found == {each.body["id"]: compared(each.body) for each in created}


class Sent(NamedTuple):
    """What a client calls. writes: how many rows that is."""

    writes: int
    method: str
    path: str
    body: bytes | None = None
    headers: Mapping[str, str] = {}

    def call(self, deployed: Deployment) -> Answer:
        """The answer that stays: while others change the same rows all the time, it is 503."""

        def answered() -> Answer | None:
            answer = deployed.call(self.method, self.path, self.body, self.headers)
            return answer if answer.status != 503 else None

        found: Answer = until(answered, "an answer")
        return found


def random_requests(keys: list[UUID]) -> Iterator[Sent]:
    """1,000 writes of these keys: alone, or several in a request."""
    chance = random.Random("subscriptions")
    left = 1_000
    while left:
        key, wind = chance.choice(keys), f"{chance.randrange(1, 9_999) / 10:.1f}"
        place, row = f"/subscriptions/{key}", subscription(key, wind)
        count = min(left, chance.randint(10, 25))
        some = [subscription(each, wind) for each in chance.sample(keys, count)]
        many = Sent(count, "POST", "/subscriptions", body(*some), MANY)
        del row["id"]
        patch = f'{{"wind_above_kt": {wind}}}'.encode()
        single = [
            Sent(1, "PUT", place, body(row)),
            Sent(1, "PATCH", place, patch, {"Content-Type": "application/merge-patch+json"}),
            Sent(1, "DELETE", place),
        ]
        yield (sent := chance.choice([*single, many, many, many]))
        left -= sent.writes


def test_a_thousand_writes_of_fifty_keys_leave_the_same_rows_in_both(deployed: Deployment) -> None:
    keys = [uuid4() for _ in range(50)]
    requests = [*random_requests(keys)]

    with ThreadPoolExecutor(4) as clients:
        answers = [*clients.map(lambda each: each.call(deployed), requests)]

    assert sum(each.writes for each in requests) == 1_000
    assert {200, 204} <= {each.status for each in answers} <= {200, 201, 204, 404}
    read = [deployed.call("GET", f"/subscriptions/{key}") for key in keys]
    assert {each.status for each in read} <= {200, 404}
    items = {each.body["id"]: compared(each.body) for each in read if each.status == 200}
    assert until(lambda: in_postgres(deployed, keys) == items, "that both agree")
    rejected = "SELECT reason FROM decanter.rejection WHERE row ->> 'id' = ANY (%s)"
    assert execute(deployed.database_url, rejected, ([*map(str, keys)],)) == []


def test_while_postgres_is_down_rows_are_written_and_read_as_before(deployed: Deployment) -> None:
    keys = [uuid4() for _ in range(5)]
    postgres = deployed.cloud.postgres
    postgres.stop()
    try:
        created = [
            deployed.call("POST", "/subscriptions", body(subscription(key, "3.5"))) for key in keys
        ]
        changed = [
            deployed.call("PUT", f"/subscriptions/{key}", body(subscription(key, "4.5")))
            for key in keys
        ]
        read = [deployed.call("GET", f"/subscriptions/{key}") for key in keys]
        listed = deployed.call("GET", "/subscriptions")
        pending = deployed.call("GET", created[0].headers["Link"].partition(">")[0].lstrip("<"))
    finally:
        postgres.start()

    assert [each.status for each in created] == [201] * 5
    assert [each.status for each in changed] == [200] * 5
    assert [each.body["wind_above_kt"] for each in read] == ["4.5"] * 5
    assert (listed.status, pending.status) == (503, 503)  # both ask Postgres
    items = {each.body["id"]: compared(each.body) for each in read}
    assert until(lambda: in_postgres(deployed, keys) == items, "the pour")
