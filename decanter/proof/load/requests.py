"""What each client sends, chosen by a seed."""

import itertools
import json
from collections.abc import Iterator, Mapping
from random import Random
from typing import Literal, NamedTuple

from chalicelib.ops import OPS, Op
from decanter.proof.history import Values, Write
from decanter.proof.tables import KEYS, key_text

HOT_ACCOUNTS = range(1, 9)
"""Accounts that all clients write to, and that locks are held on."""

MOST_ROWS = 200
_COLD_ACCOUNTS = range(1_000, 1_400)
_ACCOUNT_WEIGHTS = {"accounts": (15, 85), "entries": (95, 5)}
"""How often an account is a hot one, and how often a cold one, which may not be there."""

_OWN_KEYS = 1_000_000  # numbers of keys that only one client writes to
_REQUESTS_OF_A_CLIENT = 1_000_000
_SIZES = ((1, 1), (2, 10), (20, 80), (100, MOST_ROWS))
_SIZE_WEIGHTS = (45, 10, 15, 30)
_RESOURCES = ("accounts", "entries", "events")
_RESOURCE_WEIGHTS = (50, 30, 20)
_SINGLE: Mapping[Op, int] = {"create": 20, "replace": 25, "merge": 25, "delete": 8,
                             "create-or-merge": 15, "create-or-ignore": 7}  # fmt: skip
_MANY: Mapping[Op, int] = {"create": 35, "create-or-merge": 45, "create-or-ignore": 20}
_ADDING: Mapping[Op, int] = {"create": 80, "create-or-ignore": 20}

HangUp = Literal["", "request", "answer"]
"""When a client hangs up at its first try: never, in the middle of its request, or before the
answer."""


class PlannedRequest(NamedTuple):
    """A request before it is sent.

    number: unique in the run. is_many: its body is an array. patience_seconds: how long the client
    waits for an answer.
    """

    number: int
    resource: str
    op: Op
    writes: tuple[Write, ...]
    is_many: bool
    is_keyed: bool
    hang_up: HangUp
    patience_seconds: float

    @property
    def key(self) -> str | None:
        """Its Idempotency-Key."""
        return f"proof-{self.number}" if self.is_keyed else None

    @property
    def method(self) -> str:
        return OPS[self.op].method

    @property
    def path(self) -> str:
        if not OPS[self.op].names_row:
            return f"/{self.resource}"
        return f"/{self.resource}/{self.writes[0].key.replace(',', '/')}"

    @property
    def body(self) -> bytes | None:
        facts = OPS[self.op]
        if facts.schema is None:
            return None
        left = KEYS[self.resource] if facts.names_row else ()
        rows = [
            {name: value for name, value in each.values.items() if name not in left}
            for each in self.writes
        ]
        return json.dumps(rows if self.is_many else rows[0]).encode()

    @property
    def headers(self) -> dict[str, str]:
        found = {} if self.body is None else {"Content-Type": "application/json"}
        if self.key:
            found["Idempotency-Key"] = f'"{self.key}"'
        if resolution := OPS[self.op].resolution:
            found["Prefer"] = f"resolution={resolution}"
        return found


def planned(
    seed: int, client: int, writes: int, most_rows: int = MOST_ROWS
) -> Iterator[PlannedRequest]:
    """The requests of one client until they have so many writes together.

    most_rows: of one request.
    """
    random = Random(f"{seed} {client}")
    own = itertools.count(_OWN_KEYS * (client + 1))
    left = writes
    if client == 0:
        yield _hot_accounts()
    for number in itertools.count(client * _REQUESTS_OF_A_CLIENT + 1):
        if left <= 0:
            return
        made = _request(random, number, own, most_rows)
        left -= len(made.writes)
        yield made


def undisturbed(client: int) -> Iterator[PlannedRequest]:
    """Requests of a client that alone writes to its keys, each once, until the caller stops."""
    own = itertools.count(_OWN_KEYS * (client + 1))
    for number, key in enumerate(own, client * _REQUESTS_OF_A_CLIENT):
        values: Values = {"id": key, "token": f"{number}.0", "a": 1, "b": 1}
        write = Write(0, "accounts", "replace", str(key), values)
        yield PlannedRequest(number, "accounts", "replace", (write,), False, True, "", 20.0)


def _hot_accounts() -> PlannedRequest:
    """The very first request, so that most entries find their accounts."""
    writes = tuple(
        Write(item, "accounts", "create", str(account), {"id": account, "token": f"0.{item}"})
        for item, account in enumerate(HOT_ACCOUNTS)
    )
    return PlannedRequest(0, "accounts", "create", writes, True, True, "", 20.0)


def _request(random: Random, number: int, own: Iterator[int], most_rows: int) -> PlannedRequest:
    [resource] = random.choices(_RESOURCES, _RESOURCE_WEIGHTS)
    [(least, most)] = random.choices(_SIZES, _SIZE_WEIGHTS)
    size = min(random.randint(least, most), most_rows)
    changing = _SINGLE if size == 1 else _MANY
    ops = _ADDING if resource == "events" else changing
    [op] = random.choices([*ops], [*ops.values()])
    writes = tuple(
        _write(random, item, resource, op, f"{number}.{item}", own) for item in range(size)
    )
    return PlannedRequest(
        number=number,
        resource=resource,
        op=op,
        writes=writes,
        is_many=not OPS[op].names_row and (size > 1 or random.random() < 0.3),
        is_keyed=random.random() < 0.8,
        hang_up=random.choices(("", "request", "answer"), (90, 4, 6))[0],
        patience_seconds=random.uniform(5, 20),
    )


def _write(
    random: Random, item: int, resource: str, op: Op, token: str, own: Iterator[int]
) -> Write:
    values = _key(random, resource, own)
    key = key_text(resource, values)
    if not OPS[op].removes:
        values |= {"token": token, "a": -1 if random.random() < 0.02 else random.randint(0, 99)}
        if resource != "events" and random.random() < 0.5:
            values["b"] = random.choice((None, 1, 2, 3))
        if OPS[op].partial and random.random() < 0.3:
            del values["a"]
    return Write(item, resource, op, key, values)


def _key(random: Random, resource: str, own: Iterator[int]) -> dict[str, int | str | None]:
    if resource == "events":
        return {"id": next(own) if random.random() < 0.98 else random.randint(1, 50)}
    weights = _ACCOUNT_WEIGHTS[resource]
    account = random.choice(random.choices((HOT_ACCOUNTS, _COLD_ACCOUNTS), weights)[0])
    if resource == "entries":
        return {"account": account, "number": random.randint(0, 200)}
    return {"id": next(own) if random.random() < 0.3 else account}
