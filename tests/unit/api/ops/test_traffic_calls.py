"""GET /ops/traffic."""

import json

import pytest

from tests.kit.api import assert_problem, body_of
from tests.kit.reader_stub import Reader

FOUND = {
    "now": "2026-03-02T00:00:00.000+00:00",
    "hours": [],
    "sampled_share": 1,
    "resources": [],
    "unknown": [],
}


@pytest.mark.parametrize(("query", "days"), [("", 7), ("?days=1", 1), ("?days=30", 30)])
def test_the_reader_is_asked_for_so_many_days(ops, monkeypatch, query, days):
    reader = Reader(monkeypatch, {"body": json.dumps(FOUND)})

    answer = ops("GET", f"/ops/traffic{query}")

    assert body_of(answer) == FOUND
    assert reader.asked == [{"ask": "ops", "what": "traffic", "given": {"days": days}}]


@pytest.mark.parametrize("days", ["0", "31", "-1", "x", "", "1.5", "٣", "1" * 5_000, "0000000079"])
def test_another_number_of_days_is_refused_without_a_question(ops, monkeypatch, days):
    reader = Reader(monkeypatch)

    answer = ops("GET", f"/ops/traffic?days={days}")

    assert_problem(answer, 400, "invalid-query")
    assert "from 1 to 30" in body_of(answer)["errors"][0]["detail"]
    assert not reader.asked


def test_it_needs_the_scope_of_operators(ops):
    assert_problem(ops("GET", "/ops/traffic", scopes="*:read"), 403, "missing-scope")
