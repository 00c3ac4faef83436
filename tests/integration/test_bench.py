"""The benchmark measures what it says, on small sizes."""

import json

import pytest

from decanter.bench import drain


def test_each_shape_is_measured_beside_its_peers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(drain, "QUICK", [(2, 10)])
    monkeypatch.setenv("DECANTER_DATABASE_URL", "set by the benchmark")

    drain.run(quick=True, as_json=True)

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["shape"] for line in lines} == {"create", "replace", "merge", "delete", "mixed"}
    assert {(line["batch"], line["writes"]) for line in lines} == {(2, 10)}
    for line in lines:
        assert line["bench"] == "drain"
        low, high = line["spread"]
        assert 0 < low <= line["rows_per_s"] <= high
        peers = {name.removesuffix("_ratio") for name in line if name.endswith("_ratio")}
        expected = {"copy", "sqlalchemy", "execute_values", "powertools"}
        assert peers == (expected if line["shape"] == "create" else set())
        for peer in peers:
            ratio = line["rows_per_s"] / line[f"{peer}_rows_per_s"]
            assert line[f"{peer}_ratio"] == pytest.approx(ratio, rel=0.05)


def test_a_sample_that_was_not_poured_whole_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(drain, "QUICK", [(4, 1)])
    monkeypatch.setenv("DECANTER_DATABASE_URL", "set by the benchmark")
    monkeypatch.setattr(drain.handler, "drain", lambda event, context: None)

    with pytest.raises(AssertionError, match="writes and rejections"):
        drain.run(quick=True, as_json=True)
