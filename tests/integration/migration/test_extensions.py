"""Another Postgres and its extensions: what models need is found, made, and told where missing."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psycopg2
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from chalicelib.postgres.resources import ModelError
from chalicelib.settings import ROLES, role_names
from decanter import POSTGRES_URL
from decanter.local import named
from decanter.local.named import NamedPostgres, PostgresError
from decanter.local.postgres import Postgres
from decanter.local.server import scratch, server
from decanter.migration.extensions import create_needed
from tests.kit import citext
from tests.kit.databases import execute, name_of
from tests.kit.raw import Raw


@pytest.fixture(scope="module")
def other() -> Iterator[Postgres]:
    """A server that somebody names, which has citext and vector."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(POSTGRES_URL, raising=False)
        with scratch("extensions") as server:
            assert isinstance(server, Postgres)
            citext.write(server.home)
            path = f"$system:{server.home}"
            execute(server.url(), f"ALTER SYSTEM SET extension_control_path = '{path}'")
            execute(server.url(), "SELECT pg_reload_conf()")
            yield server


@pytest.fixture
def url(other: Postgres) -> Iterator[str]:
    """An empty database there."""
    other.ensure_database("empty")
    yield other.url("empty")
    execute(other.url(), "DROP DATABASE empty WITH (FORCE)")


def needed(url: str, *metadatas: sa.MetaData) -> tuple[str, ...]:
    engine = sa.create_engine("postgresql+psycopg2://", creator=lambda: psycopg2.connect(url))
    try:
        with engine.connect() as connection:
            return create_needed(connection, metadatas)
    finally:
        engine.dispose()


def table(*items: object, **options: object) -> sa.MetaData:
    metadata = sa.MetaData()
    sa.Table("things", metadata, sa.Column("id", sa.Integer, primary_key=True), *items, **options)
    return metadata


def with_listener() -> sa.MetaData:
    metadata = table(sa.Column("place", Raw("vector(2)")))
    sa.event.listen(metadata, "before_create", sa.DDL("CREATE EXTENSION IF NOT EXISTS vector"))
    return metadata


WORDS = sa.Column("words", sa.Text)
EMBEDDING = sa.Column("embedding", Raw("vector(3)"))
NEEDS = {
    "a type": (table(sa.Column("v", Raw("vector(3)"))), ("vector",)),
    "a type in an array": (table(sa.Column("v", pg.ARRAY(Raw("vector")))), ("vector",)),
    "a type that an extension has beside": (
        table(sa.Column("v", Raw("halfvec(3)"), index=False)),
        ("vector",),
    ),
    "a domain of a type": (
        table(sa.Column("v", pg.DOMAIN("place", Raw("vector(2)"), schema="mine"))),
        ("vector",),
    ),
    "a function of a default": (
        table(sa.Column("n", sa.Float, server_default=sa.text("l2_norm('[3,4]'::vector)"))),
        ("vector",),
    ),
    "an index method made concurrently": (
        table(
            EMBEDDING,
            sa.Index(
                "nearest",
                EMBEDDING,
                postgresql_using="hnsw",
                postgresql_ops={"embedding": "vector_l2_ops"},
                postgresql_concurrently=True,
            ),
        ),
        ("vector",),
    ),
    "a declaration": (sa.MetaData(info={"extensions": ["vector"]}), ("vector",)),
    "a listener": (with_listener(), ("vector",)),
    "a type of another extension": (table(sa.Column("email", pg.CITEXT)), ("citext",)),
    "nothing": (table(sa.Column("vector", sa.Text), sa.Column("hstore", sa.Text)), ()),
    "what a revision makes": (table(sa.Column("pair", Raw("my_composite"))), ()),
}


@pytest.mark.parametrize("case", NEEDS)
def test_what_models_need_is_found_and_made(url: str, case: str) -> None:
    metadata, wanted = NEEDS[case]

    assert needed(url, metadata) == wanted

    names = "SELECT extname FROM pg_extension WHERE extname <> 'plpgsql' ORDER BY 1"
    assert tuple(name for (name,) in execute(url, names)) == wanted
    assert execute(url, "SELECT to_regclass('things'), to_regnamespace('mine')") == [(None, None)]


LACKS = {
    r"Column things\.pairs \(HSTORE\) needs the extension hstore": (
        table(sa.Column("pairs", pg.HSTORE))
    ),
    r"Column things\.at \(geometry\(POINT, 4326\)\) needs the extension postgis": (
        table(sa.Column("at", Raw("geometry(POINT, 4326)")))
    ),
    r"Index by_words of things \(gin_trgm_ops\) needs the extension pg_trgm": table(
        sa.Column("words", sa.Text),
        sa.Index(
            "by_words", "words", postgresql_using="gin", postgresql_ops={"words": "gin_trgm_ops"}
        ),
    ),
    r"Table things \(gist\) needs the extension btree_gist": table(
        sa.Column("room", sa.Integer), pg.ExcludeConstraint(("room", "="), using="gist")
    ),
    r"Table things \(uuid_generate_v4\) needs the extension uuid-ossp": table(
        sa.Column("u", sa.Uuid, server_default=sa.text("uuid_generate_v4()"))
    ),
    r'info=\{"extensions": …\}.* needs the extension timescaledb': (
        sa.MetaData(info={"extensions": ("timescaledb",)})
    ),
    r"list of names": sa.MetaData(info={"extensions": "citext"}),
}


@pytest.mark.parametrize("told", LACKS)
def test_an_extension_that_the_server_has_not_got_is_reported_with_its_place(
    url: str, told: str
) -> None:
    with pytest.raises(ModelError, match=told) as refused:
        needed(url, LACKS[told])

    assert "list of names" in told or POSTGRES_URL in str(refused.value)


@pytest.fixture
def role(other: Postgres) -> Iterator[str]:
    """URL of a role that may do what a local cloud needs, with a password of odd signs."""
    password = "p@ss/w:%"
    powers = "LOGIN CREATEDB CREATEROLE SUPERUSER"
    execute(other.url(), f"CREATE ROLE tester {powers} PASSWORD '{password}'")
    yield f"postgresql://tester:{quote(password, safe='')}@{other.address}/postgres?sslmode=disable"
    execute(other.url(), "DROP ROLE tester")


def names(other: Postgres) -> list[str]:
    return execute(
        other.url(), "SELECT datname FROM pg_database UNION SELECT rolname FROM pg_roles ORDER BY 1"
    )


def test_what_is_made_on_a_named_server_is_gone_afterwards_and_nothing_else(
    other: Postgres, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(POSTGRES_URL, role)
    before = names(other)
    with scratch("test") as one, scratch("test") as two:
        for each in (one, two):
            url = each.url()
            each.ensure_database("more")
            assert execute(url, "SELECT current_user") == [("tester",)]
            execute(url, f"CREATE ROLE {name_of(url)}_drain")  # as the migrate function does
        two.drop()
        assert execute(one.url(), "SELECT 1") == [(1,)]

    assert names(other) == before


def test_the_databases_of_a_data_folder_stay_until_they_are_dropped(
    other: Postgres, role: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(POSTGRES_URL, role)
    before = names(other)
    server(tmp_path / "mine").start()
    execute(server(tmp_path / "mine").url(), "CREATE TABLE kept ()")
    server(tmp_path / "yours").start()

    server(tmp_path / "mine").start()
    assert execute(server(tmp_path / "mine").url(), "SELECT FROM kept") == []
    assert execute(server(tmp_path / "yours").url(), "SELECT to_regclass('kept')") == [(None,)]

    database = name_of(server(tmp_path / "mine").url())
    for kind in ROLES:
        for role_name in role_names(database, kind):
            execute(other.url(), f'CREATE ROLE "{role_name}"')
    for folder in ("mine", "yours"):
        server(tmp_path / folder).drop()
    assert names(other) == before


@pytest.mark.parametrize("kept", ["", "_", "abc", "0123456%"])
def test_with_half_a_mark_nothing_is_taken_for_ours(
    role: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kept: str
) -> None:
    monkeypatch.setenv(POSTGRES_URL, role)
    (tmp_path / "named-postgres").write_text(kept)

    with pytest.raises(PostgresError, match="eight hexadecimal digits"):
        server(tmp_path)

    (tmp_path / "named-postgres").write_text("01234567\n")
    assert name_of(server(tmp_path).url()).endswith("_01234567")


UNUSABLE = {
    "postgresql://tester:wrong@{place}/postgres?sslmode=disable": "failed.*Correct role",
    "postgresql://nobody:x@{place}/postgres?sslmode=disable": "failed.*Correct role",
    "postgresql://tester:{password}@{place}/nowhere?sslmode=disable": "Name an existing database",
    "postgresql://tester:{password}@127.0.0.1:1/postgres?sslmode=disable": "refused.*Start it",
    "postgresql://tester:{password}@{place}/postgres": "SSL.*sslmode=disable",
    "postgresql://tester:{password}@example.com/x?sslmode=require": "verify-full",
    "postgresql:///postgres": "names no host",
    "mysql://tester@{place}/postgres": "not a URL of libpq",
    "postgresql://te@ster:{password}@{place}/postgres": "not a URL of libpq",
}


@pytest.mark.parametrize("url", UNUSABLE)
def test_a_named_server_that_cannot_be_used_is_reported_with_the_cure(
    other: Postgres, role: str, url: str
) -> None:
    password = quote("p@ss/w:%", safe="")

    with pytest.raises(PostgresError, match=UNUSABLE[url]) as refused:
        NamedPostgres(url.format(place=other.address, password=password), "mark").start()

    said = str(refused.value)
    assert POSTGRES_URL in said
    assert "\n" not in said
    assert password not in said


@pytest.mark.parametrize(
    ("lacks", "told"), [("NOCREATEDB", "CREATEDB"), ("NOCREATEROLE", "CREATEROLE")]
)
def test_a_role_that_may_not_do_what_is_needed_is_refused_with_what_it_lacks(
    other: Postgres, role: str, lacks: str, told: str
) -> None:
    execute(other.url(), f"ALTER ROLE tester NOSUPERUSER {lacks}")

    with pytest.raises(PostgresError, match=f'ALTER ROLE "tester" {told}'):
        NamedPostgres(role, "mark").start()


def test_a_server_that_is_too_old_is_refused_with_the_version_that_is_needed(
    role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(named, "OLDEST", 99)

    with pytest.raises(PostgresError, match="version 18, and Decanter needs 99 or newer"):
        NamedPostgres(role, "mark").start()
