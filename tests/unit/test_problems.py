"""Every type of problem can be provoked, and nothing answers with another one; bad input costs
neither much time nor much memory."""

import json
import subprocess
import sys

import pytest

from chalicelib.errors import PROBLEMS, Problem
from chalicelib.intake import pressure, queue
from chalicelib.settings import MAX_BODY_BYTES
from decanter import gateway
from tests.unit.reader_stub import TOKEN, Reader
from tests.unit.test_app import STATION, assert_problem, station

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
    "op-not-allowed": lambda api, _: api("POST", ROW, STATION),
    "body-too-large": lambda api, _: api("POST", "/stations", b" " * (MAX_BODY_BYTES + 1)),
    "row-too-large": lambda api, _: api("POST", "/stations", station(name="x" * 1_000_000)),
    "unsupported-media-type": lambda api, _: api("POST", "/stations", b"", Content_Type="a/b"),
    "invalid-row": lambda api, _: api("POST", "/stations", {"icao": 7}),
    "invalid-key": lambda api, _: api("DELETE", "/stations/TOOLONG"),
    "key-differs": lambda api, _: api("PUT", "/stations/LSZH", STATION),
    "key-reused": lambda api, _: [
        api("PUT", ROW, station(name=name), Idempotency_Key="k") for name in ("a", "b")
    ][1],
    "backlog": lambda api, patch: (
        patch.setenv("DECANTER_BACKLOG_LIMIT_SECONDS", "5"),
        patch.setattr(pressure, "_read", lambda _: 6.0),
        pressure._readings.clear(),
        api("DELETE", ROW),
    )[-1],
    "internal": lambda api, patch: (
        patch.setattr(queue, "send", lambda *_: 1 / 0),
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
    pressure._readings.clear()


def test_a_queue_out_of_reach_is_told(intake_environment, monkeypatch):
    monkeypatch.setattr(queue, "_client", _Away)

    with pytest.raises(Problem) as caught:
        queue.send("https://queues.test/q", [queue.Entry("id", None, "x")])

    assert caught.value.type == "queue-out-of-reach"
    assert caught.value.headers["Retry-After"]


def test_every_type_is_provoked_here_or_is_an_answer_of_the_gateway():
    by_gateway = {
        answer.problem
        for authentication in ("jwt", "iam")
        for answer in gateway.answers(authentication, None).values()
    }

    assert {*PROVOKED, "queue-out-of-reach"} | by_gateway == set(PROBLEMS)


def test_there_is_no_other_type():
    with pytest.raises(KeyError):
        Problem("another", "detail")


# Bad input costs little

NASTY = {
    "nested arrays": (b"[" * 5_900_000, "application/json"),
    "nested objects": (b'{"a":' * 1_100_000, "application/json"),
    "closed nested arrays": (b"[" * 2_900_000 + b"]" * 2_900_000, "application/json"),
    "many empty objects": (b"[" + b"{}," * 1_900_000 + b"{}]", "application/json"),
    "many numbers in a row": (
        b'{"name":[' + b"1.5," * 1_400_000 + b"1]}",
        "application/json",
    ),
    "many members": (
        b"{" + b",".join(b'"%d":1' % i for i in range(500_000)) + b"}",
        "application/json",
    ),
    "a number of megabytes": (b'{"elevation_ft":' + b"9" * 5_000_000 + b"}", "application/json"),
    "a fraction of megabytes": (b'{"a":0.' + b"9" * 5_000_000 + b"}", "application/json"),
    "half a string": (b'{"name": "' + b"x" * 5_900_000, "application/json"),
    "backslashes": (b'{"name": "' + b"\\" * 5_900_000, "application/json"),
    "half a quoted field": (b'icao\n"' + b'""' * 2_900_000, "text/csv"),
    "commas": (b"icao\n" + b"," * 5_900_000, "text/csv"),
    "a header of commas": (b"," * 5_900_000, "text/csv"),
    "empty lines": (b"\n" * 5_900_000, "application/x-ndjson"),
    "lines of brackets": (b"[\n" * 90_000, "application/x-ndjson"),
    "invalid UTF-8": (b'{"name": "' + b"\xff" * 5_000_000 + b'"}', "application/json"),
}
_RUN = """
import json, resource, sys, time
from chalice.local import LambdaEventConverter, RouteMatcher
import app as module
body = sys.stdin.buffer.read()
event = LambdaEventConverter(RouteMatcher(list(module.app.routes))).create_lambda_event(
    "POST", "/stations", {"content-type": sys.argv[1], "prefer": "handling=lenient"}, body)
event["requestContext"]["authorizer"] = {"name": "me", "scopes": "*:write", "exp": "9e9"}
module.app({**event, "path": "", "body": b'{"icao": 7}'}, None)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
started = time.process_time()
answer = module.app(event, None)
seconds = time.process_time() - started
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(json.dumps([answer["statusCode"], seconds, grown / 1024, len(answer["body"])]))
"""


@pytest.mark.parametrize("kind", NASTY)
def test_nasty_bodies_are_answered_in_time_and_memory(intake_environment, kind):
    body, type_ = NASTY[kind]
    done = subprocess.run(
        [sys.executable, "-c", _RUN, type_], input=body, capture_output=True, check=True
    )
    status, seconds, grown_mib, length = json.loads(done.stdout.splitlines()[-1])

    assert 400 <= status < 500
    assert seconds < 2  # of CPU; a second on a machine that does nothing else
    assert grown_mib < 350  # the function has 512
    assert length < 50_000
