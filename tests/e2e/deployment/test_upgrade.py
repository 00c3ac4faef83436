"""Version N, then N+1, then N again, then N+1: with queues full of each other's messages.

N+1 has a column and a table more. While a version is exchanged its drains are switched off, so that
it is certain who pours what; a client writes all the time.
"""

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from decanter.deployment import packaging
from decanter.package import Package
from tests.kit.deployment import Deployment
from tests.kit.waiting import until

NAME = "upgrade"
OBSERVED_AT = "2026-01-01T00:00:00Z"
MORE = '''

class Sensor(Base):
    """Comes with N+1."""

    __tablename__ = "sensors"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str]
'''


def station(icao: str, **more: Any) -> dict[str, Any]:
    common = {"country": "CH", "elevation_ft": 1, "latitude": 2, "longitude": 3}
    return {"icao": icao, "name": icao, "timezone": "UTC", **common, **more}


@pytest.fixture(scope="module")
def versions(copied: Callable[[], Path]) -> tuple[Path, Path]:
    """The project as it is, and with a column and a table more, by the commands that people use."""
    before = copied()
    after = before.parent / "after"
    shutil.copytree(before, after)
    models = after / "chalicelib" / "models.py"
    text = models.read_text()
    column = '    active: Mapped[bool] = mapped_column(server_default="true")\n'
    assert column in text
    note = '    note: Mapped[str] = mapped_column(server_default="none")\n'
    models.write_text(text.replace(column, column + note) + MORE)
    for command in (["contract"], ["migration", "notes and sensors"]):
        subprocess.run([sys.executable, "-m", "decanter", *command], cwd=after, check=True)
    return before, after


@pytest.fixture(autouse=True)
def packed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each version is packaged once, however often it is deployed."""
    made: dict[Path, Package] = {}
    package = packaging.package

    def once(project: Path, stage: Any, out: Path) -> Package:
        if project not in made:
            made[project] = package(project, stage, out.with_name(project.name))
        return made[project]

    monkeypatch.setattr(packaging, "package", once)


class Stage:
    """The stage under test: deploys versions, and switches its drains on and off."""

    def __init__(self, deploy: Callable[..., Deployment]) -> None:
        self._deploy = deploy
        self.deployed: Deployment | None = None

    def deploy(self, project: Path) -> None:
        self.deployed = self._deploy(project, NAME)
        for url in (self.deployed.queue_urls["ordered"], self.deployed.queue_urls["unordered"]):
            # So that what is not poured at once comes again soon.
            self.deployed.aws("sqs").set_queue_attributes(
                QueueUrl=url, Attributes={"VisibilityTimeout": "2"}
            )
        self.drains(on=False)

    def drains(self, *, on: bool) -> None:
        client = self.running.aws("lambda")
        for name in ("drain_ordered", "drain_unordered"):
            function = self.running.stack.function(name)
            for mapping in client.list_event_source_mappings(FunctionName=function)[
                "EventSourceMappings"
            ]:
                client.update_event_source_mapping(UUID=mapping["UUID"], Enabled=on)

    @property
    def running(self) -> Deployment:
        assert self.deployed is not None
        return self.deployed

    def write(self, method: str, path: str, body: Any = None) -> str:
        """Where the outcome of an accepted write is told."""
        answer = self.running.call(method, path, body)
        assert answer.status == 202, answer.body
        return str(answer.headers["Location"])

    def states(self, locations: list[str]) -> list[str]:
        return [self._state(location) for location in locations]

    def _state(self, location: str) -> str:
        """A reader that a busy machine keeps waiting is asked again."""

        def answered() -> str | None:
            answer = self.running.call("GET", location)
            return str(answer.body["state"]) if answer.status != 503 else None

        return until(answered, "an answer") or ""

    def await_states(self, locations: list[str]) -> list[str]:
        return [self._await_state(location) for location in locations]

    def _await_state(self, location: str) -> str:
        def outcome() -> str | None:
            [state] = self.states([location])
            return state if state != "pending" else None

        found = until(outcome, "an outcome")
        assert found is not None
        return found

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        connection = psycopg2.connect(self.running.database_url)
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchall()
        finally:
            connection.close()

    def await_empty(self) -> None:
        """Until no message is on any queue, dead-letter queues included."""
        client = self.running.aws("sqs")
        kinds = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]

        def is_empty() -> bool:
            found = [
                client.get_queue_attributes(QueueUrl=url, AttributeNames=kinds)["Attributes"]
                for url in self.running.queue_urls.values()
            ]
            return not any(int(each[kind]) for each in found for kind in kinds)

        until(is_empty, "an end of the messages")


class Traffic:
    """A client that writes all the time, and sends again whatever was not accepted."""

    def __init__(self, stage: Stage) -> None:
        self._client = stage.running.client()
        self._stopped = threading.Event()
        self.receipts: list[str] = []
        self.errors: list[Exception] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        number = 0
        while not self._stopped.wait(0.5):
            number += 1
            rows = [station(f"T{number:03}")]
            if number % 2:
                resource = "stations"
            else:
                resource = "observations"
                rows = [{"station": "BASE", "observed_at": OBSERVED_AT, "report": {"n": number}}]
            try:
                body = json.dumps(rows).encode()
                self.receipts.append(self._client.create(resource, body, f"traffic-{number}"))
            except Exception as error:
                self.errors.append(error)
                return

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()
        self._client._pool.clear()


@pytest.fixture
def stage(deploy: Callable[..., Deployment]) -> Stage:
    return Stage(deploy)


def test_each_version_pours_the_others_messages_or_leaves_them(
    stage: Stage, versions: tuple[Path, Path]
) -> None:
    before, after = versions
    stage.deploy(before)
    stage.drains(on=True)
    base = stage.write("POST", "/stations", station("BASE"))
    assert stage.await_states([base]) == ["applied"]
    stage.drains(on=False)
    time.sleep(2)
    traffic = Traffic(stage)
    try:
        # N fills the queues, N+1 pours.
        of_n = [stage.write("POST", "/stations", station(f"N{i:03}")) for i in range(30)]
        of_n += [stage.write("PATCH", f"/stations/N{i:03}", {"city": "x"}) for i in range(10)]
        of_n += [stage.write("PUT", "/stations/N010", station("N010", name="replaced"))]
        of_n += [stage.write("DELETE", "/stations/N011")]
        assert set(stage.states(of_n)) == {"pending"}
        stage.deploy(after)
        assert stage.rows("SELECT count(*) FROM stations WHERE icao LIKE 'N%'") == [(0,)]
        stage.drains(on=True)
        assert set(stage.await_states(of_n)) == {"applied"}

        # N+1 fills them, N pours what it knows and leaves the rest.
        stage.drains(on=False)
        time.sleep(2)  # what a drain has in its hands, it finishes
        known = [stage.write("PATCH", f"/stations/N{i:03}", {"iata": "YES"}) for i in range(12, 30)]
        unknown = [stage.write("PATCH", "/stations/N000", {"note": "of N+1"})]
        unknown += [stage.write("POST", "/sensors", {"id": i, "name": "s"}) for i in range(5)]
        after_unknown = [stage.write("PATCH", "/stations/N000", {"name": "last"})]
        stage.deploy(before)
        stage.drains(on=True)
        # The others follow an unknown one in their lanes.
        until(lambda: "applied" in stage.states(known), "what N can pour")
        time.sleep(6)  # it is given the rest as well, and more than once
        assert "rejected" not in stage.states(known)
        assert stage.states(unknown + after_unknown) == ["pending"] * 7
        assert stage.rows("SELECT note FROM stations WHERE icao = 'N000'") == [("none",)]
        assert stage.rows("SELECT count(*) FROM sensors") == [(0,)]

        # N+1 comes back for them.
        stage.deploy(after)
        stage.drains(on=True)
        assert set(stage.await_states(known + unknown + after_unknown)) == {"applied"}
    finally:
        traffic.stop()

    assert traffic.errors == []
    assert stage.await_states([f"/writes/{traffic.receipts[-1]}"]) == ["applied"]
    stage.await_empty()
    assert stage.rows("SELECT note, name FROM stations WHERE icao = 'N000'") == [("of N+1", "last")]
    assert stage.rows("SELECT count(*) FROM sensors") == [(5,)]
    assert stage.rows(
        "SELECT count(*) FILTER (WHERE city = 'x'), count(*) FILTER (WHERE iata = 'YES'),"
        " count(*) FILTER (WHERE name = 'replaced'), count(*) FROM stations WHERE icao LIKE 'N%'"
    ) == [(10, 18, 1, 29)]
    sent = len(traffic.receipts)
    assert sent > 20
    assert stage.rows("SELECT count(*) FROM stations WHERE icao LIKE 'T%'") == [((sent + 1) // 2,)]
    numbers = stage.rows("SELECT report ->> 'n' FROM observations")
    assert len(numbers) == len({*numbers}) == sent // 2  # nothing is doubled
    assert stage.rows("SELECT count(*) FROM decanter.rejection") == [(0,)]
