"""A program that uses `decanter_client`, the client generated from /openapi.json.

It reads the API's address and a token from the environment, and prints its results as JSON.
tests/e2e/api/test_generated_client.py checks its types and runs it.
"""

import json
import os
import sys
from datetime import UTC, datetime

from decanter_client import AuthenticatedClient
from decanter_client.api.observations import observations_create
from decanter_client.api.stations import (
    stations_create,
    stations_delete,
    stations_list,
    stations_merge,
    stations_read,
    stations_replace,
)
from decanter_client.api.writes import status
from decanter_client.models import (
    DecanterAccepted,
    DecanterOutcome,
    DecanterProblem,
    DecanterState,
    DecanterStatus,
    ObservationsCreate,
    Stations,
    StationsCreate,
    StationsMerge,
    StationsReplace,
)

client = AuthenticatedClient(
    os.environ["API"], os.environ["TOKEN"], raise_on_unexpected_status=True
)


def airport(icao: str, name: str) -> StationsCreate:
    return StationsCreate(
        icao=icao,
        name=name,
        country="CH",
        elevation_ft=1411,
        latitude=46.238056,
        longitude=6.108889,
        timezone="Europe/Zurich",
    )


def main() -> dict[str, object]:
    """Write, wait, read, list, change, be rejected, be refused, delete."""
    found: dict[str, object] = {}
    bodies = [airport("GEN1", "Geneva"), airport("GEN2", "Berne")]
    accepted = stations_create.sync(client=client, body=bodies, idempotency_key='"generated-1"')
    assert isinstance(accepted, DecanterAccepted)
    again = stations_create.sync(client=client, body=bodies, idempotency_key='"generated-1"')
    assert isinstance(again, DecanterAccepted)
    found["same receipt"] = accepted.receipt == again.receipt

    became = status.sync(accepted.receipt, client=client, wait=20)
    assert isinstance(became, DecanterStatus)
    found["created"] = [became.state.value, became.applied]

    row = stations_read.sync("GEN1", client=client, after=accepted.receipt, wait=20)
    assert isinstance(row, Stations)
    found["read"] = [row.name, row.active, row.iata]

    page = stations_list.sync_detailed(
        client=client,
        country="CH",
        elevation_ft=["gte.1411", "not.gt.1411"],
        latitude=46.238056,
        order="name.desc",
        limit=1,
    )
    assert isinstance(page.parsed, list)
    found["listed"] = [[each.name for each in page.parsed], 'rel="next"' in page.headers["Link"]]

    conflict = stations_create.sync(client=client, body=bodies[0], prefer="wait=20")
    assert isinstance(conflict, DecanterOutcome)
    assert conflict.state is DecanterState.REJECTED
    found["rejected"] = [(each.item, each.type_) for each in conflict.rejections]

    etag = stations_read.sync_detailed("GEN1", client=client).headers["ETag"]
    cut = StationsMerge(name="Genève")
    merged = stations_merge.sync(
        "GEN1", client=client, body=cut, if_match=etag, prefer="wait=20, return=representation"
    )
    assert isinstance(merged, Stations)
    found["merged"] = merged.name
    late = stations_merge.sync("GEN1", client=client, body=cut, if_match=etag, prefer="wait=20")
    assert isinstance(late, DecanterOutcome)
    found["precondition"] = [each.type_ for each in late.rejections]

    whole = StationsReplace.from_dict({**airport("GEN1", "Cointrin").to_dict(), "active": False})
    replaced = stations_replace.sync("GEN1", client=client, body=whole, prefer="wait=20")
    assert isinstance(replaced, DecanterOutcome)
    found["replaced"] = replaced.state.value

    refused = stations_create.sync(client=client, body=airport("much too long", "x"))
    assert isinstance(refused, DecanterProblem)
    assert isinstance(refused.errors, list)
    found["refused"] = [refused.status, refused.type_, [e.pointer for e in refused.errors]]

    seen = ObservationsCreate(station="GEN2", observed_at=datetime.now(UTC), report={"wind": None})
    observed = observations_create.sync(client=client, body=seen, prefer="wait=20")
    assert isinstance(observed, DecanterOutcome)
    found["observed"] = observed.state.value

    gone = stations_delete.sync("GEN1", client=client, prefer="wait=20")
    assert isinstance(gone, DecanterOutcome)
    missing = stations_read.sync("GEN1", client=client)
    assert isinstance(missing, DecanterProblem)
    found["deleted"] = [gone.state.value, missing.type_]
    return found


if __name__ == "__main__":
    json.dump(main(), sys.stdout)
