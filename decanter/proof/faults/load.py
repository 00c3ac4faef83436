"""Seeded requests of clients: all ops, on few keys."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from chalicelib.ops import OPS, Op
from decanter.proof.history import Write
from decanter.proof.tables import KEYS, key_text

ACCOUNTS = 4
_NUMBERS = 2
_EVENTS = 40
_RETRIED = 0.15  # of requests: sent twice, with an Idempotency-Key
_OPS: Sequence[tuple[Op, int]] = (
    ("merge", 6),
    ("replace", 4),
    ("create", 3),
    ("create-or-merge", 2),
    ("create-or-ignore", 1),
    ("delete", 2),
)
_RESOURCES = (("accounts", 6), ("entries", 4), ("events", 1))


@dataclass(frozen=True)
class ClientRequest:
    """A request and the writes that it asks for. number: its own; retries share it. key: its
    Idempotency-Key."""

    number: int
    method: str
    path: tuple[str, ...]
    headers: Mapping[str, str]
    body: str
    writes: tuple[Write, ...]
    key: str | None


def first_rows() -> dict[str, list[dict[str, Any]]]:
    """Rows that the other writes find: all accounts, one entry of each."""
    accounts = [{"id": number, "a": 0, "b": 0} for number in range(1, ACCOUNTS + 1)]
    entries = [{"account": number, "number": 1, "a": 0} for number in range(1, ACCOUNTS + 1)]
    return {"accounts": accounts, "entries": entries}


def request(
    number: int, op: Op, resource: str, rows: Sequence[Mapping[str, Any]], *, is_keyed: bool = False
) -> ClientRequest:
    """A request to write rows, which get their tokens here. rows: with their keys."""
    facts = OPS[op]
    tokens = [{} if facts.removes else {"token": f"t{number}.{n}"} for n in range(len(rows))]
    sent = [{**row, **token} for row, token in zip(rows, tokens, strict=True)]
    names = KEYS[resource]
    path = (resource, *(str(sent[0][name]) for name in names)) if facts.names_row else (resource,)
    headers = {"content-type": "application/json"}
    if facts.resolution:
        headers["prefer"] = f"resolution={facts.resolution}"
    key = f"request-{number}" if is_keyed else None
    if key:
        headers["idempotency-key"] = f'"{key}"'
    members = [
        {k: v for k, v in row.items() if not facts.names_row or k not in names} for row in sent
    ]
    body = "" if facts.removes else json.dumps(members[0] if facts.names_row else members)
    writes = tuple(
        Write(item, resource, op, key_text(resource, row), row) for item, row in enumerate(sent)
    )
    return ClientRequest(number, facts.method, path, headers, body, writes, key)


def requests(random: Random, first: int, count: int) -> Iterator[ClientRequest]:
    """So many requests with numbers from `first`; some of them come twice."""
    for number in range(first, first + count):
        made = _any_request(random, number)
        yield made
        if made.key:
            yield made


def _any_request(random: Random, number: int) -> ClientRequest:
    resource: str = _pick(random, _RESOURCES)
    op: Op = "create" if resource == "events" else _pick(random, _OPS)
    is_bulk = not OPS[op].names_row and random.random() < 0.4
    rows = [_row(random, resource, op) for _ in range(random.randint(2, 4) if is_bulk else 1)]
    return request(number, op, resource, rows, is_keyed=random.random() < _RETRIED)


def _row(random: Random, resource: str, op: Op) -> dict[str, Any]:
    key: dict[str, Any] = {
        "accounts": {"id": random.randint(1, ACCOUNTS)},
        "entries": {
            "account": random.randint(1, ACCOUNTS),
            "number": random.randint(1, _NUMBERS),
        },
        "events": {"id": random.randint(1, _EVENTS)},
    }[resource]
    if OPS[op].removes:
        return key
    names = ["a"] if resource == "events" else random.sample(["a", "b"], random.randint(1, 2))
    return key | {name: random.randint(0, 99) for name in names}


def _pick(random: Random, weighted: Sequence[tuple[Any, int]]) -> Any:
    values, weights = zip(*weighted, strict=True)
    return random.choices(values, weights)[0]
