"""Handlers that answer a write or a read by key: Decanter's in front of Postgres and behind SQS,
and Chalice apps that only call DynamoDB.

Every function imports only what its handler needs, because it runs in a separate process.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

from benchmarks.intake import peers as intake
from benchmarks.intake.peers import Handler

CONTRACT = "BENCHMARK_CONTRACT"
"""The variable with the path of the tables' contract."""

_HEADER = (
    '{"v":6,"id":"0199b5a4-7c00-7000-8000-000000000000","fp":"00000000000000000000000000000000",'
    '"at":1767268800000,"resource":"alerts","op":"create","sets":[[["active","created_at","email",'
    '"id","note","station","wind_above_kt"],[0],[12345678901234567890]]],"by":'
    '"https://issuer.example.com/ 0f6e1c9a-7f0f-4d3c-9d56-5a3b6d1c2e4f"}\n'
)
_DEFAULTS = (
    '{"id":"00000000-0000-4000-8000-000000000000","active":true,'
    '"created_at":"2026-01-01T12:00:00.123456+00:00",'
)
"""What is in the message of a row, and what has a default: constants, so that the entry is as large
as Decanter's."""


def ours() -> Handler:
    """The whole API function. Which buffer it writes to depends on the path."""
    from chalicelib.contract import resources

    resources._FILE = Path(os.environ[CONTRACT])
    return intake.ours()


def bare() -> Handler:
    """A Chalice app that calls `json.loads` and `put_item`, `transact_write_items` for many rows,
    `get_item`, or both of one row: without checks, conditions, claims, receipts or repeats."""
    return _bare(_client())


def bare_with_our_client() -> Handler:
    """The same with Decanter's client, to measure the effect of the client alone."""
    from chalicelib.buffer.dynamodb import table

    return _bare(table._client())


def _bare(dynamodb: Any) -> Handler:
    from chalice.app import Chalice, IAMAuthorizer, Response

    def answer(text: str, status: int = 200) -> Response:
        return Response(text, status_code=status, headers={"Content-Type": "application/json"})

    app = Chalice(app_name="bare")
    signed = IAMAuthorizer()
    name = os.environ["DECANTER_FRONT_TABLE"]

    def pk(id: str) -> Any:
        return {"S": f'row/alerts/["{id.replace("-", "")}"]'}

    def item(id: str, row: str) -> Any:
        return {
            "pk": pk(id),
            "row": {"S": row},
            "etag": {"S": uuid4().hex},
            "write": {"S": f"{_HEADER}[{row}]"},
        }

    def create() -> Response:
        request: Any = app.current_request
        text = request.raw_body.decode()
        rows = json.loads(text)
        if isinstance(rows, dict):
            dynamodb.put_item(TableName=name, Item=item(str(uuid4()), _DEFAULTS + text[1:]))
        else:
            texts = [_DEFAULTS + json.dumps(row)[1:] for row in rows]
            items = [item(str(uuid4()), row) for row in texts]
            puts = [{"Put": {"TableName": name, "Item": each}} for each in items]
            dynamodb.transact_write_items(TransactItems=puts)
        return answer(text, 201)

    @app.route("/alerts", methods=["POST"], authorizer=signed)
    def alerts() -> Response:
        return create()

    @app.route("/unique_alerts", methods=["POST"], authorizer=signed)
    def unique_alerts() -> Response:
        return create()

    def read(id: str) -> str:
        found = dynamodb.get_item(TableName=name, Key={"pk": pk(id)}, ConsistentRead=True)
        return str(found["Item"]["row"]["S"])

    @app.route("/alerts/{id}", methods=["GET", "PUT", "PATCH"], authorizer=signed)
    def alert(id: str) -> Response:
        request: Any = app.current_request
        if request.method == "GET":
            return answer(read(id))
        text = request.raw_body.decode()
        row = json.loads(text)
        if request.method == "PUT":
            put = item(id, _DEFAULTS + text[1:])
        else:
            put = item(id, json.dumps({**json.loads(read(id)), **row}))
        dynamodb.put_item(TableName=name, Item=put)
        return answer(put["row"]["S"])

    return app


def _client() -> Any:
    """Return a client of DynamoDB with the same limits as Decanter's."""
    import boto3
    from botocore.config import Config

    return boto3.client(
        "dynamodb",
        config=Config(
            connect_timeout=2,
            read_timeout=5,
            retries={"mode": "standard", "total_max_attempts": 1},
            max_pool_connections=1,
        ),
    )


PEERS: dict[str, Callable[[], Handler]] = {
    "ours": ours,
    "sqs": ours,
    "bare": bare,
    "our_client": bare_with_our_client,
}
