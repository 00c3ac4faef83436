"""The way of a write as deployed: HTTP → queue → drain → Postgres → reader → HTTP."""

import http.client
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from tests.kit.deployment import Deployment
from tests.kit.project import PROJECT
from tests.kit.waiting import LONG, until

STATION = {
    "icao": "TEST",
    "name": "Test Field",
    "country": "CH",
    "elevation_ft": 1234.5,
    "latitude": 47.123456,
    "longitude": -8.5,
    "timezone": "Europe/Zurich",
}


def call(
    deployment: Deployment, method: str, path: str, body: Any = None, **headers: str
) -> tuple[int, Any, Any]:
    """Status, parsed body and headers. body: bytes as they are, anything else as JSON."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = deployment.call(method, path, body, named)
    return answer.status, answer.body, answer.headers


def poured(deployment: Deployment, accepted: tuple[int, Any, Any], seconds: float = LONG) -> Any:
    """The final status of a write that was accepted."""
    status, body, headers = accepted
    assert status == 202, body
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        status, state, _ = call(deployment, "GET", headers["Location"])
        if status == 200 and state["state"] != "pending":
            return state
        assert status in (200, 503), state
        time.sleep(0.1)
    raise AssertionError(f"still {state}")


def query(deployment: Deployment, statement: str) -> list[tuple[Any, ...]]:
    connection = psycopg2.connect(deployment.database_url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall()
    finally:
        connection.close()


def queued(deployment: Deployment) -> int:
    """Messages on the queues, those in flight included."""
    sqs = deployment.aws("sqs")
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    return sum(
        int(count)
        for url in deployment.queue_urls.values()
        for count in sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)[
            "Attributes"
        ].values()
    )


def test_all_ops_change_the_row_that_can_be_read(deployed: Deployment) -> None:
    path = "/stations/TEST"

    created = poured(deployed, call(deployed, "POST", "/stations", STATION))
    read = call(deployed, "GET", path)
    merged = poured(deployed, call(deployed, "PATCH", path, {"name": "Renamed", "iata": "TST"}))
    after_merge = call(deployed, "GET", path)[1]
    replacement = {**STATION, "name": "Replaced"}
    replaced = poured(deployed, call(deployed, "PUT", path, replacement))
    after_replace = call(deployed, "GET", path)[1]
    deleted = poured(deployed, call(deployed, "DELETE", path))
    gone = call(deployed, "GET", path)

    assert [each["state"] for each in (created, merged, replaced, deleted)] == ["applied"] * 4
    assert read[0] == 200
    assert read[1]["latitude"] == "47.123456"
    assert (after_merge["name"], after_merge["iata"]) == ("Renamed", "TST")
    assert (after_replace["name"], after_replace["iata"]) == ("Replaced", None)
    assert gone[0] == 404
    assert gone[1]["type"] == "urn:decanter:problem:no-such-row"


def test_a_bulk_says_which_of_its_rows_were_rejected(deployed: Deployment) -> None:
    rows = [{**STATION, "icao": f"B{number:03}"} for number in range(200)]
    rows[17]["latitude"] = 91
    rows[101] = dict(rows[100])

    status = poured(deployed, call(deployed, "POST", "/stations", rows))

    assert (status["state"], status["applied"], status["rejected"]) == ("partial", 198, 2)
    assert [each["item"] for each in status["rejections"]] == [17, 101]
    assert [each["type"] for each in status["rejections"]] == ["check", "conflict"]


def test_the_same_key_gives_the_same_receipt_and_one_effect(deployed: Deployment) -> None:
    body = [{"station": "KEYD", "observed_at": "2026-01-01T00:00:00Z"}]
    poured(deployed, call(deployed, "POST", "/stations", {**STATION, "icao": "KEYD"}))

    first = call(deployed, "POST", "/observations", body, Idempotency_Key='"e2e-once"')
    second = call(deployed, "POST", "/observations", body, Idempotency_Key='"e2e-once"')
    poured(deployed, first)
    third = call(deployed, "POST", "/observations", body, Idempotency_Key='"e2e-once"')

    assert poured(deployed, third)["state"] == "applied"
    assert first[1]["receipt"] == second[1]["receipt"] == third[1]["receipt"]
    assert query(deployed, "SELECT count(*) FROM observations WHERE station = 'KEYD'") == [(1,)]


def test_a_key_that_is_used_for_another_row_is_refused_at_once_or_on_its_receipt(
    deployed: Deployment,
) -> None:
    for icao in ("KEYA", "KEYB"):
        poured(deployed, call(deployed, "POST", "/stations", {**STATION, "icao": icao}))

    first = call(deployed, "DELETE", "/stations/KEYA", Idempotency_Key='"e2e-reused"')
    second = call(deployed, "DELETE", "/stations/KEYB", Idempotency_Key='"e2e-reused"')

    assert poured(deployed, first)["state"] == "applied"
    if second[0] == 422:  # by the container that took the first
        assert second[1]["type"] == "urn:decanter:problem:key-reused"
    else:
        status = poured(deployed, second)
        assert (status["state"], status["rejections"][0]["type"]) == ("rejected", "key-reused")
    assert call(deployed, "GET", "/stations/KEYB")[0] == 200
    assert call(deployed, "GET", "/stations/KEYA")[1]["instance"] == "/stations/KEYA"


def test_a_child_that_overtakes_its_parent_waits_for_it(deployed: Deployment) -> None:
    report = {"station": "LATE", "observed_at": "2026-01-01T00:00:00Z", "report": {"a": [1.50]}}

    child = call(deployed, "POST", "/observations", report)
    time.sleep(1)
    parent = call(deployed, "POST", "/stations", {**STATION, "icao": "LATE"})

    assert poured(deployed, parent)["state"] == "applied"
    assert poured(deployed, child)["state"] == "applied"


BAD: list[tuple[str, str, str, Any, dict[str, str], int, str, str]] = [
    ("malformed JSON", "POST", "/stations", b'{"icao": ', {}, 400, "malformed-json", ""),
    ("nothing", "POST", "/stations", b"", {}, 400, "malformed-json", ""),
    ("NaN", "POST", "/stations", b'{"latitude": NaN}', {}, 400, "malformed-json", ""),
    ("empty array", "POST", "/stations", [], {}, 422, "invalid-row", ""),
    ("unknown resource", "POST", "/nothing", {}, {}, 404, "unknown-resource", ""),
    ("unknown member", "POST", "/stations", {**STATION, "x": 1}, {}, 422, "invalid-row", "/x"),
    (
        "wrong type, in an array",
        "POST",
        "/stations",
        [STATION, {**STATION, "name": 5}],
        {},
        422,
        "invalid-row",
        "/1/name",
    ),
    (
        "beyond the range",
        "POST",
        "/stations",
        {**STATION, "latitude": 1000},
        {},
        422,
        "invalid-row",
        "/latitude",
    ),
    (
        "digits that would be lost",
        "POST",
        "/stations",
        {**STATION, "latitude": 1.0000001},
        {},
        422,
        "invalid-row",
        "/latitude",
    ),
    (
        "beyond the length",
        "POST",
        "/stations",
        {**STATION, "icao": "ABCDE"},
        {},
        422,
        "invalid-row",
        "/icao",
    ),
    ("two keys", "PUT", "/stations/AAAA", STATION, {}, 422, "key-differs", "/icao"),
    ("a key that cannot be", "DELETE", "/stations/ABCDE", None, {}, 422, "invalid-key", "/icao"),
    ("too many key segments", "DELETE", "/stations/A/B", None, {}, 404, "unknown-path", ""),
    (
        "content type",
        "POST",
        "/stations",
        STATION,
        {"Content_Type": "text/plain"},
        415,
        "unsupported-media-type",
        "",
    ),
    (
        "too large",
        "POST",
        "/stations",
        b" " * 6_200_001,
        {},
        413,
        "body-too-large",
        "",
    ),
    ("forged receipt", "GET", "/writes/" + "A" * 80, None, {}, 404, "unknown-receipt", ""),
    ("only creates", "DELETE", "/observations/1", None, {}, 405, "op-not-allowed", ""),
]


@pytest.mark.parametrize("case", BAD, ids=[case[0] for case in BAD])
def test_bad_input_is_a_problem_that_names_the_place(
    deployed: Deployment, case: tuple[str, str, str, Any, dict[str, str], int, str, str]
) -> None:
    _, method, path, body, headers, status, kind, pointer = case

    found, problem, named = call(deployed, method, path, body, **headers)

    assert (found, problem["type"]) == (status, f"urn:decanter:problem:{kind}")
    assert named["Content-Type"] == "application/problem+json"
    assert problem["status"] == status
    assert problem["detail"]
    if status in (400, 422):
        assert problem["errors"][0]["pointer"] == pointer
        assert problem["errors"][0]["rule"]


def test_a_message_of_someone_else_is_kept_with_its_reason(deployed: Deployment) -> None:
    sqs = deployed.aws("sqs")

    for body in ("hello", '{"v": 99}', json.dumps({"Records": []})):
        sqs.send_message(QueueUrl=deployed.queue_urls["unordered"], MessageBody=body)
        sqs.send_message(
            QueueUrl=deployed.queue_urls["ordered"],
            MessageBody=body,
            MessageGroupId="0",
            MessageDeduplicationId=body.replace(" ", "")[:9].strip('{}":'),
        )
    status = poured(deployed, call(deployed, "POST", "/stations", {**STATION, "icao": "NEXT"}))

    assert status["state"] == "applied"
    kind = "SELECT body, reason FROM decanter.rejection WHERE type = 'foreign-message'"
    until(lambda: len(query(deployed, kind)) >= 6)
    kept = query(deployed, kind)
    assert sorted(body for body, _ in kept) == sorted(["hello", '{"v": 99}', '{"Records": []}'] * 2)
    assert all(reason for _, reason in kept)


def test_writes_are_accepted_while_the_database_is_down(deployed: Deployment) -> None:
    postgres = deployed.cloud.postgres
    postgres.stop()
    try:
        accepted = [
            call(deployed, "POST", "/stations", {**STATION, "icao": f"D{number:03}"})
            for number in range(20)
        ]
        while_down = call(deployed, "GET", accepted[0][2]["Location"])
    finally:
        postgres.start()

    assert [status for status, _, _ in accepted] == [202] * 20
    assert (while_down[0], while_down[2]["Retry-After"]) == (503, "5")
    assert [poured(deployed, each)["state"] for each in accepted] == ["applied"] * 20
    assert query(deployed, "SELECT count(*) FROM stations WHERE icao LIKE 'D0%'") == [(20,)]


def test_a_key_names_the_same_row_on_its_way_in_and_back(deployed: Deployment) -> None:
    """`1%41` decoded twice is `1A`, and `a%2Fb` decoded too early two segments."""
    _, _, host, prefix = deployed.api_url.split("/", 3)

    def ask(method: str, path: str) -> tuple[int, bytes, Any]:
        """Of the path as it is: other clients would put it right."""
        headers = {"Authorization": f"Bearer {deployed.token()}", "Prefer": "wait=20"}
        with closing(http.client.HTTPConnection(host, timeout=LONG)) as connection:
            connection.request(method, f"/{prefix}{path}", headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.headers

    keys = ["1%41", "1A", "a/b", "a\nb", "a;b", "a b", "..", "%", "ü+"]
    rows = [{**STATION, "icao": key} for key in keys]
    status = poured(deployed, call(deployed, "POST", "/stations", rows))
    assert status["applied"] == len(keys), status
    addresses = {key: "".join(f"%{byte:02X}" for byte in key.encode()) for key in keys}
    for key, address in addresses.items():
        found, text, _ = ask("GET", f"/stations/{address}")
        assert (found, json.loads(text)["icao"]) == (200, key)

    _, text, read = ask("GET", "/stations/1A")
    found, nothing, headers = ask("HEAD", "/stations/1A")
    assert (found, nothing) == (200, b"")
    assert headers["ETag"] == read["ETag"]
    assert int(headers["Content-Length"]) == len(text)
    assert [ask("HEAD", path)[:2] for path in ("/stations", "/health", "/docs")] == [(200, b"")] * 3
    assert ask("HEAD", "/stations/none")[:2] == (404, b"")
    found, _, headers = ask("DELETE", "/docs")
    assert (found, headers["Allow"]) == (405, "GET, HEAD")

    assert ask("DELETE", "/stations/1%2541")[0] == 200
    assert ask("DELETE", "/stations/a%2F")[0] == 200  # of no row
    assert [ask("DELETE", path)[0] for path in ("/stations/a;b/", "/stations//1A")] == [200, 400]
    left = {row[0] for row in query(deployed, "SELECT icao FROM stations")}
    assert left & {*keys} == {*keys} - {"1%41", "a;b"}


MODELS = """
import enum
import uuid
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    CheckConstraint, Computed, Date, DateTime, Enum, ForeignKey, ForeignKeyConstraint, Identity,
    Integer, LargeBinary, Numeric, SmallInteger, String, Text, UniqueConstraint, func, text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class Grade(enum.Enum):
    standard = "standard"
    premium = "premium"


class Warehouse(Base):
    __tablename__ = "warehouses"
    __table_args__ = {"schema": "stock"}

    id: Mapped[uuid.UUID] = mapped_column(UUID, primary_key=True,
                                          server_default=text("gen_random_uuid()"))
    name: Mapped[str] = mapped_column(Text, unique=True)


class Lot(Base):
    __tablename__ = "lots"
    __table_args__ = (
        UniqueConstraint("serial"),
        CheckConstraint("quantity >= 0"),
        {"schema": "stock"},
    )

    warehouse: Mapped[uuid.UUID] = mapped_column(ForeignKey("stock.warehouses.id"),
                                                 primary_key=True)
    sku: Mapped[str] = mapped_column(String(20), primary_key=True)
    packed: Mapped[date] = mapped_column(Date, primary_key=True)
    serial: Mapped[int] = mapped_column(Integer, Identity())
    quantity: Mapped[int] = mapped_column(SmallInteger)
    price: Mapped[Decimal] = mapped_column(Numeric(30, 15))
    total: Mapped[Decimal] = mapped_column(Numeric, Computed("quantity * price"))
    grade: Mapped[Grade] = mapped_column(Enum(Grade, name="grade", schema="stock"),
                                         server_default="standard")
    tags: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}")
    details: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    photo: Mapped[bytes | None] = mapped_column(LargeBinary)
    noted_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    source: Mapped[str] = mapped_column(Text, default="api")


class Move(Base):
    __tablename__ = "moves"
    __table_args__ = (
        ForeignKeyConstraint(["warehouse", "sku", "packed"],
                             ["stock.lots.warehouse", "stock.lots.sku", "stock.lots.packed"]),
        {"info": {"ordered": False}},
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    warehouse: Mapped[uuid.UUID]
    sku: Mapped[str] = mapped_column(String(20))
    packed: Mapped[date]
    change: Mapped[int]
"""


def test_other_tables_work_by_contract_and_migration_alone(
    deploy: Callable[[Path, str], Deployment], copy_project: Callable[[], Path]
) -> None:
    project = copy_project()
    (project / "chalicelib" / "models.py").write_text(MODELS)
    for command in (["contract"], ["migration", "stock instead of stations"]):
        subprocess.run([sys.executable, "-m", "decanter", *command], cwd=project, check=True)

    stock = deploy(project, "stock")
    home = "3f2b6c1e-0000-4000-8000-00000000000A"
    key = f"/lots/{home}/caf%C3%A9%20no.1/2026-02-28"
    tags = ["a,b", None, 'c"d']
    lot = {"quantity": 3, "price": 0.123456789012345, "tags": tags, "photo": "\\xFF00"}
    warehouse = call(stock, "POST", "/warehouses", {"id": home, "name": "Halle 1"})
    assert poured(stock, warehouse)["state"] == "applied"
    assert poured(stock, call(stock, "PUT", key, lot))["state"] == "applied"
    row = call(stock, "GET", key.replace(home, home.lower()))[1]
    assert row == {
        "warehouse": home.lower(),
        "sku": "café no.1",
        "packed": "2026-02-28",
        "serial": 1,
        "quantity": 3,
        "price": "0.123456789012345",
        "total": "0.370370367037035",
        "grade": "standard",
        "tags": ["a,b", None, 'c"d'],
        "details": None,
        "photo": "\\xff00",
        "noted_at": row["noted_at"],
        "source": "api",
    }
    patch = {"details": {"a": {"b": 1}}, "grade": "premium"}
    assert poured(stock, call(stock, "PATCH", key, patch))["state"] == "applied"
    patch = {"details": {"a": {"c": 2}}}
    assert poured(stock, call(stock, "PATCH", key, patch))["state"] == "applied"
    row = call(stock, "GET", key)[1]
    assert (row["details"], row["grade"]) == ({"a": {"b": 1, "c": 2}}, "premium")
    moves = call(
        stock,
        "POST",
        "/moves",
        [
            {"warehouse": home.lower(), "sku": "café no.1", "packed": "2026-02-28", "change": n}
            for n in range(50)
        ],
    )
    assert poured(stock, moves)["applied"] == 50
    refused = poured(stock, call(stock, "DELETE", key))
    assert refused["rejections"][0]["type"] == "still-referenced"
    twin_key = {"warehouse": home, "sku": "x", "packed": "2026-01-01"}
    twin = call(stock, "POST", "/lots", {**lot, **twin_key, "serial": 1})
    assert poured(stock, twin)["rejections"][0]["type"] == "conflict"
    for member, value in (("total", 1), ("grade", "gold"), ("quantity", 40000), ("tags", "a")):
        status, problem, _ = call(stock, "PATCH", key, {member: value})
        assert status == 422, (member, problem)


def test_what_the_readme_shows_works(deployed: Deployment) -> None:
    readme = (PROJECT / "README.md").read_text()
    blocks = re.findall(r"```sh\n(.*?)```", readme, re.DOTALL)
    poured(deployed, call(deployed, "POST", "/stations", {**STATION, "icao": "LSZH"}))
    found = 'curl -s -H "Authorization: Bearer $TOKEN" $API/stations/LSZH | grep -q Zürich'
    wait = f"until {found}; do sleep 0.1; done"
    script = "\necho\n".join(["set -euo pipefail", blocks[0], wait, *blocks[1:]])

    done = subprocess.run(
        ["bash", "-c", script],
        env={"API": deployed.api_url, "TOKEN": deployed.token(), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=3 * LONG,
    )

    assert done.returncode == 0, done.stderr
    assert "HTTP/1.1 202" in done.stdout
    assert '"applied"' in done.stdout
    assert '"Zürich"' in done.stdout
    assert "urn:decanter:problem:invalid-row" in done.stdout
