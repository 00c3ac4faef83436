"""The comparison with peers is fair, and shows what each of them does not promise.

A plan names the step at which a fault happens, as it is with the pinned versions of SQLAlchemy and
Powertools. With others, look for the step again.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from decanter.__main__ import main
from decanter.proof.peers import compare
from decanter.proof.peers.compare import DECANTER, DIRECT, IDEMPOTENT, POWERTOOLS
from decanter.proof.simulation.pool import workers

PLANS = Path(__file__).parent / "plans"
PROMISES = ("lost", "doubled", "misordered", "other", "misled")

Judge = Callable[[str, str], Mapping[str, Any]]


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    """`judge(peer, plan)` runs a plan of the folder."""
    with workers(1, module=compare.WORKER) as [worker]:

        def run(peer: str, plan: str) -> Mapping[str, Any]:
            return worker.run({"peer": peer, "plan": (PLANS / f"{plan}.json").read_text()})

        yield run


def broken(answer: Mapping[str, Any]) -> dict[str, int]:
    return {name: answer[name] for name in PROMISES if answer[name]}


@pytest.mark.parametrize(
    ("peer", "untold"), [(DECANTER, 0), (POWERTOOLS, 3), (IDEMPOTENT, 3), (DIRECT, 0)]
)
def test_without_faults_a_peer_keeps_all_promises_but_to_tell_of_rejections(judge, peer, untold):
    answer = judge(peer, "quiet")

    assert (broken(answer), answer["violations"]) == ({}, [])
    assert (answer["untold"], answer["unserved"]) == (untold, 0)


@pytest.mark.parametrize(
    ("plan", "peer", "expected"),
    [
        ("killed-after-commit", POWERTOOLS, {"doubled": 1}),
        ("killed-before-completed", IDEMPOTENT, {"doubled": 1}),
        ("repeated", IDEMPOTENT, {}),
        ("dead-letter-after-newer", POWERTOOLS, {"misordered": 1}),
        ("dead-letter-after-newer", IDEMPOTENT, {"misordered": 1}),
        ("answers-lost", DIRECT, {"doubled": 1, "misled": 1}),
    ],
)
def test_a_fault_breaks_the_promises_that_a_peer_does_not_make(judge, plan, peer, expected):
    assert broken(judge(peer, plan)) == expected


@pytest.mark.parametrize(
    "plan",
    [
        "killed-after-commit",
        "killed-before-completed",
        "repeated",
        "dead-letter-after-newer",
        "answers-lost",
    ],
)
def test_decanter_keeps_all_promises(judge, plan):
    answer = judge(DECANTER, plan)

    assert broken(answer) == {}
    assert (answer["violations"], answer["untold"], answer["unserved"]) == ([], 0, 0)


def test_direct_writes_are_refused_while_the_database_is_full(judge):
    answer = judge(DIRECT, "answers-lost")

    assert (answer["unserved"], answer["refused_connections"]) == (1, 1)
    assert answer["connections"] == 1


def test_the_table_sums_up_the_histories_of_each_peer(judge):
    found = compare.rows(judge(peer, "answers-lost") for peer in (DECANTER, DIRECT, DIRECT))

    ours, *_, direct = found
    assert (ours.peer, ours.histories, ours.broken, ours.doubled) == (DECANTER, 1, 0, 0)
    assert (direct.peer, direct.histories, direct.broken, direct.doubled) == (DIRECT, 2, 2, 2)
    titles, *lines = compare.table(found).splitlines()
    assert titles.split()[:3] == ["peer", "histories", "broken"]
    assert [line.split()[0] for line in lines] == ["decanter", "powertools", "powertools", "direct"]
    assert len({len(line) for line in (titles, *lines)}) == 1


def test_a_missing_package_is_named_with_its_cure(monkeypatch):
    monkeypatch.setattr(compare, "find_spec", lambda _: None)

    with pytest.raises(compare.PeerNotInstalled, match=r"requirements-dev\.txt"):
        next(compare.compare([1], 1))


@pytest.mark.parametrize("doubled", [0, 1])
def test_the_command_prints_a_line_for_each_peer_and_fails_if_decanter_does(
    monkeypatch, capsys, doubled
):
    answer = dict.fromkeys(compare.Row._fields, 0) | {"violations": ["doubled"] * doubled}
    answers = [answer | {"peer": DECANTER, "doubled": doubled}]
    seeds: list[int] = []
    monkeypatch.setattr(compare, "compare", lambda given, _: (seeds.extend(given), answers)[1])

    assert main(["prove", "peers", "--seed", "7", "--runs", "2", "--json"]) == doubled
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["peer"] for line in printed] == [*compare.NAMES]
    assert (seeds, printed[0]["doubled"]) == ([7, 8], doubled)
