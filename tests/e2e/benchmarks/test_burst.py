"""A short burst, through the deployed stack, and directly into a Postgres of 20 connections."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.burst import direct, measure, picture
from benchmarks.burst.client import ACCEPTED
from benchmarks.burst.function import TITLE_TOO_MANY
from benchmarks.burst.measure import Burst
from benchmarks.burst.outcome import Outcome
from benchmarks.harness import OURS
from decanter.deployment import budget
from decanter.deployment.stage import load
from decanter.local.cloud import STAGE
from tests.kit.deployment import Deployment
from tests.kit.project import PROJECT

CLIENTS = 60
MAX_CONNECTIONS = 20
_STALL_SECONDS = 400.0


@pytest.fixture(scope="module")
def outcomes(deployed: Deployment) -> Iterator[dict[str, Outcome]]:
    """One burst of each way. On a stack that other tests use too, a lane may first be closed for as
    long as a message of theirs is hidden, several times."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "STALL_SECONDS", _STALL_SECONDS)
        yield _bursts(deployed)


def _bursts(deployed: Deployment) -> dict[str, Outcome]:
    token = deployed.token()
    deployed.call("GET", "/stations/BRST", token=token)  # the authorizer's answer is kept
    decanter = Burst(measure.through(deployed.api_url, token), deployed.database_url)
    found = {OURS: measure.measure(decanter, CLIENTS)}
    with direct.database(MAX_CONNECTIONS) as (url, function_url):
        for pool in direct.POOLS:
            found[pool] = measure.directly(url, function_url, pool, CLIENTS)
    return found


def test_each_accepted_write_has_one_row(outcomes: dict[str, Outcome]) -> None:
    for outcome in outcomes.values():
        assert outcome.attempts.keys() == set(range(CLIENTS))
        assert outcome.accepted.keys() <= outcome.rows.keys()
        assert set(outcome.rows.values()) == {1}


def test_decanter_accepts_every_write_within_its_budget(outcomes: dict[str, Outcome]) -> None:
    assert [tries[-1].outcome for tries in outcomes[OURS].attempts.values()] == (
        [ACCEPTED] * CLIENTS
    )
    assert 0 < outcomes[OURS].most_connections <= budget.of_role(load(PROJECT, STAGE), "drain")


def test_direct_writers_are_refused_connections(outcomes: dict[str, Outcome]) -> None:
    for pool in direct.POOLS:
        assert 0 < outcomes[pool].most_connections < MAX_CONNECTIONS
    assert outcomes[direct.PER_CONTAINER].failures()[f"503 {TITLE_TOO_MANY}"] > 0


def test_each_figure_is_printed_and_drawn(outcomes: dict[str, Outcome], tmp_path: Path) -> None:
    results = list(measure.results({way: [each] for way, each in outcomes.items()}))
    printed = {result.case["figure"]: result.samples[OURS] for result in results}
    assert printed["accepted"] == [CLIENTS]
    assert printed["lost"] == printed["doubled"] == [0]

    paths = [tmp_path / "burst.svg", tmp_path / "burst.png"]
    picture.draw(outcomes, MAX_CONNECTIONS, paths)
    assert paths[0].read_text().count("attempts failed") == len(outcomes)
    assert paths[1].read_bytes().startswith(b"\x89PNG")
