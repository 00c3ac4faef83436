"""A flood of one caller makes others wait no longer than promised, and is applied in the end."""

import pytest

from decanter.proof.flood import run
from decanter.proof.flood.queues import Groups, Lanes, Written


@pytest.fixture(scope="module")
def found() -> dict[str, run.FloodOutcome]:
    return {case.name: run.run(case) for case in run.CASES}


def test_with_limits_and_groups_no_promise_is_broken(found) -> None:
    assert run.violations(found) == []
    assert found["ordered, flood, limits"].flooder_refused > run.WORKERS


def test_without_them_others_wait_for_the_flood(found) -> None:
    for name, most in run.bounds(found).items():
        without = found[name.rpartition(",")[0]]
        assert without.flooder_refused == 0
        assert without.others_wait > 3 * most, name
        changed = {**found, name: without._replace(case=name)}
        assert [text for text in run.violations(changed) if "others wait" in text], name


def test_a_run_is_the_same_each_time(found) -> None:
    case = run.CASES[3]

    assert run.run(case) == found[case.name]
    assert run.run(case, seed=1) != found[case.name]


# The queues


def written(place: int, caller: str = "a", key: int = 0) -> Written:
    return Written(place, caller, key, 0.0)


def places(batch) -> list[int]:
    return [each.place for each in batch]


def test_a_lane_is_closed_while_it_has_messages_in_flight() -> None:
    lanes = Lanes()
    for place, key in enumerate((0, 0, 1, 0)):
        lanes.put(written(place, key=key))

    first = lanes.take(2, 0.0)
    assert places(first) == [0, 1]
    assert places(lanes.take(10, 0.0)) == [2]
    assert lanes.take(10, 0.0) == []
    lanes.delete(first)
    assert places(lanes.take(10, 0.0)) == [3]
    assert len(lanes) == 2


def test_a_group_with_a_tenth_in_flight_gives_way_to_quiet_ones() -> None:
    groups = Groups(is_fair=True)
    for place in range(100):
        groups.put(written(place, "flooder"))
    first = groups.take(30, 0.0)
    groups.put(written(100, "quiet"))

    assert places(groups.take(2, 0.0)) == [100, 30]
    groups.delete(first)
    groups.put(written(101, "quiet"))
    assert places(groups.take(2, 0.0)) == [101, 31]  # until nothing of it waits
    groups.put(written(102, "quiet"))
    assert places(groups.take(2, 300.0)) == [32, 33]  # or it is silent for five minutes


def test_without_groups_the_oldest_message_comes_first() -> None:
    groups = Groups(is_fair=False)
    for place in range(100):
        groups.put(written(place, "flooder"))
    groups.take(30, 0.0)
    groups.put(written(100, "quiet"))

    assert places(groups.take(2, 0.0)) == [30, 31]
