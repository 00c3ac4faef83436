"""The processor time of an accepted write in the API function, beside what others would write.

Measured is the whole handler, from the proxy event of API Gateway to its answer, with the call to
SQS: user and system time of the process, which other processes and waiting do not change. Every
peer has a process, and they take turns, a sample each; after each generation of samples all
processes are started anew, as the places of things in memory and the order of hashes make a process
faster or slower for as long as it lives.

SQS is a small server in a process of its own (`sqs_stub`), whose time does not count. A whole
MiniStack would be nearer to SQS in nothing that the measured process can see, and it would grow by
each of the many thousands of messages.
"""

import json
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decanter.bench.peers_http import PEERS
from decanter.bench.rows import Json, airports, weather
from decanter.local.network import LOOPBACK

BULK_ROWS = 1_000


@dataclass(frozen=True)
class Case:
    """A request. calls: of a sample. rows: it has so many."""

    name: str
    method: str
    route: str
    parameters: Mapping[str, str]
    body: Any
    calls: int
    rows: int = 1


@dataclass(frozen=True)
class Plan:
    """How much is measured: generations of processes, and rounds of samples in each."""

    generations: int
    rounds: int


FULL, QUICK = Plan(6, 16), Plan(2, 8)


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


def run(quick: bool, as_json: bool) -> int:
    """Print a line for each case."""
    plan = QUICK if quick else FULL
    with stub() as port:
        found = _measure(plan, port)
    for case in cases():
        _report(case, found[case.name], as_json)
    return 0


@contextmanager
def stub() -> Iterator[int]:
    """The port of a server that answers like SQS; gone afterwards."""
    process = subprocess.Popen(
        [sys.executable, "-m", "decanter.bench.sqs_stub"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None  # noqa: S101
        yield int(process.stdout.readline())
    finally:
        process.communicate()


def environment(port: int) -> dict[str, str]:
    """What Lambda and the deployment tell the API function, with the stub in the place of AWS."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "DECANTER_", "POWERTOOLS_"))
    }
    endpoint = f"http://{LOOPBACK}:{port}"
    return kept | {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "ASIALOCALLOCALLOCALX",
        "AWS_SECRET_ACCESS_KEY": "s" * 40,
        "AWS_SESSION_TOKEN": "t" * 800,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_LAMBDA_FUNCTION_NAME": "decanter-api",
        "AWS_EXECUTION_ENV": "AWS_Lambda_python3.11",
        "_X_AMZN_TRACE_ID": "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0",
        "DECANTER_AUTH": "jwt",
        "DECANTER_QUEUES": "decanter-dev",
        "DECANTER_ORDERED_QUEUE_URL": f"{endpoint}/123456789012/decanter-dev-ordered.fifo",
        "DECANTER_UNORDERED_QUEUE_URL": f"{endpoint}/123456789012/decanter-dev-unordered",
        "DECANTER_READER_FUNCTION": "decanter-dev-reader",
        "DECANTER_RECEIPT_KEY": "k" * 43,
    }


def event(case: Case, peer: str) -> Json:
    """What API Gateway hands over after its authorizer has checked a bearer token."""
    route, parameters = case.route, dict(case.parameters)
    path = route.format(**parameters)
    if peer == "ours":
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


class Worker:
    """A peer's process."""

    def __init__(self, peer: str, port: int) -> None:
        self.peer, self.port = peer, port
        self.process = subprocess.Popen(
            [sys.executable, "-m", "decanter.bench.intake_worker", peer],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(port),
            cwd=Path(__file__).parents[2],  # whose contract it serves
        )

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()

    def milliseconds(self, case: Case) -> float:
        """Of processor time for a request. Raises AssertionError unless all were accepted, and
        what they had to write is on the queue."""
        assert self.process.stdin is not None  # noqa: S101
        assert self.process.stdout is not None  # noqa: S101
        before = _taken(self.port)
        asked = json.dumps({"event": event(case, self.peer), "count": case.calls})
        self.process.stdin.write(asked + "\n")
        self.process.stdin.flush()
        found = json.loads(self.process.stdout.readline() or '{"wrong": ["the process ended"]}')
        sent = _taken(self.port) - before
        if found["wrong"] or sent < case.calls:
            raise AssertionError(f"{self.peer}, {case.name}: {sent} messages, {found['wrong']}")
        return float(found["seconds"]) / case.calls * 1_000


def _taken(port: int) -> int:
    with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/") as answer:
        return int(json.load(answer)["taken"])


Samples = dict[str, list[float]]


def _measure(plan: Plan, port: int) -> dict[str, Samples]:
    """Milliseconds a request, by case and peer, a figure a round."""
    found: dict[str, Samples] = {case.name: {peer: [] for peer in PEERS} for case in cases()}
    for generation in range(plan.generations):
        with ExitStack() as processes:
            workers = [processes.enter_context(Worker(peer, port)) for peer in PEERS]
            for round_ in range(plan.rounds + 1):
                start = (generation + round_) % len(workers)
                for case in cases():
                    for worker in workers[start:] + workers[:start]:
                        figure = worker.milliseconds(case)
                        if round_:  # the first one warms up
                            found[case.name][worker.peer].append(figure)
    return found


def _report(case: Case, found: Samples, as_json: bool) -> None:
    medians = {peer: statistics.median(figures) for peer, figures in found.items()}
    ratios = {
        peer: [a / b for a, b in zip(found["ours"], figures, strict=True)]
        for peer, figures in found.items()
        if peer != "ours"
    }
    figures: Json = {
        "bench": "intake",
        "case": case.name,
        "rows": case.rows,
        "ratio": round(statistics.median(ratios["bare"]), 3),
        "ratio_spread": spread(ratios["bare"], 3),
        "our_client_ratio": round(statistics.median(ratios["our_client"]), 3),
        "powertools_ratio": round(statistics.median(ratios["powertools"]), 3),
    }
    for peer in found:
        figures[f"{peer}_ms"] = round(medians[peer], 4)
        figures[f"{peer}_spread"] = spread(found[peer], 4)
    if as_json:
        print(json.dumps(figures), flush=True)
        return
    low, high = figures["ratio_spread"]
    print(
        f"{case.name:24} {medians['ours']:7.3f} ms  {figures['ratio']:.2f} × bare"
        f" ({low:.2f}-{high:.2f})  {figures['our_client_ratio']:.2f} × bare with our client"
        f"  {figures['powertools_ratio']:.2f} × powertools",
        flush=True,
    )


def spread(figures: Sequence[float], digits: int) -> list[float]:
    """The middle half: first and third quartile."""
    if len(figures) < 2:
        return [round(figures[0], digits)] * 2
    first, _, third = statistics.quantiles(figures, n=4, method="inclusive")
    return [round(first, digits), round(third, digits)]
