"""Revisions: written from models, applied by migrate, for schemas that are not the sample's."""

import ast
import shutil
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.util import CommandError
from sqlalchemy.dialects import postgresql as pg

from chalicelib import models
from chalicelib.errors import LockNotAvailable
from chalicelib.migrate import handler
from chalicelib.migrate.connection import locked
from chalicelib.migrate.handler import FOLDER, upgrade
from chalicelib.postgres.resources import metadatas
from decanter.migration.generation import compare, generate
from decanter.migration.revision import write
from tests.kit.databases import LEDGER_REVISIONS, create_tables, execute
from tests.kit.revisions import downgrade
from tests.kit.waiting import until

SNAPSHOT = """
    SELECT table_schema, table_name, column_name, ordinal_position, column_default, is_nullable,
        data_type, udt_schema, udt_name, numeric_precision, numeric_scale, datetime_precision,
        character_maximum_length, is_identity, identity_generation, is_generated,
        generation_expression, domain_schema, domain_name
    FROM information_schema.columns
    WHERE table_schema NOT IN ('pg_catalog', 'information_schema', 'decanter')
    ORDER BY 1, 2, 3
"""


class Text(sa.TypeDecorator):
    impl = sa.Text
    cache_ok = True


def shop(moods=("calm", "it's:odd"), *, with_notes=True, more=()):
    """Tables that use what Postgres has: other schemas, enums, domains, generated columns, ..."""
    metadata = sa.MetaData(naming_convention=models.Base.metadata.naming_convention)
    mood = pg.ENUM(*moods, name="mood", schema="types")
    cents = pg.DOMAIN("cents", sa.Numeric(12, 2), schema="types", check="VALUE >= 0", not_null=True)
    sa.Table(
        "customers",
        metadata,
        sa.Column("region", sa.String(2, collation="C"), primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("mood", mood, nullable=False, server_default=moods[0]),
        sa.Column("moods", pg.ARRAY(mood), server_default=sa.text("'{}'")),
        sa.Column("first", Text, nullable=False),
        sa.Column("last", sa.Text, nullable=False),
        sa.Column("both", sa.Text, sa.Computed("first || ' ' || last", persisted=True)),
        sa.Column("since", sa.DateTime(timezone=True), server_default=sa.func.now()),
        sa.Column("at", pg.TIMESTAMP(precision=3), comment="when, to the millisecond"),
        sa.Column("options", pg.JSONB, server_default="{}"),
        sa.Column("raw", sa.JSON, server_default="[]"),
        sa.Column("token", sa.Uuid, server_default=sa.func.gen_random_uuid()),
        sa.Column("span", pg.TSTZRANGE),
        sa.Column("address", pg.INET),
        sa.Column("flags", pg.BIT(3)),
        sa.Column("grid", sa.ARRAY(sa.Integer, dimensions=2)),
        sa.Column("kind", sa.Enum("a", "b", name="kind", native_enum=False), server_default="a"),
        sa.CheckConstraint("number > 0", name="positive"),
        sa.UniqueConstraint("first", "last"),
        sa.Index(None, "last", postgresql_where=sa.text("mood IS NOT NULL")),
        schema="crm",
        comment="Who buys.",
    )
    sa.Table(
        "orders",
        metadata,
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("code", sa.Integer, sa.Sequence("codes", schema="crm")),
        sa.Column("region", sa.String(2)),
        sa.Column("customer", sa.BigInteger),
        sa.Column("total", cents),
        sa.Column("parent", sa.ForeignKey("orders.id", ondelete="CASCADE")),
        sa.ForeignKeyConstraint(
            ["region", "customer"], ["crm.customers.region", "crm.customers.number"]
        ),
    )
    if with_notes:
        sa.Table(
            "Odd Notes%",
            metadata,
            sa.Column("a key", sa.Integer, sa.Identity(), primary_key=True),
            sa.Column("note:text", sa.Text, server_default="a:b 100% 'quoted'"),
            sa.Column("amount", sa.Numeric, server_default="1.5"),
            sa.Column("per%cent", pg.ENUM("50%", ":half", name="per%cent", schema="odd %schema")),
            *more,
        )
    return metadata


def test_the_revisions_bring_a_database_to_the_models(new_database):
    assert generate(metadatas(models), "nothing", new_database()) is None


def test_a_message_is_free_to_have_quotes_and_backslashes(new_database, folder, apply):
    metadata = sa.MetaData()
    sa.Table("lots", metadata, sa.Column("id", sa.Integer, primary_key=True))
    change = compare([metadata], new_database(), folder)
    message = 'to """x"" of \\N{x} \\'

    path = write(change, message, folder)

    assert path is not None
    assert ast.get_docstring(ast.parse(path.read_text())) == message
    assert path.name == "0001_to_x_of_n_x.py"
    apply(new_database())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (False, sa.Identity),
        (False, True),
        (sa.Identity, True),
        (sa.Identity, partial(sa.Identity, increment=-1)),
    ],
)
def test_a_key_that_the_database_makes_from_now_on_is_a_free_one(
    new_database, folder, apply, before, after
):
    def lots(made):
        items = [made()] if callable(made) else []
        metadata = sa.MetaData()
        key = sa.Column("id", sa.Integer, *items, primary_key=True, autoincrement=bool(made))
        sa.Table("lots", metadata, key)
        return [metadata]

    url = new_database()
    generate(lots(before), "before", new_database(), folder)
    apply(url)
    execute(url, "INSERT INTO public.lots SELECT generate_series(1, 5)")
    generate(lots(after), "after", new_database(), folder)
    apply(url)

    execute(url, "INSERT INTO public.lots DEFAULT VALUES")


def test_checks_that_have_no_name_are_no_difference(new_database, folder):
    metadata = sa.MetaData()
    sa.Table(
        "lots",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("quantity", sa.Integer),
        sa.CheckConstraint("quantity >= 0"),
        sa.CheckConstraint("quantity <> id"),
        schema="stock",
    )

    assert generate([metadata], "lots", new_database(), folder) is not None
    assert generate([metadata], "nothing", new_database(), folder) is None

    lots = metadata.tables["stock.lots"]
    lots.constraints -= {c for c in lots.constraints if isinstance(c, sa.CheckConstraint)}
    written = generate([metadata], "no checks", new_database(), folder)
    assert written is not None
    assert written.read_text().count("DROP CONSTRAINT") == 2


def test_a_schema_comes_out_of_its_revision_as_it_is_in_the_models(new_database, folder, apply):
    metadata = shop()

    written = generate([metadata], "the whole shop", new_database(), folder)
    migrated, created = new_database(), new_database()
    outcome = apply(migrated)
    create_tables(created, metadata)

    assert written.name == "0001_the_whole_shop.py"
    assert outcome["revisions"] == ["0001", LEDGER_REVISIONS[-1]]
    assert sorted(outcome["applied"]) == ["0001", *LEDGER_REVISIONS]
    assert execute(migrated, SNAPSHOT) == execute(created, SNAPSHOT)


def test_a_second_comparison_finds_no_difference_and_writes_nothing(new_database, folder):
    generate([shop()], "first", new_database(), folder)

    assert generate([shop()], "second", new_database(), folder) is None
    assert len(list((folder / "versions" / "models").glob("*.py"))) == 1


def test_revisions_are_numbered_and_need_nothing_of_the_command_line(new_database, folder):
    generate([shop(with_notes=False)], "first", new_database(), folder)

    second = generate([shop()], "notes", new_database(), folder)

    assert second.name == "0002_notes.py"
    text = second.read_text() + (folder / "versions" / "models" / "0001_first.py").read_text()
    assert "import decanter" not in text
    assert "from decanter" not in text
    assert "test_migrations" not in text


@pytest.mark.parametrize(
    ("number", "said"),
    [
        ("0002", "0002_ours.py and 0002_theirs.py are both revision 0002"),
        ("0003", "0002_ours.py and 0003_theirs.py are both the last revision"),
    ],
)
def test_revisions_of_two_people_are_distinguished(new_database, folder, number, said):
    versions = folder / "versions" / "models"
    generate([sample_table()], "first", new_database(), folder)
    for name, revision in (("ours", "0002"), ("theirs", number)):
        (versions / f"{revision}_{name}.py").write_text(
            f'revision = "{revision}"\ndown_revision = "0001"\ndef upgrade(): pass\n'
        )

    with pytest.raises(CommandError, match=f"{said}.*next number"):
        generate([sample_table()], "more", new_database(), folder)


def test_a_revision_that_follows_nothing_is_reported(new_database, folder):
    generate([sample_table()], "first", new_database(), folder)
    first = next((folder / "versions" / "models").glob("0001*.py"))
    text = first.read_text()
    assert "down_revision = None" in text
    first.write_text(text.replace("down_revision = None", 'down_revision = "gone"'))

    with pytest.raises(CommandError, match=r"gone.*not present\. Restore its file"):
        generate([sample_table()], "more", new_database(), folder)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (("a", "b"), ("a", "b", "c")),
        (("a", "b"), ("new", "a", "between", "b")),
        (("a", "b"), ("a",)),
        (("a", "b"), ("b", "a")),
        (("a", "b"), ("a", "it's:new")),
    ],
)
def test_labels_of_an_enum_follow_the_models_there_and_back(
    new_database, folder, apply, before, after
):
    labels = "SELECT enum_range(NULL::types.mood)::text[]"
    generate([shop(before)], "first", new_database(), folder)
    url = new_database()
    apply(url)
    execute(
        url, "INSERT INTO crm.customers (region, number, first, last) VALUES ('x', 1, 'y', 'z')"
    )

    generate([shop(after)], "labels", new_database(), folder)
    execute(
        url,
        "UPDATE crm.customers SET mood = %s, moods = ARRAY[mood]",
        ("a" if "a" in after else "b",),
    )
    apply(url)

    assert execute(url, labels) == [(list(after),)]
    assert generate([shop(after)], "again", new_database(), folder) is None
    downgrade(url, folder, "models@0001")
    if set(after) - set(before):
        return  # Postgres keeps labels that were added until the type is made anew
    assert execute(url, labels) == [(list(before),)]


def test_what_a_revision_drops_is_reported(new_database, folder):
    first, second = sa.MetaData(), sa.MetaData()
    sa.Table(
        "kept", first, sa.Column("id", sa.Integer, primary_key=True), sa.Column("city", sa.Text)
    )
    sa.Table("gone", first, sa.Column("id", sa.Integer, primary_key=True))
    sa.Table(
        "kept", second, sa.Column("id", sa.Integer, primary_key=True), sa.Column("town", sa.Text)
    )
    generate([first], "first", new_database(), folder)

    change = compare([second], new_database(), folder)

    assert change.dropped == ("column kept.city",)
    assert change.left == {"table gone": "DROP TABLE gone"}
    write(change, "second", folder)
    change = compare([second], new_database(), folder, drop=["gone"])
    assert (change.dropped, change.left) == (("table gone",), {})


def test_the_sample_can_be_replaced_by_other_models(new_database, apply, folder):
    shutil.copytree(
        FOLDER / "versions" / "models", folder / "versions" / "models", dirs_exist_ok=True
    )
    url = new_database()
    apply(url)

    samples = ["stations", "observations", "subscriptions"]
    generate([shop()], "our own", new_database(), folder, drop=samples)
    outcome = apply(url)

    tables = execute(
        url,
        "SELECT schemaname || '.' || tablename FROM pg_tables"
        " WHERE schemaname IN ('public', 'crm') ORDER BY 1",
    )
    assert outcome["applied"] == ["0002"]
    assert tables == [("crm.customers",), ("public.Odd Notes%",), ("public.orders",)]
    assert generate([shop()], "again", new_database(), folder) is None


def test_an_enum_can_be_dropped_and_comes_back_on_downgrade(new_database, folder, apply):
    types = (
        "SELECT typname::text FROM pg_type WHERE typnamespace = 'types'::regnamespace"
        " AND typtype IN ('e', 'd') ORDER BY 1"
    )
    generate([shop()], "first", new_database(), folder)
    url = new_database()
    apply(url)
    everything = ["Odd Notes%", "orders", "crm.customers", "crm.codes", "types.cents",
                  "types.mood", "odd %schema.per%cent"]  # fmt: skip
    generate([sample_table()], "all gone", new_database(), folder, drop=everything)
    apply(url)
    assert execute(url, types) == []

    downgrade(url, folder, "models@0001")

    assert execute(url, types) == [("cents",), ("mood",)]


def sample_table():
    metadata = sa.MetaData()
    sa.Table("one", metadata, sa.Column("id", sa.Integer, primary_key=True))
    return metadata


def test_changes_of_columns_are_found(new_database, folder, apply):
    def before():
        return shop(
            more=[sa.Column("x", sa.String(3)), sa.Column("y", sa.Integer), sa.Column("m", sa.Text)]
        )

    def after():
        return shop(
            more=[
                sa.Column("x", sa.String(5), nullable=False, comment="longer"),
                sa.Column("y", sa.BigInteger, server_default="7"),
                sa.Column("m", pg.ENUM("n", name="letter")),
                sa.CheckConstraint("y > 0", name="y"),
            ]
        )

    generate([before()], "first", new_database(), folder)
    generate([after()], "second", new_database(), folder)
    migrated, created = new_database(), new_database()
    apply(migrated)
    create_tables(created, after())

    assert execute(migrated, SNAPSHOT) == execute(created, SNAPSHOT)
    assert execute(migrated, CHECKS) == execute(created, CHECKS)
    assert generate([after()], "again", new_database(), folder) is None
    downgrade(migrated, folder, "models@0001")


CHECKS = """
    SELECT conname::text, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE contype = 'c' ORDER BY 1
"""


def test_foreign_keys_in_a_circle_are_made_and_dropped(new_database, folder, apply):
    metadata = sa.MetaData()
    for name, other in (("a", "b"), ("b", "c"), ("c", "a")):
        sa.Table(
            name,
            metadata,
            sa.Column("id", sa.Integer, primary_key=True),
            sa.Column("other", sa.ForeignKey(f"{other}.id", name=f"fk_{name}")),
        )
    generate([metadata], "circle", new_database(), folder)
    url = new_database()
    apply(url)
    assert generate([metadata], "again", new_database(), folder) is None

    generate([sample_table()], "gone", new_database(), folder, drop=["a", "b", "c"])
    apply(url)
    downgrade(url, folder, "models@0001")
    apply(url)


def test_upgrade_of_a_current_database_applies_nothing(database_url):
    assert upgrade(database_url)["applied"] == []


def test_two_migrations_at_once_apply_each_revision_once(new_database):
    url = new_database()
    outcomes = []
    threads = [
        threading.Thread(target=lambda: outcomes.append(upgrade(url)["applied"])) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(outcomes) == 4
    assert sorted(revision for applied in outcomes for revision in applied) == sorted(
        upgrade_of_a_fresh(new_database)
    )


def upgrade_of_a_fresh(new_database):
    return upgrade(new_database())["applied"]


def test_a_failing_revision_leaves_those_before_it_and_names_no_password(
    new_database, folder, apply
):
    (folder / "versions" / "models" / "0001_bad.py").write_text(
        "from alembic import op\n"
        "revision, down_revision, depends_on = '0001', None, 'decanter_0001'\n"
        "branch_labels = ('models',)\n"
        "def upgrade():\n    op.execute('CREATE TABLE half ()')\n    op.execute('SELECT 1 / 0')\n"
    )
    url = new_database()
    password = url.split(":")[2].split("@")[0]

    with pytest.raises(sa.exc.DataError) as error:
        apply(url)

    assert password not in str(error.getrepr(style="long"))
    assert execute(url, "SELECT version_num FROM decanter.alembic_version") == [("decanter_0001",)]
    assert execute(url, "SELECT to_regclass('public.half')") == [(None,)]


def test_a_migration_that_cannot_have_its_lock_gives_up(new_database, monkeypatch):
    url = new_database()
    monkeypatch.setattr("chalicelib.migrate.connection._WAIT_FOR_OTHER_MIGRATION", "50ms")

    with locked(url), pytest.raises(LockNotAvailable):
        upgrade(url)


def test_a_migration_whose_function_has_ended_leaves_no_statement_behind(
    new_database,
):
    url = new_database()
    program = (
        "import sys; from chalicelib.migrate import connection\n"
        "with connection.locked(sys.argv[1]) as held:\n"
        "    connection.driver(held).cursor().execute('SELECT pg_sleep(600)')\n"
    )
    sleeping = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE query LIKE 'SELECT pg_sleep%' AND datname = current_database()"
    )
    function = subprocess.Popen([sys.executable, "-c", program, url])
    until(lambda: execute(url, sleeping) == [(1,)])

    function.kill()
    function.wait()

    until(lambda: execute(url, sleeping) == [(0,)])


def test_the_users_tables_stay_out_of_the_ledgers_schema_whatever_the_role_is_called(database_url):
    assert "decanter" in database_url.split("@")[0]
    rows = execute(
        database_url,
        "SELECT tablename::text FROM pg_tables WHERE schemaname = 'decanter' ORDER BY 1",
    )
    assert {name for (name,) in rows} >= {"alembic_version", "ledger", "rejection"}
    assert not {name for (name,) in rows} & {"stations", "observations", "subscriptions"}


def test_a_role_without_create_on_the_database_can_migrate_when_the_schema_exists(
    postgres, new_database
):
    url = new_database()
    execute(url, "CREATE ROLE modest LOGIN PASSWORD 'modest'")
    execute(url, "CREATE SCHEMA decanter AUTHORIZATION modest")
    execute(url, "GRANT CREATE ON SCHEMA public TO modest")
    credentials = url.split("//")[1].split("@")[0]

    outcome = upgrade(url.replace(credentials, "modest:modest"))

    assert LEDGER_REVISIONS[-1] in outcome["revisions"]


def test_the_folder_of_migrations_may_be_read_only_and_have_any_name(
    new_database, folder, tmp_path
):
    odd = tmp_path / "100% odd; name"
    shutil.copytree(folder, odd, ignore=shutil.ignore_patterns("__pycache__"))
    for path in sorted(odd.rglob("*")):
        path.chmod(0o555)
    with locked(new_database()) as connection:
        from alembic import command

        command.upgrade(handler.alembic_config(connection, folder=odd), "heads")


def test_the_folder_is_a_path_beside_the_module():
    assert Path(handler.__file__).parents[1] / "migrations" == FOLDER
