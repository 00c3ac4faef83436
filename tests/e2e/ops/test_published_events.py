"""Events about requests, from the deployed stack to the consumer of docs/events.md."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from chalicelib.messages.receipt import read
from decanter.local import issuer
from tests.kit.consumer import program
from tests.kit.databases import execute
from tests.kit.deployed_operator import STATION
from tests.kit.deployment import CLOCK, Deployment
from tests.kit.waiting import until

NAME = "eventful"
TOPIC = "arn:aws:sns:eu-central-1:123456789012:done"


@dataclass
class Eventful:
    """A deployed stage with events, and a queue that gets them. known: by request."""

    deployed: Deployment
    queue: str
    store: Any
    consumer: Any
    known: dict[str, list[dict[str, Any]]]

    def await_event(self, receipt: str) -> dict[str, Any]:
        """The event with this receipt."""

        def look() -> list[dict[str, Any]]:
            return self.known.get(receipt) or self.look().get(receipt, [])

        return until(look, "the event")[0]

    def look(self, seconds: int = 0) -> dict[str, list[dict[str, Any]]]:
        """The events that have come, or come within so many seconds."""
        self.consumer.consume(self.queue, self.store, self._note, wait=seconds)
        return self.known

    def invoke(self, name: str, kind: str = "RequestResponse") -> None:
        """Invoke a function, as its schedule does."""
        self.deployed.aws("lambda").invoke(
            FunctionName=self.deployed.stack.function(name),
            Payload=json.dumps(CLOCK),
            InvocationType=kind,
        )

    def _note(self, event: dict[str, Any], _store: Any) -> None:
        self.known.setdefault(event["receipt"], []).append(event)

    def write(self, method: str, path: str, body: Any) -> str:
        """The receipt of a write that is accepted."""
        answer = self.deployed.call(method, path, body)
        assert answer.status == 202, answer.body
        return str(answer.body["receipt"])


def station(code: str, **members: Any) -> dict[str, Any]:
    return {**STATION, "icao": code, **members}


def project(folder: Path, arn: str) -> Path:
    file = folder / ".chalice" / "config.json"
    whole = json.loads(file.read_text())
    whole["stages"]["dev"]["environment_variables"]["DECANTER_EVENTS"] = arn
    file.write_text(json.dumps(whole))
    return folder


@pytest.fixture(scope="module")
def folder(copied: Callable[[], Path]) -> Path:
    return copied()


@pytest.fixture(scope="module")
def eventful(
    folder: Path, deploy: Callable[..., Deployment], tmp_path_factory: pytest.TempPathFactory
) -> Any:
    deployed = deploy(project(folder, TOPIC), NAME)
    events = deployed.stack.stage.events
    assert events is not None
    sqs = deployed.aws("sqs")
    queue = sqs.create_queue(QueueName="consumer")["QueueUrl"]
    deployed.aws("sns").subscribe(
        TopicArn=events.arn, Protocol="sqs", Endpoint=arn_of(deployed, queue)
    )
    consumer = program()
    store = consumer.open_store(tmp_path_factory.mktemp("consumer") / "events.db")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in deployed.cloud.ministack.environment.items():
            patch.setenv(name, value)
        found = Eventful(deployed, queue, store, consumer, {})
        found.invoke("publish", "Event")  # for a minute; then its schedule does
        yield found
    rules = deployed.aws("events")
    for each in rules.list_rules()["Rules"]:  # what comes after has the machine for itself
        if each["Name"].startswith(NAME):
            rules.disable_rule(Name=each["Name"])


def arn_of(deployed: Deployment, queue: str) -> str:
    found = deployed.aws("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
    return str(found["Attributes"]["QueueArn"])


COUNTS = ("state", "writes", "applied", "rejected")


def test_each_request_that_is_done_has_an_event(eventful: Eventful) -> None:
    many = [station(f"M{n:03}") for n in range(40)]  # in many lanes, so in many messages
    sent = {
        eventful.write("POST", "/stations", many): ("applied", 40, 40, 0),
        eventful.write("POST", "/stations", [station("PART"), station("PARX", latitude=91)]): (
            "partial", 2, 1, 1,
        ),
        eventful.write("POST", "/stations", station("NONE", longitude=181)): ("rejected", 1, 0, 1),
    }  # fmt: skip
    found = {receipt: eventful.await_event(receipt) for receipt in sent}

    for receipt, counts in sent.items():
        event = found[receipt]
        status = eventful.deployed.call("GET", f"/writes/{receipt}").body
        assert tuple(event[name] for name in COUNTS) == counts
        assert tuple(status[name] for name in COUNTS) == counts
        assert event["accepted_at"] == status["accepted_at"]
        assert event["poured_at"] == status["poured_at"]
        assert (event["resource"], event["stage"]) == ("stations", NAME)
        assert event["request"] == str(getattr(read(receipt), "id", None))
        assert event["caller"].split() == [issuer.URL, issuer.SUBJECT]
    ids = [event["id"] for events in eventful.known.values() for event in events]
    assert len(ids) == len({*ids})


def test_a_write_that_waits_has_its_event_when_it_is_applied(eventful: Eventful) -> None:
    """An observation that comes before its station."""
    row = {"station": "LATE", "observed_at": "2026-01-31T12:00:00Z"}
    early = eventful.write("POST", "/observations", row)

    until(lambda: execute(eventful.deployed.database_url, "SELECT reason FROM decanter.waiting"))
    eventful.await_event(eventful.write("POST", "/stations", station("OTHR")))
    assert early not in eventful.known  # it is poured, and not done
    eventful.await_event(eventful.write("POST", "/stations", station("LATE")))
    eventful.invoke("drain_ordered")  # its schedule pours what waits

    assert [eventful.await_event(early)[name] for name in COUNTS] == ["applied", 1, 1, 0]


def test_events_about_one_key_are_in_the_order_of_its_writes(eventful: Eventful) -> None:
    sent = [
        eventful.write("PUT", "/stations/KEYS", {**STATION, "elevation_ft": n}) for n in range(12)
    ]

    found = [eventful.await_event(receipt)["sequence"] for receipt in sent]

    assert found == sorted(found)
    assert [len(eventful.known[receipt]) for receipt in sent] == [1] * 12


def test_a_row_behind_the_front_table_has_an_event_when_it_is_in_postgres(
    eventful: Eventful,
) -> None:
    eventful.await_event(eventful.write("PUT", "/stations/KORD", STATION))
    row = {"email": f"{uuid4()}@example.com", "station": "KORD", "wind_above_kt": 25}
    answer = eventful.deployed.call("POST", "/subscriptions", row)
    assert answer.status == 201

    def event() -> Any:
        return [
            each
            for events in eventful.look().values()
            for each in events
            if each["resource"] == "subscriptions"
        ]

    [found] = until(event)
    assert [found[name] for name in COUNTS] == ["applied", 1, 1, 0]
