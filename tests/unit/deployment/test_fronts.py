"""Moves of a resource between SQS and the front table: which are allowed, and what they need."""

import json
import re
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from chalicelib.buffer.dynamodb import entries
from chalicelib.buffer.dynamodb.entries import FrontItem
from chalicelib.messages.message import Message, RowSet, encode
from chalicelib.messages.receipt import new_id
from decanter.deployment import (
    chalice_deploy,
    cloudformation,
    deploy,
    front_states,
    fronts,
    functions,
    hydrate,
    invocation,
    ministack_gaps,
    template,
)
from decanter.deployment.findings import DeploymentError, PreflightFailed
from decanter.deployment.plan import DeploymentPlan
from decanter.deployment.preflight import front as checks
from decanter.deployment.stage import Stage
from tests.kit import fronted
from tests.kit.deployed_fronts import OUTPUTS, DeployedFake
from tests.kit.project import PROJECT

THINGS = {"things": {"key": [{"name": "id", "kind": "integer"}]}}
DYNAMODB = Stage("p", "jwt", fronts={"things": "dynamodb"})
DAY_MS = 86_400_000
NOTHING = {"body": "[]", "next": None, "rows": 0}


@pytest.fixture(scope="module")
def dynamodb() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        patch.delenv("AWS_ENDPOINT_URL", raising=False)
        with fronted.dynamodb() as client:
            yield client


AWAY = SimpleNamespace(endpoint_url="https://lambda.eu-central-1.amazonaws.com")


class Stack(DeployedFake):
    """rows: how many Postgres has. known: dedup IDs in the ledger. waiting: writes."""

    rows, waiting = 0, 0
    known: tuple[str, ...] = ()

    def __init__(self, client: Any) -> None:
        super().__init__(client, served=dict(THINGS), read=self._read)

    def _read(self, event: Mapping[str, Any]) -> Mapping[str, Any]:
        if event["ask"] == "list":
            assert (event["order"], event["limit"]) == ([["id", "asc"]], 1)
            return {**NOTHING, "rows": min(self.rows, 1)}
        missing = [each for each in event["dedup_ids"] if each not in self.known]
        return {"missing": missing, "waiting": self.waiting}

    def names(self, wanted: str) -> list[str]:
        """The findings before things comes to this front."""
        states = {} if wanted == "sqs" else {"things": wanted}
        found = [*fronts.findings(self, states, fronts.of_stack(self, OUTPUTS))]
        assert all("things" in each.text for each in found)
        return [each.name for each in found]

    def write(self, days: float = 0, version: int = 1, id: int = 1) -> str:
        """Put an item whose last write is so old; returns its dedup ID."""
        now = int(time.time() * 1_000 - days * DAY_MS)
        rows = RowSet(("id",), (0,), (1,), json.dumps({"id": id}))
        message = Message(str(new_id(now)), "0" * 32, now, "things", "create", (rows,))
        body = encode(message).replace('{"v":1', f'{{"v":{version}')
        pk = entries.item_pk("things", [str(id)])
        item = FrontItem(pk, "{}", entries.etag_of(message.dedup_id), body)
        self.put(entries.item_entry(item))
        return message.dedup_id

    def put(self, entry: Any) -> None:
        self.dynamodb.put_item(TableName=fronted.NAME, Item=entry)

    def mark(self) -> None:
        self.put({"pk": {"S": entries.hydrated_pk("things")}})


@pytest.fixture
def stack(dynamodb: Any) -> Iterator[Stack]:
    fronted.make_table(dynamodb)
    yield Stack(dynamodb)
    dynamodb.delete_table(TableName=fronted.NAME)


@pytest.mark.parametrize(
    ("before", "after", "rows", "expected"),
    [
        ("sqs", "sqs", 1, []),
        ("sqs", "closed", 1, []),
        ("sqs", "dynamodb", 0, []),
        ("sqs", "dynamodb", 1, ["front-not-hydrated"]),
        ("closed", "closed", 1, []),
        ("closed", "dynamodb", 0, []),
        ("closed", "dynamodb", 1, ["front-not-hydrated"]),
        ("closed", "sqs", 1, []),
        ("dynamodb", "dynamodb", 1, []),
        ("dynamodb", "closed", 1, []),
    ],
)
def test_a_move_goes_over_closed_unless_there_are_no_rows(
    stack: Stack, before: str, after: str, rows: int, expected: list[str]
) -> None:
    stack.states = {} if before == "sqs" else {"things": before}
    stack.rows = rows

    assert stack.names(after) == expected


def test_an_open_resource_leaves_the_table_only_on_the_local_cloud(stack: Stack) -> None:
    """Where its last writes have to be poured all the same."""
    stack.states = {"things": "dynamodb"}

    assert stack.names("sqs") == []
    stack.write()
    assert stack.names("sqs") == ["front-not-poured"]
    stack.meta = AWAY
    assert stack.names("sqs") == ["front-open"]


def test_a_hydrated_resource_may_have_rows(stack: Stack) -> None:
    stack.rows = 1
    stack.mark()

    stack.states = {"things": "closed"}
    assert stack.names("dynamodb") == []
    assert stack.asked == []
    stack.states = {}  # rows came without items since
    assert stack.names("dynamodb") == ["front-not-hydrated"]


def test_items_of_another_time_are_not_taken_for_rows(stack: Stack) -> None:
    stack.put(entries.claim_entry(entries.claim_pk("things", "u", ["1"]), "row/things/1"))

    assert stack.names("dynamodb") == ["front-not-hydrated"]


@pytest.mark.parametrize("queue", ["ordered", "ordered_dlq", "unordered"])
def test_queued_messages_keep_a_resource_from_the_front(stack: Stack, queue: str) -> None:
    stack.queued = {queue: 2}

    assert stack.names("dynamodb") == ([] if queue == "unordered" else ["front-queued"])


def test_a_resource_that_is_not_deployed_is_left_to_the_migrated_database(stack: Stack) -> None:
    stack.served = {}

    assert stack.names("dynamodb") == []
    assert stack.asked == []
    assert [*fronts.findings(stack, {"things": "dynamodb"}, None)] == []


@pytest.mark.parametrize(
    ("days", "version", "known", "expected"),
    [
        (0, 1, True, []),
        (0, 1, False, ["front-not-poured"]),
        (29, 1, False, ["front-not-poured"]),
        (31, 1, False, []),  # older than the ledger, which has forgotten it
        (0, 99, False, ["front-not-poured"]),
    ],
)
def test_a_resource_goes_back_once_its_last_writes_are_poured(
    stack: Stack, days: float, version: int, known: bool, expected: list[str]
) -> None:
    stack.states = {"things": "closed"}
    written = stack.write(days, version)
    stack.known = (written,) if known else ()

    assert stack.names("sqs") == expected


def test_a_resource_does_not_go_back_while_writes_wait(stack: Stack) -> None:
    stack.states, stack.waiting = {"things": "closed"}, 1

    assert stack.names("sqs") == ["front-not-poured"]


def test_all_items_are_asked_for(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fronts, "_ASKED_AT_ONCE", 2)
    stack.states = {"things": "closed"}
    written = [stack.write(id=id) for id in range(5)]
    stack.known = tuple(written[1:3])

    deployed = fronts.of_stack(stack, OUTPUTS)
    assert deployed is not None
    assert fronts.unpoured(stack, deployed, "things") == (3, 0)
    assert stack.asked == ["poured"] * 3


def test_the_states_are_in_a_variable_of_the_api() -> None:
    states = {"b": "closed", "a": "dynamodb"}
    stage = Stage("p", "jwt", fronts=states)
    document = template.build(stage)
    api = document["Resources"]["APIHandler"]["Properties"]["Environment"]["Variables"]

    assert api["DECANTER_FRONTS"] == "a=dynamodb,b=closed"
    assert fronts.wanted(document) == states
    assert front_states.read({}) == {}


NAMED = {functions.function(each).output for each in ("api", "reader")}
QUEUES = {output: value for output, value in OUTPUTS.items() if output not in NAMED}
"""Outputs of the stack for `chalice deploy`."""


def test_the_stack_of_queues_keeps_a_table_that_has_writes(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    applied: list[Any] = []
    monkeypatch.setattr(
        cloudformation, "describe", lambda *_: cloudformation.StackState("", {}, QUEUES)
    )
    monkeypatch.setattr(cloudformation, "apply", lambda *given: applied.append(given) or QUEUES)
    monkeypatch.setattr(chalice_deploy, "_make_logs", lambda *_: None)
    monkeypatch.setattr(ministack_gaps, "turn_on_expiry", lambda *_: None)
    stage = Stage("p", "jwt", name="dev", configuration={"app_name": "app"})
    stack.states = {"things": "closed"}
    written = stack.write()

    with pytest.raises(PreflightFailed, match="front-not-poured"):
        chalice_deploy.make(stack, stage, {})
    assert applied == []
    stack.known = (written,)
    chalice_deploy.make(stack, stage, {})
    assert len(applied) == 1
    # The check after it still finds the table, which the stack has let go of.
    without = {name: each for name, each in QUEUES.items() if name != "FrontTableName"}
    found = fronts.of_chalice(stack, "app-dev", without)
    assert found is not None
    assert found.table == fronted.NAME


def test_what_chalice_has_deployed_is_known_by_its_names(stack: Stack) -> None:
    stack.states = {"things": "closed"}

    found = fronts.of_chalice(stack, "app-dev", QUEUES)
    assert found is not None
    assert (found.api, found.reader, found.states) == ("app-dev", "app-dev-reader", stack.states)
    assert found.queues == ("ordered", "ordered_dlq")
    assert fronts.of_chalice(stack, "app-other", QUEUES) is None
    assert fronts.of_chalice(stack, "app-dev", {}) is None


def test_a_reader_that_does_not_answer_keeps_a_resource_where_it_is(stack: Stack) -> None:
    stack.read = lambda _: {"errorMessage": "no route to host"}

    [found] = checks.moves(stack, template.build(DYNAMODB), fronts.of_stack(stack, OUTPUTS))

    assert (found.name, "no route to host" in found.text) == ("front-unknown", True)


def test_the_document_explains_every_finding() -> None:
    rooms = ("fronts.py", "preflight/front.py")
    code = "".join((PROJECT / "decanter" / "deployment" / each).read_text() for each in rooms)
    text = (PROJECT / "docs" / "operating.md").read_text()

    found = {*re.findall(r'"(front-[a-z-]+)",', code)}
    assert found == {*re.findall(r"^\| `(front-[a-z-]+)` \|", text, re.M)}
    assert len(found) > 3


# While it is deployed


def plan(**more: Any) -> DeploymentPlan:
    class Package:
        template = template.build(DYNAMODB)

    return DeploymentPlan(Package(), "p", None, {}, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("outputs", [{}, OUTPUTS], ids=["first", "later"])
def test_the_migrated_database_tells_of_rows(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, outputs: dict[str, str]
) -> None:
    events: list[Any] = []

    def invoke(_aws: Any, function: str, event: Any) -> Any:
        events.append((function, event))
        return {"filled": ["things"]}

    monkeypatch.setattr(deploy, "invoke", invoke)
    outputs = {**outputs, deploy._MIGRATE: "migrate"}

    with pytest.raises(DeploymentError, match=r"hydrate things[\s\S]*nothing else has changed"):
        deploy._check_fronts(stack, plan(), outputs)
    assert events == [("migrate", {"filled": ["things"]})]
    deploy._check_fronts(stack, plan(loads_rows=True), outputs)
    assert len(events) == 1


def test_what_was_hydrated_before_a_resource_was_behind_sqs_is_forgotten(stack: Stack) -> None:
    deployed = fronts.of_stack(stack, OUTPUTS)
    stack.mark()
    assert deployed is not None

    fronts.forget_hydration(
        stack, {"things": "dynamodb"}, deployed._replace(states={"things": "closed"})
    )
    assert fronts.is_hydrated(stack, fronted.NAME, "things")
    fronts.forget_hydration(stack, {"things": "closed"}, deployed)
    assert not fronts.is_hydrated(stack, fronted.NAME, "things")


# Before rows are loaded


def prepare(stack: Stack) -> list[str]:
    """Returns what is waited for."""
    deployed = fronts.of_stack(stack, OUTPUTS)
    said: list[str] = []
    assert deployed is not None
    hydrate.prepare(stack, deployed, "things", said.append)
    return said


@pytest.mark.parametrize("state", ["sqs", "dynamodb"])
def test_only_a_closed_resource_is_hydrated(stack: Stack, state: str) -> None:
    stack.states = {"things": state} if state != "sqs" else {}

    with pytest.raises(DeploymentError, match=f"the front '{state}'.*\"closed\""):
        prepare(stack)


def test_dead_letters_keep_a_resource_from_being_hydrated(stack: Stack) -> None:
    stack.states, stack.queued = {"things": "closed"}, {"ordered_dlq": 1}

    with pytest.raises(DeploymentError, match=r"1 dead letters .* Redrive"):
        prepare(stack)


def test_what_is_on_its_way_is_waited_for(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    stack.states, stack.queued = {"things": "closed"}, {"ordered": 1}
    written = stack.write()

    def sleep(_seconds: float) -> None:
        if stack.queued:
            stack.queued = {}
        else:
            stack.known = (written,)

    monkeypatch.setattr(hydrate.time, "sleep", sleep)
    queued, streamed = prepare(stack)
    assert "1 messages are on the ordered queue" in queued
    assert "1 writes are in the front table's stream" in streamed

    stack.known = ()
    monkeypatch.setattr(hydrate, "_WAIT_SECONDS", -1.0)
    with pytest.raises(DeploymentError, match="1 writes are in the front table's stream"):
        prepare(stack)


def test_requests_that_began_before_the_resource_was_closed_have_ended(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(hydrate.time, "sleep", slept.append)

    fronts.await_requests(stack, "api")
    assert slept == []  # on the local cloud
    stack.meta = AWAY
    fronts.await_requests(stack, "api")
    assert slept == [40]


@pytest.mark.parametrize(
    ("minute", "age", "expected"),
    [(5, 239, 0), (5, 241, 3), (None, 0, 3)],
)
def test_messages_that_came_after_the_resource_was_closed_are_not_waited_for(
    stack: Stack, minute: int | None, age: int, expected: int
) -> None:
    stack.meta, stack.queued = AWAY, {"ordered": 3}
    deployed = fronts.of_stack(stack, OUTPUTS)
    assert deployed is not None
    if minute is not None:
        now = datetime(2026, 1, 31, 12, minute, tzinfo=UTC)
        early = {"Timestamp": now - timedelta(minutes=1), "Maximum": 900.0}
        stack.ages = [{"Timestamp": now, "Maximum": float(age)}, early]

    assert fronts.older_messages(stack, deployed) == expected


# The reader


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invocation, "_PAUSE_SECONDS", 0)
    monkeypatch.setattr(invocation, "_BUSY_SECONDS", 0.05)


@pytest.mark.usefixtures("quick")
def test_a_busy_reader_is_asked_again(stack: Stack) -> None:
    stack.rows, stack.busy = 1, 3

    assert fronts.has_rows(stack, "reader", "things", ["id"])


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"unwell": True}, "the database is unavailable"),
        ({"errorMessage": "'poured'"}, "another version is deployed"),
        ({"something": "else"}, "deploy this version first"),
    ],
)
def test_a_reader_that_cannot_answer_is_told(stack: Stack, answer: Any, said: str) -> None:
    stack.read = lambda _: answer

    with pytest.raises(DeploymentError, match=said):
        fronts.has_rows(stack, "reader", "things", ["id"])
