"""Requests that are replayed, measured times, and the comparison of what became of them."""

import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

import pytest

from chalicelib.contract import key, resources
from chalicelib.contract.validator import compiled
from chalicelib.messages.message import decode
from chalicelib.settings import LANES
from decanter.__main__ import main
from decanter.contract import committed
from decanter.planning import profile
from decanter.planning.capacity import Capacity
from decanter.planning.documents import PlanningError
from decanter.planning.fit import Point
from decanter.planning.profile import Burst, Profile, Rate, Traffic
from decanter.planning.replay import calibration, picture, traffic, verify
from decanter.planning.replay.calibration import Calibration
from decanter.planning.replay.emulated import Times
from decanter.planning.replay.figures import (
    Figure,
    PouredMessage,
    Run,
    backlog,
    compare,
    percentile,
)
from decanter.planning.replay.stage import Replayed
from decanter.planning.replay.traffic import Part, Planned
from decanter.planning.replay.verify import Verified
from tests.kit import planned

KNOWN = {name: resources.resource(name) for name in resources.names()}
STATIONS = Traffic("stations", 0.5, 1, 400, {"create-or-merge": 0.5, "create": 0.5}, keys=9)
OBSERVATIONS = Traffic("observations", 0.5, 30, 200, {"create": 1.0})
PROFILE = Profile(
    (Rate(0, 1.0), Rate(3_600, 5.0)),
    (STATIONS, OBSERVATIONS),
    5.0,
    "us-east-1",
    bursts=(Burst(43_200, 10, 100),),
)


def test_the_part_with_the_most_requests_is_replayed_with_some_time_before_it() -> None:
    assert traffic.busiest(PROFILE, 40) == Part(43_190, 43_230)
    calm = PROFILE.__class__((Rate(0, 1.0), Rate(3_600, 5.0)), (STATIONS,), 5.0, "us-east-1")
    assert traffic.busiest(calm, 40).begin >= 3_600 - 40


def test_requests_come_at_the_profiles_rate_and_the_same_for_a_seed() -> None:
    part = Part(43_190, 43_230)

    one, same, other = (
        traffic.planned(PROFILE, part, KNOWN, seed, traffic.fresh()) for seed in (1, 1, 2)
    )

    assert one == same != other
    seconds = [each.second for each in one]
    assert seconds == sorted(seconds)
    assert seconds[0] > 0
    assert seconds[-1] < 40
    within = sum(10 <= each < 20 for each in seconds)
    assert within == pytest.approx(1_050, abs=5 * 1_050**0.5)
    assert len(one) - within == pytest.approx(150, abs=5 * 150**0.5)
    kinds = {(each.resource, each.op, each.buffer) for each in one}
    assert kinds == {
        ("stations", "create", "ordered"),
        ("stations", "create-or-merge", "ordered"),
        ("observations", "create", "unordered"),
    }


def test_messages_are_as_the_api_function_makes_them() -> None:
    sent = traffic.planned(PROFILE, Part(43_190, 43_230), KNOWN, 1, traffic.fresh())
    schemas = committed()["components"]["schemas"]
    for name in ("stations", "observations"):
        one = next(each for each in sent if each.resource == name)
        [(id_, lane, body)] = one.bodies(1_700_000_000_000)
        message = decode(body)
        assert (message.dedup_id, message.accepted_at) == (id_, 1_700_000_000_000)
        rows = json.loads(f"[{message.sets[0].rows}]")
        [rows] = rows if isinstance(rows[0], list) else [rows]
        assert all(compiled(schemas[f"{name}.create"]).is_valid(row) for row in rows)
        sizes = {len(json.dumps(row, separators=(",", ":"))) for row in rows}
        assert sizes <= {400} if name == "stations" else max(sizes) <= 201
        if name == "stations":
            assert lane == str(key.digest(KNOWN[name], rows[0]) % LANES)
        else:
            assert (lane, message.writes) == (None, 30)


def test_upserts_find_their_row_and_creates_do_not() -> None:
    parents = {each["icao"] for each in traffic.parents()}
    assert len(parents) == traffic.MOST_KEYS
    maker = traffic.Maker(STATIONS, KNOWN["stations"], 1, traffic.fresh())

    def code(op: str) -> str:
        [(_, _, body)] = maker.request(0.0, op).bodies(1)  # type: ignore[arg-type]
        row = json.loads(f"[{decode(body).sets[0].rows}]")[0]
        return str(row["icao"] if isinstance(row, dict) else row[0]["icao"])

    assert {code("create-or-merge") for _ in range(200)} <= parents
    created = [code("create") for _ in range(200)]
    assert len({*created}) == 200
    assert not {*created} & parents


class Poured:
    """In place of a stage: what is sent is poured by ten, at once."""

    def __init__(self) -> None:
        self.sent: list[Planned] = []

    def start_containers(self, _counts: Mapping[str, int]) -> None:
        pass

    def send(self, requests: Sequence[Planned]) -> Replayed:
        self.sent += requests
        found = [
            PouredMessage(
                each.buffer, each.second, each.second + 0.01 * (n // 10 + 1), f"{n // 10}"
            )
            for each in requests
            for n in range(len(each.messages))
        ]
        return Replayed(Run(tuple(found), 1), tuple(requests), 0.0)


def test_no_create_of_all_that_is_sent_finds_its_key_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Poured()
    monkeypatch.setattr(verify.stage, "deployed", lambda _say: nullcontext(cloud))
    creates = Traffic("stations", 1.0, 1, 200, {"create": 1.0})
    profiles = {
        name: Profile((Rate(0, 1.0),), (creates,), 5.0, "us-east-1") for name in ("one", "other")
    }
    drain = planned.drain("ordered", cap=4, lanes=16, mixes_lanes=True, batch=10)
    asked = verify.Asked(Capacity({"ordered": drain}, {}, None, 1.0), KNOWN, 1, 20)

    found = [*verify.verify(profiles, asked, lambda _what: None)]

    assert [each.name for each in found] == ["one", "other"]
    keys = [sets.digests for each in cloud.sent for one in each.messages for sets in one.sets]
    assert len({*keys}) == len(keys) > 500


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (
            Traffic("subscriptions", 1.0, 1, 200, {"create": 1.0}),
            "subscriptions cannot be replayed",
        ),
        (Traffic("stations", 1.0, 1, 200, {"delete": 1.0}), "deletes of stations cannot"),
    ],
)
def test_what_cannot_be_replayed_is_refused_by_name(sent: Traffic, said: str) -> None:
    with pytest.raises(PlanningError, match=said):
        traffic.check(Profile((Rate(0, 1.0),), (sent,), 5.0, "us-east-1"), KNOWN)


def test_three_profiles_are_shipped_that_can_be_replayed() -> None:
    paths = sorted(verify.PROFILES.glob("*.yaml"))

    assert [each.stem for each in paths] == ["bulk", "burst", "steady"]
    for each in paths:
        traffic.check(profile.load(each, KNOWN), KNOWN)


def test_times_are_the_medians_and_how_they_vary() -> None:
    found = Calibration()
    kind = "ordered", "create"
    for slow in (1.0, 1.0, 1.0, 3.0):
        found.firsts.setdefault(kind, []).extend(  # type: ignore[arg-type]
            Point(size, size, 100 * size, slow * (0.01 + 0.002 * size)) for size in (1, 2, 5, 10)
        )
    found.others[kind] = [Point(10, 10, 1_000, 0.03 + gap) for gap in (0.004, 0.005, 0.9)]  # type: ignore[index]
    found.started["ordered"] = [0.5, 0.524]

    times = found.times()["ordered"]

    op = times.service.op("create")
    a_message = op.message_seconds + op.row_seconds + 100 * op.byte_seconds
    assert (op.batch_seconds, a_message) == pytest.approx((0.01, 0.002))
    assert times.service.return_seconds == pytest.approx(0.005)
    assert times.service.cold_start_seconds == pytest.approx(0.5)
    assert len(times.spread) == 16
    assert times.spread[:12] == pytest.approx([1.0] * 12)
    assert times.spread[12:] == pytest.approx([3.0] * 4)


def in_traffic(accepted: Sequence[float], poured: Sequence[tuple[float, str]]) -> Replayed:
    """Single writes, when they were accepted and poured, and in which batch."""
    maker = traffic.Maker(STATIONS, KNOWN["stations"], 1, traffic.fresh())
    requests = tuple(maker.request(second, "create") for second in accepted)
    messages = tuple(
        PouredMessage("ordered", second, *each)
        for second, each in zip(accepted, poured, strict=True)
    )
    return Replayed(Run(messages, 1), requests, 0.0)


def takes(times: Times, writes: int) -> float:
    """Seconds of a batch of creates of 400 bytes."""
    op = times.service.op("create")
    a_write = op.message_seconds + op.row_seconds + 400 * op.byte_seconds
    return op.batch_seconds + writes * a_write


def test_traffic_that_finds_everything_idle_sets_the_pace() -> None:
    """Of two that are poured at once neither counts, nor does what follows a COMMIT soon."""
    found = Calibration()
    kind = "ordered", "create"
    found.firsts[kind] = [Point(size, size, 400 * size, 0.01 * size) for size in (1, 2, 5, 10)]  # type: ignore[index]
    found.started["ordered"] = [0.01]
    begins = [float(n) for n in range(12)]
    alone = [(each + (0.006 if n < 9 else 0.012), f"{n}") for n, each in enumerate(begins)]

    found.rehearse(
        in_traffic(
            [*begins, 20.0, 20.001, 21.0, 21.05],
            [*alone, (20.95, "both"), (20.95, "both"), (21.006, "last"), (21.5, "soon")],
        )
    )
    times = found.times()["ordered"]

    assert [round(each.seconds, 3) for each in found.idle[kind]] == [0.006] * 9 + [0.012] * 3  # type: ignore[index]
    assert takes(times, 1) == pytest.approx(0.006)
    assert takes(times, 10) == pytest.approx(0.06)
    assert times.spread == pytest.approx([1.0] * 9 + [2.0] * 3)


def test_what_comes_right_after_a_commit_tells_when_the_poller_looks_again() -> None:
    found = Calibration()
    kind = "ordered", "create"
    found.firsts[kind] = [Point(1, 1, 400, 0.01)]  # type: ignore[index]
    found.others[kind] = [Point(1, 1, 400, 0.5)]  # type: ignore[index]
    found.started["ordered"] = [0.01]
    accepted, poured = [], []
    for n in range(10):
        accepted += [float(n), n + 0.02]
        poured += [(n + 0.01, f"{n}"), (n + 0.01 + 0.057 + 0.01, f"{n} soon")]

    found.rehearse(in_traffic(accepted, poured))

    assert found.times()["ordered"].service.return_seconds == pytest.approx(0.007)


def test_traffic_that_is_too_dense_tells_nothing() -> None:
    found = Calibration()
    kind = "ordered", "create"
    found.firsts[kind] = [Point(1, 1, 400, 0.01)] * 3  # type: ignore[index]
    found.others[kind] = [Point(1, 1, 400, 0.03)] * 3  # type: ignore[index]
    found.started["ordered"] = [0.01]

    found.rehearse(in_traffic([1.0, 1.02], [(1.5, "1"), (1.6, "2")]))

    times = found.times()["ordered"]
    assert takes(times, 1) == pytest.approx(0.01)
    assert times.service.return_seconds == pytest.approx(0.02)


def poured(lags: list[float], batch: int = 2, buffer: str = "ordered") -> tuple[PouredMessage, ...]:
    return tuple(
        PouredMessage(buffer, float(place), place + lag, str(place // batch))
        for place, lag in enumerate(lags)
    )


def test_figures_are_compared_with_what_the_ledger_says() -> None:
    predicted = Run(poured([1.0] * 98 + [2.0, 4.0]), 3)
    measured = Run(poured([1.19] * 98 + [2.5, 4.0], batch=4), 3)

    found = {each.name: each for each in compare("day", predicted, measured)}

    assert found["lag p50 (s)"].ratio == pytest.approx(1.19)
    assert found["lag p50 (s)"].is_near
    assert not found["lag p99 (s)"].is_near
    assert (found["batches"].predicted, found["batches"].measured) == (50, 25)
    assert (found["connections"].ratio, found["connections"].buffer) == (1.0, "")


@pytest.mark.parametrize(
    ("predicted", "measured", "is_near"),
    [
        (1, 1.2, True),
        (1, 1.21, False),
        (1, 0.8, True),
        (1, 0.79, False),
        (0, 0, True),
        (0, 1, False),
    ],
)
def test_near_is_within_a_fifth(predicted: float, measured: float, is_near: bool) -> None:
    assert Figure("day", "", "x", predicted, measured).is_near is is_near


def test_percentiles_and_the_backlog_are_counted() -> None:
    assert [percentile([1.0, 2.0, 3.0, 4.0], each) for each in (50, 75, 99)] == [2, 3, 4]
    assert percentile([], 50) == 0
    assert backlog(poured([1.5, 0.25])) == [(0, 0), (0, 1), (1, 2), (1.25, 1), (1.5, 0)]


def verified(lag: float = 1.0) -> Verified:
    return Verified("day", Run(poured([1.0] * 9), 1), Run(poured([lag] * 9), 1), 0.25)


def test_a_figure_outside_is_told() -> None:
    text = "\n".join(verify.lines([verified(), verified(1.5)]))

    assert "outside 20%" in text
    assert "sent 0.250 s after its time" in text
    assert verify.is_near([verified()])
    assert not verify.is_near([verified(), verified(1.5)])
    document = verify.document([verified(1.5)])
    assert document["is_near"] is False
    assert document["profiles"][0]["figures"][0]["ratio"] == pytest.approx(1.5)
    json.dumps(document)


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_both_curves_are_drawn(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"replay.{ending}"

    picture.write([verified(1.5)], path)

    data = path.read_bytes()
    if ending == "png":
        assert data.startswith(b"\x89PNG")
    else:
        assert b">predicted<" in data
        assert b">measured<" in data
        assert b">day: ordered<" in data


@pytest.mark.parametrize(
    "option",
    [
        "--from-ledger",
        "--write",
        "--stage=dev",
        "--service=own.json",
        "--url=http://x",
        "--days=7",
        "--data-dir=.decanter",
    ],
)
def test_options_of_a_plan_do_not_go_with_it(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["plan", "--verify", option])
    assert "does not go with --verify" in capsys.readouterr().err


def test_only_batches_of_an_idle_queue_count() -> None:
    """The second group is sent while the first is poured; the first one is a warm-up."""
    sent = [(0.0, 0.5, "a"), (1.0, 3.0, "b"), (2.0, 3.5, "c"), (4.0, 4.1, "d"), (4.0, 4.3, "e")]
    run = Run(tuple(PouredMessage("ordered", *each) for each in sent), 1)

    found = [*calibration._batches(run, "ordered", 0.9, {"ordered": (2.0, 300.0)})]

    assert [each.first for each in found] == [
        Point(1, 2, 300, 2.0),
        Point(1, 2, 300, pytest.approx(0.1)),  # type: ignore[arg-type]
    ]
    assert [[one.seconds for one in each.others] for each in found] == [[], [pytest.approx(0.2)]]


def test_a_machine_that_is_too_busy_is_reported() -> None:
    found = Calibration({("unordered", "create"): []})

    with pytest.raises(PlanningError, match="The machine is too busy"):
        found.times()
