"""Decanter beside its peers: the same seeds for all of them, and one table."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple

from decanter.proof.simulation.pool import Worker, run_all, workers

NAMES = ("decanter", "powertools", "powertools + idempotency", "direct")
DECANTER, POWERTOOLS, IDEMPOTENT, DIRECT = NAMES

_PACKAGE = "aws_lambda_powertools"
WORKER = "decanter.proof.peers.worker"
_SUMS = (
    *("writes", "lost", "doubled", "misordered", "other", "untold", "misled"),
    *("unserved", "refused_connections"),
)


class PeerNotInstalled(Exception):
    """A peer needs a package of the developers' requirements."""


class Row(NamedTuple):
    """What became of all histories of one peer. broken: histories with any violation. lost …
    misled: violations, see `judging`. connections: the most at once. unserved: requests that their
    clients gave up. refused_connections: how often Postgres took no connection."""

    peer: str
    histories: int
    broken: int
    writes: int
    lost: int
    doubled: int
    misordered: int
    other: int
    untold: int
    misled: int
    connections: int
    refused_connections: int
    unserved: int


def check_installed() -> None:
    """Raise PeerNotInstalled if a peer cannot be run."""
    if find_spec(_PACKAGE) is None:
        raise PeerNotInstalled(
            "the peers need aws-lambda-powertools, which is not installed. It is in"
            " requirements-dev.txt, which make lint installs."
        )


def compare(seeds: Iterable[int], count: int) -> Iterator[Mapping[str, Any]]:
    """Run each seed with Decanter and with each peer, on so many workers; yield what became of it,
    as it comes."""
    check_installed()
    with workers(count, module=WORKER) as pool:
        yield from answers(pool, seeds)


def answers(pool: Sequence[Worker], seeds: Iterable[int]) -> Iterator[Mapping[str, Any]]:
    """As `compare`, on workers that are running."""
    jobs = ({"seed": seed, "peer": name} for seed in seeds for name in NAMES)
    return run_all(pool, jobs)


def rows(found: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Sum up the answers of each peer."""
    own: dict[str, list[Mapping[str, Any]]] = {name: [] for name in NAMES}
    for each in found:
        own[each["peer"]].append(each)
    return [_row(name, answers) for name, answers in own.items()]


def table(found: Sequence[Row]) -> str:
    """The rows as text."""
    titles = [name.replace("_", " ") for name in Row._fields]
    lines = [titles, *([str(value) for value in row] for row in found)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])])
        for line in lines
    )


def _row(name: str, found: Sequence[Mapping[str, Any]]) -> Row:
    return Row(
        peer=name,
        histories=len(found),
        broken=sum(bool(each["violations"]) for each in found),
        connections=max((each["connections"] for each in found), default=0),
        **{key: sum(each[key] for each in found) for key in _SUMS},
    )
