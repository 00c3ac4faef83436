"""A thousand clients at once against a Postgres that accepts a hundred connections.

Through Decanter as it is deployed on the local cloud, and through an API function that writes to
Postgres itself, in two variants. All of them have the same clients, rows, tables and kind of
Postgres, on the same machine, one after the other; while one is measured, the others are idle.
"""

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks.burst import client, descriptors, direct, picture
from benchmarks.burst.client import Target
from benchmarks.burst.observer import Observer
from benchmarks.burst.outcome import Outcome
from benchmarks.harness import OURS, Result, interleave
from chalicelib.postgres.connecting import session
from decanter import POSTGRES_URL, PROJECT
from decanter.local import issuer
from decanter.local.cloud import local_cloud
from decanter.local.postgres import MAX_CONNECTIONS
from decanter.local.server import server

CLIENTS = 1_000
FULL_ROUNDS, QUICK_ROUNDS = 5, 1
STALL_SECONDS = 60
STATION = "BRST"
PICTURE = PROJECT / "docs" / "burst.svg"
LOOK = PROJECT / "build" / "burst"
"""Of the pictures that are only looked at, without their ending."""


class Burst(NamedTuple):
    """What one burst goes to. url: of its database, as the owner."""

    target: Target
    url: str


def run(quick: bool) -> Iterator[Result]:
    """Draw one round of all bursts, and yield their figures."""
    descriptors.allow(2 * CLIENTS + 512)
    os.environ.pop(POSTGRES_URL, None)  # its connections are others' too
    rounds = QUICK_ROUNDS if quick else FULL_ROUNDS
    with _deployed() as decanter, direct.database(MAX_CONNECTIONS) as (url, function_url):
        ways = {OURS: partial(measure, decanter, CLIENTS)} | {
            pool: partial(directly, url, function_url, pool, CLIENTS) for pool in direct.POOLS
        }
        outcomes = interleave(ways, rounds)
    LOOK.parent.mkdir(exist_ok=True)
    paths = [LOOK.with_suffix(".png"), LOOK.with_suffix(".svg") if quick else PICTURE]
    picture.draw({way: each[-1] for way, each in outcomes.items()}, MAX_CONNECTIONS, paths)
    yield from results(outcomes)


def results(outcomes: Mapping[str, Sequence[Outcome]]) -> Iterator[Result]:
    """Yield a result for each figure, and for each kind of failure."""
    figures = {way: [each.figures() for each in some] for way, some in outcomes.items()}
    failures = {way: [each.failures() for each in some] for way, some in outcomes.items()}
    for name, unit in figures[OURS][0]:
        samples = {way: [each[name, unit] for each in some] for way, some in figures.items()}
        yield Result({"figure": name}, unit, samples, is_compared=False)
    for kind in sorted({kind for some in failures.values() for each in some for kind in each}):
        counts = {way: [float(each[kind]) for each in some] for way, some in failures.items()}
        yield Result({"figure": f"attempts failed: {kind}"}, "requests", counts, is_compared=False)


def measure(burst: Burst, clients: int) -> Outcome:
    """Send a write from each client at once, and wait until all that were accepted are stored."""
    name = uuid.uuid4().hex
    _add_station(burst.url)
    body = {"station": STATION, "observed_at": "2026-01-01T00:00:00Z", "temperature_c": -3.5}
    with (
        client.ready(burst.target, {**body, "report": {"run": name}}, clients) as ready,
        Observer(burst.url, name) as observer,
    ):
        attempts = ready.send()
        accepted = Outcome(attempts, [], {}).accepted
        observer.await_rows(set(accepted), STALL_SECONDS)
    return Outcome(attempts, observer.samples, observer.rows)


def directly(url: str, function_url: str, pool: str, clients: int) -> Outcome:
    """Measure the function that writes to Postgres itself, with new containers."""
    with direct.served(function_url, pool) as target:
        return measure(Burst(target, url), clients)


@contextmanager
def _deployed() -> Iterator[Burst]:
    """Deploy the project on a local cloud of its own for the block."""
    home = Path(tempfile.mkdtemp(prefix="decanter-burst-"))
    try:
        with local_cloud(home) as cloud:
            stack = cloud.deploy()
            token = cloud.issuer.token(seconds=issuer.DAY)
            yield Burst(through(stack.api_url, token), stack.database_url)
    finally:
        server(home).drop()
        shutil.rmtree(home)


def through(api_url: str, token: str) -> Target:
    """Return the target of clients that send to Decanter."""
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    return Target([f"{api_url}/observations"], headers)


def _add_station(url: str) -> None:
    """Add the station that all rows refer to."""
    with closing(session.opened(url, "burst")) as connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO stations"
            " (icao, name, country, elevation_ft, latitude, longitude, timezone)"
            " VALUES (%s, 'Burst', 'CH', 0, 0, 0, 'UTC') ON CONFLICT DO NOTHING",
            (STATION,),
        )
        connection.commit()
