"""Service times: the line through them, and the file that a plan reads."""

import json
from pathlib import Path

import pytest

from benchmarks.service import document, loads
from benchmarks.service.batches import Measured, Sample
from benchmarks.service.containers import Containers
from benchmarks.service.loads import Load
from decanter.planning import memory, service
from decanter.planning.fit import Fit, Point, fit

KNOWN = Fit(0.0012, 0.00003, 0.00001, 2e-8)
SIZES = [(1, 1, 300), (10, 10, 3_000), (100, 100, 30_000), (10, 1_000, 200_000), (10, 10, 90_000)]


def points(known: Fit, sizes: list[tuple[int, int, int]] = SIZES) -> list[Point]:
    return [each._replace(seconds=known.seconds(each)) for each in
            (Point(*size, 0.0) for size in sizes)]  # fmt: skip


def test_a_fit_finds_the_parts_that_made_the_times() -> None:
    found = fit(points(KNOWN))

    assert found == pytest.approx(KNOWN, rel=1e-6)
    assert max(found.errors(points(KNOWN))) < 1e-6


@pytest.mark.parametrize("part", range(4))
def test_a_part_that_is_not_there_is_found_to_be_zero(part: int) -> None:
    known = Fit(*(0.0 if at == part else each for at, each in enumerate(KNOWN)))

    assert fit(points(known)) == pytest.approx(known, rel=1e-6, abs=1e-12)


def test_no_part_is_negative_where_more_rows_take_less_time() -> None:
    found = fit([Point(1, 1, 100, 0.004), Point(1, 10, 1_000, 0.003), Point(1, 100, 9_000, 0.002)])

    assert min(found) == 0
    assert found.fixed > 0


def test_parts_that_nothing_tells_apart_still_make_the_times() -> None:
    alike = [(1, 1, 100), (10, 10, 1_000), (100, 100, 10_000)]
    given = points(KNOWN, alike)

    assert fit(given).errors(given) == pytest.approx([0, 0, 0], abs=1e-6)


def test_an_error_counts_in_proportion_to_its_time() -> None:
    # One size with two times: the factor f minimizes (f/1 - 1)² + (f/3 - 1)², so it is 1.2.
    found = fit([Point(1, 1, 1, 1.0), Point(1, 1, 1, 3.0)])

    assert found.seconds(Point(1, 1, 1, 0.0)) == pytest.approx(1.2)


def test_bytes_count_for_nothing_where_they_do_not_vary_by_themselves() -> None:
    found = fit(points(KNOWN), without_bytes=True)

    assert found.byte == 0
    assert found.row > KNOWN.row


def test_a_fit_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no batch was measured"):
        fit([])


def measured(load: Load, bytes_: int, trips: int, seconds: float) -> Measured:
    return Measured(load, bytes_, trips, [Sample(seconds, seconds / 4)] * 3)


def of_op(op: str, known: Fit, trips: int, buffer: str = "ordered") -> list[Measured]:
    sizes = [(1, 1, 300), (10, 1, 3_000), (10, 100, 200_000), (10, 1, 90_000), (100, 10, 70_000)]
    return [
        measured(Load(buffer, (op,), messages, rows), bytes_, trips,  # type: ignore[arg-type]
                 known.seconds(Point(messages, messages * rows, bytes_, 0.0)))
        for messages, rows, bytes_ in sizes
    ]  # fmt: skip


CONTAINERS = {
    "api": Containers([0.2, 0.3, 0.25], 300 * 2**20, 120.0, [0.0008], [0.00001]),
    "drain": Containers([0.3, 0.35, 0.4], 150 * 2**20, 110.0),
}


def found_loads() -> list[Measured]:
    """Creates and merges, and a batch of both, which takes a millisecond more for the second."""
    create, merge = KNOWN, KNOWN._replace(fixed=0.002)
    half = Point(4, 4, 1_000, 0.0)
    both = create.seconds(half) + merge.seconds(half) - create.fixed + 0.001
    mixed = measured(Load("ordered", ("create", "merge"), 8, 1), 2_000, 4, both)
    slow = of_op("create", KNOWN._replace(row=0.0001), 1, "unordered")
    return [*of_op("create", create, 1), *of_op("merge", merge, 3), *slow, mixed]


def test_a_plan_reads_the_file_that_the_benchmark_writes(tmp_path: Path) -> None:
    file = tmp_path / "service.json"

    document.write(document.document(found_loads(), CONTAINERS, rounds=3), file)

    read = service.load(file)
    assert read.cold_start_seconds == 0.35
    assert read.ops.keys() == {"create", "merge"}
    create = read.ops["create"]
    assert create[:4] == pytest.approx(KNOWN, rel=1e-3)
    assert (create.round_trips, create.processor_share) == (1, 0.25)
    assert read.ops["merge"].batch_seconds == pytest.approx(0.002, rel=1e-3)
    assert read.unordered["create"].row_seconds == pytest.approx(0.0001, rel=1e-3)
    assert read.further_op_seconds == pytest.approx(0.001, rel=1e-3)
    assert memory.containers(file)["api"] == (0.25, 300 * 2**20, 120.0, 0.0008, 0.00001)
    assert memory.containers(file)["drain"][:2] == (0.35, 150 * 2**20)


def test_a_further_op_of_a_batch_is_what_it_adds_to_the_parts_of_all(tmp_path: Path) -> None:
    found = document.document(found_loads(), CONTAINERS, rounds=3)

    assert found["further_op"] == {"seconds": pytest.approx(0.001, rel=1e-3), "round_trips": 1}


def test_a_quick_run_does_not_replace_the_committed_file() -> None:
    assert document.path(quick=False) == service.FILE
    assert document.path(quick=True) != service.FILE


def test_the_committed_times_are_of_every_op_and_say_how_they_were_measured() -> None:
    found = json.loads(service.FILE.read_text())

    assert found["ops"].keys() == {*loads.ORDERED}
    assert found["unordered"].keys() == {"create"}
    assert found["measured"].keys() == {"at", "machine", "python", "rounds"}
    assert found["functions"].keys() == {"api", "drain"}
