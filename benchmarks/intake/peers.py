"""Handlers that accept a write over HTTP: Decanter's and its peers'. Each takes a proxy event of
API Gateway, puts the write on SQS, and returns the answer.

Every function imports only what its handler needs, because it runs in a separate process.
"""

import json
import os
from collections.abc import Callable
from typing import Any
from uuid import uuid4

Handler = Callable[[dict[str, Any], Any], Any]

ORDERED, UNORDERED = "DECANTER_ORDERED_QUEUE_URL", "DECANTER_UNORDERED_QUEUE_URL"


def ours() -> Handler:
    """The whole API function."""
    from importlib import import_module

    handler: Handler = import_module("app").app
    return handler


def without_caller_limit() -> Handler:
    """The same without a limit on what one caller may have waiting, to measure what that costs."""
    os.environ["DECANTER_CALLER_BACKLOG"] = "0"
    return ours()


def bare() -> Handler:
    """A Chalice app that calls `json.loads` and `send_message`, without checks, receipts or order
    per key (its message group is the station's code as it is in the path)."""
    return _bare(client())


def bare_with_our_client() -> Handler:
    """The same with Decanter's client, to measure the effect of the client alone."""
    from chalicelib.buffer.sqs import put

    return _bare(put._client())


def _bare(sqs: Any) -> Handler:
    from chalice.app import Chalice, IAMAuthorizer, Response

    app = Chalice(app_name="bare")
    signed = IAMAuthorizer()

    def send(url: str, **ordering: str) -> Response:
        request: Any = app.current_request
        text = request.raw_body.decode()
        json.loads(text)
        answer = sqs.send_message(QueueUrl=os.environ[url], MessageBody=text, **ordering)
        return Response({"id": answer["MessageId"]}, status_code=202)

    @app.route("/observations", methods=["POST"], authorizer=signed)
    def observations() -> Response:
        return send(UNORDERED)

    @app.route("/stations", methods=["POST"], authorizer=signed)
    def stations() -> Response:
        return send(ORDERED, **_ordering("stations"))

    @app.route("/stations/{icao}", methods=["PUT", "PATCH"], authorizer=signed)
    def station(icao: str) -> Response:
        return send(ORDERED, **_ordering(icao))

    return app


def powertools() -> Handler:
    """AWS Lambda Powertools' resolver with a pydantic model of each row, which is called directly:
    the resolver's `enable_validation` takes longer."""
    from datetime import datetime
    from decimal import Decimal
    from typing import Annotated

    from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response
    from pydantic import BaseModel, ConfigDict, Field

    class Strict(BaseModel):
        model_config = ConfigDict(extra="forbid")

    class Observation(Strict):
        station: str
        observed_at: datetime
        temperature_c: Annotated[Decimal, Field(max_digits=4, decimal_places=1)] | None = None
        wind_kt: Annotated[Decimal, Field(max_digits=5, decimal_places=1)] | None = None
        pressure_hpa: Annotated[Decimal, Field(max_digits=6, decimal_places=2)] | None = None
        report: dict[str, Any] = Field(default_factory=dict)

    class StationChange(Strict):
        iata: Annotated[str, Field(max_length=3)] | None = None
        name: str | None = None
        city: str | None = None
        subdivision: str | None = None
        country: Annotated[str, Field(max_length=2)] | None = None
        elevation_ft: Annotated[Decimal, Field(max_digits=7, decimal_places=2)] | None = None
        latitude: Annotated[Decimal, Field(max_digits=9, decimal_places=6)] | None = None
        longitude: Annotated[Decimal, Field(max_digits=9, decimal_places=6)] | None = None
        timezone: str | None = None
        active: bool = True

    class StationRow(StationChange):
        name: str
        country: Annotated[str, Field(max_length=2)]
        elevation_ft: Annotated[Decimal, Field(max_digits=7, decimal_places=2)]
        latitude: Annotated[Decimal, Field(max_digits=9, decimal_places=6)]
        longitude: Annotated[Decimal, Field(max_digits=9, decimal_places=6)]
        timezone: str

    class Station(StationRow):
        icao: Annotated[str, Field(max_length=4)]

    app = APIGatewayRestResolver()
    sqs = client()

    def send(model: type[Strict], url: str, **ordering: str) -> Response[str]:
        text = app.current_event.body or ""
        # A list of rows is for the cases with many rows.
        rows = json.loads(text) if text[:1] == "[" else None
        if rows is None:
            body = model.model_validate_json(text).model_dump_json(exclude_unset=True)
        else:
            found = [model.model_validate(row) for row in rows]
            body = f"[{','.join(row.model_dump_json(exclude_unset=True) for row in found)}]"
        answer = sqs.send_message(QueueUrl=os.environ[url], MessageBody=body, **ordering)
        return Response(202, "application/json", json.dumps({"id": answer["MessageId"]}))

    @app.post("/observations")
    def observations() -> Response[str]:
        return send(Observation, UNORDERED)

    @app.post("/stations")
    def stations() -> Response[str]:
        return send(Station, ORDERED, **_ordering("stations"))

    @app.put("/stations/<icao>")
    def station(icao: str) -> Response[str]:
        return send(StationRow, ORDERED, **_ordering(icao))

    @app.patch("/stations/<icao>")
    def changed(icao: str) -> Response[str]:
        return send(StationChange, ORDERED, **_ordering(icao))

    return app.resolve


def _ordering(group: str) -> dict[str, str]:
    return {"MessageGroupId": group, "MessageDeduplicationId": str(uuid4())}


def client() -> Any:
    """Return an SQS client with the same limits as Decanter's."""
    import boto3
    from botocore.config import Config

    return boto3.client(
        "sqs",
        config=Config(
            connect_timeout=2,
            read_timeout=5,
            retries={"mode": "standard", "total_max_attempts": 2},
            max_pool_connections=1,
        ),
    )


PEERS: dict[str, Callable[[], Handler]] = {
    "ours": ours,
    "no_caller_limit": without_caller_limit,
    "bare": bare,
    "our_client": bare_with_our_client,
    "powertools": powertools,
}
