"""The measured requests, and the events that API Gateway makes of them."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.harness import OURS, Json
from benchmarks.rows import airports, weather

BULK_ROWS = 1_000
_OUR_ROUTES = (OURS, "no_caller_limit")


@dataclass(frozen=True)
class Case:
    """A request. calls: number of calls a sample. rows: number of rows in the body."""

    name: str
    method: str
    route: str
    parameters: Mapping[str, str]
    body: Any
    calls: int
    rows: int = 1


def cases() -> list[Case]:
    stations = airports(BULK_ROWS + 1)
    station = stations[-1]
    change = {"city": station["city"], "timezone": station["timezone"]}
    replaced = {name: value for name, value in station.items() if name != "icao"}
    reports = weather([row["icao"] for row in stations], BULK_ROWS + 1)
    key = {"icao": station["icao"]}
    return [
        Case("POST observations", "POST", "/observations", {}, reports[0], 40),
        Case("POST stations", "POST", "/stations", {}, station, 40),
        Case("PUT stations", "PUT", "/stations/{icao}", key, replaced, 40),
        Case("PATCH stations", "PATCH", "/stations/{icao}", key, change, 40),
        Case("POST 1,000 observations", "POST", "/observations", {}, reports[1:], 2, BULK_ROWS),
        Case("POST 1,000 stations", "POST", "/stations", {}, stations[:-1], 2, BULK_ROWS),
    ]


def event(case: Case, peer: str) -> Json:
    """Return the event that API Gateway passes on once its authorizer has checked a token."""
    route, parameters = case.route, dict(case.parameters)
    path = route.format(**parameters)
    if peer in _OUR_ROUTES:
        first, *rest = path.strip("/").split("/")
        parameters = {"resource": first, **{f"key{n}": each for n, each in enumerate(rest, 1)}}
        route = "/" + "/".join(f"{{{name}}}" for name in parameters)
    headers = {
        "Accept": "*/*",
        "Accept-Encoding": "gzip, deflate",
        "Authorization": f"Bearer {'t' * 700}",
        "Content-Type": "application/json",
        "Host": "a1b2c3d4e5.execute-api.us-east-1.amazonaws.com",
        "User-Agent": "python-httpx/0.28.1",
        "X-Amzn-Trace-Id": "Root=1-5759e988-bd862e3fe1be46a994272793",
        "X-Forwarded-For": "203.0.113.7",
        "X-Forwarded-Port": "443",
        "X-Forwarded-Proto": "https",
    }
    subject = "https://issuer.example.com/ 0f6e1c9a-7f0f-4d3c-9d56-5a3b6d1c2e4f"
    scopes = "stations:write stations:read observations:create observations:read"
    return {
        "resource": route,
        "path": path,
        "httpMethod": case.method,
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": parameters or None,
        "stageVariables": None,
        "requestContext": {
            "resourceId": "ab12cd",
            "authorizer": {
                "principalId": subject,
                "name": subject,
                "scopes": scopes,
                "exp": str(int(time.time()) + 3_600),
                "integrationLatency": 0,
            },
            "resourcePath": route,
            "httpMethod": case.method,
            "extendedRequestId": "cJgWNFA5oAMFjHg=",
            "requestTime": "01/Jan/2026:12:00:00 +0000",
            "path": f"/api{path}",
            "accountId": "123456789012",
            "protocol": "HTTP/1.1",
            "stage": "api",
            "domainPrefix": "a1b2c3d4e5",
            "requestTimeEpoch": 1_767_268_800_000,
            "requestId": "3c8f4f41-0a3b-4b5e-9a77-c0ffee000000",
            "identity": {"sourceIp": "203.0.113.7", "userAgent": "python-httpx/0.28.1"},
            "domainName": "a1b2c3d4e5.execute-api.us-east-1.amazonaws.com",
            "apiId": "a1b2c3d4e5",
        },
        "body": json.dumps(case.body),
        "isBase64Encoded": False,
    }
