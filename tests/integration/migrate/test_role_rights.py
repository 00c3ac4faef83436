"""Rights of the roles: they can do all that their functions do, and nothing else."""

import json
from collections.abc import Callable
from contextlib import closing
from typing import Any

import psycopg2
import pytest
import sqlalchemy as sa
from psycopg2 import errors
from sqlalchemy import MetaData

from chalicelib.migrate import handler
from tests.kit.api import body_of
from tests.kit.databases import create_tables, execute, name_of
from tests.kit.operators import connect, post
from tests.kit.outcomes import publish
from tests.kit.roles import NO_RIGHT, made, settings, shop
from tests.kit.world import World


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
    assert world.sweep() == {"deleted": 0, "emptied": 1}  # type: ignore[attr-defined]
    assert world.poured() == 0


def test_events_are_entered_published_and_swept_under_the_roles(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DECANTER_EVENTS", "arn:aws:sns:eu-central-1:000000000000:done")
    receipts = [world.post("orders", [{"total": 5}]) for _ in range(2)]
    world.drain()

    events = publish(world)

    assert [each["receipt"] for each in events] == receipts
    world.post("orders", [{"total": 5}])
    world.drain()
    world.execute("UPDATE decanter.outbox SET entered_at = now() - interval '99 days'")
    assert world.sweep() == {"deleted": 1, "emptied": 0}  # type: ignore[attr-defined]


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

    world.drain()

    assert world.status(other)["state"] == "applied"
    assert world.execute("SELECT reason, count(*) FROM decanter.waiting GROUP BY 1") == [
        ("schema", 3 - applied)
    ]
    assert "invoke migrate, or grant what is missing: permission denied" in caplog.text
    world.execute(given.format(role=role))
    world.drain_by_schedule()
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

    world.drain()

    states = [world.status(each)["state"] for each in (held, other)]
    assert states == ["pending", "applied"]
    made(world.url, shop())
    world.drain_by_schedule()
    assert world.status(held)["state"] == "applied"


def test_a_right_that_is_missing_rejects_nothing(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.execute(f"REVOKE INSERT ON orders FROM {name_of(world.url)}_drain")
    world.post("orders", {"total": 1})

    world.drain()
    assert "permission denied for table orders" in caplog.text
    made(world.url, shop())
    world.drain_by_schedule()

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
        ("drain", "UPDATE decanter.outbox SET receipt = ''"),
        ("reader", "SELECT FROM decanter.outbox"),
        ("sweep", "INSERT INTO decanter.outbox (dedup_id) VALUES (gen_random_uuid())"),
        ("drain", "UPDATE decanter.alembic_version SET version_num = ''"),
        ("sweep", "SELECT * FROM decanter.alembic_version"),
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
        ("sweep", "DELETE FROM decanter.ledger"),
        ("sweep", "TRUNCATE decanter.ledger"),
        ("sweep", "TRUNCATE decanter.ledger_rest"),
        ("drain", "SELECT decanter.put_back_held()"),
        ("reader", "SELECT decanter.put_back_held()"),
        ("sweep", "UPDATE decanter.rejection SET reason = ''"),
        ("sweep", "SELECT * FROM crm.customers"),
    ],
)
def test_what_a_role_may_not_do(as_role: Callable[..., Any], kind: str, statement: str) -> None:
    cursor = as_role(kind)
    cursor.execute("SET default_transaction_read_only = off")  # a right, not a setting, forbids it

    with pytest.raises(NO_RIGHT):
        cursor.execute(statement)


@pytest.mark.parametrize("kind", ["drain", "reader", "sweep"])
def test_what_operators_have_done_cannot_be_changed_or_erased(
    as_role: Callable[..., Any], kind: str
) -> None:
    cursor = as_role(kind)
    cursor.execute("SET default_transaction_read_only = off")
    for table, column in (("act", "who"), ("act_step", "who"), ("correction", "kind")):
        for statement in (
            f"UPDATE decanter.{table} SET {column} = ''",
            f"DELETE FROM decanter.{table}",
            f"TRUNCATE decanter.{table} CASCADE",
        ):
            if (kind, table) == ("sweep", "correction") and statement.startswith("DELETE"):
                continue  # with its rejection
            with pytest.raises(NO_RIGHT):
                cursor.execute(statement)


def test_acts_are_done_and_writes_tried_under_the_roles(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(world, monkeypatch)
    world.execute("INSERT INTO crm.regions VALUES ('eu')")
    world.post("customers", {"id": 1, "region": "eu", "email": "a"})
    world.drain()
    world.post("customers", {"id": 2, "region": "eu", "email": "a"})
    world.drain()
    ((id_,),) = world.execute("SELECT dedup_id || '.' || item FROM decanter.rejection")
    row = {"id": 2, "region": "eu", "email": "b"}

    (tried,) = body_of(post("try", {"writes": [{"id": id_, "row": row}]}))["outcomes"]
    act = body_of(post("acts", {"kind": "resend", "ids": [id_], "rows": {id_: row}}))["id"]
    found = body_of(post(f"acts/{act}/steps"))
    world.drain()

    assert (tried["outcome"], found["state"], found["done"]) == ("applied", "done", 1)
    assert world.value("SELECT count(*) FROM crm.customers") == 2


def test_the_reader_begins_no_transaction_that_writes(as_role: Callable[..., Any]) -> None:
    with pytest.raises(errors.ReadOnlySqlTransaction):
        as_role("reader").execute("CREATE TEMPORARY TABLE mine (id int)")


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


def test_names_mean_the_same_to_the_roles_as_to_the_owner(new_database: Callable[..., str]) -> None:
    url = new_database()
    execute(url, "CREATE ROLE app LOGIN CREATEROLE PASSWORD 'app'")
    execute(url, f"ALTER DATABASE {name_of(url)} OWNER TO app; CREATE SCHEMA app AUTHORIZATION app")
    own = url.replace(url[13 : url.index("@")], "app:app")
    handler.upgrade(own)  # the sample tables come to be in the schema app
    execute(own, "DROP TABLE app.observations, app.subscriptions, app.stations")
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


def test_the_drain_may_look_for_parents_in_tables_that_are_not_served(
    as_role: Callable[..., Any],
) -> None:
    as_role("drain").execute("SELECT name FROM crm.regions")


def test_the_ledger_is_all_that_the_sweep_may_delete_from(as_role: Callable[..., Any]) -> None:
    cursor = as_role("sweep")

    cursor.execute("DELETE FROM decanter.ledger_rest WHERE poured_at < now()")
    cursor.execute("DELETE FROM decanter.rejection WHERE rejected_at < now()")
    with pytest.raises(NO_RIGHT):
        cursor.execute('DELETE FROM "Odd Log%"')
