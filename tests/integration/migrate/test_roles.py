"""Roles of least privilege: they can do all that their functions do, and nothing else."""

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any
from unittest.mock import patch
from urllib.parse import quote

import psycopg2
import pytest
import sqlalchemy as sa
from psycopg2 import errors
from sqlalchemy import MetaData
from sqlalchemy.dialects import postgresql as pg

from chalicelib.errors import (
    DatabaseUnwell,
    MigrationRefused,
    NotConfigured,
    Unfinished,
)
from chalicelib.migrate import handler
from chalicelib.migrate.roles import ensure, role_url
from chalicelib.postgres.connecting import connection
from chalicelib.postgres.resources import resources_of
from chalicelib.postgres.sql.names import plain_name
from chalicelib.settings import ROLES, RoleSettings
from chalicelib.sweep import handler as sweeper
from decanter.local.postgres import Postgres
from tests.kit.databases import create_tables, drop, execute, name_of
from tests.kit.waiting import LONG, until
from tests.kit.world import Context, World

NO_RIGHT = errors.InsufficientPrivilege
CONNECTIONS = {"drain": 4, "reader": 3, "sweep": 2}

Ensure = Callable[..., dict[str, list[str]]]


def shop(*, with_more: bool = False) -> MetaData:
    """Tables that need rights of many kinds: on schemas, sequences, enums, functions, parents."""
    metadata = MetaData()
    mood = pg.ENUM("calm", "odd", name="mood", schema="types")
    regions = sa.Table(
        "regions",
        metadata,
        sa.Column("name", sa.String(2), primary_key=True),
        schema="crm",
        info={"resource": False},
    )
    sa.Table(
        "customers",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("region", sa.ForeignKey(regions.c.name), nullable=False),
        sa.Column("email", sa.Text, unique=True),
        sa.Column("mood", mood, server_default="calm"),
        sa.Column("options", pg.JSONB, server_default="{}"),
        sa.Column("code", sa.Integer, sa.Sequence("codes", schema="types")),
        sa.Column("slug", sa.Text, sa.Computed("crm.slug(email)", persisted=True)),
        schema="crm",
    )
    sa.Table(
        "orders",
        metadata,
        sa.Column("id", sa.BigInteger, primary_key=True),  # a serial
        sa.Column("customer", sa.ForeignKey("crm.customers.id", ondelete="CASCADE")),
        sa.Column("total", sa.Numeric(8, 2)),
    )
    sa.Table(
        "Odd Log%",
        metadata,
        sa.Column("id", sa.Integer, sa.Identity(always=True), primary_key=True),
        sa.Column("text", sa.Text),
        info={"ordered": False, "resource": "logs"},
    )
    if with_more:
        sa.Table("later", metadata, sa.Column("id", sa.Integer, primary_key=True), schema="new")
    return metadata


def prepare(url: str) -> None:
    """As a hardened database is: nobody may run functions by being anybody."""
    execute(
        url,
        """
        CREATE SCHEMA crm;
        CREATE FUNCTION crm.slug(text) RETURNS text LANGUAGE sql IMMUTABLE RETURN lower($1);
        REVOKE EXECUTE ON FUNCTION crm.slug, decanter.merge_patch, decanter.readable FROM PUBLIC;
        REVOKE ALL ON SCHEMA public FROM PUBLIC
        """,
    )


def settings(url: str, **passwords: str | None) -> list[RoleSettings]:
    return [
        RoleSettings(
            kind, role_url(url, kind, passwords.get(kind, f"{kind}:@/pass%")), CONNECTIONS[kind]
        )
        for kind in ROLES
    ]


def made(
    url: str,
    metadata: MetaData,
    roles: list[RoleSettings] | None = None,
    tokens: bool = False,
    revoke: bool = True,
    **named: bool,
) -> dict[str, list[str]]:
    """Roles as migrate makes them, once no other version runs."""
    with handler.locked(url) as connection:
        return ensure(
            handler._driver(connection),
            settings(url) if roles is None else roles,
            resources_of(metadata).values(),
            [metadata],
            tokens,
            revoke=revoke,
            **named,
        )


@pytest.fixture(scope="module")
def shop_template(new_database: Callable[..., str], ledger_template: str) -> str:
    """Name of a database with the ledger and the shop."""
    url = new_database(ledger_template)
    prepare(url)
    create_tables(url, shop())
    return name_of(url)


@pytest.fixture
def url(new_database: Callable[..., str], shop_template: str) -> Iterator[str]:
    url = new_database(shop_template)
    yield url
    drop(url)


@pytest.fixture(scope="module")
def shared(new_database: Callable[..., str], shop_template: str) -> str:
    """The same, with the roles, for tests that change nothing."""
    url = new_database(shop_template)
    made(url, shop())
    return url


@pytest.fixture
def world(
    url: str,
    make_world: Callable[..., World],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[World]:
    """The shop, where each function logs in with a role of its own, and the test as the owner."""
    made(url, shop())
    urls = {role.kind: role.url for role in settings(url)}

    class Functions(World):
        def drain(self, *arguments: Any, **named: Any) -> dict[str, Any]:
            monkeypatch.setenv("DECANTER_DATABASE_URL", urls["drain"])
            return super().drain(*arguments, **named)

        def read(self, *arguments: Any, **named: Any) -> dict[str, Any]:
            monkeypatch.setenv("DECANTER_DATABASE_URL", urls["reader"])
            return super().read(*arguments, **named)

        def sweep(self) -> dict[str, int]:
            monkeypatch.setenv("DECANTER_DATABASE_URL", urls["sweep"])
            return sweeper.sweep(Context(30))

    plain = make_world(shop(), url)
    plain.__class__ = Functions
    yield plain
    connection.forget("sweep")


@pytest.fixture
def as_role(shared: str) -> Iterator[Callable[..., Any]]:
    """`as_role(kind, url=…)`: a cursor of the role, in autocommit."""
    opened = []

    def cursor(kind: str, url: str = shared) -> Any:
        own = {role.kind: role.url for role in settings(url)}
        connected = psycopg2.connect(own[kind])
        connected.autocommit = True
        opened.append(connected)
        return connected.cursor()

    yield cursor
    for each in opened:
        each.close()


def test_a_batch_is_poured_read_and_swept_under_the_roles(world: World) -> None:
    world.execute("INSERT INTO crm.regions VALUES ('eu')")
    world.execute(
        """
        CREATE TABLE public.audit (what text);
        CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
            $$BEGIN INSERT INTO public.audit VALUES (TG_OP); RETURN NULL; END$$;
        CREATE TRIGGER note AFTER INSERT OR UPDATE ON crm.customers
            FOR EACH ROW EXECUTE FUNCTION public.note()
        """
    )
    customers = [
        {"id": number, "region": "eu", "email": f"A{number}@x", "options": {"a": 1}}
        for number in range(1, 6)
    ]
    receipts = {
        "create": world.post("customers", customers),
        "logs": world.post("logs", [{"text": "one"}, {"text": "two"}]),
        "orders": world.post("orders", [{"customer": 1, "total": 5}, {"customer": 2, "total": 6}]),
        "merge": world.patch("customers", 1, {"mood": "odd", "options": {"a": None, "b": 2}}),
        "replace": world.put("customers", 2, {"region": "eu", "email": "new@x"}),
        "upsert": world.post(
            "customers",
            [{"id": 3, "region": "eu", "email": "up@x"}],
            Prefer="resolution=merge-duplicates",
        ),
        "conditional": world.patch("customers", 4, {"mood": "odd"}, If_Match="*"),
        "delete": world.delete("customers", 5),
    }

    world.drain()

    states = {name: world.status(receipt)["state"] for name, receipt in receipts.items()}
    assert set(states.values()) == {"applied"}, states
    row = json.loads(world.row("customers", id=1))
    assert (row["mood"], row["options"], row["slug"]) == ("odd", {"b": 2}, "a1@x")
    assert row["code"] is not None
    assert world.value("SELECT count(*) FROM orders") == 2
    assert world.value("SELECT count(*) FROM public.audit") >= 8
    listed = world.read(
        {
            "ask": "list",
            "resource": "customers",
            "filters": '{"region": "eu"}',
            "order": [["email", "asc"], ["id", "asc"]],
            "limit": 2,
            "from": None,
        }
    )
    assert len(json.loads(listed["body"])) == 2
    world.execute("UPDATE decanter.ledger SET poured_at = now() - interval '99 days'")
    poured = world.poured()
    assert world.sweep() == {"deleted": poured}  # type: ignore[attr-defined]


def test_bad_rows_are_found_and_rejected_under_the_roles(world: World) -> None:
    world.execute("INSERT INTO crm.regions VALUES ('eu')")
    world.post("customers", {"id": 1, "region": "eu", "email": "a"})
    world.drain()
    receipt = world.post(
        "customers",
        [
            {"id": 2, "region": "eu", "email": "a"},
            {"id": 3, "region": "zz", "email": "c"},
            {"id": 4, "region": "eu", "email": "d"},
        ],
        Prefer="handling=lenient",
    )
    world.patch("customers", 9, {"mood": "odd"})
    world.patch("customers", 1, {"mood": "odd"}, If_Match='"none"')

    world.drain_to_the_end()

    assert {kind for _, kind in world.rejections()} == {
        "conflict",
        "missing-parent",
        "missing",
        "precondition-failed",
    }
    status = world.status(receipt)
    assert (status["state"], status["applied"]) == ("partial", 1)


# While one version takes another's place


def with_info(**infos: dict[str, Any]) -> MetaData:
    """The shop, with other information on some tables."""
    metadata = shop()
    for table in metadata.tables.values():
        table.info.update(infos.get(table.name, {}))
    return metadata


UNORDERED, UNSERVED = {"ordered": False}, {"resource": False}
VERSIONS: dict[str, dict[str, dict[str, Any]]] = {
    "as it is": {},
    "others are ordered": {"orders": UNORDERED, "Odd Log%": {"ordered": True}},
    "others are served": {"orders": UNSERVED, "regions": {"resource": "regions"}},
}


def works(url: str, metadata: MetaData) -> None:
    """What the drain and the reader of a version do with each table of its models."""
    own = {role.kind: role.url for role in settings(url)}
    for kind in ("drain", "reader"):
        with closing(psycopg2.connect(own[kind])) as connected, connected.cursor() as cursor:
            for resource in resources_of(metadata).values():
                name = plain_name(resource.table)
                column = next(iter(resource.writable)).name
                cursor.execute(f"SELECT {column} FROM {name}")
                if kind == "drain":
                    cursor.execute(f"INSERT INTO {name} ({column}) SELECT NULL WHERE false")
                if kind == "drain" and resource.ordered:
                    cursor.execute(f"UPDATE {name} SET {column} = DEFAULT WHERE false")
                    cursor.execute(f"DELETE FROM {name} WHERE false")


def rights(url: str) -> list[Any]:
    return execute(
        url,
        "SELECT relname, grantee::regrole::text, privilege_type"
        " FROM pg_class, aclexplode(relacl)"
        " WHERE relkind = 'r' AND grantee <> relowner AND grantee <> 0 ORDER BY 1, 2, 3",
    )


@pytest.mark.parametrize("version", [*VERSIONS][1:])
def test_both_versions_work_at_every_step_of_a_deployment_and_back(url: str, version: str) -> None:
    before, after = (with_info(**VERSIONS[each]) for each in ("as it is", version))
    made(url, before)
    exact = rights(url)
    for old, new in ((before, after), (after, before)):
        works(url, old)

        outcome = made(url, new, revoke=False)
        works(url, old)  # it serves still
        works(url, new)  # it serves now, and pours what the old one has queued
        assert made(url, old, revoke=False)["changes"] == []  # a rollback
        assert made(url, new, revoke=False)["later"] == outcome["later"]
        assert made(url, new)["changes"] == outcome["later"]

        works(url, new)
        with pytest.raises(NO_RIGHT):
            works(url, old)
    assert rights(url) == exact


@pytest.mark.parametrize("is_ahead", [False, True])
def test_an_op_that_a_resource_no_longer_has_stops_nobody(
    world: World, make_world: Callable[..., World], is_ahead: bool
) -> None:
    new = with_info(**VERSIONS["others are ordered"])

    def of(metadata: MetaData) -> World:
        made = make_world(metadata, world.url)
        made.__class__ = type(world)
        return made

    world.post("orders", [{"id": number, "total": 1} for number in (101, 102, 103)])
    world.drain()

    def queue() -> tuple[list[str], list[Any]]:
        """Receipts and entries, of the version before."""
        old = of(shop())
        rows = [{"id": 101, "total": 3}, {"id": 107, "total": 3}]
        receipts = [
            old.patch("orders", 101, {"total": 2}),
            old.patch("orders", 101, {"total": 2}, If_Match="*"),
            old.post("orders", rows, Prefer="resolution=merge-duplicates"),
            old.put("orders", 102, {"total": 2}),
            old.delete("orders", 103),
        ]
        return receipts, old.queued

    def states(receipts: list[str], entries: list[Any]) -> set[str]:
        """Once the new version has poured them."""
        later = of(new)
        others = [later.post("orders", {"total": 1}), later.post("logs", {"text": "x"})]
        with suppress(Unfinished):
            later.drain([*entries, *later.queued])
        assert [world.status(each)["state"] for each in others] == ["applied"] * 2
        return {world.status(each)["state"] for each in receipts}

    queued = queue()
    made(world.url, new, revoke=False)
    assert states(*queued) == {"applied"}

    made(world.url, new)
    if is_ahead:
        world.execute("INSERT INTO decanter.alembic_version VALUES ('0002_of_the_next')")
    too_late = queue()
    assert states(*too_late) == ({"pending"} if is_ahead else {"rejected"})
    assert {kind for _, kind in world.rejections()} == (set() if is_ahead else {"misfit"})
    reason = "orders is unordered: rows are only added, and this is a delete"
    assert is_ahead or (reason,) in world.rejections("reason")


@pytest.mark.parametrize(
    ("taken", "given", "applied"),
    [
        ("REVOKE INSERT ON orders FROM {role}", "GRANT INSERT ON orders TO {role}", 0),
        (
            "REVOKE USAGE ON SEQUENCE orders_id_seq FROM {role}",
            "GRANT USAGE ON SEQUENCE orders_id_seq TO {role}",
            0,
        ),
        (
            "CREATE TRIGGER note BEFORE INSERT ON orders"
            " FOR EACH ROW WHEN (NEW.total > 1) EXECUTE FUNCTION public.note()",
            "GRANT INSERT ON audit TO {role}",
            1,
        ),
        (
            "CREATE CONSTRAINT TRIGGER note AFTER INSERT ON orders DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW WHEN (NEW.total > 1) EXECUTE FUNCTION public.note()",
            "GRANT INSERT ON audit TO {role}",
            1,
        ),
    ],
)
def test_a_right_that_the_drain_lacks_holds_up_only_what_needs_it(
    world: World, caplog: pytest.LogCaptureFixture, taken: str, given: str, applied: int
) -> None:
    role = f'"{name_of(world.url)}_drain"'
    world.execute(
        "SET search_path = public; CREATE TABLE audit (what text);"
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN INSERT INTO public.audit VALUES (TG_OP); RETURN NEW; END$$;"
        + taken.format(role=role)
    )
    held = world.post("orders", [{"total": 1}, {"total": 2}, {"total": 3}])
    other = world.post("logs", [{"text": "one"}, {"text": "two"}])
    entries = [*world.queued]

    with pytest.raises(Unfinished):
        world.drain()

    assert world.status(other)["state"] == "applied"
    assert world.execute("SELECT reason, count(*) FROM decanter.waiting GROUP BY 1") == [
        ("schema", 3 - applied)
    ]
    assert "invoke migrate, or grant what is missing: permission denied" in caplog.text
    world.execute(given.format(role=role))
    world.drain(entries, 2)
    assert world.status(held)["state"] == "applied"
    assert world.rejections() == []


def test_a_schema_that_the_drain_may_not_use_holds_up_its_tables_alone(world: World) -> None:
    world.execute("INSERT INTO crm.regions VALUES ('eu')")
    world.execute(
        "CREATE FUNCTION public.pass() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN RETURN NEW; END$$; CREATE TRIGGER pass BEFORE INSERT ON public.orders"
        " FOR EACH ROW EXECUTE FUNCTION public.pass();"
        f'REVOKE USAGE ON SCHEMA crm FROM "{name_of(world.url)}_drain"'
    )
    held = world.post("customers", {"id": 1, "region": "eu"})
    other = world.post("orders", {"total": 1})
    entries = [*world.queued]

    with pytest.raises(Unfinished):
        world.drain()

    states = [world.status(each)["state"] for each in (held, other)]
    assert states == ["pending", "applied"]
    made(world.url, shop())
    world.drain(entries, 2)
    assert world.status(held)["state"] == "applied"


def test_a_right_that_is_missing_rejects_nothing(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.execute(f"REVOKE INSERT ON orders FROM {name_of(world.url)}_drain")
    world.post("orders", {"total": 1})
    (entry,) = world.queued

    with pytest.raises(Unfinished):
        world.drain()
    assert "permission denied for table orders" in caplog.text
    made(world.url, shop())
    world.drain([entry])

    assert world.value("SELECT count(*) FROM orders") == 1
    assert world.rejections() == []


@pytest.mark.parametrize(
    ("kind", "statement"),
    [
        ("drain", "ALTER TABLE orders ADD COLUMN mine int"),
        ("drain", "ALTER TABLE orders DISABLE TRIGGER ALL"),
        ("drain", "DROP TABLE orders"),
        ("drain", "TRUNCATE orders"),
        ("drain", "CREATE TABLE mine (id int)"),
        ("drain", "CREATE TABLE decanter.mine (id int)"),
        ("drain", "CREATE INDEX ON orders (total)"),
        ("drain", "CREATE SCHEMA mine"),
        ("drain", "CREATE ROLE mine"),
        ("drain", "UPDATE decanter.ledger SET writes = 0"),
        ("drain", "DELETE FROM decanter.ledger"),
        ("drain", "DELETE FROM decanter.rejection"),
        ("drain", "SELECT FROM decanter.made_key"),
        ("reader", "INSERT INTO decanter.made_key (poured_at) VALUES (now())"),
        ("sweep", "UPDATE decanter.made_key SET keys = '[]'"),
        ("drain", "UPDATE decanter.alembic_version SET version_num = ''"),
        ("reader", "SELECT * FROM decanter.alembic_version"),
        ("drain", "UPDATE \"Odd Log%\" SET text = 'x'"),
        ("drain", 'DELETE FROM "Odd Log%"'),
        ("drain", "INSERT INTO crm.regions VALUES ('us')"),
        ("drain", "SELECT pg_read_file('PG_VERSION')"),
        ("drain", "SET ROLE decanter"),
        ("reader", "INSERT INTO orders (id, total) VALUES (1, 2)"),
        ("reader", "UPDATE orders SET total = 0"),
        ("reader", "DELETE FROM orders"),
        ("reader", "SELECT * FROM orders FOR UPDATE"),
        ("reader", "SELECT nextval('orders_id_seq')"),
        ("reader", "SELECT * FROM crm.regions"),
        ("reader", "DELETE FROM decanter.ledger"),
        ("reader", "CREATE TABLE mine (id int)"),
        ("sweep", "SELECT * FROM orders"),
        ("sweep", "DELETE FROM orders"),
        ("sweep", "INSERT INTO decanter.ledger VALUES (gen_random_uuid(), 'f', 1, now(), now())"),
        ("sweep", "UPDATE decanter.rejection SET reason = ''"),
        ("sweep", "SELECT * FROM crm.customers"),
    ],
)
def test_what_a_role_may_not_do(as_role: Callable[..., Any], kind: str, statement: str) -> None:
    cursor = as_role(kind)
    cursor.execute("SET default_transaction_read_only = off")  # a right, not a setting, forbids it

    with pytest.raises(NO_RIGHT):
        cursor.execute(statement)


def test_the_reader_begins_no_transaction_that_writes(as_role: Callable[..., Any]) -> None:
    with pytest.raises(errors.ReadOnlySqlTransaction):
        as_role("reader").execute("CREATE TEMPORARY TABLE mine (id int)")


@pytest.mark.parametrize("kind", ROLES)
def test_each_role_has_timeouts_of_its_own(as_role: Callable[..., Any], kind: str) -> None:
    cursor = as_role(kind)
    names = ("statement_timeout", "lock_timeout", "idle_session_timeout")
    names += ("idle_in_transaction_session_timeout",)

    cursor.execute(f"SELECT {', '.join(f'current_setting({name!r})' for name in names)}")

    assert "0" not in cursor.fetchone()


def test_a_statement_that_runs_on_is_ended(as_role: Callable[..., Any], url: str) -> None:
    made(url, shop())
    execute(url, f"ALTER ROLE {name_of(url)}_reader SET statement_timeout TO '50ms'")
    made(url, shop())  # puts back what it has to be
    cursor = as_role("reader", url)
    execute(url, f"ALTER ROLE {name_of(url)}_sweep SET statement_timeout TO '50ms'")

    cursor.execute("SHOW statement_timeout")
    assert cursor.fetchone() == ("10s",)
    with (
        closing(psycopg2.connect(settings(url)[2].url)) as other,
        pytest.raises(errors.QueryCanceled),
    ):
        other.cursor().execute("SELECT pg_sleep(600)")


@pytest.mark.parametrize("kind", ROLES)
def test_no_more_containers_than_its_limit_are_let_in(url: str, kind: str) -> None:
    made(url, shop())
    own = next(role for role in settings(url) if role.kind == kind)
    held = [psycopg2.connect(own.url) for _ in range(CONNECTIONS[kind])]
    try:
        with pytest.raises(DatabaseUnwell, match="too many connections for role"):
            connection.connection(own.url, "one-too-many", time.monotonic() + LONG)
    finally:
        for each in held:
            each.close()
    connection.connection(own.url, "one-too-many", time.monotonic() + LONG)
    connection.forget("one-too-many")


def test_a_second_time_changes_nothing(url: str) -> None:
    first = made(url, shop())
    second = made(url, shop())

    assert first["roles"] == [f"{name_of(url)}_{kind}" for kind in ROLES]
    assert first["changes"]
    assert second == {"roles": first["roles"], "changes": [], "later": [], "warnings": []}


def logs_in(role: RoleSettings) -> bool:
    try:
        psycopg2.connect(role.url).close()
    except psycopg2.OperationalError:
        return False
    return True


@pytest.mark.parametrize("turns", [(0, 1), (1, 0)])
def test_nobody_is_locked_out_between_two_passwords(url: str, turns: tuple[int, int]) -> None:
    before, after = (
        RoleSettings("drain", role_url(url, "drain", f"password {turn}", turn), 4) for turn in turns
    )
    made(url, shop(), [after])
    for one, other in ((after, before), (before, after)):
        made(url, shop(), [other], revoke=False)
        assert (logs_in(one), logs_in(other)) == (True, True)

        made(url, shop(), [other])

        assert (logs_in(one), logs_in(other)) == (False, True)
        name = psycopg2.extensions.parse_dsn(one.url)["user"]
        held = (
            f"SELECT count(*) FROM pg_class, aclexplode(relacl) WHERE grantee = '{name}'::regrole"
        )
        sequences = " AND relkind <> 'S'"
        assert execute(url, held + sequences) == [(0,)]
        assert made(url, shop(), [other], revoke=False)["later"] == []


def test_what_was_granted_by_hand_goes_on_to_the_role_with_the_new_password(url: str) -> None:
    before, after = (
        RoleSettings("drain", role_url(url, "drain", f"password {turn}", turn), 4)
        for turn in (0, 1)
    )
    made(url, shop(), [before])
    name = f'"{name_of(url)}_drain"'
    execute(
        url,
        f"""
        CREATE SCHEMA "Own"; CREATE TABLE "Own"."Audit%" (what text, "When" int, who text);
        CREATE SEQUENCE "Own".numbers;
        CREATE FUNCTION "Own".note(text) RETURNS text LANGUAGE sql RETURN $1;
        REVOKE ALL ON FUNCTION "Own".note FROM PUBLIC;
        GRANT USAGE ON SCHEMA "Own" TO {name}; GRANT INSERT ON "Own"."Audit%" TO {name};
        GRANT UPDATE ("When"), SELECT ("When") ON "Own"."Audit%" TO {name};
        GRANT USAGE ON SEQUENCE "Own".numbers TO {name};
        GRANT EXECUTE ON FUNCTION "Own".note TO {name};
        ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
        CREATE POLICY "own %" ON orders TO {name} USING (true)
        """,
    )
    for one in (after, before, after):
        made(url, shop(), [one], revoke=False)
        for statement in (
            """INSERT INTO "Own"."Audit%" VALUES ("Own".note(nextval('"Own".numbers')::text))""",
            """UPDATE "Own"."Audit%" SET "When" = 1 WHERE "When" IS NULL""",
            "INSERT INTO orders (total) VALUES (1)",
        ):
            execute(one.url, statement)
        with pytest.raises(NO_RIGHT):
            execute(one.url, 'SELECT who FROM "Own"."Audit%"')
        made(url, shop(), [one])
        assert made(url, shop(), [one])["changes"] == []


def test_the_password_of_a_role_that_is_used_is_changed_only_on_demand(url: str) -> None:
    made(url, shop())
    before = settings(url)[0]
    after = RoleSettings("drain", role_url(url, "drain", "another"), 7)

    with pytest.raises(MigrationRefused, match="secrets --rotate") as refused:
        made(url, shop(), [after])
    assert logs_in(before)
    assert not re.search("another'|pass%", str(refused.value))
    made(url, shop(), [after], new_passwords=True)

    assert (logs_in(before), logs_in(after)) == (False, True)


@pytest.mark.parametrize("revoke", [False, True])
def test_a_limit_is_lowered_when_the_version_before_is_gone(url: str, revoke: bool) -> None:
    made(url, shop())
    wanted = settings(url)
    limits = "SELECT rolconnlimit FROM pg_roles WHERE rolname = %s"

    for connections, expected in ((7, 7), (2, 2 if revoke else 7)):
        made(url, shop(), [wanted[0]._replace(connections=connections)], revoke=revoke)

        assert execute(url, limits, (f"{name_of(url)}_drain",)) == [(expected,)]


def test_no_log_of_the_server_has_a_password(url: str, postgres: Postgres) -> None:
    execute(postgres.url(), "ALTER SYSTEM SET log_statement = 'all'")
    execute(postgres.url(), "SELECT pg_reload_conf()")
    passwords = {kind: f"never-in-a-log-{kind}" for kind in ROLES}
    try:
        until(lambda: execute(postgres.url(), "SHOW log_statement") == [("all",)])
        made(url, shop(), settings(url, **passwords), new_passwords=True)
        for role in settings(url, **passwords):
            psycopg2.connect(role.url).close()
    finally:
        execute(postgres.url(), "ALTER SYSTEM RESET log_statement")
        execute(postgres.url(), "SELECT pg_reload_conf()")

    log = postgres.log.read_text()
    assert f'ALTER ROLE "{name_of(url)}_drain" PASSWORD' in log
    assert "SCRAM-SHA-256$4096:" in log
    assert "never-in-a-log" not in log
    assert "never-in-a-log" not in json.dumps(made(url, shop(), settings(url, **passwords)))


def test_tables_that_come_later_are_covered(url: str, as_role: Callable[..., Any]) -> None:
    made(url, shop())
    cursor = as_role("drain", url)
    create_tables(url, shop(with_more=True))
    with pytest.raises(NO_RIGHT):
        cursor.execute("INSERT INTO new.later VALUES (1)")

    changes = made(url, shop(with_more=True))["changes"]

    cursor.execute("INSERT INTO new.later VALUES (1)")
    reader = as_role("reader", url)
    reader.execute("SELECT id FROM new.later")
    assert reader.fetchall() == [(1,)]
    assert not [change for change in changes if "orders" in change]


def test_rights_that_are_too_many_are_taken_back_or_reported(url: str) -> None:
    made(url, shop())
    database = name_of(url)
    execute(url, f"GRANT DELETE, TRUNCATE ON orders, decanter.ledger TO {database}_drain")
    execute(url, f"GRANT INSERT ON orders TO {database}_reader")
    execute(url, "GRANT UPDATE ON crm.customers TO PUBLIC; GRANT CREATE ON SCHEMA crm TO PUBLIC")

    outcome = made(url, shop(), revoke=False)

    # What no version needs goes at once; what one might, when there is no other any more.
    assert sorted(outcome["changes"]) == [
        f'REVOKE INSERT ON orders FROM "{database}_reader"',
        f'REVOKE TRUNCATE ON decanter.ledger FROM "{database}_drain"',
        f'REVOKE TRUNCATE ON orders FROM "{database}_drain"',
    ]
    assert outcome["later"] == [f'REVOKE DELETE ON decanter.ledger FROM "{database}_drain"']
    assert made(url, shop())["changes"] == outcome["later"]
    assert any("UPDATE on crm.customers" in each for each in outcome["warnings"])
    assert any("create in schema crm" in each for each in outcome["warnings"])


def test_functions_of_domains_may_be_executed(url: str) -> None:
    """A domain's default and check, of an array's items too."""
    execute(
        url,
        """
        CREATE FUNCTION crm.first() RETURNS text LANGUAGE plpgsql AS $$BEGIN RETURN 'a'; END$$;
        CREATE FUNCTION crm.fits(text) RETURNS bool LANGUAGE plpgsql AS
            $$BEGIN RETURN $1 = 'a'; END$$;
        REVOKE EXECUTE ON FUNCTION crm.first, crm.fits FROM PUBLIC;
        CREATE DOMAIN types.inner AS text CHECK (crm.fits(VALUE));
        CREATE DOMAIN types.outer AS types.inner DEFAULT crm.first();
        ALTER TABLE orders ADD one types.outer, ADD many types.inner[]
        """,
    )
    made(url, shop())

    execute(settings(url)[0].url, "INSERT INTO orders (many) VALUES ('{a}')")

    assert execute(url, "SELECT one, many::text FROM orders") == [("a", "{a}")]


def test_row_level_security_is_reported(url: str) -> None:
    execute(url, "ALTER TABLE orders ENABLE ROW LEVEL SECURITY")

    warnings = made(url, shop())["warnings"]

    assert [each for each in warnings if each.startswith("orders has row-level security")]


@pytest.mark.parametrize(
    ("role", "prepared", "reason"),
    [
        ("decanter", "", "is the owner's own"),
        ("{database}_reader", "", "is another kind's as well"),
        ("r_super", "CREATE ROLE {role} SUPERUSER", "has SUPERUSER"),
        ("r_maker", "CREATE ROLE {role} CREATEROLE CREATEDB", "has CREATEROLE, CREATEDB"),
        ("r_member", "CREATE ROLE {role} IN ROLE pg_read_all_data", "member of pg_read_all_data"),
        ("r_owner", "CREATE ROLE {role}; CREATE SCHEMA mine AUTHORIZATION {role}", "owns 1 obj"),
    ],
)
def test_a_role_that_is_not_for_this_alone_is_refused(
    url: str, role: str, prepared: str, reason: str
) -> None:
    role = role.format(database=name_of(url))
    before = execute(url, "SELECT count(*) FROM pg_roles")
    if prepared:
        execute(url, prepared.format(role=role))
    wanted = settings(url)
    wanted[0] = wanted[0]._replace(url=url.replace(url[13 : url.index("@")], f"{role}:secret"))

    with pytest.raises(MigrationRefused, match=reason) as error:
        made(url, shop(), wanted)

    assert "DECANTER_DRAIN_URL" in str(error.value)
    assert "secret" not in str(error.value)
    if prepared:
        execute(url, f"DROP OWNED BY {role}; DROP ROLE {role}")
    assert execute(url, "SELECT count(*) FROM pg_roles") == before


def test_the_role_of_another_database_is_refused_and_not_retired(
    url: str, new_database: Callable[..., str], shop_template: str
) -> None:
    """Names of databases may be the same as far as roles are called after them."""
    other = new_database(shop_template)
    made(other, shop())
    theirs = settings(other)[0]
    own = RoleSettings("drain", theirs.url.replace(f"/{name_of(other)}?", f"/{name_of(url)}?"), 4)

    with pytest.raises(MigrationRefused, match=f"the database {name_of(other)} uses"):
        made(url, shop(), [own])

    with patch("chalicelib.migrate.roles.role_names", lambda *_: names):
        names = (f"{name_of(url)}_drain", f"{name_of(other)}_drain")
        assert made(url, shop(), settings(url)[:1])["later"] == []
    assert logs_in(theirs)
    drop(other)


def test_urls_that_name_no_role_are_refused(url: str) -> None:
    other = settings(url.replace(f"/{name_of(url)}?", "/another?"))
    with pytest.raises(MigrationRefused, match="the same database"):
        made(url, shop(), other)
    with pytest.raises(NotConfigured, match="DECANTER_DRAIN_URL has no password"):
        made(url, shop(), [RoleSettings("drain", role_url(url, "drain", None), 1)])
    with pytest.raises(NotConfigured, match="DECANTER_SWEEP_URL names no user"):
        made(url, shop(), [RoleSettings("sweep", f"postgresql:///{name_of(url)}", 1)])


def test_without_urls_nothing_is_made(url: str) -> None:
    before = execute(url, "SELECT count(*) FROM pg_roles")

    assert made(url, shop(), [])["roles"] == []

    assert execute(url, "SELECT count(*) FROM pg_roles") == before


@pytest.fixture
def master(new_database: Callable[..., str]) -> str:
    """URL of an owner as on RDS: no superuser, but one who may make roles."""
    url = new_database()
    name = f"master_{name_of(url)}"
    execute(url, f"CREATE ROLE {name} LOGIN CREATEROLE PASSWORD 'master'")
    execute(url, f"ALTER DATABASE {name_of(url)} OWNER TO {name}")
    return url.replace(url[13 : url.index("@")], f"{name}:master")


def test_an_owner_that_is_no_superuser_can_make_the_roles(master: str) -> None:
    handler.upgrade(master)
    prepare(master)
    create_tables(master, shop())

    made(master, shop())

    another = settings(master, drain="another")
    assert made(master, shop(), another, new_passwords=True)["changes"] == []
    with_turn = [RoleSettings("drain", role_url(master, "drain", "third", 1), 4)]
    made(master, shop(), with_turn)
    made(master, shop(), another)
    with closing(psycopg2.connect(settings(master, drain="another")[0].url)) as drain:
        drain.cursor().execute("INSERT INTO orders (total) VALUES (1)")


def test_an_owner_that_may_make_no_roles_is_refused_with_what_it_needs(
    master: str, postgres: Postgres
) -> None:
    handler.upgrade(master)
    prepare(master)
    create_tables(master, shop())
    execute(postgres.url(), f"ALTER ROLE master_{name_of(master)} NOCREATEROLE")

    with pytest.raises(MigrationRefused, match="It needs CREATEROLE"):
        made(master, shop())


def test_a_table_of_another_owner_is_named(postgres: Postgres, master: str) -> None:
    handler.upgrade(master)
    prepare(master)
    create_tables(master, shop())
    owner = f"master_{name_of(master)}"
    execute(
        postgres.url(name_of(master)),
        "ALTER TABLE crm.customers OWNER TO decanter;"
        f" GRANT SELECT ON crm.customers TO {owner} WITH GRANT OPTION",
    )

    with pytest.raises(MigrationRefused, match=r"on crm\.customers: it does not own the table"):
        made(master, shop())


def test_a_right_that_others_gave_by_hand_is_reported(postgres: Postgres, master: str) -> None:
    owner = postgres.url(name_of(master))
    one, other = (
        RoleSettings("drain", role_url(master, "drain", "password", turn), 4) for turn in (0, 1)
    )
    handler.upgrade(master)
    prepare(master)
    create_tables(master, shop())
    made(master, shop(), [one])
    execute(owner, "CREATE TABLE public.audit (x text); CREATE TABLE public.seen (x text)")
    execute(owner, f"GRANT SELECT ON public.seen TO master_{name_of(master)}")
    execute(owner, f"GRANT INSERT ON public.audit, public.seen TO {name_of(master)}_drain")

    warnings = made(master, shop(), [other], revoke=False)["warnings"]

    assert [each.rpartition("run ")[2] for each in warnings] == [
        f"GRANT INSERT ON TABLE {table} TO {name_of(master)}_drain_2" for table in ("audit", "seen")
    ]


def test_tokens_take_the_place_of_passwords_and_back(url: str) -> None:
    execute(
        url,
        "DO $$BEGIN IF to_regrole('rds_iam') IS NULL THEN CREATE ROLE rds_iam; END IF; END$$",
    )
    role = f"{name_of(url)}_drain"
    member = f"SELECT pg_has_role('{role}', 'rds_iam', 'MEMBER')"
    has_password = f"SELECT rolpassword IS NOT NULL FROM pg_authid WHERE rolname = '{role}'"
    with_tokens = [RoleSettings("drain", role_url(url, "drain", None), 4)]

    made(url, shop(), with_tokens, tokens=True)
    with pytest.raises(MigrationRefused, match="logs in with tokens of RDS"):
        made(url, shop())
    assert execute(url, member) == [(True,)]
    assert execute(url, has_password) == [(False,)]
    assert made(url, shop(), with_tokens, tokens=True)["changes"] == []

    made(url, shop(), new_passwords=True)
    with pytest.raises(MigrationRefused, match="logs in with a password"):
        made(url, shop(), with_tokens, tokens=True)
    assert execute(url, member) == [(False,)]
    assert execute(url, has_password) == [(True,)]


def test_names_mean_the_same_to_the_roles_as_to_the_owner(new_database: Callable[..., str]) -> None:
    url = new_database()
    execute(url, "CREATE ROLE app LOGIN CREATEROLE PASSWORD 'app'")
    execute(url, f"ALTER DATABASE {name_of(url)} OWNER TO app; CREATE SCHEMA app AUTHORIZATION app")
    own = url.replace(url[13 : url.index("@")], "app:app")
    handler.upgrade(own)  # the sample tables come to be in the schema app
    execute(own, "DROP TABLE app.observations, app.stations")
    metadata = MetaData()
    sa.Table("orders", metadata, sa.Column("id", sa.Integer, primary_key=True))
    execute(own, "CREATE TABLE app.orders (id int PRIMARY KEY)")

    made(own, metadata)

    with closing(psycopg2.connect(settings(own)[0].url)) as drain:
        drain.cursor().execute("INSERT INTO orders VALUES (1)")


def test_a_path_of_schemas_that_are_not_there_is_left_to_the_database(url: str) -> None:
    execute(url, f"ALTER DATABASE {name_of(url)} SET search_path = absent")

    made(url, shop())

    found = execute(url, "SELECT setconfig FROM pg_db_role_setting WHERE setdatabase = 0"
                    " AND setrole = %s::regrole", (f"{name_of(url)}_drain",))  # fmt: skip
    assert not [each for ((config,),) in [found] for each in config if "search_path" in each]


@pytest.mark.parametrize(
    ("owner", "name", "expected"),
    [
        (
            "postgresql://own%40er:p@h.example:5433/shop?sslmode=verify-full&user=x",
            "shop_drain",
            "postgresql://shop_drain:a%2Fb%40c%20%25@h.example:5433/shop?sslmode=verify-full",
        ),
        ("postgresql://o:p@[::1]/s", "s_drain", "postgresql://s_drain:a%2Fb%40c%20%25@[::1]/s"),
        ("host=h user=o password=p dbname=shop", "shop_drain", None),
        (f"postgresql://o@h/{'d' * 63}", "d" * 57 + "_drain", None),
        (f"postgresql://o@h/{quote('ö' * 31)}", "ö" * 28 + "_drain", None),
    ],
)
def test_the_url_of_a_role_is_the_owners_with_another_user(
    owner: str, name: str, expected: str | None
) -> None:
    password = "a/b@c %"
    url = role_url(owner, "drain", password)

    before, after = (psycopg2.extensions.parse_dsn(each) for each in (owner, url))
    assert expected in (None, url)
    assert (after.pop("user"), after.pop("password")) == (name, password)
    assert len(name.encode()) <= 63
    before.pop("password", None)
    assert after == {key: value for key, value in before.items() if key != "user"}
    without = psycopg2.extensions.parse_dsn(role_url(owner, "drain", None))
    assert "password" not in without
    assert without["user"] == name


def test_a_database_url_without_a_database_has_no_roles() -> None:
    with pytest.raises(NotConfigured, match="names no database"):
        role_url("postgresql://owner@host", "drain", "p")


def test_the_migrate_function_makes_the_roles_that_its_environment_names(
    new_database: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = new_database()
    monkeypatch.setenv("DECANTER_DATABASE_URL", url)
    for role in settings(url):
        monkeypatch.setenv(f"DECANTER_{role.kind.upper()}_URL", role.url)
        monkeypatch.setenv(f"DECANTER_{role.kind.upper()}_CONNECTIONS", str(role.connections))

    outcome = handler.run({})

    assert outcome["roles"] == [f"{name_of(url)}_{kind}" for kind in ROLES]
    with closing(psycopg2.connect(settings(url)[0].url)) as drain:
        drain.cursor().execute("DELETE FROM stations")
    assert handler.run({})["changes"] == []
    assert not re.search("SCRAM|pass%", json.dumps(outcome))


def test_rights_are_taken_back_on_demand_and_when_nothing_waits(
    new_database: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = new_database()
    monkeypatch.setenv("DECANTER_DATABASE_URL", url)
    for role in settings(url):
        monkeypatch.setenv(f"DECANTER_{role.kind.upper()}_URL", role.url)
        monkeypatch.setenv(f"DECANTER_{role.kind.upper()}_CONNECTIONS", str(role.connections))
    handler.run({})
    execute(url, f"GRANT DELETE ON decanter.ledger TO {name_of(url)}_drain")
    execute(
        url,
        "INSERT INTO decanter.waiting (dedup_id, item, reason, message)"
        " VALUES (gen_random_uuid(), 0, 'schema', '')",
    )
    later = [f'REVOKE DELETE ON decanter.ledger FROM "{name_of(url)}_drain"']

    assert handler.run({})["later"] == later
    kept = handler.run({"revoke": True})
    execute(url, "DELETE FROM decanter.waiting")
    done = handler.run({"revoke": True})

    assert (kept["later"], kept["changes"], len(kept["notes"])) == (later, [], 1)
    assert "1 writes wait" in kept["notes"][0]
    assert (done["later"], done["changes"], done["notes"]) == ([], later, [])


@pytest.mark.parametrize("most", ["", "0", "-1", "many"])
def test_a_role_without_a_limit_is_refused(
    new_database: Callable[..., str], monkeypatch: pytest.MonkeyPatch, most: str
) -> None:
    url = new_database()
    monkeypatch.setenv("DECANTER_DATABASE_URL", url)
    monkeypatch.setenv("DECANTER_READER_URL", role_url(url, "reader", "p"))
    monkeypatch.setenv("DECANTER_READER_CONNECTIONS", most)

    with pytest.raises(NotConfigured, match="DECANTER_READER_CONNECTIONS"):
        handler.run({})

    assert execute(url, "SELECT to_regnamespace('decanter')") == [(None,)]


def test_the_drain_may_look_for_parents_in_tables_that_are_not_served(
    as_role: Callable[..., Any],
) -> None:
    as_role("drain").execute("SELECT name FROM crm.regions")


def test_the_ledger_is_all_that_the_sweep_may_delete_from(as_role: Callable[..., Any]) -> None:
    cursor = as_role("sweep")

    cursor.execute("DELETE FROM decanter.ledger WHERE poured_at < now()")
    cursor.execute("DELETE FROM decanter.rejection WHERE rejected_at < now()")
    with pytest.raises(NO_RIGHT):
        cursor.execute('DELETE FROM "Odd Log%"')
