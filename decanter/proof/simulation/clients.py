"""Clients in virtual time: they send, wait, give up, retry, and read the states of receipts."""

import json
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import quote

from chalicelib.ops import OPS
from decanter.proof.front_history import FrontAnswer, FrontHistory, FrontRead
from decanter.proof.history import Attempt, Reading
from decanter.proof.simulation.engine import Outcome, Task
from decanter.proof.simulation.plan import RESOLUTIONS, Plan, Request
from decanter.proof.simulation.service import Service
from decanter.proof.tables import FRONTED, KEYS

_TRIES = 1_000
_CONDITIONS = {"present": {"if-match": "*"}, "absent": {"if-none-match": "*"}}
_UNKNOWN = (408, 429, 500, 502, 503, 504)


@dataclass
class _Sent:
    """An attempt that may still be answered. number: of all attempts, from 0. places: of its items
    in the queue."""

    number: int
    request: Request
    at: float
    answered_at: float | None = None
    status: int | None = None
    receipt: str | None = None
    is_given_up: bool = False
    places: dict[int, int] = field(default_factory=dict)

    def attempt(self) -> Attempt:
        request = self.request
        return Attempt(
            request.number,
            request.client,
            None if request.key is None else f"{request.client} {request.key}",
            request.writes,
            self.at,
            self.answered_at,
            self.status,
            self.receipt,
            None,  # a message may be accepted, and the next one not
            self.places,
        )


@dataclass
class Clients:
    """All clients of a plan. has_statuses: whether they can read the states of receipts."""

    plan: Plan
    service: Service
    has_statuses: bool = True
    sent: list[_Sent] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    forgeries: list[Reading] = field(default_factory=list)
    refusals: list[tuple[Request, Any]] = field(default_factory=list)
    told: dict[int, FrontAnswer] = field(default_factory=dict)
    seen: list[FrontRead] = field(default_factory=list)
    _by_task: dict[int, _Sent] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.service.accepted = self._accepted
        if self.service.front:
            self.service.front.attempt_of = self._attempt_of
        self.engine = self.service.engine
        for request in self.plan.requests:
            self._send_after(request.at, request, 0)

    def attempts(self) -> list[Attempt]:
        return [each.attempt() for each in self.sent]

    def in_front(self) -> FrontHistory | None:
        """What the front table took, and what was told of it; None if there is none."""
        front = self.service.front
        if front is None:
            return None
        return FrontHistory(front.writes, self.told, self.seen, front.dropped())

    def requests_at(self, places: Set[int]) -> frozenset[int]:
        """Return the requests with messages at these places."""
        return frozenset(
            each.request.number for each in self.sent if not places.isdisjoint(each.places.values())
        )

    def read_finals(self, finals: dict[str, Reading]) -> None:
        """Ask for the status of each receipt that has no final one yet."""
        left = [e for e in self.sent if e.receipt and e.receipt not in finals]
        if left:  # one after the other, which needs the fewest containers

            def keep(reading: Reading) -> None:
                finals[reading.receipt] = reading
                self.read_finals(finals)

            self.read(str(left[0].receipt), left[0].request.client, keep, _TRIES)

    def has_all(self, finals: Mapping[str, Reading]) -> bool:
        """Whether each receipt has its final status."""
        return all(each.receipt in finals for each in self.sent if each.receipt)

    def read(
        self, receipt: str, client: str, keep: Callable[[Reading], None], tries: int = 1
    ) -> None:
        """Ask for the status of a receipt. tries: while the reader is busy or unavailable."""
        if not self.has_statuses:
            return
        before, asked_at = self.service.database.snapshot(), self.engine.now

        def end(outcome: Outcome) -> None:
            if outcome.error or outcome.result["statusCode"] in _UNKNOWN:
                if tries > 1:
                    again = partial(self.read, receipt, client, keep, tries - 1)
                    self.engine.after(1.0, again)
                return
            if outcome.result["statusCode"] != 200:
                keep(Reading(receipt, asked_at, self.engine.now, "unknown"))
                return
            body = json.loads(outcome.result["body"])
            rejections = {each["item"]: each["type"] for each in body.get("rejections", ())}
            after = self.service.database.snapshot()
            now = self.engine.now
            keep(Reading(receipt, asked_at, now, body["state"], rejections, before, after))

        self.service.request(_event("GET", "/writes/{receipt}", [receipt], None, {}, client), end)

    def _send_after(self, seconds: float, request: Request, number: int) -> None:
        self.engine.after(seconds, lambda: self._send(request, number))

    def _send(self, request: Request, number: int) -> None:
        sent = _Sent(len(self.sent), request, self.engine.now)
        self.sent.append(sent)

        def end(outcome: Outcome) -> None:
            if not sent.is_given_up:
                self._answer(sent, number, outcome)

        def give_up() -> None:
            if sent.answered_at is None and not sent.is_given_up:
                sent.is_given_up = True
                self._retry(request, number)

        task = self.service.request(_write_event(request), end)
        self._by_task[id(task)] = sent
        self.engine.after(request.patience, give_up)

    def _answer(self, sent: _Sent, number: int, outcome: Outcome) -> None:
        request = sent.request
        if outcome.error:  # the gateway answers 502
            sent.status, sent.answered_at = 502, self.engine.now
            return self._retry(request, number)
        sent.status, sent.answered_at = outcome.result["statusCode"], self.engine.now
        if sent.status == 202:
            sent.receipt = json.loads(outcome.result["body"])["receipt"]
        elif request.resource in FRONTED:
            self._keep_answer(sent, outcome.result)
        if sent.status in range(200, 300):
            if self.has_statuses:
                self._follow(sent)
            return self._repeat(sent, number)
        if sent.status in _UNKNOWN:
            return self._retry(request, number)
        self.refusals.append((request, outcome.result))
        return None

    def _keep_answer(self, sent: _Sent, result: Mapping[str, Any]) -> None:
        """Note what was told of a resource in front."""
        headers, body = result["headers"], json.loads(result["body"] or "null")
        is_problem = headers.get("Content-Type") == "application/problem+json"
        problem = body["type"].rpartition(":")[2] if is_problem else ""
        etag = headers.get("ETag", "").strip('"')
        self.told[sent.number] = FrontAnswer(problem, body, etag, sent.request.condition)
        if link := headers.get("Link"):
            sent.receipt = link.split(">")[0].rpartition("/")[2]

    def _follow(self, sent: _Sent) -> None:
        if sent.request.resource in FRONTED:
            seconds = self.engine.random.choice((0.0, 0.5, 70.0))
            self.engine.after(seconds, lambda: self._read_row(sent.request))
        if sent.receipt is None:
            return
        receipt, client = str(sent.receipt), sent.request.client
        most = 1 if sent.request.resource in FRONTED else 2
        for _ in range(self.engine.random.randint(1, most)):
            seconds = self.engine.random.choice((0.1, 1.0, 20.0, 400.0))
            self.engine.after(seconds, lambda: self.read(receipt, client, self.readings.append))
        if sent.request.forges:
            self._forge(receipt, client)

    def _read_row(self, request: Request) -> None:
        """Read one of a request's rows, by its key."""
        write = request.writes[-1]
        asked_at = self.engine.now

        def end(outcome: Outcome) -> None:
            if not outcome.error and outcome.result["statusCode"] not in _UNKNOWN:
                status, body = outcome.result["statusCode"], json.loads(outcome.result["body"])
                row = (write.resource, write.key)
                self.seen.append(FrontRead(row, asked_at, self.engine.now, status, body))

        route, segments = _address(request)
        self.service.request(_event("GET", route, segments, None, {}, request.client), end)

    def _repeat(self, sent: _Sent, number: int) -> None:
        if number < 100 and sent.request.again:
            for seconds in sent.request.again:
                self._send_after(seconds, sent.request, 100)

    def _forge(self, receipt: str, client: str) -> None:
        """Ask with somebody else's receipt, and with one that was changed."""
        place = self.engine.random.randrange(4, len(receipt) - 1)
        other = "A" if receipt[place] != "A" else "B"
        changed = receipt[:place] + other + receipt[place + 1 :]
        keep = self.forgeries.append
        self.engine.after(1.0, lambda: self.read(receipt, "eve", keep))
        self.engine.after(2.0, lambda: self.read(changed, client, keep))

    def _retry(self, request: Request, number: int) -> None:
        if number < len(request.retries):
            self._send_after(request.retries[number], request, number + 1)

    def _attempt_of(self, task: Task) -> int | None:
        sent = self._by_task.get(id(task))
        return sent.number if sent else None

    def _accepted(self, task: Task, body: str, place: int) -> None:
        if (sent := self._by_task.get(id(task))) is not None:
            header = json.loads(body.partition("\n")[0])  # also of a message of a newer version
            for _members, items, _digests in header["sets"]:
                for item in items:
                    sent.places.setdefault(item, place)


def _write_event(request: Request) -> dict[str, Any]:
    facts = OPS[request.op]
    headers = {"idempotency-key": f'"{request.key}"'} if request.key else {}
    if facts.resolution:
        headers["prefer"] = f"resolution={facts.resolution}"
    if request.op in RESOLUTIONS:
        rows = [dict(row) for row in request.rows]
        content = rows if len(rows) > 1 else rows[0]
        body = json.dumps(content).replace("}", " " * request.padding + "}")
        return _event("POST", "/{resource}", [request.resource], body, headers, request.client)
    route, segments = _address(request)
    headers |= _CONDITIONS.get(request.condition, {})
    names = KEYS[request.resource]
    rest = {name: value for name, value in request.rows[-1].items() if name not in names}
    sent = None if facts.removes else json.dumps(rest)
    return _event(facts.method, route, segments, sent, headers, request.client)


def _address(request: Request) -> tuple[str, list[str]]:
    """The route to a request's last row, and its segments."""
    names, row = KEYS[request.resource], request.rows[-1]
    segments = [request.resource, *(str(row[name]) for name in names)]
    return "/{resource}" + "".join(f"/{{key{n}}}" for n in range(1, len(names) + 1)), segments


def _event(
    method: str,
    route: str,
    segments: list[str],
    body: str | None,
    headers: Mapping[str, str],
    client: str,
) -> dict[str, Any]:
    """An event of API Gateway."""
    names = [part[1:-1] for part in route.split("/") if part.startswith("{")]
    texts = dict(zip(names, segments, strict=True))
    path = "/".join(quote(texts[p[1:-1]]) if p.startswith("{") else p for p in route.split("/"))
    headers = {"content-type": "application/json", **headers}
    credentials = {"name": client, "scopes": "*:read *:write", "exp": "99999999999"}
    return {
        "resource": route,
        "path": path,
        "httpMethod": method,
        "headers": headers,
        "multiValueHeaders": {name: [text] for name, text in headers.items()},
        "multiValueQueryStringParameters": None,
        "pathParameters": texts,
        "stageVariables": None,
        "body": body,
        "isBase64Encoded": False,
        "requestContext": {
            "resourcePath": route,
            "httpMethod": method,
            "path": path,
            "authorizer": credentials,
            "identity": {"sourceIp": "127.0.0.1"},
        },
    }
