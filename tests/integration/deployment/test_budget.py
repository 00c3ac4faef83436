"""The connection budget: read where caps are set, and compared with what the database grants."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psycopg2
import pytest

from decanter.__main__ import main
from decanter.commands import budget
from decanter.deployment import pipeline, template
from decanter.deployment.budget import Holder, findings
from decanter.deployment.budget import holders as holders_of
from decanter.deployment.stage import load
from decanter.local.postgres import Postgres
from tests.kit.databases import execute, name_of
from tests.kit.project import PROJECT

GRANTED = {
    "max_connections": 100,
    "superuser_reserved_connections": 3,
    "reserved_connections": 2,
    "others": 10,
    "others_of_database": 1,
    "database_limit": -1,
    "owner": "app",
    "owner_limit": -1,
    "role_limits": {"decanter_drain": 12},
}
SUM = 4 + 2 + 4 + 4 + 1 + 1 + 1  # of the caps of this project


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this project, whose caps may be changed."""
    copy = tmp_path_factory.mktemp("budget") / "project"
    copy.mkdir()
    shutil.copytree(
        PROJECT / "chalicelib", copy / "chalicelib", ignore=shutil.ignore_patterns("__pycache__")
    )
    return copy


@pytest.fixture
def change(project: Path) -> Callable[..., Path]:
    """`change(mapping=…, **reserved)`: the project with these caps."""

    def change(mapping: int | None = 4, **reserved: int | None) -> Path:
        app = (PROJECT / "app.py").read_text()
        cap = "" if mapping is None else f", maximum_concurrency={mapping}"
        old = ', batch_size=10, maximum_concurrency=stage.cap("ordered", 4)'
        assert old in app
        (project / "app.py").write_text(app.replace(old, f", batch_size=10{cap}"))
        document = json.loads((PROJECT / ".chalice" / "config.json").read_text())
        functions = document["stages"]["dev"]["lambda_functions"]
        for function, value in reserved.items():
            functions[function]["reserved_concurrency"] = value
            if value is None:
                del functions[function]["reserved_concurrency"]
        (project / ".chalice").mkdir(exist_ok=True)
        (project / ".chalice" / "config.json").write_text(json.dumps(document))
        return project

    return change


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """There is no AWS."""
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    pipeline.client.cache_clear()
    yield
    pipeline.client.cache_clear()


def report(project: Path, stage: str, url: str | None = None, others: int = 0) -> int:
    """The exit code of the command in that project."""
    with patch.object(budget, "PROJECT", project):
        named = ["--url", url] if url else []
        return main(["budget", "--stage", stage, *named, "--others", str(others)])


def holders(project: Path, stage: str) -> list[Holder]:
    return holders_of(load(project, stage))


def caps(found: list[Holder]) -> dict[str, int | None]:
    return {each.function.name: each.cap for each in found}


def test_every_function_that_has_the_database_in_its_environment_is_counted() -> None:
    stage = load(PROJECT, "dev")
    built = template.build(stage)["Resources"]
    with_database = {
        each.name
        for each in stage.functions
        if "DECANTER_DATABASE_URL"
        in built[each.logical]["Properties"].get("Environment", {}).get("Variables", {})
    }

    assert {each.function.name for each in holders(PROJECT, "dev")} == with_database


def test_caps_are_read_where_they_are_set(change: Callable[..., Path]) -> None:
    assert caps(holders(PROJECT, "dev")) == {
        "drain_ordered": 4,
        "drain_unordered": 2,
        "drain_stream": 4,
        "reader": 4,
        "migrate": 1,
        "operate": 1,
        "sweep": 1,
    }
    assert caps(holders(change(3, drain_ordered=3, reader=9), "dev"))["drain_ordered"] == 3
    assert caps(holders(change(3, reader=9), "dev"))["reader"] == 9


def test_the_lower_cap_binds(change: Callable[..., Path]) -> None:
    assert caps(holders(change(7, drain_ordered=5), "dev"))["drain_ordered"] == 5
    assert caps(holders(change(7, drain_unordered=1), "dev"))["drain_unordered"] == 1
    assert caps(holders(change(7, drain_unordered=7), "dev"))["drain_unordered"] == 2
    assert caps(holders(change(7, drain_unordered=None), "dev"))["drain_unordered"] == 2
    assert caps(holders(change(None, drain_ordered=7), "dev"))["drain_ordered"] == 7


def test_a_schedule_invokes_a_function_beside_its_queue(change: Callable[..., Path]) -> None:
    assert caps(holders(change(5, drain_ordered=7), "dev"))["drain_ordered"] == 7
    assert caps(holders(change(5, drain_ordered=None), "dev"))["drain_ordered"] is None


def test_a_function_without_any_cap_is_named(change: Callable[..., Path]) -> None:
    found = holders(change(None, drain_ordered=None, reader=None), "dev")

    named = [fault.text for fault in findings(found, None) if fault.name == "no-cap"]

    assert ["drain_ordered" in named[0], "reader" in named[1]] == [True, True]


@pytest.fixture(scope="module")
def of_project() -> list[Holder]:
    return holders(PROJECT, "dev")


@pytest.mark.parametrize(
    ("granted", "name"),
    [
        ({"max_connections": 15 + 2 * SUM}, None),
        ({"max_connections": 15 + 2 * SUM - 1}, "budget"),
        ({"others": 95 - 2 * SUM}, None),
        ({"others": 96 - 2 * SUM}, "budget"),
        ({"reserved_connections": 88 - 2 * SUM}, "budget"),
        ({"database_limit": 2 * SUM + 1}, None),
        ({"database_limit": 2 * SUM}, "budget"),
        ({"owner_limit": 2}, None),
        ({"owner_limit": 1}, "owner-limit"),
        ({"owner_limit": 2 * SUM - 1, "role_limits": {}}, "owner-limit"),
        ({"owner_limit": 2 * SUM, "role_limits": {}}, None),
    ],
)
def test_twice_the_sum_has_to_fit(
    of_project: list[Holder], granted: dict[str, Any], name: str | None
) -> None:
    found = findings(of_project, {**GRANTED, **granted})

    assert [fault.name for fault in found] == ([name] if name else [])


def test_the_database_is_asked_and_it_fits(
    database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(PROJECT, "dev", database_url) == 0

    out = capsys.readouterr().out
    assert out.startswith("Connection budget of stage 'dev':")
    assert "drain_ordered       4          8  drain" in out
    assert "maximum_concurrency 4, reserved_concurrency 4" in out
    assert "sum                17         34" in out
    assert "max_connections 100, 3 reserved" in out
    assert out.endswith("It fits.\n")


def test_what_does_not_fit_is_said_and_fails(
    database_url: str,
    capsys: pytest.CaptureFixture[str],
    change: Callable[..., Path],
    postgres: Postgres,
) -> None:
    project = change(45, drain_ordered=45)

    assert report(project, "dev", database_url) == 1
    first = capsys.readouterr()
    assert "sum                58        116" in first.out
    assert "budget: the functions may hold 58 connections, and 116 while" in first.err
    assert "Lower the caps" in first.err
    assert "It fits" not in first.out

    assert report(PROJECT, "dev", database_url, others=80) == 1
    assert "80 of other" in capsys.readouterr().out

    execute(postgres.url(), f"ALTER DATABASE {name_of(database_url)} CONNECTION LIMIT 20")
    assert report(PROJECT, "dev", database_url) == 1


def test_connections_of_others_are_counted(
    database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    held = [psycopg2.connect(database_url, application_name="another") for _ in range(75)]
    try:
        assert report(PROJECT, "dev", database_url) == 1
    finally:
        for each in held:
            each.close()
    assert "budget" in capsys.readouterr().err


def test_a_stage_that_is_not_deployed_has_a_budget_and_nobody_to_compare_it_with(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert report(PROJECT, "dev") == 0

    out = capsys.readouterr().out
    assert "sum                17         34" in out
    assert "see --url" in out


@pytest.mark.parametrize(
    ("stage", "url", "expected"),
    [
        ("nowhere", None, "There is no stage 'nowhere'"),
        ("dev", "postgresql://u:hidden@127.0.0.1:1/d?sslmode=disable", "cannot be reached"),
        ("dev", "postgresql://u:hidden@db.example/d?sslmode=require", "sslmode=verify-full"),
    ],
)
def test_what_cannot_be_asked_is_reported_by_name(
    capsys: pytest.CaptureFixture[str], stage: str, url: str | None, expected: str
) -> None:
    assert report(PROJECT, stage, url) == 1

    err = capsys.readouterr().err
    assert expected in err
    assert "hidden" not in err


def test_an_app_that_cannot_be_read_is_reported(
    change: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    project = change()
    (project / "app.py").write_text("import nothing_there")

    assert report(project, "dev") == 1

    assert "app.py cannot be read for stage 'dev': ModuleNotFoundError" in capsys.readouterr().err
