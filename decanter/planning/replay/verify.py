"""Whether a plan's model predicts what happens: profiles replayed on the local cloud, simulated
with its caps and its poller, and compared by what the ledger says."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from chalicelib.contract.resources import Resource
from decanter.planning.capacity import Capacity
from decanter.planning.profile import Profile
from decanter.planning.replay import emulated, stage, traffic
from decanter.planning.replay.calibration import Calibration
from decanter.planning.replay.figures import TOLERANCE, Figure, Run, compare
from decanter.planning.replay.traffic import Maker, Part
from decanter.planning.requests import buffer_of

PROFILES = Path(__file__).parents[1] / "profiles"
"""The folder of those that are replayed if none is named."""

_REHEARSED = 0.1, 0.5
"""What is rehearsed of the part that is replayed, with other requests: a burst begins after a
quarter."""


class Verified(NamedTuple):
    """A profile. late_seconds: by how much its latest request was sent after its time."""

    name: str
    predicted: Run
    measured: Run
    late_seconds: float

    @property
    def figures(self) -> tuple[Figure, ...]:
        return tuple(compare(self.name, self.predicted, self.measured))


class Asked(NamedTuple):
    """How profiles are replayed. capacity: of the stage. resources: of the contract. seconds: of
    each profile's day."""

    capacity: Capacity
    resources: Mapping[str, Resource]
    seed: int
    seconds: float


def verify(
    profiles: Mapping[str, Profile], asked: Asked, say: Callable[[str], None]
) -> Iterator[Verified]:
    """Replay profiles, by name, one after the other on one local cloud. Raises PlanningError."""
    for each in profiles.values():
        traffic.check(each, asked.resources)
    with stage.deployed(say) as cloud:
        unused = traffic.fresh()
        for name, profile in profiles.items():
            say(f"measuring batches of {name}")
            yield _verified(cloud, name, profile, asked, unused, say)


def _verified(
    cloud: stage.ReplayStage,
    name: str,
    profile: Profile,
    asked: Asked,
    unused: Iterator[int],
    say: Callable[[str], None],
) -> Verified:
    resources, seed, seconds = asked.resources, asked.seed, asked.seconds
    makers = {
        each.resource: Maker(each, resources[each.resource], seed + 1, unused)
        for each in profile.resources
    }
    drains = {
        buffer: emulated.emulated(drain)
        for buffer, drain in asked.capacity.drains.items()
        if buffer != "stream"
    }
    part = traffic.busiest(profile, seconds)
    requests = traffic.planned(profile, part, resources, seed, unused)
    buffers = {buffer_of(resources[each.resource]) for each in profile.resources}
    counts = {buffer: drains[buffer].cap for buffer in buffers}
    measured = Calibration()

    def measure() -> None:
        cloud.start_containers(counts)
        measured.start(cloud, profile, makers)
        measured.measure(cloud, profile, makers, drains)
        rehearsed = Part(part.begin + _REHEARSED[0] * seconds, part.begin + _REHEARSED[1] * seconds)
        others = traffic.planned(profile, rehearsed, resources, seed + 1, unused)
        measured.rehearse(cloud.send(others))

    measure()
    cloud.start_containers(counts)
    say(f"replaying {seconds:g} s of {name}: {len(requests)} requests")
    replayed = cloud.send(requests)
    say(f"measuring batches of {name} again")
    measure()
    times = measured.times()
    used = {buffer: drain for buffer, drain in drains.items() if buffer in times}
    predicted = emulated.simulate(replayed.requests, used, times, seed)
    return Verified(name, predicted, replayed.run, replayed.late_seconds)


def lines(found: Sequence[Verified]) -> Iterator[str]:
    """The comparison for people."""
    rows = [("profile", "buffer", "figure", "predicted", "measured", "ratio", "")]
    for each in found:
        for figure in each.figures:
            name, buffer, what, predicted, measured = figure
            note = "" if figure.is_near else f"outside {TOLERANCE:.0%}"
            values = (f"{predicted:.3g}", f"{measured:.3g}", f"{figure.ratio:.2f}", note)
            rows.append((name, buffer, what, *values))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.rjust(width) if 3 <= place < 6 else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()
    for each in found:
        yield f"{each.name}: the latest request was sent {each.late_seconds:.3f} s after its time."


def document(found: Sequence[Verified]) -> dict[str, Any]:
    """The comparison for programs."""
    return {
        "tolerance": TOLERANCE,
        "is_near": is_near(found),
        "profiles": [
            {
                "name": each.name,
                "late_seconds": each.late_seconds,
                "figures": [
                    {**figure._asdict(), "ratio": figure.ratio, "is_near": figure.is_near}
                    for figure in each.figures
                ],
            }
            for each in found
        ],
    }


def is_near(found: Sequence[Verified]) -> bool:
    """Whether all figures are as predicted, within the tolerance."""
    return all(figure.is_near for each in found for figure in each.figures)
