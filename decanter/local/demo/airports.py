"""28,298 real airports as requests, the first writes of `make run`."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

RESOURCE = "stations"
ROWS_PER_REQUEST = 500


@dataclass(frozen=True)
class SampleRequest:
    """One `POST /stations` with a JSON array and an idempotency key."""

    idempotency_key: str
    body: bytes
    rows: int


def station(airport: dict[str, Any]) -> dict[str, Any]:
    """Return an airport of ``airportsdata`` as a row of the sample model, empty texts as null."""
    return {
        "icao": airport["icao"],
        "iata": airport["iata"] or None,
        "name": airport["name"],
        "city": airport["city"] or None,
        "subdivision": airport["subd"] or None,
        "country": airport["country"],
        "elevation_ft": airport["elevation"],
        "latitude": airport["lat"],
        "longitude": airport["lon"],
        "timezone": airport["tz"],
    }


def requests() -> Iterator[SampleRequest]:
    """Yield requests with all airports; their keys depend only on the version of the data."""
    from importlib.metadata import version

    import airportsdata

    rows = [station(dict(airport)) for airport in airportsdata.load("ICAO").values()]
    release = version("airportsdata")
    for number, start in enumerate(range(0, len(rows), ROWS_PER_REQUEST), 1):
        part = rows[start : start + ROWS_PER_REQUEST]
        body = json.dumps(part, ensure_ascii=False, separators=(",", ":")).encode()
        yield SampleRequest(f"airports-{release}-{number:04d}", body, len(part))


def match(contract: Mapping[str, Any]) -> bool:
    """Whether the contract has the sample resource behind SQS, and not just one of its name."""
    from chalicelib.contract.validator import compiled

    schema = contract["components"]["schemas"].get(f"{RESOURCE}.create")
    facts = contract["x-decanter"]["resources"].get(RESOURCE, {})
    if schema is None or not facts.get("ordered") or "front" in facts:
        return False
    first = json.loads(next(requests()).body, parse_float=Decimal)
    return all(map(compiled(schema).is_valid, first))
