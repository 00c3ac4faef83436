"""What an operator of a deployed stage meets, by the sections of the runbook that are about it."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psycopg2

from chalicelib.messages.accepted import LoggedRequest
from chalicelib.messages.receipt import new_id
from tests.kit.databases import execute
from tests.kit.deployed_operator import (
    HOUR_MS,
    STATION,
    Operator,
    kill,
    log,
    put,
    send,
    settled,
    status,
)
from tests.kit.deployment import CLOCK, Deployment
from tests.kit.waiting import until

Values = dict[str, str | Callable[[], str]]
"""What the words in capitals of a section stand for, or functions that make it."""

OBSERVED = {"observed_at": "2026-01-31T12:00:00Z"}


@contextmanager
def nothing(_: Operator) -> Iterator[Values]:
    """The commands of this section do what they do at any time."""
    yield {}


@contextmanager
def a_write(operator: Operator) -> Iterator[Values]:
    """A write of which a client has the receipt."""
    receipt = put(operator.deployed, "LSZH")
    settled(operator.deployed, receipt)
    yield {"RECEIPT": receipt}


@contextmanager
def rejections(operator: Operator) -> Iterator[Values]:
    """Rejections of three causes, of which one can be edited and one resent as it is."""
    settled(operator.deployed, put(operator.deployed, "LSZH"))
    [id_] = operator.rejected("PATCH", "/stations/LSZH", {"latitude": 91})[1]
    operator.rejected("POST", "/stations", [{**STATION, "icao": "LSZH"}])
    _orphans(operator, "LSZB", 3)
    yield {"ID": id_}
    _await(operator, "SELECT 1 FROM stations WHERE icao = 'LSZH' AND latitude = 47.46", 1)
    _await(operator, "SELECT 1 FROM observations WHERE station = 'LSZB'", 3)


@contextmanager
def many_rejections(operator: Operator) -> Iterator[Values]:
    """A request of which all rows were rejected, as their parent was late."""
    receipt, _ = _orphans(operator, "LSGG", 40)

    def act() -> str:
        [id_] = operator.rejected("PATCH", "/stations/LSGG", {"latitude": 91})[1]
        return operator.begin(kind="discard", ids=[id_])

    yield {"RECEIPT": receipt, "ACT": act}
    assert len(Path("rejected.ndjson").read_text().splitlines()) == 40
    _await(operator, "SELECT 1 FROM observations WHERE station = 'LSGG'", 40)


@contextmanager
def waiting_writes(operator: Operator) -> Iterator[Values]:
    """A write that waits for a row, which somebody else's transaction has locked."""
    settled(operator.deployed, put(operator.deployed, "LOCK"))
    other = psycopg2.connect(operator.deployed.database_url)
    try:
        with other.cursor() as cursor:
            cursor.execute("SELECT 1 FROM stations WHERE icao = 'LOCK' FOR UPDATE")
        receipt = put(operator.deployed, "LOCK", "Later")
        [lane] = until(lambda: operator.get("/ops/lanes")["lanes"], "a blocked lane")
        yield {"ID": lane["blocking"]["id"]}
    finally:
        other.close()
    until(lambda: _poured(operator.deployed, receipt), "the write that has waited")


@contextmanager
def dead_letters(operator: Operator) -> Iterator[Values]:
    """A dead letter of the ordered queue."""
    operator.act(kind="pause", buffer="ordered")
    receipt = put(operator.deployed, "DEAD")
    kill(operator.deployed, 1)
    operator.act(kind="resume", buffer="ordered")
    yield {}
    assert settled(operator.deployed, receipt) == "applied"


@contextmanager
def a_paused_buffer(operator: Operator) -> Iterator[Values]:
    """Somebody has paused the ordered buffer."""
    operator.act(kind="pause", buffer="ordered", note="a test")
    yield {}
    assert operator.state("ordered") == "Enabled"


@contextmanager
def both_buffers(operator: Operator) -> Iterator[Values]:
    """Both buffers are poured, before and afterwards."""
    yield {}
    assert {operator.state(each) for each in ("ordered", "unordered")} == {"Enabled"}


@contextmanager
def a_bad_version(operator: Operator) -> Iterator[Values]:
    """A version has rejected a write that the next one takes."""
    [id_] = _orphans(operator, "LSZA", 1)[1]
    execute(
        operator.deployed.database_url,
        "UPDATE decanter.rejection SET type = 'schema-mismatch'"
        f" WHERE dedup_id = '{id_.partition('.')[0]}'",
    )
    yield {}
    assert operator.get(f"/ops/rejections/{id_}")["correction"]["kind"] == "resend"


@contextmanager
def a_lost_write(operator: Operator) -> Iterator[Values]:
    """A request was accepted five hours ago, and is nowhere. Others' tests lose some two hours ago,
    and an hour may begin between them and this."""
    then = int(time.time() * 1_000) - 5 * HOUR_MS
    request = LoggedRequest(str(new_id(then)), then, "observations", 2, 1, "f" * 32)
    log(operator.deployed, request)
    hour = datetime.fromtimestamp(then / 1_000, UTC).replace(minute=0, second=0, microsecond=0)
    yield {"HOUR": hour.isoformat().replace("+00:00", "Z")}


def _orphans(operator: Operator, icao: str, count: int) -> tuple[str, list[str]]:
    """Observations that were rejected before their station came; receipt and rejections."""
    rows = [{**OBSERVED, "station": icao}] * count
    found = operator.rejected("POST", "/observations", rows)
    settled(operator.deployed, send(operator.deployed, "PUT", f"/stations/{icao}", STATION))
    return found


def _poured(deployed: Deployment, receipt: str) -> bool:
    """Whether a write that waited is poured, when the drain was invoked as by its schedule."""
    function = deployed.stack.function("drain_ordered")
    deployed.aws("lambda").invoke(FunctionName=function, Payload=json.dumps(CLOCK))
    return status(deployed, receipt) == "applied"


def _await(operator: Operator, query: str, rows: int) -> None:
    """Wait until a query finds so many rows."""
    url = operator.deployed.database_url
    until(lambda: len(execute(url, query)) == rows, query)


SITUATIONS: Mapping[str, Callable[[Operator], AbstractContextManager[Values]]] = {
    "Writes are missing": a_lost_write,  # first: other situations leave messages in flight
    "A write is not there": a_write,
    "Writes are rejected": rejections,
    "A request with many rejected rows": many_rejections,
    "The backlog grows": nothing,
    "Some writes do not move": waiting_writes,
    "Dead letters": dead_letters,
    "Connections are at the budget": nothing,
    "A buffer is paused": a_paused_buffer,
    "The database is down": both_buffers,
    "After a bad deployment": a_bad_version,
}
"""Context managers by the headings of the sections."""
