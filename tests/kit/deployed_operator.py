"""An operator of a deployed stage, and what clients and faults do there."""

import json
from typing import Any
from uuid import uuid4

from chalicelib.messages.accepted import WORD, LoggedRequest
from chalicelib.messages.message import decode, encode
from tests.kit.deployment import Answer, Deployment
from tests.kit.waiting import until

HOUR_MS = 3_600_000
STATION = {
    "name": "Old", "country": "XX", "elevation_ft": 1, "latitude": 2, "longitude": 3,
    "timezone": "UTC",
}  # fmt: skip


class Operator:
    """What an operator does with the API of a stage."""

    def __init__(self, deployed: Deployment) -> None:
        self.deployed = deployed
        self.token = deployed.token("ops:read ops:write", "operator")

    def get(self, path: str) -> Any:
        return self._answered("GET", path)

    def _answered(self, method: str, path: str, body: Any = None) -> Any:
        """The answer, asked for again, as the same request, where a busy machine is late."""
        headers = {"Idempotency-Key": f'"{uuid4()}"'}

        def ask() -> Answer | None:
            found = self.deployed.call(method, path, body, headers, self.token)
            return None if found.status == 503 else found

        answer = until(ask, path)
        assert answer is not None
        assert answer.status in (200, 201), answer.body
        return answer.body

    def begin(self, **body: Any) -> str:
        """Begin an act; returns its id."""
        return str(self._answered("POST", "/ops/acts", body)["id"])

    def act(self, **body: Any) -> Any:
        """An act, when it is over."""
        path = f"/ops/acts/{self.begin(**body)}/steps"

        def step() -> Any:
            done = self._answered("POST", path)
            return done if done["state"] in ("done", "stopped") else None

        return until(step, "the act")

    def state(self, buffer: str) -> str:
        """Of the mapping of a buffer."""
        found = self.get("/ops/mappings")["mappings"]
        return str(next(each["state"] for each in found if each["buffer"] == buffer))

    def resume_all(self) -> None:
        for each in self.get("/ops/mappings")["mappings"]:
            if each["paused"]:
                self.act(kind="resume", buffer=each["buffer"])

    def rejected(self, method: str, path: str, body: Any) -> tuple[str, list[str]]:
        """Send writes that are rejected, none of which waits for its parent; returns the receipt
        and the ids of the rejections."""
        receipt = send(self.deployed, method, path, body)
        assert settled(self.deployed, receipt) == "rejected"
        found = self.get(f"/ops/rejections?receipt={receipt}")["rejections"]
        return receipt, [each["id"] for each in found]


def send(deployed: Deployment, method: str, path: str, body: Any) -> str:
    """Send writes that do not wait for their parents; returns the receipt."""
    answer = deployed.call(method, path, body, {"Prefer": "missing-parent=reject"})
    assert answer.status == 202, answer.body
    return str(answer.body["receipt"])


def put(deployed: Deployment, icao: str, name: str = "New") -> str:
    """Replace a station; returns the receipt."""
    return send(deployed, "PUT", f"/stations/{icao}", {**STATION, "name": name})


def status(deployed: Deployment, receipt: str) -> str:
    return str(deployed.call("GET", f"/writes/{receipt}").body["state"])


def settled(deployed: Deployment, receipt: str) -> str:
    def find() -> str:
        found = status(deployed, receipt)
        return "" if found == "pending" else found

    return until(find, "an outcome")


def kill(deployed: Deployment, count: int) -> None:
    """Have so many messages of the ordered queue, which is paused, become dead letters that were
    accepted an hour ago."""
    client, urls = deployed.aws("sqs"), deployed.queue_urls
    for body in _taken(client, urls["ordered"], count):
        message = decode(body)
        message = message._replace(accepted_at=message.accepted_at - HOUR_MS)
        client.send_message(
            QueueUrl=urls["ordered_dlq"],
            MessageBody=encode(message),
            MessageGroupId="0",
            MessageDeduplicationId=message.dedup_id,
        )


def _taken(client: Any, url: str, count: int) -> list[str]:
    """Take messages off a queue."""
    bodies: list[str] = []

    def take() -> bool:
        found = client.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        for each in found:
            client.delete_message(QueueUrl=url, ReceiptHandle=each["ReceiptHandle"])
            bodies.append(each["Body"])
        return len(bodies) >= count

    until(take, "the messages")
    return sorted(bodies, key=lambda body: decode(body).accepted_at)


def log(deployed: Deployment, request: LoggedRequest) -> None:
    """Put a line into the API function's log, as of a request that has reached no queue."""
    client = deployed.aws("logs")
    place = {"logGroupName": f"/decanter/{deployed.stack.name}/api", "logStreamName": request.id}
    client.create_log_stream(**place)
    line = f"decanter.intake - INFO - {WORD} {json.dumps(request._asdict())}"
    event = {"timestamp": request.accepted_at, "message": line}
    client.put_log_events(**place, logEvents=[event])
