"""Plans are data: they can be written, read and made smaller."""

import pytest

from decanter.proof.simulation.generator import generate
from decanter.proof.simulation.plan import Fault, Plan, load
from decanter.proof.simulation.shrink import shrink


@pytest.mark.parametrize("seed", range(50))
def test_a_written_plan_is_read_as_it_was(seed):
    plan = generate(seed)

    assert load(plan.text()) == plan


def test_a_seed_gives_one_plan():
    assert generate(7) == generate(7)
    assert generate(7) != generate(8)


def _big() -> Plan:
    return next(
        plan
        for plan in map(generate, range(1_000))
        if len(plan.requests) > 10 and len(plan.faults) > 3
    )


def test_a_plan_is_shrunk_to_what_still_fails():
    plan = _big()
    wanted = {plan.requests[3].number, plan.requests[-1].number}
    cause = plan.faults[2]

    def fails(candidate: Plan) -> bool:
        numbers = {each.number for each in candidate.requests}
        return wanted <= numbers and cause in candidate.faults

    smallest = shrink(plan, fails)

    assert {each.number for each in smallest.requests} == wanted
    assert smallest.faults == (cause,)
    assert smallest.outages == ()
    assert smallest.drains == 1


def test_shrinking_ends_after_so_many_runs():
    runs: list[Plan] = []

    shrink(_big(), lambda plan: bool(runs.append(plan)), most=7)

    assert len(runs) == 7


def test_a_plan_that_fails_in_no_smaller_way_stays_as_it_is():
    plan = Plan(1, generate(1).requests[:1], (Fault("drain", 0, 0, "kill"),))

    assert shrink(plan, lambda _: False) == plan
