"""The benchmark of service times measures what it says, on small sizes."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness import format_result
from benchmarks.service import batches, containers, document, measure
from benchmarks.service.containers import Rounds
from benchmarks.service.loads import MIXED
from decanter.planning import memory, service
from tests.kit.databases import NewDatabase

OPS = MIXED
"""Fewer than the benchmark has."""


@pytest.fixture(scope="module")
def measured(
    tmp_path_factory: pytest.TempPathFactory, new_database: NewDatabase, sample_template: str
) -> tuple[list[dict[str, Any]], Path]:
    """The lines of a short run on the tests' Postgres, and the file that it wrote."""
    url = new_database(sample_template)
    file = tmp_path_factory.mktemp("service") / "service.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "own_database", lambda: nullcontext(url))
        patch.setattr(measure, "QUICK", [(1, 1, 0), (2, 3, 500)])
        patch.setattr(measure, "QUICK_ROUNDS", 1)
        patch.setattr(batches, "MIXED_MESSAGES", (8,))
        patch.setattr(batches, "ORDERED", OPS)
        patch.setattr("benchmarks.service.loads.SAMPLE_ROWS", 16)
        patch.setattr(containers, "QUICK", Rounds(starts=1, requests=1, rows=10, batch=(2, 3)))
        patch.setattr(document, "LOOK", file)
        patch.setenv("DECANTER_DATABASE_URL", "set by the benchmark")
        found = [format_result("service", each, as_json=True) for each in measure.run(quick=True)]
    return [json.loads(line) for line in found], file


def test_each_op_is_measured_at_each_size_and_all_together(measured: Any) -> None:
    lines = [line for line in measured[0] if "op" in line]

    single = {(line["buffer"], line["op"], line["messages"], line["rows"]) for line in lines}
    of_ops = {("ordered", op, *size) for op in OPS for size in ((1, 1), (2, 6))}
    of_reports = {("unordered", "create", *size) for size in ((1, 1), (2, 6))}
    assert single == of_ops | of_reports | {("ordered", "create+replace+merge+delete", 8, 8)}
    for line in lines:
        wall, processor = (line["figures"][each]["median"] for each in ("ours", "processor"))
        assert processor > 0
        assert wall > 0
        assert line["bytes"] > 100 * line["messages"]


def test_longer_rows_are_longer_by_as_many_bytes(measured: Any) -> None:
    sizes = {(line["op"], line["buffer"], line["rows"]): line["bytes"] for line in measured[0]
             if "op" in line}  # fmt: skip

    for op, buffer in (("create", "ordered"), ("merge", "ordered"), ("create", "unordered")):
        assert sizes[op, buffer, 6] > 6 * 500 + sizes[op, buffer, 1]
    assert sizes["delete", "ordered", 6] < 6 * 500


def test_round_trips_are_counted(measured: Any) -> None:
    trips = {line["op"]: line["round trips"] for line in measured[0] if "op" in line}

    # BEGIN, claim, rows and COMMIT of creates go together; what merges and deletes have found is
    # asked for once, whatever their number.
    assert trips["create"] == 1
    assert trips["merge"] == trips["create+replace+merge+delete"] == 2


def test_containers_are_measured(measured: Any) -> None:
    found = {
        (line["function"], line["of"]): line["figures"]["ours"]["median"]
        for line in measured[0]
        if "function" in line
    }

    assert found.keys() == {
        *((function, of) for function in ("api", "drain")
          for of in ("cold start", "peak", "log of a call")),
        ("api", "request"),
        ("api", "row"),
    }  # fmt: skip
    # Loading the SDK, and SQLAlchemy, takes longer than a request, and more than an interpreter.
    assert found["api", "cold start"] > found["api", "request"]
    assert all(found[function, "peak"] > 20 for function in ("api", "drain"))
    assert all(found[function, "log of a call"] > 50 for function in ("api", "drain"))


def test_a_plan_can_read_the_file(measured: Any) -> None:
    read = service.load(measured[1])

    assert read.ops.keys() == {*OPS}
    assert read.cold_start_seconds > 0
    assert all(sum(each[:4]) > 0 for each in read.ops.values())
    assert memory.containers(measured[1]).keys() == {"api", "drain"}


def test_a_batch_that_a_drain_does_not_finish_does_not_count(tmp_path: Path) -> None:
    event = {"Records": [{"messageId": "1", "body": "no message", "attributes": {}}]}
    nowhere = {"DECANTER_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}

    with pytest.raises(Exception, match="drain_ordered"):
        containers._start("drain_ordered", nowhere, [event])
