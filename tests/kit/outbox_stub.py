"""Lambda, with an operate function that has an outbox."""

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from botocore.exceptions import ClientError


class Operate:
    """The operate function, called as by boto3.

    rows: events by their places; None where a row makes none. busy: how many calls are refused.
    asked: the places and the limit of each question. oldest: age of the oldest row.
    """

    def __init__(self, rows: Mapping[int, Mapping[str, Any] | None]) -> None:
        self.rows = dict(sorted(rows.items()))
        self.busy = 0
        self.asked: list[tuple[Sequence[int], int]] = []
        self.oldest = 7.0

    def invoke(self, FunctionName: str, Payload: bytes) -> dict[str, Any]:
        assert FunctionName == "operate"
        if self.busy:
            self.busy -= 1
            raise ClientError({"Error": {"Code": "TooManyRequestsException"}}, "Invoke")
        event = json.loads(Payload)
        assert (event["ask"], event["what"]) == ("ops", "outcomes")
        published, limit = event["given"]["published"], event["given"]["limit"]
        self.asked.append((published, limit))
        for place in published:
            del self.rows[place]
        places = [*self.rows][:limit]
        answer = {
            "events": [self.rows[place] for place in places if self.rows[place]],
            "places": places,
            "left": len(self.rows) - len(places),
            "oldest_seconds": self.oldest if places else None,
        }
        payload = json.dumps({"body": json.dumps(answer)}).encode()
        return {"Payload": io.BytesIO(payload)}


def event(place: int, resource: str = "stations", **members: Any) -> dict[str, Any]:
    """An event as operate makes it."""
    request = str(UUID(int=place))
    return {
        "version": 1,
        "id": f"{request}-{place}",
        "request": request,
        "receipt": "r" * 80,
        "resource": resource,
        "state": "applied",
        "writes": 1,
        "applied": 1,
        "rejected": 0,
        "accepted_at": "2026-01-01T00:00:00.000Z",
        "poured_at": "2026-01-01T00:00:01.000Z",
        "caller": "https://issuer.test me",
        "sequence": place,
        **members,
    }
