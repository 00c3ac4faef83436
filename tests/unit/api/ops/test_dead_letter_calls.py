"""Dead letters through the API: looked at, redriven at a pace, stopped."""

import pytest

from chalicelib.api.ops import dead_letters as calls
from chalicelib.buffer.sqs import dead_letters
from chalicelib.buffer.sqs.dead_letters import DeadLetter, DeadLetterQueue, MoveTask
from chalicelib.errors import Problem
from chalicelib.messages.message import VERSION, Message, RowSet, encode
from tests.kit.api import assert_problem, body_of

FINGERPRINT = "0" * 32


def body(number, digests=(5,), resource="stations"):
    dedup_id = f"00000000-0000-7000-8000-{number:012}"
    rows = ",".join('{"a":1}' for _ in digests or [0])
    part = RowSet(("a",), (*range(len(digests or [0])),), tuple(digests), rows)
    return encode(Message(dedup_id, FINGERPRINT, 1_000_000 + number, resource, "replace", (part,)))


class Queue:
    """A dead-letter queue. moving: what the tasks will be, one after the other look."""

    def __init__(self):
        self.bodies = []
        self.messages = None
        self.moving = []
        self.past = []
        self.started = []
        self.cancelled = []

    def queue_of(self, queue_url):
        self.url = queue_url
        count = len(self.bodies) if self.messages is None else self.messages
        return DeadLetterQueue("dead", count)

    def look(self, url, most, _deadline):
        assert url == "dead"
        return [DeadLetter(f"m{n}", body, 1_500, 3, "h") for n, body in enumerate(self.bodies)]

    def start(self, url, per_second):
        self.started.append((url, per_second))
        self.past = [self.moving.pop(0), *self.past]

    def tasks(self, _url):
        found = [*self.past]
        if self.past and self.moving and self.past[0].is_running:
            self.past[0] = self.moving.pop(0)
        return found

    def cancel(self, task):
        self.cancelled.append(task.started_at)
        self.past[0] = task._replace(status="CANCELLED", handle=None)


def task(status="RUNNING", moved=0, started_at=50, why=""):
    handle = "h" if status == "RUNNING" else None
    return MoveTask(started_at, status, moved, 9, handle, why)


@pytest.fixture(name="queue")
def fixture_queue(monkeypatch, acts):
    found = Queue()
    for name in ("queue_of", "look", "start", "tasks", "cancel"):
        monkeypatch.setattr(dead_letters, name, getattr(found, name))
    monkeypatch.setattr(calls, "_PAUSE_SECONDS", 0)
    return found


# A look


def test_a_look_says_what_each_message_is_and_what_became_of_it(ops, queue, acts):
    queue.bodies = [body(1), body(2, (5, 6)), body(3, (), "observations")]
    asked = []

    def answer(letters):
        asked.extend(letters)
        outcomes = {
            letters[0][0]: {"poured": True, "newer": False},
            letters[1][0]: {"poured": False, "newer": True},
            letters[2][0]: {"poured": False, "newer": None},
        }
        return {"outcomes": outcomes, "unknown": []}

    acts.answers["dead-letters"] = answer
    found = body_of(ops("GET", "/ops/dead-letters?buffer=ordered"))

    assert queue.url == "https://queues.test/ordered.fifo"
    assert (found["buffer"], found["count"], found["unknown"]) == ("ordered", 3, [])
    first, second, third = found["messages"]
    assert first == {
        "message_id": "m0",
        "id": "00000000-0000-7000-8000-000000000001",
        "resource": "stations",
        "op": "replace",
        "writes": 1,
        "accepted_at": "1970-01-01T00:16:40.001+00:00",
        "sent_at": "1970-01-01T00:00:01.500+00:00",
        "receives": 3,
        "poured": True,
        "newer": False,
        "reason": None,
    }
    assert (second["writes"], second["poured"], second["newer"]) == (2, False, True)
    assert (third["resource"], third["newer"]) == ("observations", None)
    assert asked[1] == ["00000000-0000-7000-8000-000000000002", 1_000_002, "stations", [5, 6]]


def test_a_message_that_cannot_be_read_says_why(ops, queue, acts):
    newer = body(1).replace(f'"v":{1}', f'"v":{VERSION + 1}', 1)
    queue.bodies = ["<script>alert(1)</script>", newer]

    found = body_of(ops("GET", "/ops/dead-letters?buffer=unordered"))

    assert queue.url == "https://queues.test/unordered"
    assert [each["id"] for each in found["messages"]] == [None, None]
    assert "not JSON" in found["messages"][0]["reason"]
    assert f"version {VERSION + 1}" in found["messages"][1]["reason"]
    assert found["messages"][0]["receives"] == 3
    assert acts.asked == []  # nothing to ask the reader for


def test_more_than_is_shown_is_said(ops, queue, acts):
    queue.bodies, queue.messages = [body(1)], 4_000
    acts.answers["dead-letters"] = lambda letters: {
        "outcomes": {}, "unknown": [{"what": "messages.newer", "why": "too many rows"}],
    }  # fmt: skip

    found = body_of(ops("GET", "/ops/dead-letters?buffer=ordered"))

    assert found["count"] == 4_000
    assert [each["what"] for each in found["unknown"]] == ["messages.newer", "messages"]
    assert "1 of some 4,000" in found["unknown"][1]["why"]
    assert (found["messages"][0]["poured"], found["messages"][0]["newer"]) == (None, None)


def test_a_busy_database_hides_no_dead_letters(ops, queue, acts):
    def busy(**_):
        raise Problem("reader-busy", "the database does not answer now")

    queue.bodies = [body(1)]
    acts.answers["dead-letters"] = busy

    found = body_of(ops("GET", "/ops/dead-letters?buffer=ordered"))

    assert found["messages"][0]["poured"] is None
    assert {each["what"] for each in found["unknown"]} == {"messages.poured", "messages.newer"}


def test_newer_writes_are_looked_for_to_so_many_keys(ops, queue, acts, monkeypatch):
    monkeypatch.setattr(calls, "_MOST_KEYS", 3)
    queue.bodies = [body(1, (1, 2)), body(2, (3, 4)), body(3, (5,))]
    asked = []
    acts.answers["dead-letters"] = lambda letters: (
        asked.extend(letters) or {"outcomes": {}, "unknown": []}
    )

    found = body_of(ops("GET", "/ops/dead-letters?buffer=ordered"))

    assert [each[3] for each in asked] == [[1, 2], [], []]
    assert "5 keys" in found["unknown"][0]["why"]


@pytest.mark.parametrize("query", ["", "?buffer=", "?buffer=stream", "?buffer=ORDERED"])
def test_a_look_needs_a_buffer_that_has_dead_letters(ops, queue, query):
    problem = assert_problem(ops("GET", f"/ops/dead-letters{query}"), 400, "invalid-query")

    assert problem["errors"][0]["pointer"] == "?buffer"
    assert "no dead-letter queue" in problem["errors"][0]["detail"]


def test_only_operators_look(ops, queue):
    path = "/ops/dead-letters?buffer=ordered"
    assert_problem(ops("GET", path, scopes="*:read *:write"), 403, "missing-scope")
    assert_problem(ops("POST", "/ops/dead-letters"), 405, "op-not-allowed")


# Redriven


def begin(ops, **more):
    answer = ops(
        "POST", "/ops/acts", {"kind": "redrive", "buffer": "ordered", "per_second": 5, **more}
    )
    assert answer.status_code == 201, answer.body
    return answer.headers["Location"]


def step(ops, place, what="steps"):
    answer = ops("POST", f"{place}/{what}")
    assert answer.status_code == 200, answer.body
    return body_of(answer)


def test_dead_letters_are_redriven_until_all_are_moved(ops, queue, acts):
    queue.bodies = [body(1)] * 9
    queue.past = [task("COMPLETED", 3, started_at=40)]  # of another act
    queue.moving = [task(), task(moved=4), task("COMPLETED", 9)]

    place = begin(ops)
    assert queue.started == []
    assert step(ops, place)["state"] == "running"  # at once, so that it can be stopped
    act = step(ops, place)

    assert (act["state"], act["done"], act["failed"]) == ("done", 9, 0)
    assert act["target"] == {"buffer": "ordered", "per_second": 5, "messages": 9}
    assert queue.started == [("dead", 5)]
    assert next(iter(acts.kept.values()))["detail"] == {
        "started_at": 50, "status": "COMPLETED", "moved": 9, "to_move": 9,
    }  # fmt: skip


def test_a_long_move_shows_how_far_it_is_and_is_begun_once(ops, queue, monkeypatch):
    monkeypatch.setattr(calls, "_STEP_SECONDS", 0)
    queue.bodies = [body(1)] * 9
    queue.moving = [task(), task(moved=4), task(moved=6), task("COMPLETED", 9)]
    place = begin(ops)

    found = [step(ops, place) for _ in range(4)]

    assert [each["state"] for each in found] == ["running", "running", "running", "done"]
    assert [each["done"] for each in found] == [0, 4, 6, 9]
    assert queue.started == [("dead", 5)]


def test_a_move_that_sqs_lists_late_is_found(ops, queue, monkeypatch):
    monkeypatch.setattr(calls, "_STEP_SECONDS", 0)
    queue.bodies, queue.past = [body(1)], [task("COMPLETED", 3, started_at=40)]
    monkeypatch.setattr(dead_letters, "start", lambda *_: None)
    place = begin(ops)
    assert step(ops, place)["state"] == "running"
    queue.past.insert(0, task("COMPLETED", 1))

    assert step(ops, place)["state"] == "done"


@pytest.mark.parametrize(
    ("end", "done"),
    [(task("FAILED", 2, why="AccessDenied"), 2), (task("CANCELLED", 1), 1), (None, 0)],
)
def test_a_move_that_does_not_end_well_is_stopped(ops, queue, acts, monkeypatch, end, done):
    monkeypatch.setattr(calls, "_STEP_SECONDS", 0)
    queue.bodies, queue.moving = [body(1)] * 9, [task()]
    place = begin(ops)
    step(ops, place)
    queue.past = [end] if end else [task("COMPLETED", 1, started_at=60)]

    act = step(ops, place)

    assert (act["state"], act["done"]) == ("stopped", done)
    detail = next(iter(acts.kept.values()))["detail"]
    assert ("reason" in detail) is (end is None or bool(end.why))


def test_a_redrive_is_stopped(ops, queue, monkeypatch):
    monkeypatch.setattr(calls, "_STEP_SECONDS", 0)
    queue.bodies, queue.moving = [body(1)] * 9, [task(moved=2)]
    place = begin(ops)
    step(ops, place)

    act = step(ops, place, "stop")

    assert (act["state"], act["done"]) == ("stopped", 2)
    assert queue.cancelled == [50]


def test_a_redrive_is_stopped_while_its_first_step_is_done(ops, queue, monkeypatch):
    queue.bodies, queue.moving = [body(1)] * 9, [task(moved=2)]
    place = begin(ops)
    start = dead_letters.start

    def stopped_meanwhile(*given):
        start(*given)
        assert step(ops, place, "stop")["state"] == "stopped"

    monkeypatch.setattr(dead_letters, "start", stopped_meanwhile)

    assert step(ops, place)["state"] == "stopped"
    assert queue.cancelled == [50]


def test_a_redrive_that_was_never_begun_stops_nothing_of_others(ops, queue):
    queue.bodies = [body(1)]
    place = begin(ops)
    queue.past = [task(started_at=60)]  # somebody else's

    assert step(ops, place, "stop")["state"] == "stopped"
    assert queue.cancelled == []


def test_nothing_to_redrive_is_a_conflict(ops, queue, acts):
    request = {"kind": "redrive", "buffer": "ordered", "per_second": 5}
    assert_problem(ops("POST", "/ops/acts", request), 409, "conflict")
    queue.bodies, queue.past = [body(1)], [task()]
    problem = assert_problem(ops("POST", "/ops/acts", request), 409, "conflict")
    assert "being moved since 1970-01-01T00:00:00.050" in problem["detail"]
    assert acts.kept == {}


def test_two_redrives_do_not_run_at_once(ops, queue, acts):
    queue.bodies = [body(1)]
    place = begin(ops)
    queue.past = [task()]  # by another act, meanwhile

    assert_problem(ops("POST", f"{place}/steps"), 409, "conflict")
    assert queue.started == []
    assert next(iter(acts.kept.values()))["steps"] == 0


@pytest.mark.parametrize(
    ("more", "pointer"),
    [
        ({"buffer": "stream"}, "/buffer"),
        ({"buffer": None}, "/buffer"),
        ({"per_second": 0}, "/per_second"),
        ({"per_second": 501}, "/per_second"),
        ({"per_second": 1.5}, "/per_second"),
        ({"per_second": True}, "/per_second"),
        ({"per_second": "5"}, "/per_second"),
        ({"per_second": None}, "/per_second"),
        ({"ids": []}, "/ids"),
    ],
)
def test_bad_redrives_are_refused(ops, queue, acts, more, pointer):
    queue.bodies = [body(1)]
    request = {"kind": "redrive", "buffer": "ordered", "per_second": 5, **more}

    problem = assert_problem(ops("POST", "/ops/acts", request), 422, "invalid-act")

    assert [each["pointer"] for each in problem["errors"]] == [pointer]
    assert acts.kept == {}
