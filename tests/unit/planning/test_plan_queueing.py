"""The simulation against what queueing theory says, and what always holds."""

import math
from collections.abc import Mapping

import pytest

from decanter.planning.outcome import BufferOutcome, Outcome
from decanter.planning.profile import DAY_SECONDS, Outage
from decanter.planning.simulation import Setting, _Day, simulate
from decanter.planning.tallies import Lags
from tests.kit.planned import drain, traffic

LOAD = 0.5
RATE = 0.25  # requests a second: of 21,600 a day, none are skipped
SELDOM = 0.05
EXPONENTIAL = [-math.log(1 - (each + 0.5) / 500) for each in range(500)]


def simulated(given: Setting) -> tuple[BufferOutcome, Lags]:
    day = _Day(given, 1, 1.0, stops_when_missed=False)
    [buffer] = day.run().buffers
    return buffer, day._total.resources[0].lags


def only(outcome: Outcome) -> BufferOutcome:
    [buffer] = outcome.buffers
    return buffer


def test_one_container_with_constant_service_waits_as_m_d_1() -> None:
    service = LOAD / RATE

    found, lags = simulated(traffic(RATE, drain(), [service]))

    assert lags.mean - service == pytest.approx(LOAD * service / (2 * (1 - LOAD)), rel=0.08)
    assert found.busy_seconds == pytest.approx(service * found.messages)
    # Little's law: as many wait as arrive during a lag.
    waiting = [each for second, each in found.backlog if second <= DAY_SECONDS]
    assert sum(waiting) / len(waiting) == pytest.approx(RATE * lags.mean, rel=0.1)


def test_containers_with_exponential_service_wait_as_m_m_k() -> None:
    containers = 3
    mean = LOAD * containers / RATE
    offered = LOAD * containers
    free = sum(offered**k / math.factorial(k) for k in range(containers))
    full = offered**containers / math.factorial(containers) / (1 - LOAD)
    expected = full / (free + full) * mean / (containers * (1 - LOAD))

    _, lags = simulated(traffic(RATE, drain(cap=containers), [mean * e for e in EXPONENTIAL]))

    assert lags.mean - mean == pytest.approx(expected, rel=0.15)


def test_each_lane_waits_as_if_it_were_alone() -> None:
    lanes = 4
    service = LOAD * lanes / RATE

    _, lags = simulated(traffic(RATE, drain("ordered", lanes=lanes, cap=lanes), [service]))

    assert lags.mean - service == pytest.approx(LOAD * service / (2 * (1 - LOAD)), rel=0.1)


def test_a_long_stretch_that_is_skipped_counts_as_a_whole() -> None:
    """At forty times the rate, most of the day is skipped."""
    service = LOAD / (40 * RATE)

    found = simulate(traffic(40 * RATE, drain(), [service]), 1)

    assert found.simulated_requests < 0.05 * found.requests
    assert found.requests == pytest.approx(40 * RATE * DAY_SECONDS, rel=0.03)
    assert only(found).batches == pytest.approx(found.requests, rel=0.01)
    assert only(found).busy_seconds == pytest.approx(service * found.requests, rel=0.01)


@pytest.mark.parametrize(
    "given",
    [
        {"drain": drain()},
        {"drain": drain("ordered", lanes=4, cap=2, batch=10, mixes_lanes=True)},
        {"drain": drain(batch=1_000, window_seconds=40)},
        {"drain": drain("stream", lanes=2, cap=2, batch=9, window_seconds=9)},
        {"drain": drain(), "outage": Outage(30_000, 3_000)},
    ],
    ids=["one", "lanes", "window", "shards", "outage"],
)
def test_all_that_is_accepted_is_poured_once(given: Mapping[str, object]) -> None:
    found, lags = simulated(traffic(SELDOM, seconds=[10.0], **given))  # type: ignore[arg-type]

    assert found.messages == found.requests == pytest.approx(SELDOM * DAY_SECONDS, rel=0.1)
    assert lags.total == found.messages
    assert found.backlog[-1][1] < found.peak_backlog


def test_a_seed_gives_the_same_day_and_another_one_another() -> None:
    given = traffic(SELDOM, drain(cap=2), [20.0])

    assert simulate(given, 1) == simulate(given, 1) != simulate(given, 2)
