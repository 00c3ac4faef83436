"""How the local cloud treats calls of the API, and what it adds to MiniStack."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ministack.core import lambda_runtime  # type: ignore[import-untyped]
from ministack.services import cloudwatch_logs, sqs  # type: ignore[import-untyped]

from decanter.local import emulator
from decanter.local.emulator import (
    MessageMoves,
    import_no_sdk,
    in_pages,
    keep_when_raising,
    unpack_once,
    with_api_calls,
)
from decanter.package import archive


def http(path: str) -> dict[str, Any]:
    return {"type": "http", "raw_path": path.encode(), "path": "decoded"}


def test_api_calls_keep_their_paths_encoded_and_others_do_not() -> None:
    paths: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        paths.append(scope["path"])

    async def call_all() -> None:
        handle = with_api_calls(app)
        for path in ("/restapis/a/api/_user_request_/b%2Fc", "/restapis/a/resources", "/queue"):
            await handle(http(path), None, None)

    asyncio.run(call_all())

    assert paths == ["/restapis/a/api/_user_request_/b%2Fc", "decoded", "decoded"]


def test_api_calls_beyond_a_number_wait_and_nothing_else_does() -> None:
    running: list[str] = []

    async def call_all() -> None:
        done = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            running.append(scope["path"])
            await done.wait()

        handle = with_api_calls(app, at_once=2)
        calls = [f"/restapis/a/api/_user_request_/{number}" for number in range(4)]
        tasks = [asyncio.create_task(handle(http(each), None, None)) for each in [*calls, "/queue"]]
        await asyncio.sleep(0)
        assert running == [*calls[:2], "decoded"]
        done.set()
        await asyncio.gather(*tasks)
        assert sorted(running) == sorted([*calls, "decoded"])

    asyncio.run(call_all())


PROGRAM = b"""
import os

def handler(event, context):
    if event is None:
        raise ValueError("it is None")
    return os.getpid()
"""


@contextmanager
def worker(files: archive.Files) -> Iterator[Any]:
    """A process of the function `program.handler`."""
    settings = {
        "FunctionName": "f",
        "FunctionArn": "arn:aws:lambda:us-east-1:000000000000:function:f",
        "Handler": "program.handler",
        "Runtime": "python3.11",
    }
    made = lambda_runtime.Worker("f", settings, archive.pack(files))
    try:
        yield made
    finally:
        with made._proc as process:  # which closes its pipes; MiniStack leaves them open
            process.kill()


@pytest.fixture
def unpatched(monkeypatch: pytest.MonkeyPatch) -> None:
    """MiniStack's module is as it was after the test."""
    monkeypatch.setattr(lambda_runtime.Worker, "invoke", lambda_runtime.Worker.invoke)
    monkeypatch.setattr(lambda_runtime, "zipfile", lambda_runtime.zipfile)
    script = lambda_runtime._PYTHON_WORKER_SCRIPT
    monkeypatch.setattr(lambda_runtime, "_PYTHON_WORKER_SCRIPT", script)


@pytest.mark.usefixtures("unpatched")
def test_a_function_that_raises_serves_on_in_its_process() -> None:
    keep_when_raising(lambda_runtime)

    with worker({"program.py": PROGRAM}) as made:
        before, raised, after = (made.invoke(event, "id") for event in (1, None, 1))

    assert (raised["status"], raised["error"]) == ("error", "it is None")
    assert 'raise ValueError("it is None")' in raised["trace"]
    assert before["result"] == after["result"] > 0


WHERE = b"""
import sys
from pathlib import Path

def handler(event, context):
    return str(Path(__file__).resolve()), "botocore" in sys.modules
"""


@pytest.mark.usefixtures("unpatched")
def test_processes_share_files_of_the_same_content_and_import_nothing_unasked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    unpack_once(lambda_runtime)
    import_no_sdk(lambda_runtime)
    found = []

    for files in ({"program.py": WHERE}, {"program.py": WHERE}, {"program.py": WHERE + b"\n"}):
        with worker(files) as made:
            found.append(made.invoke(None, "id")["result"])
            made._discard_tmpdir()

    assert [imported for _, imported in found] == [False] * 3
    one, same, other = (Path(path) for path, _ in found)
    assert one == same
    assert other.read_bytes() == one.read_bytes() + b"\n"


# Dead letters


@pytest.fixture(name="queues")
def fixture_queues() -> tuple[Any, str]:
    """A FIFO queue, and the ARN of its dead-letter queue, which has five messages of two lanes."""
    sqs.reset()
    dead = sqs._act_create_queue({"QueueName": "dead.fifo"}, "")["QueueUrl"]
    arn = sqs._queues[dead]["attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 3})
    attributes = {"RedrivePolicy": policy}
    url = sqs._act_create_queue({"QueueName": "q.fifo", "Attributes": attributes}, "")["QueueUrl"]
    for number in range(5):
        sent = {
            "MessageBody": str(number),
            "MessageGroupId": str(number % 2),
            "MessageDeduplicationId": f"d{number}",
        }
        sqs._act_send_message({"QueueUrl": dead, **sent}, "")
    return sqs._queues[url], arn


def bodies(queue: Any) -> list[str]:
    return [each["body"] for each in queue["messages"]]


def run(arn: str, act: Callable[[MessageMoves], Awaitable[None]], pace: int | None = None) -> Any:
    """Start a move and do something; returns the tasks as they are listed then."""

    async def do() -> Any:
        moves = MessageMoves(sqs)
        await moves.start({"SourceArn": arn, "MaxNumberOfMessagesPerSecond": pace}, "")
        await act(moves)
        return moves.listed({"SourceArn": arn, "MaxResults": 10}, "")["Results"]

    return asyncio.run(do())


async def until_all_is_moved(moves: MessageMoves) -> None:
    await asyncio.gather(*moves.running)


def test_dead_letters_are_moved_with_a_new_identity_of_sqs(queues: tuple[Any, str]) -> None:
    queue, arn = queues
    before = {each["id"] for each in sqs._queue_by_arn(arn)["messages"]}

    [task] = run(arn, until_all_is_moved)

    assert (task["Status"], task["ApproximateNumberOfMessagesMoved"]) == ("COMPLETED", 5)
    assert "TaskHandle" not in task
    assert bodies(queue) == ["0", "1", "2", "3", "4"]
    assert [each["group_id"] for each in queue["messages"]] == ["0", "1", "0", "1", "0"]
    assert before.isdisjoint(each["id"] for each in queue["messages"])
    assert sqs._queue_by_arn(arn)["messages"] == []


def test_a_move_keeps_to_its_pace_and_can_be_cancelled(queues: tuple[Any, str]) -> None:
    queue, arn = queues

    async def cancel(moves: MessageMoves) -> None:
        await asyncio.sleep(0)  # the move begins
        [task] = moves.tasks
        assert moves.cancel({"TaskHandle": task["TaskHandle"]}, "") == {
            "ApproximateNumberOfMessagesMoved": 1
        }
        for each in moves.running:
            each.cancel()

    [task] = run(arn, cancel, pace=1)

    assert (task["Status"], bodies(queue)) == ("CANCELLED", ["0"])


def test_one_move_runs_at_a_time(queues: tuple[Any, str]) -> None:
    async def again(moves: MessageMoves) -> None:
        with pytest.raises(sqs._Err, match="already a task"):
            await moves.start({"SourceArn": queues[1]}, "")
        await until_all_is_moved(moves)
        await moves.start({"SourceArn": queues[1]}, "")
        await until_all_is_moved(moves)

    assert [each["ApproximateNumberOfMessagesMoved"] for each in run(queues[1], again)] == [0, 5]


def test_a_dead_letter_of_a_standard_queue_keeps_its_message_group() -> None:
    sqs.reset()
    dead = sqs._act_create_queue({"QueueName": "dead"}, "")["QueueUrl"]
    arn = sqs._queues[dead]["attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 3})
    attributes = {"RedrivePolicy": policy}
    url = sqs._act_create_queue({"QueueName": "q", "Attributes": attributes}, "")["QueueUrl"]
    for sent in ({"MessageBody": "0", "MessageGroupId": "caller"}, {"MessageBody": "1"}):
        sqs._act_send_message({"QueueUrl": dead, **sent}, "")

    run(arn, until_all_is_moved)

    found = [(each["body"], each["group_id"]) for each in sqs._queues[url]["messages"]]
    assert found == [("0", "caller"), ("1", None)]


# Logs


@pytest.mark.parametrize("page", [1, 2, 3, 7, 8])
def test_log_events_come_in_pages(monkeypatch: pytest.MonkeyPatch, page: int) -> None:
    monkeypatch.setattr(emulator, "LOG_PAGE", page)
    cloudwatch_logs.reset()
    group = {"logGroupName": "g"}
    cloudwatch_logs._create_log_group(group)
    times = [10, 10, 10, 11, 12, 12, 13]
    for stream in ("a", "b"):
        named = {**group, "logStreamName": stream}
        cloudwatch_logs._create_log_stream(named)
        events = [{"timestamp": at, "message": f"{stream}{n}"} for n, at in enumerate(times)]
        cloudwatch_logs._put_log_events({**named, "logEvents": events})
    ask, token, found, calls = in_pages(cloudwatch_logs._filter_log_events), {}, [], 0

    while calls < 20:
        _, _, body = ask({**group, "startTime": 10, "endTime": 12, **token})
        answer = json.loads(body)
        found += [each["message"] for each in answer["events"]]
        calls += 1
        if "nextToken" not in answer:
            break
        token = {"nextToken": answer["nextToken"]}

    assert sorted(found) == sorted(f"{stream}{n}" for stream in "ab" for n in range(6))
    assert calls == -(-12 // page)


def test_a_missing_log_group_is_an_error_as_before() -> None:
    cloudwatch_logs.reset()

    status, _, body = in_pages(cloudwatch_logs._filter_log_events)({"logGroupName": "none"})

    assert status == 400
    assert b"ResourceNotFoundException" in body
