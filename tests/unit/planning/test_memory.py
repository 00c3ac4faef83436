"""Memory sizes compared: what an invocation takes, and what it costs."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from decanter.planning import memory
from decanter.planning.documents import PlanningError
from decanter.planning.memory import Container, Sweep, Work
from decanter.planning.price_list import load
from decanter.planning.service import PROCESSOR_MEGABYTES
from tests.kit.planned_day import CONTAINERS, FUNCTIONS, ORDERED, OUTCOME, STAGE, TIMES

PRICES = load("us-east-1")
SMALL = Container(cold_start_seconds=0.3, peak_bytes=100 * 2**20, log_bytes=100)


def swept(work: Work, goal: float = 100.0, container: Container = SMALL) -> Sweep:
    return memory.sweep("drain_ordered", 512, work, container, goal, PRICES, STAGE)


def test_a_function_works_as_much_longer_as_its_share_of_a_processor_is_smaller() -> None:
    work = Work(processor=0.1, waiting=0.05, invocations=1)

    assert work.seconds(PROCESSOR_MEGABYTES) == pytest.approx(0.15)
    assert work.seconds(PROCESSOR_MEGABYTES / 4) == pytest.approx(0.45)
    assert work.seconds(2 * PROCESSOR_MEGABYTES) == pytest.approx(0.15)


def test_memory_costs_nothing_where_all_of_the_time_is_own_work() -> None:
    found = swept(Work(processor=10.0, waiting=0.0, invocations=1_000_000))

    below = [each.usd for each in found.sizes if each.megabytes <= PROCESSOR_MEGABYTES]
    assert below == pytest.approx([below[0]] * len(below), rel=0.001)
    assert found.sizes[-1].usd > 1.5 * below[0]


def test_memory_costs_most_where_all_of_the_time_is_spent_waiting() -> None:
    found = swept(Work(processor=0.0, waiting=0.1, invocations=1_000_000))

    for one, other in pairwise(found.sizes):
        assert other.usd / one.usd == pytest.approx(other.megabytes / one.megabytes)
    size = next(each for each in found.sizes if each.megabytes == 1_024)
    assert size.usd == pytest.approx(1_000_000 * 0.1 * 16.6667 / 1e6)


def test_the_cheapest_is_taken_of_those_that_fit_and_are_in_time() -> None:
    waiting = Work(processor=0.01, waiting=0.1, invocations=1_000_000)

    # 100 MiB and a quarter more are 125 MB.
    assert swept(waiting).needed == 125
    assert swept(waiting).best == swept(waiting).sizes[0]
    large = SMALL._replace(peak_bytes=400 * 2**20)
    best = swept(waiting, container=large).best
    assert best is not None
    assert best.megabytes == 512
    # A cold start of 0.3 s, at 128 MB 4.15 s.
    quick = swept(waiting, goal=1.0).best
    assert quick is not None
    assert quick.megabytes == 640
    assert quick.cold_seconds <= 1.0 < swept(waiting).sizes[4].cold_seconds


def test_of_sizes_that_cost_the_same_the_quickest_is_taken() -> None:
    best = swept(Work(processor=1.0, waiting=0.0, invocations=100)).best

    assert best is not None
    assert best.megabytes == PROCESSOR_MEGABYTES


def test_no_size_is_taken_where_none_is_in_time() -> None:
    found = swept(Work(processor=0.1, waiting=0.1, invocations=1), goal=0.2)

    assert found.best is None
    assert "cheapest" not in "\n".join(memory.table(found))


def test_the_size_of_the_stage_is_compared_too() -> None:
    work = Work(0.1, 0.1, 1)
    odd = memory.sweep("drain_ordered", 700, work, SMALL, 1.0, PRICES, STAGE)

    [line] = [each for each in memory.table(odd) if each.strip().startswith("700")]
    assert "now" in line


def test_a_request_waits_for_its_calls_and_works_for_each_row() -> None:
    found = memory.request(OUTCOME, CONTAINERS["api"], months=2)

    # 3.1 million rows of 400,000 requests, each with one call.
    assert found.processor == pytest.approx(0.0008 + 6.75 * 0.00001)
    assert found.waiting == memory.CALL_SECONDS
    assert found.invocations == 800_000


def test_a_batch_takes_with_the_memory_of_the_stage_what_the_outcome_has() -> None:
    work = memory.batch(ORDERED, TIMES, now=512, months=1)

    assert work.seconds(512) == pytest.approx(500 / 50_000)
    assert work.processor == pytest.approx(work.waiting)  # half of it is own work


def test_all_functions_with_work_are_swept() -> None:
    idle = replace(OUTCOME.buffers[1], batches=0.0, busy_seconds=0.0)
    outcome = replace(OUTCOME, buffers=(ORDERED, idle))

    found = memory.sweeps(STAGE, outcome, CONTAINERS, TIMES, PRICES, 5.0, 30.0)

    assert [(each.function, each.now) for each in found] == [("api", 1_024), ("drain_ordered", 512)]
    assert [each.goal_seconds for each in found] == [60.0, 5.0]
    text = "\n".join(memory.tables(found))
    assert text.count("USD a month") == 2
    documents = json.loads(json.dumps(memory.document(found)))
    assert [each["best"] for each in documents] == [
        each.best.megabytes for each in found if each.best
    ]


@pytest.mark.parametrize(
    ("seconds", "billed"), [(0.0101, 0.011), (0.010, 0.010), (0.0100000001, 0.010)]
)
def test_whole_milliseconds_are_billed(seconds: float, billed: float) -> None:
    assert memory.billed(seconds) == billed


def test_a_file_without_containers_is_refused_by_what_is_missing(tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({"functions": {"api": FUNCTIONS["drain"]}}))

    with pytest.raises(PlanningError) as refused:
        memory.containers(file)

    for missing in ("drain", "request_seconds", "row_seconds"):
        assert missing in str(refused.value)


def test_containers_are_read_as_they_were_measured(tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({"functions": FUNCTIONS}))

    assert memory.containers(file) == CONTAINERS
