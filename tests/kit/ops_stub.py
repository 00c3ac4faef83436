"""A server with the console and a stand-in for /ops: rejections in memory, acts in steps."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from chalicelib.api.console import page as console
from chalicelib.api.docs import page as docs
from chalicelib.api.http.answers import Answer
from chalicelib.contract.json_text import render
from chalicelib.errors import PROBLEMS, Problem

Json = dict[str, Any]
TOKEN = "operator"
BASE = "/stage"
BATCH = "01920000-0000-7000-8000-0000000000"


def moment(seconds_ago: float = 0) -> str:
    """A time as the API writes it."""
    time = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def rejection(number: int, **differing: Any) -> Json:
    """A rejection as in /ops/rejections. differing: members with other values."""
    dedup_id = f"{BATCH}{number // 1000:02}"
    return {
        "id": f"{dedup_id}.{number % 1000}",
        "dedup_id": dedup_id,
        "item": number % 1000,
        "resource": "stations",
        "op": "create",
        "type": "check",
        "reason": "new row violates the check constraint ck_stations_latitude",
        "sqlstate": "23514",
        "constraint": "ck_stations_latitude",
        "column": None,
        "row": {"icao": f"X{number:03}", "latitude": 91},
        "body": None,
        "caller": "https://issuer.example anna",
        "rejected_at": moment(60 + number),
        "correction": None,
        **differing,
    }


def quiet_overview() -> Json:
    """An overview of a stage in which nothing needs attention."""
    minutes = [moment(60 * ago) for ago in range(60, 0, -1)]
    waves = [600 + (number * 37) % 260 for number in range(60)]
    estimate = {"seconds": 0, "at": moment(), "writes_ahead": 0, "writes_per_second": 11.5}
    buffers = [
        {
            "name": name,
            "queued": 0,
            "in_flight": 0,
            "oldest_seconds": 0.0,
            "dead_letters": 0,
            "mapping": {"state": "Enabled", "paused": False},
            "connections": None,
            "estimate": {**estimate, "basis": f"nothing waits in {name}"},
        }
        for name in ("ordered", "unordered")
    ]
    stations = {"name": "stations", "front": "sqs", "ordered": True, "rejected_last_hour": 0}
    return {
        "at": moment(),
        "resources": [
            {
                **stations,
                "writes_per_minute": 690.0,
                "lag": {"p50": 0.18, "p95": 0.42, "p99": 1.9},
                "waiting": 0,
            }
        ],
        "buffers": buffers,
        "waiting": [],
        "connections": [
            {"role": "drain_ordered", "in_use": 1, "most": 4},
            {"role": "reader", "in_use": 1, "most": 4},
        ],
        "budget": 14,
        "rejections": [],
        "history": {
            "minutes": minutes,
            "written": waves,
            "rejected": [0] * 60,
            "lag_p50": [0.15 + each / 5000 for each in waves],
            "lag_p95": [0.3 + each / 2000 for each in waves],
        },
        "estimate_score": {
            "scored": 42,
            "median_error_seconds": 1.5,
            "within_factor_2": 0.9,
            "basis": "of the last hour",
        },
        "unknown": [{"what": "buffers.connections", "why": "Postgres shows them all together"}],
    }


@dataclass
class Stub:
    """What the stand-in has, and what it was asked. answers: of calls, instead of its own."""

    rejections: list[Json] = field(default_factory=list)
    overview: Json = field(default_factory=quiet_overview)
    acts: dict[str, Json] = field(default_factory=dict)
    targets: dict[str, list[Json]] = field(default_factory=dict)
    dead_letters: list[Json] = field(default_factory=list)
    token: str = TOKEN
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    answers: dict[str, Callable[[], Answer]] = field(default_factory=dict)
    per_step: int = 500
    url: str = ""

    def answer(
        self, method: str, path: str, query: Mapping[str, str], body: Any, type_: str
    ) -> Answer:
        """The answer to a call below /ops. Raises Problem."""
        self.asked.append((method, path, body if method == "POST" else dict(query)))
        if path in self.answers:
            return self.answers[path]()
        match [method, *path.split("/")]:
            case ["GET", "overview"]:
                return Answer(200, {**self.overview, "at": moment()})
            case ["GET", "lanes"]:
                return Answer(200, {"lanes": [], "basis": "those that wait"})
            case ["GET", "rejections", "causes"]:
                return Answer(200, {"causes": causes(self.found(query))})
            case ["GET", "rejections", id]:
                return Answer(200, _one(self.rejections, id))
            case ["GET", "rejections"]:
                return self.page(query, type_)
            case ["POST", "try"]:
                return Answer(200, {"outcomes": [self.outcome(each) for each in body["writes"]]})
            case ["POST", "acts"]:
                return self.begin(body)
            case ["POST", "acts", id, "steps"]:
                return Answer(200, self.step(id))
            case ["POST", "acts", id, "stop"]:
                return Answer(200, self.stop(id))
            case ["GET", "acts"]:
                return Answer(200, {"acts": [*reversed(self.acts.values())], "next": None})
            case ["GET", "acts", id]:
                return Answer(200, {**self.acts[id], "steps": []})
            case ["GET", "writes", id]:
                return Answer(200, self.timeline(id))
            case ["GET", "audit"]:
                return Answer(200, _accounts(query))
            case ["GET", "dead-letters"]:
                found = self.dead_letters if query["buffer"] == "ordered" else []
                counted = {"buffer": query["buffer"], "count": len(found)}
                return Answer(200, {**counted, "messages": found, "unknown": []})
        raise Problem("unknown-path", f"there is no {method} {path}")

    def found(self, query: Mapping[str, str]) -> list[Json]:
        """The rejections that a filter finds."""
        state = query.get("state", "open")
        names = ("resource", "type", "constraint", "column", "sqlstate")
        return [
            each
            for each in self.rejections
            if (state == "all" or (each["correction"] is None) == (state == "open"))
            and all((each[name] or "") == query[name] for name in names if name in query)
        ]

    def page(self, query: Mapping[str, str], type_: str) -> Answer:
        """A page of rejections."""
        start, limit = int(query.get("cursor") or 0), int(query.get("limit", 100))
        found = self.found(query)
        rows = found[start : start + limit]
        rest = str(start + limit) if len(found) > start + limit else None
        link = {"Link": f'</ops/rejections?cursor={rest}>; rel="next"'} if rest else {}
        if type_ == "text/csv":
            lines = ["id,reason", *(f"{each['id']},{each['type']}" for each in rows)]
            return Answer(200, "\r\n".join(lines) + "\r\n", {"Content-Type": type_, **link})
        if type_ == "application/x-ndjson":
            text = "".join(f"{render(each)}\n" for each in rows)
            return Answer(200, text, {"Content-Type": type_, **link})
        return Answer(200, {"rejections": rows, "next": rest})

    def outcome(self, write: Json) -> Json:
        """What would become of a write: one is applied if its latitude is possible."""
        old = _one(self.rejections, write["id"])
        is_good = abs(float((write.get("row") or old["row"])["latitude"])) <= 90
        kind = {"outcome": "applied"} if is_good else {"outcome": "rejected", "type": "check"}
        reason = None if is_good else old["reason"]
        changed = {"changed_since": True, "changed_at": moment(30)}
        return {"id": write["id"], "type": None, "reason": reason, **changed, **kind}

    def begin(self, body: Json) -> Answer:
        """An act, not begun twice with another number than the one that was shown."""
        found: list[Json] = []
        if "ids" in body:
            found = [_one(self.rejections, id) for id in body["ids"]]
        elif "filter" in body:
            found = self.found(body["filter"])
            if len(found) != body["expect"]:
                raise Problem("conflict", f"{len(found)} writes match, not {body['expect']}")
        id = f"0000000{len(self.acts)}-0000-8000-8000-000000000000"
        target = {name: body[name] for name in ("ids", "filter", "buffer") if name in body}
        self.targets[id] = found
        self.acts[id] = {
            "id": id,
            "kind": body["kind"],
            "who": "https://issuer.example olga",
            "note": body["note"],
            "target": target,
            "writes": len(found) if found else None,
            "done": 0,
            "failed": 0,
            "state": "begun",
            "begun_at": moment(),
            "last_at": None,
        }
        if "buffer" in body:
            paused = {"state": "Disabled", "paused": True}
            self.overview["buffers"][0]["mapping"] = paused
        return Answer(201, self.acts[id])

    def step(self, id: str) -> Json:
        """The next step of an act."""
        act, rest = self.acts[id], self.targets[id]
        if act["state"] == "stopped":
            return act
        for each in rest[: self.per_step]:
            at = {"act": id, "at": moment()}
            each["correction"] = {"kind": act["kind"], "resent_as": each["dedup_id"], **at}
        act["done"] += len(rest[: self.per_step])
        del rest[: self.per_step]
        act.update(state="running" if rest else "done", last_at=moment())
        return act

    def stop(self, id: str) -> Json:
        """The act, which goes no further."""
        self.acts[id]["state"] = "stopped"
        return self.acts[id]

    def timeline(self, id: str) -> Json:
        """The life of a message."""
        mine = [each for each in self.rejections if each["dedup_id"] == id]
        event = {"item": None, "writes": len(mine), "detail": "", "act": None, "other": None}
        events = [{**event, "at": moment(90), "what": "accepted"}]
        for each in mine[-3:]:
            shown = {"at": each["rejected_at"], "detail": each["reason"], "item": each["item"]}
            events.append({**event, **shown, "what": "rejected", "writes": 1})
        gap = {"what": "deliveries", "why": "they are in the log of the drain only"}
        return {"id": id, "resource": "stations", "events": events, "unknown": [gap]}


def _accounts(query: Mapping[str, str]) -> Json:
    """The accounts of an hour, in two parts."""
    is_first = "cursor" not in query
    sums = {"accepted": 600, "applied": 590, "rejected": 10, "waiting": 0, "missing": 0}
    lost = {"id": f"{BATCH}09", "resource": "stations", "writes": 3, "accepted_at": moment(4000)}
    if not is_first:
        sums |= {"applied": 587, "missing": 3}
    return {
        "hour": query["hour"],
        "resources": [{"resource": "stations", **sums}],
        "missing": [] if is_first else [lost],
        "is_complete": not is_first,
        "next": "rest" if is_first else None,
        "unknown": [],
    }


def causes(rejections: list[Json]) -> list[Json]:
    """Rejections by cause, as in /ops/rejections/causes."""
    names = ("resource", "type", "constraint", "column", "sqlstate")
    counted = Counter(tuple(each[name] for name in names) for each in rejections)
    times = {"first_at": moment(3600), "last_at": moment(60)}
    return [
        {**dict(zip(names, cause, strict=True)), "writes": many, "open": many, **times}
        for cause, many in counted.most_common()
    ]


def _one(rejections: list[Json], id: str) -> Json:
    for each in rejections:
        if each["id"] == id:
            return each
    raise Problem("no-such-row", f"there is no rejection {id}")


@contextmanager
def serving(stub: Stub) -> Iterator[Stub]:
    """The stub with the URL at which it is served until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.reply(self.respond())

        do_POST = do_GET

        def respond(self) -> Answer:
            address = urlsplit(self.path)
            path = unquote(address.path.removeprefix(f"{BASE}/"))
            length = int(self.headers.get("Content-Length") or 0)
            text = self.rfile.read(length)
            body = json.loads(text, parse_float=Decimal) if length else None
            try:
                if (found := _file(path)) is not None:
                    return found
                if self.headers.get("Authorization") != f"Bearer {stub.token}":
                    return Answer(401, {"message": "Unauthorized"})
                query = dict(parse_qsl(address.query, keep_blank_values=True))
                accept = self.headers.get("Accept", "")
                return stub.answer(self.command, path.removeprefix("ops/"), query, body, accept)
            except Problem as problem:
                return problem_answer(problem.type, problem.detail)

        def reply(self, answer: Answer) -> None:
            text = answer.body if isinstance(answer.body, str) else render(answer.body)
            content = text.encode()
            self.send_response(answer.status)
            for name, value in {"Content-Type": "application/json", **answer.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        stub.url = f"http://127.0.0.1:{server.server_port}{BASE}"
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def problem_answer(type_: str, detail: str, **headers: str) -> Answer:
    """A problem as the API answers it."""
    status, title = PROBLEMS[type_]
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = {"type": f"urn:decanter:problem:{type_}", "title": title, "detail": detail}
    return Answer(status, body, {"Content-Type": "application/problem+json", **named})


def _file(path: str) -> Answer | None:
    if path == "console":
        return console.PAGE.index()
    folder, _, name = path.partition("/")
    if folder == "console":
        return console.PAGE.asset(name)
    if folder == "docs":
        return docs.PAGE.asset(name)
    if path == "openapi.json":
        key = [{"name": "icao", "kind": "text"}]
        return Answer(200, {"x-decanter": {"resources": {"stations": {"key": key}}}})
    return None
