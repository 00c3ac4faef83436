"""The commands of operators against the API function, the reader and a real Postgres."""

import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import CheckConstraint, Column, Integer, MetaData, Table

from chalicelib.api.http.answers import respond
from chalicelib.api.http.caller import Caller
from chalicelib.api.http.request import Request
from chalicelib.api.ops import routes
from chalicelib.buffer.sqs import counts
from decanter.__main__ import main
from tests.kit.ops_server import Asked, OpsServer, Reply, ops_server
from tests.kit.world import World

OPERATOR = Caller("olga", frozenset({"ops:read", "ops:write"}))


@cache
def tables() -> MetaData:
    metadata = MetaData()
    key: Column[int] = Column("id", Integer, primary_key=True, autoincrement=False)
    Table("people", metadata, key, Column("age", Integer), CheckConstraint("age < 150", name="age"))
    return metadata


@pytest.fixture
def world(make_operated: Callable[[MetaData], World], monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(counts, "counts", lambda _url: counts.Counts(0, 0, None))
    return make_operated(tables())


@pytest.fixture
def server(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpsServer]:
    def answer(asked: Asked) -> Reply:
        content = b"" if asked.body is None else json.dumps(asked.body).encode()
        query = {name: [text] for name, text in asked.query.items()}
        request = Request(
            asked.method, f"/ops/{asked.path}", asked.headers, content, OPERATOR, query
        )
        segments = asked.path.split("/")
        found = respond(lambda: routes.answer(request, segments), request.path)
        headers = {name: str(value) for name, value in found.headers.items()}
        return Reply(found.body, found.status_code, headers)

    with ops_server() as served:
        served.otherwise = answer
        monkeypatch.setenv("DECANTER_URL", served.url)
        monkeypatch.setenv("DECANTER_TOKEN", "token")
        yield served


@pytest.fixture
def ops(server: OpsServer, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """`ops(*arguments)`: what a command prints as JSON."""

    def run(*arguments: str) -> Any:
        capsys.readouterr()
        assert main(["ops", *arguments, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return run


def test_rejections_are_found_understood_and_put_right(
    world: World, ops: Callable[..., Any], tmp_path: Path
) -> None:
    receipt = world.post("people", [{"id": id, "age": 200 + id} for id in range(40)])
    world.drain()

    [cause] = ops("causes", "--resource", "people")["causes"]
    assert (cause["type"], cause["constraint"], cause["open"]) == ("check", "age", 40)
    listed = ops("rejections", "--constraint", "age", "--limit", "1000")["rejections"]
    assert len({each["id"] for each in listed}) == 40
    one = next(each["id"] for each in listed if each["item"] == 7)
    assert ops("show", one)["row"] == {"id": 7, "age": 207}

    edited = ("--row", '{"id": 7, "age": 42}')
    assert main(["ops", "try", one]) == 1
    assert ops("try", one, *edited)["outcomes"][0]["outcome"] == "applied"
    assert world.value("SELECT count(*) FROM people") == 0
    assert ops("resend", one, *edited, "--note", "a typo")["done"] == 1
    world.drain()
    assert world.execute("SELECT id, age FROM people") == [(7, 42)]

    world.execute("ALTER TABLE people DROP CONSTRAINT age")
    assert ops("resend", "--resource", "people", "--since", "1h", "--yes")["done"] == 39
    world.drain()
    assert world.value("SELECT count(*) FROM people") == 40

    assert main(["ops", "export", f"{tmp_path}/all.csv", "--state", "resent"]) == 0
    assert len((tmp_path / "all.csv").read_text().splitlines()) == 41
    acts = ops("acts", "--kind", "resend")["acts"]
    assert [(each["who"], each["writes"]) for each in acts] == [("olga", 39), ("olga", 1)]
    assert ops("act", acts[1]["id"])["note"] == "a typo"
    assert "rejected" in {each["what"] for each in ops("show", receipt)["events"]}
    found = ops("find", "--resource", "people", "--key", '{"id": 7}')["writes"]
    assert len(found) == 2


def test_the_overview_and_the_lanes_are_those_of_the_database(
    world: World, ops: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    world.post("people", [{"id": 1, "age": 7}])
    world.drain()

    [resource] = ops("overview")["resources"]
    assert (resource["name"], resource["writes_per_minute"]) == ("people", 1)
    assert ops("lanes")["lanes"] == []
    assert main(["ops", "overview"]) == 0
    assert main(["ops", "lanes"]) == 0
    assert main(["ops", "causes"]) == 0
    assert "people" in capsys.readouterr().out


def test_what_the_api_refuses_is_told_by_the_command(
    world: World, server: OpsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    for given, part in (
        (["rejections", "--resource", "people", "--key", '{"name": 1}'], "?key"),
        (["show", "01900000-0000-7000-8000-000000000000.3"], "there is no rejection"),
        (["act", "x"], "there is no act"),
    ):
        assert main(["ops", *given]) == 1
        error = capsys.readouterr().err
        assert part in error
        assert "Traceback" not in error
