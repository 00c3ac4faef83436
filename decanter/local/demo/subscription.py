"""A row behind DynamoDB: written, read back and refused at once, and poured into Postgres."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Event
from typing import Any
from uuid import UUID, uuid5

from decanter.local import issuer
from decanter.local.cloud import Cloud
from decanter.local.demo.client import Client, RefusedError, problem
from decanter.local.stack import LocalStack

RESOURCE = "subscriptions"
_ID = uuid5(UUID(int=0), "decanter")
"""The same in each run: Postgres keeps the row, and MiniStack's table is gone with it."""

_ROW = {"email": "ada@example.com", "station": "LSZH", "wind_above_kt": 25}
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Shown:
    """What came of it.

    written_ms, read_ms: of the two requests. refusal: of a second row with the same email and
    station. seconds: until Postgres had the row.
    """

    written_ms: float
    read_ms: float
    refusal: str
    seconds: float


def match(contract: Mapping[str, Any]) -> bool:
    """Whether the contract has the sample resource behind DynamoDB, not just one of its name."""
    from chalicelib.contract.validator import compiled

    facts = contract["x-decanter"]["resources"].get(RESOURCE, {})
    is_fronted = "front" in facts and not facts["front"].get("closed")
    return is_fronted and compiled(
        contract["components"]["schemas"][f"{RESOURCE}.create"]
    ).is_valid(_ROW)


def show(cloud: Cloud, stack: LocalStack) -> Shown:
    """Write the row and read it, try to write it twice, and wait until it is poured. Raise
    RefusedError for an unexpected answer."""
    client = Client(stack.api_url, cloud.issuer.token(seconds=issuer.DAY), Event())
    path, body = f"/{RESOURCE}/{_ID}", json.dumps(_ROW).encode()
    client.answered("PUT", path, body)  # the first one has a cold start
    started = time.monotonic()
    written = _expected(client, "PUT", path, body, 200)
    stored = time.monotonic()
    _expected(client, "GET", path, None, 200)
    read = time.monotonic()
    second = _expected(client, "POST", f"/{RESOURCE}", body, 409)
    _until_poured(client, written.headers["Link"].partition(">")[0].rsplit("/", 1)[1])
    return Shown(
        written_ms=(stored - started) * 1_000,
        read_ms=(read - stored) * 1_000,
        refusal=_title(second.data),
        seconds=time.monotonic() - stored,
    )


def _title(body: bytes) -> str:
    found = json.loads(body)
    return f"{found['status']} {found['title']}: {found['detail']}"


def _expected(client: Client, method: str, path: str, body: bytes | None, status: int) -> Any:
    answer = client.answered(method, path, body)
    if answer.status != status:
        raise RefusedError(f"{method} {path}: {problem(answer)}")
    return answer


def _until_poured(client: Client, receipt: str) -> None:
    while True:
        status = client.status(receipt)
        if status is not None and status.is_final:
            break
        time.sleep(_POLL_SECONDS)
    if status.state != "applied":
        raise RefusedError(f"PUT /{RESOURCE}: {status.rejections}")
