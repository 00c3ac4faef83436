"""Direct writes: the API function writes to Postgres itself, in a transaction for each request, and
answers with the outcome.

It knows no Idempotency-Key, as is usual: support of it needs a table of its own that is written in
the same transaction, which is what Decanter's ledger is.
"""

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from chalicelib.ops import OPS, Op, creates
from decanter.proof import tables
from decanter.proof.peers import writing
from decanter.proof.peers.log import Log

_SUCCESS = {"POST": 201, "PUT": 200, "PATCH": 200, "DELETE": 204}
_REFUSALS = {"missing": 404, "conflict": 409, "still-referenced": 409}
_INVALID = 422
_UNAVAILABLE = 503


def install(_log: Log) -> None:
    """Make this container's API function the peer's."""
    import app  # needs the settings of a worker

    engine = writing.engine()

    def handler(event: Mapping[str, Any], _context: Any) -> dict[str, Any]:
        op, resource, rows = _request(event)
        try:
            with Session(engine) as session, session.begin():
                for row in rows:
                    writing.write(session, resource, op, row)
        except (writing.MissingRow, *writing.LASTING) as error:
            kind = writing.rejection(error, op)
            return _answer(_REFUSALS.get(kind, _INVALID), kind)
        except DBAPIError:
            return _answer(_UNAVAILABLE, "unavailable")
        return _answer(_SUCCESS[event["httpMethod"]], "done")

    app.app = handler  # type: ignore[assignment]


def _request(event: Mapping[str, Any]) -> tuple[Op, str, list[dict[str, Any]]]:
    texts = dict(event["pathParameters"])
    resource = texts.pop("resource")
    body = json.loads(event["body"] or "{}")
    if event["httpMethod"] == "POST":
        preference = event["headers"].get("prefer", "").removeprefix("resolution=")
        return creates()[preference or None].op, resource, body if type(body) is list else [body]
    op = next(op for op, facts in OPS.items() if facts.method == event["httpMethod"])
    key = zip(tables.KEYS[resource], map(int, texts.values()), strict=True)
    return op, resource, [{**dict(key), **body}]


def _answer(status: int, text: str) -> dict[str, Any]:
    return {"statusCode": status, "headers": {}, "body": json.dumps({"outcome": text})}
