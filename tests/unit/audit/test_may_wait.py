"""What may wait in each buffer: nothing is missing that may be on its way."""

import time
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError

from chalicelib.audit import waiting
from chalicelib.audit.waiting import MayWait
from chalicelib.buffer import mappings
from chalicelib.buffer.mappings import MappingState
from chalicelib.buffer.sqs import counts
from chalicelib.buffer.sqs.counts import Counts

NOW = 1_800_000_000_000
MINUTE, HOUR = 60_000, 3_600_000
SETTLED = NOW - 5 * MINUTE
DELIVERED = NOW - 45 * MINUTE


class Clouds:
    """Mappings, queues by their URL, and the metric Lag in seconds."""

    def __init__(self) -> None:
        self.states = {"ordered": "Enabled", "unordered": "Enabled", "stream": "Enabled"}
        self.counts = {"o": (0, 0), "u": (0, 0)}
        self.dead = {"o": 0, "u": 0}
        self.lag: list[float] = []
        self.error: Exception | None = None
        self.asked: dict[str, Any] = {}

    def mapping_states(self, _deadline: float) -> list[MappingState]:
        return [MappingState(*each, why="no answer") for each in self.states.items()]

    def count(self, url: str) -> Counts:
        if self.error:
            raise self.error
        return Counts(*self.counts[url], dead_letters_url=url)

    def dead_letters(self, found: Counts) -> int:
        return self.dead[str(found.dead_letters_url)]

    def get_metric_statistics(self, **asked: Any) -> Any:
        self.asked = asked
        if self.error:
            raise self.error
        return {"Datapoints": [{"Maximum": each} for each in self.lag]}


@pytest.fixture(name="clouds")
def fixture_clouds(monkeypatch: pytest.MonkeyPatch) -> Clouds:
    found = Clouds()
    monkeypatch.setattr(mappings, "states", found.mapping_states)
    monkeypatch.setattr(counts, "counts", found.count)
    monkeypatch.setattr(counts, "dead_letters", found.dead_letters)
    monkeypatch.setattr(waiting, "_client", lambda: found)
    monkeypatch.setattr(time, "time_ns", lambda: NOW * 1_000_000)
    monkeypatch.setenv("DECANTER_ORDERED_QUEUE_URL", "o")
    monkeypatch.setenv("DECANTER_UNORDERED_QUEUE_URL", "u")
    monkeypatch.setenv("DECANTER_QUEUES", "app-prod")
    return found


def found() -> dict[str, MayWait]:
    return dict(waiting.of_buffers(time.monotonic() + 5))


def test_nothing_waits_in_an_empty_queue_but_what_is_not_counted_yet(clouds: Clouds) -> None:
    assert found()["ordered"] == found()["unordered"] == MayWait(SETTLED)
    clouds.lag = [1.5, 60.0, 0.2]
    assert found()["ordered"] == MayWait(SETTLED - MINUTE)  # the counts may be wrong


def test_an_empty_queue_has_nothing_to_wait_for_though_it_is_paused(clouds: Clouds) -> None:
    clouds.states["ordered"] = "Disabled"

    assert found()["ordered"] == MayWait(SETTLED)


@pytest.mark.parametrize("count", [(3, 0), (0, 3)])
def test_what_was_never_delivered_so_late_does_not_wait(
    clouds: Clouds, count: tuple[int, int]
) -> None:
    clouds.counts["o"] = count
    clouds.lag = [2.0, 180.0]

    assert found()["ordered"] == MayWait(DELIVERED - 3 * MINUTE)
    assert clouds.asked["Namespace"] == "Decanter/app-prod"
    assert (clouds.asked["MetricName"], clouds.asked["Statistics"]) == ("Lag", ["Maximum"])
    window = clouds.asked["EndTime"] - clouds.asked["StartTime"]
    assert clouds.asked["EndTime"] <= datetime.now(UTC)
    assert window.total_seconds() * 1000 == NOW - DELIVERED


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda it: it.states.update(ordered="Disabled"), "paused"),
        (lambda it: it.states.update(ordered=None), "no answer"),
        (lambda it: it.lag.clear(), "CloudWatch does not know"),
        (lambda it: it.dead.update(o=7), "7 dead letters"),
    ],
)
def test_anything_may_wait_where_that_is_not_known(clouds: Clouds, change: Any, why: str) -> None:
    clouds.counts["o"], clouds.lag = (3, 0), [1.0]
    change(clouds)

    ordered = found()["ordered"]

    assert ordered.since is None
    assert why in ordered.why
    assert ordered.includes(0)
    if why != "CloudWatch does not know":
        assert found()["unordered"].since is not None


def test_calls_that_fail_are_no_reason_to_call_something_missing(clouds: Clouds) -> None:
    clouds.error = ReadTimeoutError(endpoint_url="https://sqs.test")

    assert found()["ordered"].since is None
    assert "ReadTimeoutError" in found()["unordered"].why
    assert found()["stream"] == MayWait(NOW - 25 * HOUR)


def test_a_stream_keeps_its_records_for_a_day(clouds: Clouds) -> None:
    assert found()["stream"] == MayWait(NOW - 25 * HOUR)
    clouds.lag = [60.0]
    assert found()["stream"] == MayWait(DELIVERED - MINUTE)
    clouds.lag = [30 * 3_600.0]
    assert found()["stream"] == MayWait(NOW - 25 * HOUR)
    clouds.lag = [60.0]
    for state in ("Disabled", None):
        clouds.states["stream"] = state  # type: ignore[assignment]
        assert found()["stream"] == MayWait(NOW - 25 * HOUR)


def test_a_stage_without_a_front_table_has_no_stream(clouds: Clouds) -> None:
    del clouds.states["stream"]

    assert [*found()] == ["ordered", "unordered"]


def test_what_was_accepted_since_is_included() -> None:
    assert [MayWait(7).includes(at) for at in (6, 7, 8)] == [False, True, True]
