"""`python -m decanter plan --from-ledger` on the deployed stack, whose ledger is fitted."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.kit.databases import execute
from tests.kit.deployed_operator import Operator, put, settled
from tests.kit.deployment import Deployment
from tests.kit.operator_commands import Type

REQUESTS = 5


@pytest.fixture
def quiet(deployed: Deployment) -> Iterator[None]:
    """A ledger in which nothing was poured for days, until the test pours something."""
    messages = execute(deployed.database_url, "SELECT dedup_id::text FROM decanter.ledger")
    age = (
        "UPDATE decanter.ledger SET accepted_at = accepted_at {by}, poured_at = poured_at {by}"
        f" WHERE dedup_id = ANY (ARRAY{[id_ for (id_,) in messages]}::uuid[])"
    )
    execute(deployed.database_url, age.format(by="- interval '48 hours'"))
    yield
    execute(deployed.database_url, age.format(by="+ interval '48 hours'"))


def test_what_was_poured_is_planned_for_and_a_ledger_without_traffic_is_refused(
    quiet: None, operator: Operator, type_: Type, tmp_path: Path
) -> None:
    saved, own = tmp_path / "day.yaml", tmp_path / "own.yaml"
    own.write_text("goal: {lag_p99_seconds: 300}")
    command = f"plan {own} --from-ledger --days 1 --json --save {saved}"

    refused = type_(command)
    assert (refused.code, refused.out, saved.exists()) == (1, "", False)
    assert "The ledger has no traffic: in the last 1 days, no write to a resource" in refused.err

    for number in range(REQUESTS):
        settled(operator.deployed, put(operator.deployed, f"PLA{number}"))
    said = type_(command)

    assert said.code == 0, said.err
    found = json.loads(said.out)
    stations = found["profile"]["resources"].pop("stations")
    assert found["profile"]["resources"] == {}
    assert (stations["share"], stations["rows_per_request"]) == (1, 1)
    # None was written twice, so there may be more keys, as many as Chao's estimate says.
    assert stations["keys"]["number"] == REQUESTS + REQUESTS * (REQUESTS - 1) / 2
    assert found["outcome"]["requests"] > 0
    assert yaml.safe_load(saved.read_text())["resources"] == {"stations": stations}
