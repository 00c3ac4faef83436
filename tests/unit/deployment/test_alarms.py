"""Every alarm goes off in its situation, at a realistic pace, and stays silent in similar ones; on
metrics of AWS and metrics extracted from the functions' logs."""

import json
import logging
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import cache
from itertools import product
from typing import Any
from unittest.mock import Mock, patch
from uuid import UUID

import pytest
from chalice.app import AuthRequest

from app import app
from chalicelib.audit import accounts
from chalicelib.audit import handler as auditor
from chalicelib.authorizer import handler as authorizer
from chalicelib.authorizer.keys import IssuerUnavailable
from chalicelib.authorizer.tokens import InvalidToken
from chalicelib.buffer import mappings
from chalicelib.buffer.mappings import MappingState
from chalicelib.buffer.sqs import take
from chalicelib.drain import handler, reject
from chalicelib.drain.handler import DatabaseUnavailable
from chalicelib.messages.accepted import LoggedRequest
from chalicelib.messages.message import Message, RowSet, encode
from chalicelib.publish import handler as publisher
from chalicelib.publish.outbox import Taken
from chalicelib.settings import LANES
from chalicelib.settle import handler as settler
from chalicelib.settle.set_back import Settled
from chalicelib.sweep import handler as sweeper
from decanter.deployment import budget, functions, log_metrics, template
from decanter.deployment.stage import Stage, load
from tests.kit.cloudwatch import Metrics, Reading, read, states
from tests.kit.destinations import TOPIC
from tests.kit.project import PROJECT

STAGE = replace(load(PROJECT, "dev"), fronts={"things": "dynamodb"}, events=TOPIC)
TEMPLATE = template.build(STAGE)
RESOURCES = TEMPLATE["Resources"]
PARAMETERS = {name: each.get("Default") for name, each in TEMPLATE["Parameters"].items()}
ALARMS = {
    name: each["Properties"]
    for name, each in RESOURCES.items()
    if each.get("Type") == "AWS::CloudWatch::Alarm"
}
FILTERS = [
    each["Properties"]
    for each in RESOURCES.values()
    if each.get("Type") == "AWS::Logs::MetricFilter"
]
OURS = "Decanter/decanter-dev"
READINGS = [Reading(0), Reading(5, fills_nothing=True)]

MINUTE, HOUR = 60, 3600
START = 500_000 * HOUR  # when the stage was there already
SICK = START + 2 * HOUR  # when something begins to go wrong
END = SICK + 100 * MINUTE
VISIBILITY = TEMPLATE["Parameters"]["VisibilityTimeout"]
# A message comes again after the visibility timeout, and later while Lambda holds back.
PACES = [VISIBILITY["Default"], 180, VISIBILITY["MaxValue"], VISIBILITY["MaxValue"] + 180]


# What the functions log


class Context:
    """Lambda's context: the time left."""

    def __init__(self, seconds: float = 30) -> None:
        self._seconds = seconds

    def get_remaining_time_in_millis(self) -> int:
        return int(self._seconds * 1000)


@contextmanager
def heard() -> Iterator[list[str]]:
    """Lines of the application's log, as they are written."""
    lines: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(app.log.handlers[0].format(record))

    ear = Ear()
    assert not app.log.propagate
    app.log.addHandler(ear)
    try:
        yield lines
    finally:
        app.log.removeHandler(ear)


def drained(at: float, *accepted: float, waits: float = 0, unwell: bool = False) -> list[str]:
    """Log of a drain for messages accepted at these times; without any: invoked by its schedule.

    waits: seconds for which the oldest write waits in the database.
    """
    records = [
        {
            "messageId": str(number),
            "body": encode(
                Message(str(UUID(int=number)), "f" * 32, int(when * 1000), "things", "create",
                        (RowSet(("id",), (0,), (1,), '{"id":1}'),))
            ),
        }
        for number, when in enumerate(accepted)
    ]  # fmt: skip
    running = Mock()
    running.execute.return_value = [(int(waits > 0), waits)]
    pour = Mock(side_effect=DatabaseUnavailable("gone") if unwell else None, return_value=[])
    with (
        patch.dict("os.environ", DECANTER_DATABASE_URL="postgresql://h/d"),
        patch.object(time, "time", lambda: at),
        patch.object(handler, "connection"),
        patch.object(handler, "transaction", lambda *_, **__: nullcontext(running)),
        patch.object(handler, "pour", pour),
        heard() as lines,
        suppress(DatabaseUnavailable),
    ):
        handler.drain({"Records": records}, Context(2.1 if unwell else 30), take)
    return lines


def rejected(writes: int) -> list[str]:
    """Log of a drain for so many rejections."""
    rejection = reject.Rejection(str(UUID(int=1)), 0, "things", "create", "null", "why")
    with heard() as lines:
        reject.keep(Mock(), [rejection] * writes)
    return lines


def swept(*, is_done: bool = True, fails: bool = False) -> list[str]:
    """Log of a sweep."""
    step = Mock(side_effect=DatabaseUnavailable("gone") if fails else None, return_value=0)
    with (
        patch.dict("os.environ", DECANTER_DATABASE_URL="postgresql://h/d"),
        patch.object(sweeper, "connection"),
        patch.object(sweeper, "transaction", lambda *_, **__: nullcontext()),
        patch.multiple(
            sweeper.retention, sweep=step, leaves=lambda _: [], undo_unfinished=lambda _: None
        ),
        heard() as lines,
        suppress(DatabaseUnavailable),
    ):
        sweeper.sweep(Context(30 if is_done else 1))
    return lines


def settled(back: int = 0, marked: int = 0) -> list[str]:
    """Log of settle."""

    def settle_all(found: Counter[Settled], _deadline: float) -> bool:
        found.update({Settled.SET_BACK: back, Settled.MARKED: marked})
        return True

    with patch.object(settler, "_settle_all", settle_all), heard() as lines:
        settler.settle(Context())
    return lines


def audited(missing: int = 0, *states: str) -> list[str]:
    """Log of an audit that misses so many writes. states: of the mappings."""
    lost = LoggedRequest(str(UUID(int=1)), 1, "things", missing, 1, "f" * 32)
    found = accounts.Audit(requests=9, missing=[(lost, missing)] if missing else [])
    nothing = accounts.Audit()
    known = [MappingState("ordered", each) for each in states or ("Enabled",)]
    with (
        patch.object(accounts, "audit", Mock(side_effect=[found, nothing, nothing])),
        patch.object(mappings, "states", lambda _: known),
        heard() as lines,
    ):
        auditor.run(Context())
    return lines


def published(oldest: float = 0, refused: int = 0) -> list[str]:
    """Log of publish that leaves a row of that age in the outbox."""
    now = 1_000.0
    taken = Taken((), (1,) if oldest else (), 0, now - oldest if oldest else None)

    def publish(run: Any, _until: float) -> None:
        run.last, run.sender.refused = taken, refused

    clock = Mock(monotonic=lambda: now)
    with (
        patch.dict("os.environ", DECANTER_EVENTS=TOPIC.arn),
        patch.object(publisher, "time", clock),
        patch.object(publisher, "_publish_until", publish),
        patch.object(publisher.outbox, "take", lambda *_: taken),
        heard() as lines,
    ):
        publisher.publish(Context())
    return lines


def judged(error: Exception) -> list[str]:
    """Log of the authorizer when verifying a token raises this error."""
    with (
        patch.object(authorizer, "_issuer", lambda: (Mock(), Mock())),
        patch.object(authorizer, "verify", Mock(side_effect=error)),
        heard() as lines,
        suppress(authorizer.Unauthorized, IssuerUnavailable),
    ):
        authorizer.authorize(AuthRequest("TOKEN", "Bearer x", "arn:aws:execute-api:r:1:a/api/GET/"))
    return lines


# What AWS counts


class Service(Metrics):
    """CloudWatch's metrics of a stage."""

    def __init__(self) -> None:
        super().__init__(FILTERS)

    def run(
        self, function: str, at: float, lines: list[str] | None = None, *, error: bool = False,
        throttled: bool = False, at_once: int = 1,
    ) -> None:  # fmt: skip
        """An invocation of a function that logs these lines."""
        if throttled:
            return self.put("AWS/Lambda", "Throttles", at, 1, FunctionName=function)
        for name, value in (("Invocations", 1), ("Errors", error), ("Throttles", 0),
                            ("ConcurrentExecutions", at_once)):  # fmt: skip
            self.put("AWS/Lambda", name, at, value, FunctionName=function)
        for line in lines or []:
            self.log(f"{function}Logs", at, line)
        return None

    def queue(self, queue: str, at: float, age: float = 0, dead: int = 0) -> None:
        """Metrics of SQS."""
        self.put("AWS/SQS", "ApproximateAgeOfOldestMessage", at, age, QueueName=f"{queue}Queue")
        self.put("AWS/SQS", "ApproximateNumberOfMessagesVisible", at, dead,
                 QueueName=f"{queue}DeadLetterQueue")  # fmt: skip

    def stream(self, at: float, age: float) -> None:
        """The age of the records of the front table's stream with which its drain is invoked."""
        self.put("AWS/Lambda", "IteratorAge", at, age * 1000, FunctionName="DrainStream")

    def requests(self, at: float, *, errors: int = 0, count: int = 5) -> None:
        """Requests to the API, each through the authorizer."""
        for number in range(count):
            self.put("AWS/ApiGateway", "5XXError", at, number < errors, ApiName="decanter-dev")
        self.run("APIHandler", at)
        self.run("Bearer", at)

    def database(self, at: float, connections: int) -> None:
        """The metric of RDS."""
        self.put("AWS/RDS", "DatabaseConnections", at, connections,
                 DBInstanceIdentifier="DatabaseInstance")  # fmt: skip


CLOCK, TRAFFIC = drained(START), drained(START, START - 2)
SWEPT = swept()
AUDITED = audited()
PUBLISHED = published(oldest=2)


def minutes(since: float, count: float) -> list[float]:
    return [since + number * MINUTE + 5 for number in range(int(count))]


def healthy() -> Service:
    """A stage with writes, reads and sweeps, and no faults."""
    return _copied(_healthy())


def idle() -> Service:
    """A stage without requests: only schedules run."""
    return _copied(_idle())


def hourly() -> Service:
    """A stage without requests for a day; of the schedule by the minute, one run an hour."""
    service = Service()
    for at in range(START, SICK + 24 * HOUR, HOUR):
        service.run("DrainOrdered", at, CLOCK)
        service.run("Settle", at)
        service.run("Sweep", at + 17, SWEPT)
    return service


def _copied(service: Service) -> Service:
    found = Service()
    found.values.update({key: [*values] for key, values in service.values.items()})
    return found


@cache
def _healthy() -> Service:
    service = Service()
    for at in minutes(START, (END - START) / MINUTE):
        service.run("DrainOrdered", at, CLOCK)
        service.run("DrainOrdered", at, TRAFFIC, at_once=2)
        service.run("DrainUnordered", at, TRAFFIC)
        service.run("DrainStream", at, TRAFFIC)
        service.stream(at, age=1)
        service.run("Settle", at)
        service.run("Publish", at, PUBLISHED)
        service.run("Reader", at)
        service.requests(at)
        service.database(at, budget.total(STAGE))
        for queue in ("Ordered", "Unordered"):
            service.queue(queue, at, age=2)
    _by_schedule(service)
    return service


def _by_schedule(service: Service) -> None:
    """Sweeps and audits."""
    for at in range(START, END, HOUR):
        service.run("Sweep", at + 17, SWEPT)
    for at in range(START, END, 5 * MINUTE):
        service.run("Audit", at + 23, AUDITED)


@cache
def _idle() -> Service:
    service = Service()
    for at in minutes(START, (END - START) / MINUTE):
        service.run("DrainOrdered", at, CLOCK)
        service.run("Settle", at)
        service.run("Publish", at, PUBLISHED)
    _by_schedule(service)
    return service


def fired(service: Metrics, reading: Reading, until: float = END, names: Any = ALARMS) -> set[str]:
    """The alarms that go off once the stage has run for long enough."""
    since = SICK - HOUR / 2
    return {
        name
        for name in names
        if "ALARM" in states(ALARMS[name], service, PARAMETERS, since, until, reading)
    }


# What goes wrong, from SICK on; and what nearly does

Situation = Callable[[Service], None]


def failing(queue: str, pace: float, minutes: float = 3) -> Situation:
    """One message is delivered at least three times, and the drain fails each time."""

    def happen(service: Service) -> None:
        for number in range(max(3, int(minutes * MINUTE / pace))):
            at = SICK + number * pace
            lines = drained(at, SICK, unwell=True)
            assert not [line for line in lines if "poured" in line]
            service.run(f"Drain{queue}", at, lines, error=True)

    return happen


def not_poured(pace: float) -> Situation:
    """The drain hands a message of the unordered queue back each time, without an error. From the
    third time on, the queue's age ignores it."""

    def happen(service: Service) -> None:
        for at in [SICK + number * pace for number in range(max(4, int(HOUR / pace)))]:
            service.run("DrainUnordered", at, drained(at, SICK))

    return happen


def late(hours: int) -> Situation:
    """The stream's drain pours nothing for so many hours; Lambda tries again now and then."""

    def happen(service: Service) -> None:
        for at in range(SICK, SICK + hours * HOUR, HOUR // 4):
            service.stream(at, age=at - SICK)

    return happen


def untaken(queue: str, count: int) -> Situation:
    """Nothing takes messages off the queue, for so many minutes beyond the limit."""

    def happen(service: Service) -> None:
        allowed = PARAMETERS["LagAlarmSeconds"]
        for at in minutes(SICK, allowed / MINUTE + count):
            service.queue(queue, at, age=at - SICK)

    return happen


def each_minute(count: int, act: Callable[[Service, float], None]) -> Situation:
    def happen(service: Service) -> None:
        for at in minutes(SICK, count):
            act(service, at)

    return happen


def every_five_minutes(count: int, act: Callable[[Service, float], None]) -> Situation:
    def happen(service: Service) -> None:
        for number in range(count):
            act(service, SICK + number * 5 * MINUTE)

    return happen


def waiting(count: int) -> Situation:
    """A write waits in the database, for so many minutes beyond the limit."""

    def happen(service: Service) -> None:
        for at in minutes(SICK, PARAMETERS["LagAlarmSeconds"] / MINUTE + count):
            service.run("DrainOrdered", at, drained(at, waits=at - SICK))

    return happen


def stopped(minutes_: int, function: str = "DrainOrdered") -> Situation:
    """A function is not invoked, by queue or schedule."""

    def happen(service: Service) -> None:
        key = ("AWS/Lambda", "Invocations", ("FunctionName", function))
        service.values[key] = [
            (at, value)
            for at, value in service.values[key]
            if not SICK <= at < SICK + minutes_ * MINUTE
        ]

    return happen


def unswept(hours: int, **how: bool) -> Situation:
    """Sweeps do not complete, or do not run."""

    def happen(service: Service) -> None:
        key = (OURS, "Swept")
        later = [each for each in service.values[key] if each[0] >= SICK + hours * HOUR]
        service.stop(SICK, "Swept")
        service.values[key] += later
        for at in range(SICK, SICK + hours * HOUR, HOUR) if how else ():
            service.run("Sweep", at, swept(**how), error=how.get("fails", False))

    return happen


def unpublished(minutes_: int) -> Situation:
    """An event cannot be published for so many minutes."""

    def happen(service: Service) -> None:
        for at in minutes(SICK, minutes_):
            service.run("Publish", at, published(oldest=at - SICK))

    return happen


def at_caps(service: Service, at: float) -> None:
    for name in ("drain_ordered", "drain_unordered", "drain_stream", "reader"):
        cap = min(STAGE.caps[name], STAGE.mappings.get(name, 99))
        service.run(functions.function(name).logical, at, at_once=cap)


def unreachable(service: Service, at: float) -> None:
    service.run("Bearer", at, judged(IssuerUnavailable("gone")), error=True)


def refused(service: Service, at: float) -> None:
    """A bad token: Lambda counts it as an error of the authorizer."""
    service.run("Bearer", at, judged(InvalidToken("expired")), error=True)


def now_and_then(service: Service) -> None:
    for number in range(3):
        service.requests(SICK + number * HOUR / 4, errors=1, count=1)


CASES: dict[str, tuple[list[Situation], list[Situation]]] = {
    # alarm: what makes it go off; what nearly does
    "OrderedQueueAge": ([untaken("Ordered", 6)], [untaken("Ordered", 4)]),
    "UnorderedQueueAge": ([untaken("Unordered", 6)], [untaken("Unordered", 4)]),
    "OrderedDeadLetters": (
        [each_minute(5, lambda service, at: service.queue("Ordered", at, dead=1))],
        [each_minute(5, lambda service, at: service.queue("Ordered", at, dead=0))],
    ),
    "UnorderedDeadLetters": (
        [each_minute(5, lambda service, at: service.queue("Unordered", at, dead=1))],
        [each_minute(5, lambda service, at: service.queue("Unordered", at, dead=0))],
    ),
    "DrainOrderedErrors": (
        [failing("Ordered", pace) for pace in PACES],
        [failing("Ordered", PACES[0], minutes=2)],
    ),
    "DrainUnorderedErrors": (
        [failing("Unordered", pace) for pace in PACES],
        [failing("Unordered", PACES[0], minutes=2)],
    ),
    "DrainStreamErrors": (
        [failing("Stream", pace) for pace in PACES],
        [failing("Stream", PACES[0], minutes=2)],
    ),
    "StreamAge": ([late(8)], [late(6)]),
    "SettleErrors": (
        [each_minute(3, lambda service, at: service.run("Settle", at, error=True))],
        [each_minute(2, lambda service, at: service.run("Settle", at, error=True))],
    ),
    "MarkedItems": (
        [lambda service: service.run("Settle", SICK, settled(marked=1))],
        [lambda service: service.run("Settle", SICK, settled(back=9, marked=0))],
    ),
    "SettleStopped": ([stopped(25, "Settle")], [stopped(14, "Settle")]),
    "Rejections": (
        [lambda service: service.run("DrainUnordered", SICK, rejected(1))],
        [lambda service: service.run("DrainUnordered", SICK, rejected(0))],
    ),
    "Lag": (
        [not_poured(pace) for pace in PACES],
        # An old dead letter that is redriven is poured at once.
        [lambda service: service.run("DrainOrdered", SICK, drained(SICK, SICK - 500_000))],
    ),
    "ApiErrors": (
        [
            each_minute(3, lambda service, at: service.requests(at, errors=5)),
            # One request in a quarter of an hour, and it fails.
            now_and_then,
        ],
        [each_minute(2, lambda service, at: service.requests(at, errors=1))],
    ),
    "ReaderErrors": (
        [each_minute(3, lambda service, at: service.run("Reader", at, error=True))],
        [each_minute(2, lambda service, at: service.run("Reader", at, error=True))],
    ),
    "AuthorizerErrors": (
        [each_minute(3, unreachable)],
        [each_minute(2, unreachable), each_minute(60, refused)],
    ),
    "Throttles": (
        [
            each_minute(3, lambda service, at, name=name: service.run(name, at, throttled=True))  # type: ignore[misc]
            for name in ("Reader", "APIHandler", "Bearer", "DrainUnordered")
        ],
        [
            each_minute(2, lambda service, at: service.run("Reader", at, throttled=True)),
            # The clock goes without a container while the queue has them all.
            each_minute(60, lambda service, at: service.run("DrainOrdered", at, throttled=True)),
        ],
    ),
    "Waiting": ([waiting(4)], [waiting(2)]),
    "ClockStopped": ([stopped(25)], [stopped(14)]),
    "SweepStopped": (
        [unswept(24), unswept(24, is_done=False), unswept(24, fails=True)],
        [unswept(11), unswept(11, is_done=False)],
    ),
    "Unaccounted": (
        [lambda service: service.run("Audit", SICK, audited(missing=1))],
        [lambda service: service.run("Audit", SICK, audited(missing=0))],
    ),
    "Paused": (
        [
            lambda service: service.run("Audit", SICK, audited(0, "Enabled", "Disabled")),
            lambda service: service.run("Audit", SICK, audited(0, "Disabling")),
            lambda service: service.run("Audit", SICK, audited(0, "Missing")),
        ],
        [lambda service: service.run("Audit", SICK, audited(0, "Enabling"))],
    ),
    "AuditErrors": (
        [every_five_minutes(3, lambda service, at: service.run("Audit", at, error=True))],
        [every_five_minutes(2, lambda service, at: service.run("Audit", at, error=True))],
    ),
    "Unpublished": ([unpublished(9)], [unpublished(7)]),
    "RefusedEvents": (
        [lambda service: service.run("Publish", SICK, published(refused=1))],
        [lambda service: service.run("Publish", SICK, published(refused=0))],
    ),
    "PublishErrors": (
        [each_minute(3, lambda service, at: service.run("Publish", at, error=True))],
        [each_minute(2, lambda service, at: service.run("Publish", at, error=True))],
    ),
    "PublishStopped": ([stopped(25, "Publish")], [stopped(14, "Publish")]),
    "AuditStopped": ([stopped(65, "Audit")], [stopped(25, "Audit")]),
    "Connections": ([each_minute(5, at_caps)], [each_minute(4, at_caps)]),
    "DatabaseConnections": (
        [each_minute(5, lambda service, at: service.database(at, 2 * budget.total(STAGE) + 1))],
        [each_minute(60, lambda service, at: service.database(at, 2 * budget.total(STAGE)))],
    ),
}


def test_every_alarm_has_a_case() -> None:
    assert {*CASES} == {*ALARMS}


@pytest.mark.parametrize("name", CASES)
def test_an_alarm_goes_off_when_its_condition_is_true_and_not_before(name: str) -> None:
    sick, near = CASES[name]
    is_long = name in ("SweepStopped", "StreamAge")  # in hours, all else in minutes
    bases = (hourly,) if is_long else (healthy, idle)
    until = SICK + 24 * HOUR if is_long else END
    for base, situation in product(bases, sick):
        service = base()
        situation(service)
        for reading in READINGS:
            assert name in fired(service, reading, until, [name]), (base, situation, reading)
    for base, situation in product(bases, near):
        service = base()
        situation(service)
        for reading in READINGS:
            names = [name] if is_long else ALARMS
            assert fired(service, reading, until, names) == set(), (base, situation, reading)


@pytest.mark.parametrize("reading", READINGS, ids=str)
@pytest.mark.parametrize("base", [healthy, idle])
def test_no_alarm_goes_off_where_nothing_is_wrong(
    base: Callable[[], Service], reading: Reading
) -> None:
    assert fired(base(), reading) == set()


@pytest.mark.parametrize("reading", READINGS, ids=str)
def test_a_new_stage_is_silent_from_when_its_clock_has_struck(reading: Reading) -> None:
    service = idle()
    del service.values[(OURS, "Swept")][0]  # the first is an hour later
    for name, alarm in ALARMS.items():
        found = states(alarm, service, PARAMETERS, START + MINUTE, SICK, reading)
        assert "ALARM" not in found, name


@pytest.mark.parametrize("reading", READINGS, ids=str)
def test_a_sweep_that_has_never_ended_is_reported_and_stays_so(reading: Reading) -> None:
    service = hourly()
    service.stop(0, "Swept")
    ends = SICK + 24 * HOUR
    alarm = ALARMS["SweepStopped"]

    assert [*states(alarm, service, PARAMETERS, ends - 6 * HOUR, ends, reading)] == ["ALARM"] * 6


def test_a_clock_that_stops_is_not_taken_for_a_sweep_that_does() -> None:
    """The alarm on the drain's schedule goes off instead."""
    service = Service()
    service.run("DrainOrdered", START)

    assert "SweepStopped" not in fired(service, READINGS[0], names=["SweepStopped"])


@pytest.mark.parametrize("pace", PACES)
def test_the_age_of_a_standard_queue_alone_would_not_tell(pace: float) -> None:
    service = healthy()
    not_poured(pace)(service)

    assert "Lag" in fired(service, READINGS[1])
    assert "UnorderedQueueAge" not in fired(service, READINGS[1])


@pytest.mark.parametrize("mapping", [None, 2, 5, 50])
def test_connections_that_raise_an_alarm_can_be_reached_with_any_caps(mapping: int | None) -> None:
    for ordered, unordered, reader in product((1, 2, 3, 6, 40), (1, 8), (1, 5, 20)):
        caps = {"drain_ordered": ordered, "drain_unordered": unordered, "reader": reader,
                "migrate": 1, "sweep": 1}  # fmt: skip
        mappings = {"drain_ordered": mapping, "drain_unordered": mapping} if mapping else {}
        built = Stage("p", "jwt", caps=caps, mappings=mappings)
        alarm = template.build(built)["Resources"]["Connections"]["Properties"]
        most = {name: min(caps[name], mappings.get(name, 99)) for name in [*caps][:3]}
        most["drain_ordered"] = min(most["drain_ordered"], LANES)  # batches of a FIFO queue at once
        for share, expected in ((1, True), (0.5, False)):
            service = Service()
            for at in minutes(START, 10):
                for name, cap in most.items():
                    if working := int(cap * share):
                        function = functions.function(name).logical
                        service.run(function, at, at_once=working)
            found = states(alarm, service, {}, START, START + 10 * MINUTE, READINGS[1])
            assert ("ALARM" in found) is expected, (caps, mappings, share)


# Filters and logs


def test_each_line_is_read_by_its_own_filter_and_no_other() -> None:
    expected: list[tuple[str, list[str], dict[str, float]]] = [
        ("DrainOrdered", drained(START, START - 3.5, START), {"Lag": 3.5}),
        ("DrainUnordered", drained(START, START - 3.5), {"Lag": 3.5}),
        ("DrainUnordered", drained(START, START - 80, unwell=True), {"Lag": 80}),
        ("DrainStream", drained(START, START - 3.5), {"Lag": 3.5}),
        ("DrainStream", rejected(7), {"Rejections": 7}),
        ("Settle", settled(back=2, marked=3), {"MarkedItems": 3}),
        ("DrainOrdered", drained(START), {"Waiting": 0}),
        ("DrainOrdered", drained(START, waits=12.3), {"Waiting": 12.3}),
        ("DrainOrdered", rejected(7), {"Rejections": 7}),
        ("DrainUnordered", rejected(7), {"Rejections": 7}),
        ("Sweep", swept(), {"Swept": 1}),
        ("Sweep", swept(is_done=False), {}),
        ("Sweep", swept(fails=True), {}),
        ("Audit", audited(), {"Unaccounted": 0, "PausedBuffers": 0}),
        ("Audit", audited(7, "Disabled", "Enabled"), {"Unaccounted": 7, "PausedBuffers": 1}),
        ("Publish", published(), {"Unpublished": 0, "RefusedEvents": 0}),
        ("Publish", published(77.5, 3), {"Unpublished": 77.5, "RefusedEvents": 3}),
        ("Bearer", judged(IssuerUnavailable("gone")), {"AuthorizerErrors": 1}),
        ("Bearer", judged(InvalidToken("expired")), {}),
    ]
    for function, lines, made in expected:
        service = Service()
        for line in lines:
            service.log(f"{function}Logs", START, line)
        assert {key[1]: values[0][1] for key, values in service.values.items()} == made, lines


def test_a_message_that_cannot_be_read_shows_its_age_in_the_queue() -> None:
    record = {"messageId": "1", "body": "{}",
              "attributes": {"SentTimestamp": str(START * 1000)}}  # fmt: skip
    batch = take.deliveries({"Records": [record]})

    with patch.object(time, "time", lambda: START + 5.5), heard() as lines:
        handler._log_lag(batch)

    assert read(log_metrics.LAG.pattern, "$lag", lines[0]) == 5.5


def test_metrics_of_our_own_are_made_by_a_filter_and_shown_and_watched() -> None:
    made = {
        (each["MetricNamespace"], each["MetricName"])
        for found in FILTERS
        for each in found["MetricTransformations"]
    }
    text = RESOURCES["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    shown = {
        tuple(metric)
        for widget in json.loads(text)["widgets"]
        for metric in widget["properties"]["metrics"]
        if metric[0].startswith("Decanter/")
    }
    alarmed = {
        (metric["Namespace"], metric["MetricName"])
        for each in ALARMS.values()
        for metric in [
            each if "Namespace" in each else {"Namespace": "", "MetricName": ""},
            *[part["MetricStat"]["Metric"] for part in each.get("Metrics", [])[1:]],
        ]
        if metric["Namespace"].startswith("Decanter/")
    }

    assert made == shown == alarmed


def test_the_dashboard_tells_one_callers_flood_from_a_queue_that_is_slow_for_all() -> None:
    text = RESOURCES["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    queues = {
        metric[1]: metric[3]
        for widget in json.loads(text)["widgets"]
        for metric in widget["properties"]["metrics"]
        if metric[1].endswith("Groups")
    }

    assert queues == {
        "ApproximateNumberOfNoisyGroups": "${UnorderedQueue.QueueName}",
        "ApproximateAgeOfOldestMessageInQuietGroups": "${UnorderedQueue.QueueName}",
    }


# What else an alarm is


def test_alarms_go_to_a_topic_if_there_is_one_and_say_what_to_do() -> None:
    for properties in ALARMS.values():
        assert properties["AlarmActions"] == {
            "Fn::If": ["HasAlarmTopic", [{"Ref": "AlarmTopic"}], {"Ref": "AWS::NoValue"}]
        }
        assert properties["AlarmDescription"].endswith(".")


def test_the_runbook_says_of_each_alarm_what_it_means_and_what_to_do() -> None:
    text = (PROJECT / "docs" / "operating.md").read_text()
    table = text.split("\n## Alarms\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| (.+) \| (.+) \|$", table, re.M)
    named = [name for names, *_ in rows for name in re.findall(r"\w+", names)]

    assert sorted(named) == sorted(ALARMS)
    for names, _, cure in rows:
        assert "](" in cure or "the log of" in cure or "deploy" in cure, names
    logs = {*re.findall(r"the log of `(\w+)`", text)}
    assert logs
    assert logs <= {each.name for each in STAGE.functions}


def test_the_name_that_requests_are_counted_under_is_the_apis() -> None:
    """Chalice gives the APIs of all stages the same name."""
    name = RESOURCES["RestAPI"]["Properties"]["DefinitionBody"]["info"]["title"]

    assert ALARMS["ApiErrors"]["Dimensions"] == [{"Name": "ApiName", "Value": name}]
    assert name == STAGE.prefix


def test_a_stage_with_signatures_has_no_alarm_of_an_authorizer() -> None:
    found = template.build(Stage("p", "iam"))["Resources"]

    assert "AuthorizerErrors" not in found
    assert "Bearer" not in json.dumps(found)


def test_the_way_of_chalice_deploy_has_the_same_alarms() -> None:
    """Only the names of functions, logs and the API are Chalice's."""
    plain = template.of_queues(STAGE, "app-dev", "app")
    text = json.dumps(plain["Resources"])
    names = {each.logical: f"app-dev-{each.name}" for each in STAGE.functions}
    for logical, name in {**names, "APIHandler": "app-dev"}.items():
        text = text.replace(f'"Value": "{name}"', f'"Value": {{"Ref": "{logical}"}}')
        text = text.replace(f'"/aws/lambda/{name}"', f'{{"Ref": "{logical}Logs"}}')
    named = json.loads(text.replace('"Value": "app"', f'"Value": "{STAGE.prefix}"'))
    known = {*plain["Resources"], *plain["Parameters"], "AWS::NoValue"}

    for name, resource in RESOURCES.items():
        if resource.get("Type") in ("AWS::CloudWatch::Alarm", "AWS::Logs::MetricFilter"):
            assert named[name] == resource
    assert "${" not in json.dumps(plain["Resources"]).replace("${AWS::", "").replace(
        "Queue.QueueName}", ""
    ).replace("${Ordered", "").replace("${Unordered", "").replace("DeadLetter", "").replace(
        "${FrontTable}", ""
    )
    assert {*_referred(plain["Resources"])} <= known


def _referred(part: Any) -> Iterator[str]:
    match part:
        case {"Ref": str(name)}:
            yield name
        case dict():
            for each in part.values():
                yield from _referred(each)
        case list():
            for each in part:
                yield from _referred(each)
