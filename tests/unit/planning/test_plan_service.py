"""Service times: read from a file, and in a function that is small or far away."""

import json
from pathlib import Path
from typing import Any

import pytest

from decanter.planning.documents import PlanningError
from decanter.planning.service import PROCESSOR_MEGABYTES, OpService, Service, load

CREATE = {
    "batch_seconds": 0.001,
    "message_seconds": 0.0001,
    "row_seconds": 0.00001,
    "byte_seconds": 0.0,
    "round_trips": 2,
    "processor_share": 0.5,
    "median_error": 0.1,
}


def written(folder: Path, **members: Any) -> Path:
    file = folder / "times.json"
    file.write_text(json.dumps({"cold_start_seconds": 0.5, "ops": {"create": CREATE}, **members}))
    return file


def test_times_are_read_from_a_file(tmp_path: Path) -> None:
    slower = {**CREATE, "batch_seconds": 0.002}
    file = written(
        tmp_path,
        unordered={"create": slower},
        further_op={"seconds": 0.003, "round_trips": 1},
    )

    assert load(file) == Service(
        0.5,
        {"create": OpService(0.001, 0.0001, 0.00001, 0.0, 2, 0.5)},
        {"create": OpService(0.002, 0.0001, 0.00001, 0.0, 2, 0.5)},
        0.003,
        1,
    )


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"ops": {"upsert": CREATE}}, "times.json: ops: "),
        ({"ops": {"create": {**CREATE, "row_seconds": -1}}}, "times.json: ops.create.row_seconds:"
         " -1 is less than the minimum of 0; it is seconds, from 0"),
        ({"ops": {}}, "times.json: ops: {} has less than 1"),
        ({"cold_start_seconds": "1"}, 'cold_start_seconds: "1" is not of type "number"'),
    ],
)  # fmt: skip
def test_a_fault_is_named(members: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(PlanningError) as caught:
        load(written(tmp_path, **members))

    assert said in str(caught.value)


def test_a_network_adds_its_round_trips(tmp_path: Path) -> None:
    file = written(tmp_path, further_op={"seconds": 0.003, "round_trips": 1})

    found = load(file).at("ordered", PROCESSOR_MEGABYTES, 0.01)

    assert found.ops["create"].batch_seconds == pytest.approx(0.001 + 2 * 0.01)
    assert found.further_op_seconds == pytest.approx(0.003 + 0.01)


def test_a_small_function_is_slower_at_its_own_work(tmp_path: Path) -> None:
    found = load(written(tmp_path)).at("ordered", PROCESSOR_MEGABYTES // 4, 0)

    times = pytest.approx(0.5 * 4 + 0.5, rel=0.01)
    assert found.ops["create"].batch_seconds / 0.001 == times
    assert found.ops["create"].row_seconds / 0.00001 == times
    assert found.cold_start_seconds == pytest.approx(0.5 * 4, rel=0.01)


def test_a_large_function_is_not_faster(tmp_path: Path) -> None:
    found = load(written(tmp_path)).at("ordered", 3_008, 0)

    assert found.ops["create"].batch_seconds == 0.001


def test_the_unordered_queue_has_times_of_its_own(tmp_path: Path) -> None:
    file = written(tmp_path, unordered={"create": {**CREATE, "batch_seconds": 0.002}})

    found = [load(file).at(each, 2_000, 0) for each in ("ordered", "unordered")]

    assert [each.ops["create"].batch_seconds for each in found] == [0.001, 0.002]


def test_an_op_that_was_not_measured_is_as_slow_as_the_slowest() -> None:
    service = Service(0, {"create": OpService(1, 4, 0, 0), "merge": OpService(2, 3, 0, 0)})

    assert service.op("delete")[:4] == (2, 4, 0, 0)
