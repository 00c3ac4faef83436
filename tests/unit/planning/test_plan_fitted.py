"""A profile that is fitted to what the ledger tells."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

from chalicelib.contract import resources
from decanter import PROJECT
from decanter.planning import fitted, profile
from decanter.planning.documents import PlanningError

Json = dict[str, Any]
KNOWN = {name: resources.resource(name) for name in resources.names()}
FIRST = datetime(2026, 3, 1, 10, tzinfo=UTC)
HOURS = 7 * 24
DAY = 24 * 3 + 14  # place of 00:00 of the fifth day


def resource(name: str = "stations", **members: Any) -> Json:
    """What the ledger tells of a resource: ten requests an hour of the fifth day."""
    requests = [10 if DAY <= hour < DAY + 24 else 1 for hour in range(HOURS)]
    return {
        "name": name,
        "buffer": "ordered",
        "messages": requests,
        "requests": requests,
        "writes": requests,
        "busiest_minute": [1] * HOURS,
        "keys": None,
        "ops": None,
        "row_bytes": None,
        **members,
    }


def traffic(*found: Json, **members: Any) -> Json:
    hours = [(FIRST + timedelta(hours=hour)).isoformat() for hour in range(HOURS)]
    now = (FIRST + timedelta(hours=HOURS - 0.5)).isoformat()
    return {"now": now, "hours": hours, "sampled_share": 1, "resources": [*found], **members}


def fit(*found: Json, said: Json | None = None, **members: Any) -> fitted.Fitted:
    made = fitted.fit(traffic(*found, **members), KNOWN, said or {})
    profile.parsed(made.document, KNOWN, "fitted")
    return made


def of(found: fitted.Fitted, name: str = "stations") -> Json:
    return found.document["resources"][name]  # type: ignore[no-any-return]


def test_the_day_with_the_most_requests_is_planned_for() -> None:
    busy = resource()
    busy["requests"] = [
        720 if hour == DAY + 3 else each for hour, each in enumerate(busy["requests"])
    ]

    found = fit(busy)

    rates = found.document["rate"]["requests_per_second"]
    assert len(rates) == 24
    assert rates[3] == 0.2
    assert {*rates[:3], *rates[4:]} == {0.002778}
    assert "rate: of 2026-03-05 (UTC), the day with the most requests of 7" in found.basis


def test_the_hour_that_has_only_begun_has_the_rate_of_its_minutes() -> None:
    last = resource(requests=[0] * (HOURS - 1) + [90])

    found = fit(last)

    assert max(found.document["rate"]["requests_per_second"]) == 90 / 1_800


def test_a_minute_that_stands_out_is_a_burst() -> None:
    burst = [600 if hour == DAY + 3 else 1 for hour in range(HOURS)]
    requests = [3_600 if hour == DAY + 3 else 60 for hour in range(HOURS)]

    found = fit(resource(requests=requests, busiest_minute=burst))

    assert found.document["bursts"] == [{"at": "03:30", "seconds": 60, "requests_per_second": 9.0}]
    assert any(each.startswith("bursts: ") for each in found.basis)


@pytest.mark.parametrize("busiest", [60, 80, 119])
def test_a_minute_as_others_is_none(busiest: int) -> None:
    found = fit(resource(requests=[3_600] * HOURS, busiest_minute=[busiest] * HOURS))

    assert "bursts" not in found.document


def test_pages_of_a_ledger_say_nothing_of_bursts() -> None:
    busiest = [600] * HOURS

    found = fit(resource(requests=[3_600] * HOURS, busiest_minute=busiest), sampled_share=0.1)

    assert "bursts" not in found.document
    assert any(each.startswith("bursts: not known") for each in found.basis)


def test_hours_that_a_day_lacks_are_of_another_one() -> None:
    hours = [(FIRST + timedelta(hours=hour)).isoformat() for hour in range(24)]
    lists = {name: [36] * 24 for name in ("messages", "requests", "writes")}

    found = fit(
        resource(**lists, busiest_minute=[1] * 24),
        hours=hours,
        now=(FIRST + timedelta(hours=24)).isoformat(),
    )

    assert found.document["rate"]["requests_per_second"] == [0.01] * 24
    assert any("10 hours that are not among these" in each for each in found.basis)


def test_shares_rows_and_ops_are_those_of_all_days() -> None:
    ops = {"inserted": 60, "updated": 30, "deleted": 10, "basis": "statistics"}
    many = resource("observations", writes=[20 * each for each in resource()["writes"]], ops=ops)
    rows = {"mean": 140, "basis": "widths"}

    found = fit(resource(ops=ops, row_bytes=rows), many)

    stations, observations = of(found), of(found, "observations")
    assert (stations["share"], observations["share"]) == (0.5, 0.5)
    assert stations["ops"] == {"create": 0.6, "merge": 0.3, "delete": 0.1}
    assert (stations["rows_per_request"], observations["rows_per_request"]) == (1, 20)
    assert observations["ops"] == {"create": 1.0}
    assert (stations["bytes_per_row"], observations["bytes_per_row"]) == (140, fitted.ROW_BYTES)
    assert "resources.stations.ops: estimated by statistics" in found.basis
    assert "resources.stations.bytes_per_row: estimated by widths" in found.basis


def test_updates_of_requests_with_many_rows_are_upserts() -> None:
    ops = {"inserted": 1, "updated": 3, "deleted": 4, "basis": "statistics"}

    found = fit(resource(ops=ops, writes=[5 * each for each in resource()["writes"]]))

    assert of(found)["ops"] == {"create": 0.25, "create-or-merge": 0.75}


def test_three_shares_sum_up_to_one() -> None:
    found = fit(
        *(resource(name) for name in ("stations", "observations", "regions") if name in KNOWN)
    )

    assert sum(each["share"] for each in found.document["resources"].values()) == pytest.approx(1)


def test_keys_are_as_many_as_the_sample_suggests() -> None:
    sample = {"writes": 1_000, "keys": 900, "once": 820, "twice": 70, "top": [3, 2, 2, 1]}

    keys = of(fit(resource(keys=sample)))["keys"]

    assert keys == {"number": round(900 + 820 * 819 / 142), "hottest": 0.0, "zipf": 0.0}


def test_a_hot_key_and_zipfs_law_are_found() -> None:
    top = [5_000, *(round(1_000 / rank) for rank in range(2, 11))]
    sample = {"writes": 10_000, "keys": 500, "once": 0, "twice": 0, "top": top}

    keys = of(fit(resource(keys=sample)))["keys"]

    assert keys == {"number": 500, "hottest": 0.4, "zipf": 1.0}


def test_a_file_says_what_the_ledger_does_not_know() -> None:
    said = fitted.given(
        {
            "goal": {"lag_p99_seconds": 3},
            "region": "eu-west-1",
            "connections": 40,
            "resources": {"stations": {"bytes_per_row": 300, "ops": {"delete": 1}}},
        },
        "own.yaml",
    )

    found = fit(resource(), said={**said})

    assert found.document["goal"] == {"lag_p99_seconds": 3}
    assert (found.document["region"], found.document["connections"]) == ("eu-west-1", 40)
    assert (of(found)["bytes_per_row"], of(found)["ops"]) == (300, {"delete": 1})
    assert not [each for each in found.basis if "assumed" in each]


def test_another_member_of_that_file_is_refused() -> None:
    with pytest.raises(PlanningError, match=r"own\.yaml: .*rate.*what the ledger does not know"):
        fitted.given({"rate": []}, "own.yaml")


@pytest.mark.parametrize("found", [[], [resource(requests=[0] * HOURS)], [resource("gone")]])
def test_a_ledger_without_traffic_is_refused_with_what_would_be_right(found: list[Json]) -> None:
    with pytest.raises(
        PlanningError, match="The ledger has no traffic: in the last 7 days"
    ) as error:
        fitted.fit(traffic(*found), KNOWN, {})

    assert "plan day.yaml" in str(error.value)


def test_a_resource_with_next_to_nothing_is_left_out() -> None:
    often = resource(requests=[10_000] * HOURS, writes=[10_000] * HOURS)

    found = fit(often, resource("observations", requests=[1] + [0] * (HOURS - 1)))

    assert [*found.document["resources"]] == ["stations"]
    assert any("observations: left out" in each for each in found.basis)


def test_its_yaml_is_the_profile_with_its_basis(tmp_path: Any) -> None:
    found = fit(resource(), sampled_share=0.25)

    text = fitted.text(found)

    assert yaml.safe_load(text) == json.loads(json.dumps(found.document))
    assert text.startswith("# all counts: scaled up from 25.0% of the ledger")
    (tmp_path / "day.yaml").write_text(text)
    assert profile.load(tmp_path / "day.yaml", KNOWN)


def test_the_file_in_the_documents_is_one() -> None:
    text = (PROJECT / "docs/sizing.md").read_text()
    _, own = re.findall(r"^```yaml\n(.*?)^```", text, re.M | re.S)

    said = fitted.given(yaml.safe_load(own), "own.yaml")

    assert of(fit(resource(), said={**said}))["bytes_per_row"] == 250
