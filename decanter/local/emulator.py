"""MiniStack as a program that treats API calls like API Gateway, and spares the machine; with
some of what it lacks.

Like API Gateway, it leaves their paths percent-encoded. Unpatched it decodes them first, which
makes ``100%2541`` and ``100%41`` one key, and ``a%2Fb`` two segments.

Calls beyond a number wait. Each one at once needs a process of the API function, which takes 60 MB
and a third of a second to start: hundreds do not fit into a machine.

A function that raises serves on in its process, like on Lambda. Unpatched each refused token would
end one, and start the next.

Processes of functions share the files of their code and of their layers. Unpatched each unpacks
72 MB for itself, which takes a second. Nor does each import botocore, a fifth of a second, to count
how deep functions call each other.

Added are SQS' tasks that move dead letters back to their queue, and the pages of FilterLogEvents,
which is otherwise cut off without a word.
"""

import asyncio
import json
import tempfile
import threading
import time
import uuid
import zipfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

App = Callable[[Any, Any, Any], Awaitable[None]]
Json = dict[str, Any]
CALLS_AT_ONCE = 16
CONNECTIONS_WAITING = 1_024  # hypercorn lets a hundred wait, and more are reset


def with_api_calls(app: App, at_once: int = CALLS_AT_ONCE) -> App:
    """Wrap an ASGI application so that it gets the paths of API calls undecoded, and only so many
    of these calls at once."""
    free = asyncio.Semaphore(at_once)

    async def handle(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["raw_path"].startswith(b"/restapis/"):
            path = scope["raw_path"].decode("ascii")
            if path.split("/", 5)[4:5] == ["_user_request_"]:
                async with free:
                    await app({**scope, "path": path}, receive, send)
                return
        await app(scope, receive, send)

    return handle


_RAISED = '"status": "error", "error": str(e)'
_RAISED_AND_SERVES_ON = '"status": "ok", "raised": str(e)'


def keep_when_raising(runtime: Any) -> None:
    """Have the processes of functions serve on after an exception. runtime: MiniStack's module,
    which ends a process for the status that it tells of one."""
    invoke = runtime.Worker.invoke

    def answered(worker: Any, *arguments: Any, **named: Any) -> Json:
        answer: Json = invoke(worker, *arguments, **named)
        if "raised" in answer:
            return {**answer, "status": "error", "error": answer["raised"]}
        return answer

    runtime.Worker.invoke = answered
    script = runtime._PYTHON_WORKER_SCRIPT.replace(f"{_RAISED}, ", f"{_RAISED_AND_SERVES_ON}, ")
    runtime._PYTHON_WORKER_SCRIPT = script


class UnpackedOnce(zipfile.ZipFile):
    """A zip that is unpacked where none of the same content was; else what was unpacked is linked
    to. Nobody may write to it, as on Lambda."""

    _unpacked: ClassVar[dict[tuple[tuple[str, int], ...], Path]] = {}
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def namelist(self) -> list[str]:
        """None, for MiniStack to look at: unpacking leaves out what leads out of a folder."""
        return []

    def extractall(self, path: Any = None, *_: Any) -> None:
        """path: an empty folder, which becomes a link."""
        content = tuple((each.filename, each.CRC) for each in self.infolist())
        with self._lock:
            if content not in self._unpacked:
                folder = Path(tempfile.mkdtemp(prefix="ministack-unpacked-"))
                super().extractall(folder, self.infolist())
                self._unpacked[content] = folder
        Path(path).rmdir()
        Path(path).symlink_to(self._unpacked[content])


def unpack_once(runtime: Any) -> None:
    """Have the processes of functions share what is unpacked. runtime: MiniStack's module."""
    runtime.zipfile = SimpleNamespace(**{**vars(zipfile), "ZipFile": UnpackedOnce})


_COUNT_CALLS = "    _ms_install_invoke_depth()\n    try:"


def import_no_sdk(runtime: Any) -> None:
    """Leave it to functions whether they import botocore. runtime: MiniStack's module."""
    script = runtime._PYTHON_WORKER_SCRIPT.replace(_COUNT_CALLS, "    try:")
    runtime._PYTHON_WORKER_SCRIPT = script


@dataclass
class MessageMoves:
    """Tasks that move dead letters. sqs: MiniStack's module. tasks: as they are listed, the latest
    first."""

    sqs: Any
    tasks: list[Json] = field(default_factory=list)
    running: set["asyncio.Task[None]"] = field(default_factory=set)

    def actions(self) -> dict[str, Callable[..., Any]]:
        """By the names of SQS' actions, functions of their parameters and the URL of a queue."""
        return {
            "StartMessageMoveTask": self.start,
            "ListMessageMoveTasks": self.listed,
            "CancelMessageMoveTask": self.cancel,
        }

    async def start(self, data: Json, _url: str) -> Json:
        arn, dead = data["SourceArn"], self.sqs._queue_by_arn(data["SourceArn"])
        if dead is None:
            raise self.sqs._Err("ResourceNotFoundException", f"there is no queue {arn}", 404)
        if any(each["SourceArn"] == arn and each["Status"] == "RUNNING" for each in self.tasks):
            raise self.sqs._Err("UnsupportedOperation", "there is already a task running")
        task: Json = {
            "TaskHandle": str(uuid.uuid4()),
            "SourceArn": arn,
            "Status": "RUNNING",
            "ApproximateNumberOfMessagesMoved": 0,
            "ApproximateNumberOfMessagesToMove": len(dead["messages"]),
            "StartedTimestamp": time.time_ns() // 1_000_000,
        }
        self.tasks.insert(0, task)
        moving = asyncio.create_task(
            self.move(task, dead, data.get("MaxNumberOfMessagesPerSecond"))
        )
        self.running.add(moving)  # which keeps it from being collected as garbage
        moving.add_done_callback(self.running.discard)
        return {"TaskHandle": task["TaskHandle"]}

    async def move(self, task: Json, dead: Json, per_second: int | None) -> None:
        """Move what nobody has received, one by one, until there is nothing left."""
        queue = self.source(task["SourceArn"])
        while task["Status"] == "RUNNING":
            visible = [each for each in dead["messages"] if each["visible_at"] <= time.time()]
            if not visible:
                task["Status"] = "COMPLETED"
                break
            self.send(queue, visible[0])
            dead["messages"].remove(visible[0])
            task["ApproximateNumberOfMessagesMoved"] += 1
            await asyncio.sleep(1 / per_second if per_second else 0)
        del task["TaskHandle"]

    def source(self, arn: str) -> Json:
        """The queue whose dead letters are in the queue of that ARN."""
        queues: list[Json] = [*self.sqs._queues.values()]
        return next(
            each
            for each in queues
            if json.loads(each["attributes"].get("RedrivePolicy") or "{}").get(
                "deadLetterTargetArn"
            )
            == arn
        )

    def send(self, queue: Json, message: Json) -> None:
        """Send a message anew: SQS gives it another identity."""
        sent = {"QueueUrl": queue["url"], "MessageBody": message["body"]}
        if message["group_id"]:
            sent |= {"MessageGroupId": message["group_id"]}
        if queue["is_fifo"]:
            sent |= {"MessageDeduplicationId": message["id"]}
        self.sqs._act_send_message(sent, queue["url"])

    def listed(self, data: Json, _url: str) -> Json:
        found = [each for each in self.tasks if each["SourceArn"] == data["SourceArn"]]
        return {"Results": found[: int(data.get("MaxResults", 1))]}

    def cancel(self, data: Json, _url: str) -> Json:
        for task in self.tasks:
            if task.get("TaskHandle") == data["TaskHandle"]:
                task["Status"] = "CANCELLED"
                moved = task["ApproximateNumberOfMessagesMoved"]
                return {"ApproximateNumberOfMessagesMoved": moved}
        raise self.sqs._Err("ResourceNotFoundException", "there is no such task", 404)


LOG_PAGE = 500
"""Most log events of an answer; AWS chooses as well how many."""

Answer = tuple[int, Any, bytes]


def in_pages(filter_events: Callable[[Json], Answer]) -> Callable[[Json], Answer]:
    """Make MiniStack's FilterLogEvents answer in pages. A token is the time of the last event, and
    how many events of that time were listed."""

    def answer(data: Json) -> Answer:
        since, _, text = data.get("nextToken", "").partition("-")
        known = int(text or 0)
        asked = {**data, "startTime": int(since)} if since else data
        status, headers, body = filter_events({**asked, "limit": LOG_PAGE + known + 1})
        found = json.loads(body)
        if "events" not in found:
            return status, headers, body
        events = found["events"][known:]
        page = events[:LOG_PAGE]
        if len(events) > LOG_PAGE:
            last = page[-1]["timestamp"]
            same = sum(1 for _ in takewhile(lambda each: each["timestamp"] == last, reversed(page)))
            before = known if same == len(page) and since == str(last) else 0
            found["nextToken"] = f"{last}-{same + before}"
        return status, headers, json.dumps({**found, "events": page}).encode()

    return answer


if __name__ == "__main__":
    from hypercorn.config import Config
    from ministack import app as ministack  # type: ignore[import-untyped]
    from ministack.core import lambda_runtime  # type: ignore[import-untyped]
    from ministack.services import cloudwatch_logs, sqs  # type: ignore[import-untyped]

    keep_when_raising(lambda_runtime)
    unpack_once(lambda_runtime)
    import_no_sdk(lambda_runtime)
    sqs._HANDLERS.update(MessageMoves(sqs).actions())
    cloudwatch_logs._filter_log_events = in_pages(cloudwatch_logs._filter_log_events)
    Config.backlog = CONNECTIONS_WAITING
    ministack.app = with_api_calls(ministack.app)
    ministack.main()
