"""Every alarm goes off in its situation, at a realistic pace, and stays silent in similar ones; on
metrics of AWS and metrics extracted from the functions' logs."""

from collections.abc import Callable
from functools import cache
from itertools import product
from typing import Any

import pytest

from chalicelib.authorizer.keys import IssuerUnavailable
from chalicelib.authorizer.tokens import InvalidToken
from chalicelib.settings import LANES
from decanter.deployment import budget, functions, template
from decanter.deployment.stage import Stage
from tests.kit.alarmed_stage import (
    ALARMS,
    HOUR,
    MINUTE,
    OURS,
    PARAMETERS,
    STAGE,
    START,
    TEMPLATE,
    Service,
)
from tests.kit.cloudwatch import Metrics, Reading, states
from tests.kit.function_logs import audited, drained, judged, published, rejected, settled, swept

READINGS = [Reading(0), Reading(5, fills_nothing=True)]
SICK = START + 2 * HOUR  # when something begins to go wrong
END = SICK + 100 * MINUTE
VISIBILITY = TEMPLATE["Parameters"]["VisibilityTimeout"]
# A message comes again after the visibility timeout, and later while Lambda holds back.
PACES = [VISIBILITY["Default"], 180, VISIBILITY["MaxValue"], VISIBILITY["MaxValue"] + 180]

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
