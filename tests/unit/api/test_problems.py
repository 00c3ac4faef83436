"""Every type of problem can be provoked, and nothing answers with another one; bad input costs
neither much time nor much memory."""

import json
import subprocess
import sys
from functools import cache

import pytest

from chalicelib.buffer.sqs import backlog, put
from chalicelib.errors import PROBLEMS, Problem
from chalicelib.settings import MAX_BODY_BYTES
from decanter.deployment import gateway
from tests.kit.api import STATION, assert_problem, station
from tests.kit.growth import LINEAR, TIMES
from tests.kit.nasty_bodies import NASTY
from tests.kit.reader_stub import TOKEN, Reader

ROW = "/stations/EDDF"


class _Away:
    """SQS without an answer."""

    def send_message(self, **_):
        from botocore.exceptions import EndpointConnectionError

        raise EndpointConnectionError(endpoint_url="x")

    send_message_batch = send_message


PROVOKED = {
    "malformed-json": lambda api, _: api("POST", "/stations", b'{"icao": NaN}'),
    "malformed-csv": lambda api, _: api("POST", "/stations", b"nope\n", Content_Type="text/csv"),
    "invalid-idempotency-key": lambda api, _: api("DELETE", ROW, Idempotency_Key="a b"),
    "invalid-preference": lambda api, _: api(
        "POST", "/observations", {}, Prefer="resolution=merge-duplicates"
    ),
    "invalid-precondition": lambda api, _: api("DELETE", ROW, If_Match="abc"),
    "invalid-query": lambda api, _: api("GET", "/stations?limit=0"),
    "unauthorized": lambda api, _: api("GET", ROW, caller=""),
    "missing-scope": lambda api, _: api("GET", ROW, scopes="stations:write"),
    "unknown-resource": lambda api, _: api("GET", "/statoins"),
    "unknown-path": lambda api, _: api("GET", f"{ROW}/1"),
    "unknown-receipt": lambda api, _: api("GET", "/writes/x"),
    "no-such-row": lambda api, patch: (Reader(patch, {"body": None}), api("GET", ROW))[1],
    "write-rejected": lambda api, patch: (
        Reader(patch, {"rejected": "why"}),
        api("GET", f"{ROW}?after={TOKEN}"),
    )[1],
    "not-yet-applied": lambda api, patch: (
        Reader(patch, {"pending": True}),
        api("GET", f"{ROW}?after={TOKEN}&wait=0"),
    )[1],
    "receipt-expired": lambda api, patch: (
        Reader(patch, {"expired": "accepted long ago: no longer known"}),
        api("GET", f"{ROW}?after={TOKEN}"),
    )[1],
    "row-too-large-to-read": lambda api, patch: (
        Reader(patch, {"too_large": True}),
        api("GET", ROW),
    )[1],
    "reader-busy": lambda api, patch: (Reader(patch, {"unwell": True}), api("GET", ROW))[1],
    "no-such-entry": lambda api, _: api("GET", "/ops/rejections/1", scopes="ops:read"),
    "op-not-allowed": lambda api, _: api("POST", ROW, STATION),
    "body-too-large": lambda api, _: api("POST", "/stations", b" " * (MAX_BODY_BYTES + 1)),
    "row-too-large": lambda api, _: api("POST", "/stations", station(name="x" * 1_000_000)),
    "unsupported-media-type": lambda api, _: api("POST", "/stations", b"", Content_Type="a/b"),
    "invalid-row": lambda api, _: api("POST", "/stations", {"icao": 7}),
    "invalid-act": lambda api, _: api("POST", "/ops/acts", {}, scopes="ops:write"),
    "invalid-key": lambda api, _: api("DELETE", "/stations/TOOLONG"),
    "key-differs": lambda api, _: api("PUT", "/stations/LSZH", STATION),
    "key-reused": lambda api, _: [
        api("PUT", ROW, station(name=name), Idempotency_Key="k") for name in ("a", "b")
    ][1],
    "backlog": lambda api, patch: (
        patch.setenv("DECANTER_BACKLOG_LIMIT_SECONDS", "5"),
        patch.setattr(backlog, "_read", lambda _: 6.0),
        backlog._readings.clear(),
        api("DELETE", ROW),
    )[-1],
    "too-many-waiting": lambda api, patch: (
        patch.setenv("DECANTER_LONE_CALLER_BACKLOG", "31"),
        patch.setattr(backlog, "_waiting", lambda _: 10_000),
        [api("DELETE", ROW) for _ in range(32)],
    )[-1][-1],
    "internal": lambda api, patch: (
        patch.setattr(put, "send", lambda *_: 1 / 0),
        api("DELETE", ROW),
    )[1],
    "not-configured": lambda api, patch: (
        patch.delenv("DECANTER_RECEIPT_KEY"),
        api("DELETE", ROW),
    )[1],
}


@pytest.mark.parametrize("type_", PROVOKED)
def test_a_problem_is_provoked(api, monkeypatch, type_):
    assert_problem(PROVOKED[type_](api, monkeypatch), PROBLEMS[type_][0], type_)
    backlog._readings.clear()


def test_a_queue_out_of_reach_is_reported(intake_environment, monkeypatch):
    monkeypatch.setattr(put, "_client", _Away)

    with pytest.raises(Problem) as caught:
        put.send("https://queues.test/q", [put.QueueEntry("id", None, "x")])

    assert caught.value.type == "queue-unavailable"
    assert caught.value.headers["Retry-After"]


def test_every_type_is_provoked_here_or_is_an_answer_of_the_gateway():
    by_gateway = {
        answer.problem
        for authentication in ("jwt", "iam")
        for answer in gateway.answers(authentication, None).values()
    }

    by_queue = {"queue-unavailable", "queue-refuses"}  # test_queue.py has the latter
    # tests/unit/api/front has these.
    in_front = {
        "conflict", "missing-parent", "item-damaged", "precondition-failed", "front-refuses",
        "front-unavailable", "resource-closed",
    }  # fmt: skip
    assert {*PROVOKED} | by_queue | in_front | by_gateway == set(PROBLEMS)


def test_there_is_no_other_type():
    with pytest.raises(KeyError):
        Problem("another", "detail")


# Bad input costs little

_RUN = """
import json, sys, tracemalloc
from chalice.local import LambdaEventConverter, RouteMatcher
import app as module
from tests.kit.growth import growth
from tests.kit.nasty_bodies import NASTY
events = LambdaEventConverter(RouteMatcher(list(module.app.routes)))

def allocated(ask):
    tracemalloc.start()
    ask()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak

def measured(type_, make):
    answers = []

    def asking(times):
        event = events.create_lambda_event(
            "POST", "/stations", {"content-type": type_, "prefer": "handling=lenient"}, make(times))
        event["requestContext"]["authorizer"] = {"name": "me", "scopes": "*:write", "exp": "9e9"}
        return lambda: answers.append(module.app(event, None))

    asking(0)()  # what is loaded with the first one
    peaks = [allocated(asking(times)) for times in (1, 2)]
    grown = growth(asking)
    told = [[each["statusCode"], len(each["body"])] for each in answers[1:]]
    return grown, len(make(1)), peaks, told

print(json.dumps({kind: measured(*body) for kind, body in NASTY.items()}))
"""


@cache
def _measured() -> dict[str, tuple[float, int, tuple[int, int], list[tuple[int, int]]]]:
    """By kind of body: growth of time; length; bytes allocated for it and for twice it; answers, as
    their status and length. In a process of its own, where nothing else allocates."""
    done = subprocess.run([sys.executable, "-c", _RUN], capture_output=True, check=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("kind", NASTY)
def test_a_nasty_body_takes_time_and_memory_that_grow_no_faster_than_it(intake_environment, kind):
    grown, size, (once, twice), answers = _measured()[kind]

    assert all(400 <= status < 500 for status, _ in answers)
    assert grown < LINEAR
    assert twice < 2.5 * once
    # Bytes that are allocated at once, for each that a body may have; the function has 80.
    assert once < 60 * max(size, MAX_BODY_BYTES / TIMES / 8)
    assert max(length for _, length in answers) < 50_000
