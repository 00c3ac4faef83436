"""A traffic profile as a team writes it, and what its errors say."""

import json
import re
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from chalicelib.contract import resources
from decanter.planning.documents import PlanningError
from decanter.planning.profile import Burst, Outage, Profile, Rate, Traffic, load, parsed
from tests.kit.planned import document
from tests.kit.project import HOME

KNOWN = {name: resources.resource(name) for name in resources.names()}

YAML = """
region: eu-west-1
goal: {lag_p99_seconds: 2.5}
round_trip_ms: 2
rate:
  - {at: 06:00, requests_per_second: 3}
  - {at: 12:00, requests_per_second: 30}
bursts:
  - {at: "12:00:30", seconds: 10, requests_per_second: 500}
outage: {at: 14:00, minutes: 5}
resources:
  stations:
    share: 1
    rows_per_request: 1
    bytes_per_row: 200
    ops: {create: 0.75, merge: 0.25}
    keys: {number: 1000, hottest: 0.1, zipf: 1.1}
"""


def refused(**members: Any) -> str:
    with pytest.raises(PlanningError) as caught:
        parsed(document(**members), KNOWN, "day.yaml")
    return str(caught.value)


def test_a_profile_is_read_from_yaml(tmp_path: Path) -> None:
    file = tmp_path / "day.yaml"
    file.write_text(YAML)

    assert load(file, KNOWN) == Profile(
        rates=(Rate(0, 30), Rate(6 * 3600, 3), Rate(12 * 3600, 30)),
        resources=(
            Traffic("stations", 1, 1, 200, {"create": 0.75, "merge": 0.25}, 0.1, 1.1, 1000),
        ),
        lag_p99_seconds=2.5,
        region="eu-west-1",
        bursts=(Burst(12 * 3600 + 30, 10, 500),),
        outage=Outage(14 * 3600, 300),
        round_trip_seconds=0.002,
    )


def test_a_profile_is_read_from_json(tmp_path: Path) -> None:
    file = tmp_path / "day.json"
    file.write_text(json.dumps(document()))

    assert load(file, KNOWN) == parsed(document(), KNOWN, "day")


def test_the_profile_in_the_documents_is_one(tmp_path: Path) -> None:
    text = (HOME / "docs/sizing.md").read_text()
    written, _ = re.findall(r"^```yaml\n(.*?)^```", text, re.M | re.S)
    file = tmp_path / "day.yaml"
    file.write_text(written)

    found = load(file, KNOWN)

    assert (found.connections, found.round_trip_seconds) == (60, 0.001)
    assert (found.rates[1], found.outage) == (Rate(8 * 3600, 40), Outage(14 * 3600, 300))
    assert len(found.resources) == 2


def test_a_recorded_curve_is_a_rate_for_each_step() -> None:
    found = parsed(
        document(rate={"minutes": 720, "requests_per_second": [1, 2.5]}), KNOWN, "day.yaml"
    )

    assert found.rates == (Rate(0, 1), Rate(43_200, 2.5))


@pytest.mark.parametrize(
    ("text", "said"),
    [("{", "is not YAML"), ("a: [", "is not YAML"), ("- 1", "the document: [1] is not of type")],
)
def test_what_is_no_profile_is_refused(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "day.yaml"
    file.write_text(text)

    with pytest.raises(PlanningError, match=r"day\.yaml") as caught:
        load(file, KNOWN)

    assert said in str(caught.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanningError, match=r"day\.yaml cannot be read: No such file"):
        load(tmp_path / "day.yaml", KNOWN)


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"region": None}, 'the document: "region" is a required property; it is a profile with'),
        ({"areas": "x"}, "'areas' was unexpected"),
        ({"region": 7}, 'region: 7 is not of type "string"; it is a region, such as us-east-1'),
        ({"goal": {"lag_p99_seconds": 0}}, "goal.lag_p99_seconds: 0 is less than or equal to the"
         " minimum of 0; it is a number of seconds above 0"),
        ({"connections": 0}, "connections: 0 is less than the minimum of 1; it is how many"),
        ({"rate": [{"at": "25:00", "requests_per_second": 1}]}, "rate.0.at: \"25:00\" does not"),
        ({"rate": [{"at": "25:00", "requests_per_second": 1}]}, "a time of the day from"),
        ({"rate": [{"at": "00:00", "requests_per_second": -1}]}, "rate.0.requests_per_second: -1"
         " is less than the minimum of 0; it is a number of requests a second, from 0"),
        ({"rate": [{"at": "01:00", "requests_per_second": 1}] * 2}, "rate.1.at: 01:00 appears more"
         " than once"),
        ({"rate": []}, "rate: [] has less than 1 item"),
        ({"rate": 5}, "rate: 5 is not of type"),
        ({"rate": [{"at": "00:00", "requests_per_second": 0}]}, "rate: nothing is sent"),
        ({"rate": {"minutes": 60, "requests_per_second": [1, 2]}}, "rate: 2 steps of 60 minutes are"
         " 120 minutes; a day has 1440"),
        ({"bursts": [{"at": "23:59", "seconds": 61, "requests_per_second": 1}]}, "bursts.0: it ends"
         " after midnight"),
        ({"outage": {"at": "23:00", "minutes": 61}}, "outage: it ends after midnight"),
        ({"outage": {"at": "23:00"}}, 'outage: "minutes" is a required property'),
        ({"resources": {}}, "resources: {} has less than 1"),
    ],
)  # fmt: skip
def test_a_fault_is_named_with_what_would_be_right(members: dict[str, Any], said: str) -> None:
    assert said in refused(**members)


def _share(resources: Any) -> None:
    resources["stations"]["share"] = 0.6


def _unknown(resources: Any) -> None:
    resources["planes"] = resources.pop("stations")


def _ops(resources: Any) -> None:
    resources["stations"]["ops"] = {"create": 0.5, "merge": 0.4}


def _no_op(resources: Any) -> None:
    resources["stations"]["ops"] = {"upsert": 1}


def _not_of_unordered(resources: Any) -> None:
    resources["observations"]["ops"] = {"merge": 1}


def _many_rows(resources: Any) -> None:
    resources["stations"]["rows_per_request"] = 2


def _too_many_rows(resources: Any) -> None:
    resources["observations"]["rows_per_request"] = 100_001


def _keys(resources: Any) -> None:
    resources["observations"]["keys"] = {"hottest": 0.5}


def _hottest(resources: Any) -> None:
    resources["stations"]["keys"] = {"hottest": 1.5}


def _front(resources: Any) -> None:
    resources["subscriptions"] = resources.pop("observations") | {"rows_per_request": 10_001}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_share, "resources: their shares add up to 1.1, and should to 1"),
        (_unknown, "resources.planes: there is no such resource; the resources are: observations,"
         " stations, subscriptions"),
        (_ops, "resources.stations.ops: their shares add up to 0.9, and should to 1"),
        (_no_op, "an op: create, replace, merge"),
        (_not_of_unordered, "resources.observations.ops.merge: observations has no such op; it has"
         " create, create-or-ignore"),
        (_many_rows, "resources.stations.ops.merge: it writes one row in a request, and"
         " rows_per_request is 2; set that to 1, or leave the op out"),
        (_too_many_rows, "resources.observations.rows_per_request: 100001 is greater than the"
         " maximum of 100000; it is how many rows a request has"),
        (_keys, "resources.observations.keys: observations is unordered"),
        (_hottest, "resources.stations.keys.hottest: 1.5 is greater than the maximum of 1; it is"
         " the share of its writes that go to one key"),
        (_front, "resources.subscriptions.rows_per_request: 10001 is more than 10000"),
    ],
)  # fmt: skip
def test_a_fault_of_a_resource_is_named(change: Callable[[Any], None], said: str) -> None:
    resources = deepcopy(document()["resources"])
    change(resources)

    assert said in refused(resources=resources)


def test_all_faults_are_named_at_once() -> None:
    said = refused(region=7, connections=0).splitlines()

    assert [each.split(": ")[:2] for each in said] == [
        ["day.yaml", "region"],
        ["day.yaml", "connections"],
    ]
