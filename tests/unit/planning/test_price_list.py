"""The price files."""

import json
from pathlib import Path

import pytest

from decanter.planning import price_list
from decanter.planning.documents import PlanningError
from decanter.planning.price_list import Price, load, regions

PRICE = Price(2.0, 1_000, "requests", "https://example.com", "2026-11-26", ((5_000, 1.0),))


def test_a_price_is_that_of_each_step_for_the_units_within_it() -> None:
    assert PRICE.of(0) == 0
    assert PRICE.of(1_000) == 2
    assert PRICE.of(5_000) == 10
    assert PRICE.of(7_000) == 12


@pytest.mark.parametrize("region", regions())
def test_each_region_has_every_price_but_those_that_are_said_to_be_missing(region: str) -> None:
    missing = {"eu-west-1": {"rds_proxy"}}

    found = load(region)

    assert json.loads((price_list.FOLDER / f"{region}.json").read_text())["region"] == region
    assert load("us-east-1").prices.keys() - found.prices.keys() == missing.get(region, set())


def test_a_region_without_prices_is_refused_with_those_that_have_some() -> None:
    with pytest.raises(PlanningError, match="'mars-1', only for eu-west-1, us-east-1"):
        load("mars-1")


@pytest.mark.parametrize(
    ("member", "value", "wrong"),
    [
        ("usd", -1, "prices.logs.usd"),
        ("usd", "1", "prices.logs.usd"),
        ("per", 0, "prices.logs.per"),
        ("source", "a friend", "prices.logs.source"),
        ("read", "today", "prices.logs.read"),
        ("above", [[1]], r"prices.logs.above.0"),
        ("prize", 1, "prices.logs"),
    ],
)
def test_a_price_that_is_none_is_refused_by_its_name(
    member: str, value: object, wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs = {**PRICE._asdict(), "above": [], member: value}
    (tmp_path / "here.json").write_text(json.dumps({"region": "here", "prices": {"logs": logs}}))
    monkeypatch.setattr(price_list, "FOLDER", tmp_path)

    with pytest.raises(PlanningError, match=wrong):
        load("here")
