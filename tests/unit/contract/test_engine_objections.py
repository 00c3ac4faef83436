"""What models need and an engine does not have is told by name, with the cure."""

import re
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import MetaData
from sqlalchemy.dialects import postgresql

from chalicelib.errors import MigrationRefused
from chalicelib.migrate.adapted import adapted, job_of
from chalicelib.postgres.engine import CITUS, DSQL, POSTGRES
from chalicelib.postgres.resources import ModelError
from decanter.contract import engines
from decanter.migration.generation import check_steps
from decanter.migration.statements import Step


def table(*items: Any, **named: Any) -> list[MetaData]:
    metadata = MetaData(info=named.pop("info", {}))
    sa.Table("things", metadata, sa.Column("id", sa.Uuid, primary_key=True), *items, **named)
    return [metadata]


@pytest.mark.parametrize(
    ("items", "sentence"),
    [
        ([sa.Column("a", sa.ARRAY(sa.Text))], "things.a is an array. Use JSONB"),
        ([sa.Column("a", sa.Enum("x", name="kind"))], "things.a is an enum. Use .*native_enum"),
        ([sa.Column("a", postgresql.DOMAIN("cents", sa.Integer))], "things.a has a domain. Use"),
        ([sa.Column("a", postgresql.INET)], "things.a has the type INET. Use text"),
        (
            [sa.Column("a", sa.Numeric)],
            "things.a is a number without a precision, .* Numeric.38, 10",
        ),
        ([sa.Column("a", sa.Text(collation="C"))], "things.a has a collation. Leave it out"),
        ([sa.Column("a", sa.Integer, sa.Identity())], "identity of type INTEGER. Make it a BigInt"),
        ([sa.Column("a", sa.BigInteger, sa.Identity(cache=20))], "cache .* is 20. Make it 1, or"),
        ([sa.Column("a", sa.Integer, sa.Sequence("s"))], "things.a is numbered by a sequence"),
        ([sa.Column("a", sa.Integer, server_default=sa.text("nextval('s')"))], "by a sequence"),
        ([sa.Index("i", "id", postgresql_using="hash")], "index i uses hash. Leave postgresql_us"),
        ([sa.UniqueConstraint("id", name="u", deferrable=True)], "u is deferrable, which only"),
        ([postgresql.ExcludeConstraint(("id", "="), name="e")], "constraint e excludes"),
        ([sa.Column(f"c{n}", sa.Text) for n in range(255)], "256 columns; 255 are the most"),
        ([sa.Index(f"i{n}", "id") for n in range(24)], "24 indexes, .* and that of its key"),
        (
            [
                *(sa.Column(f"u{n}", sa.Integer, unique=True) for n in range(20)),
                *(sa.Index(f"i{n}", "id") for n in range(4)),
            ],
            "24 indexes, those of unique constraints among them, and that of its key",
        ),
        ([sa.Column("a", sa.String(65_536))], r"VARCHAR\(65536\); 65,535 are the most. Use Text"),
        ([sa.Column("a", sa.CHAR(4_097))], r"CHAR\(4097\); 4,096 are the most. Use Text"),
        (
            [sa.Column("a", sa.Text, sa.Computed("id::text", persisted=False))],
            "things.a is computed as it is read. Make it .*persisted=True",
        ),
        (
            [sa.Column("a", sa.Text), sa.Index("i", sa.text("a"), postgresql_ops={"a": "x"})],
            "index i has options. Leave postgresql_ops out",
        ),
        (
            [sa.Index("i", "id", postgresql_with={"fillfactor": 50}, postgresql_tablespace="t")],
            "Leave postgresql_with and postgresql_tablespace out",
        ),
        ([a := sa.Column("a", sa.Text), sa.Index("i", a.desc())], "index i descends. Leave desc"),
    ],
)
def test_dsql_cannot_hold(items: list[Any], sentence: str) -> None:
    models = table(*items)

    [found] = engines.objections(models, "dsql")

    assert re.search(sentence, found)
    assert engines.objections(models, "postgres") == []
    with pytest.raises(ModelError, match=f"DECANTER_ENGINE 'dsql'.*\n- .*{sentence}"):
        engines.check(models, "dsql")


def test_what_dsql_can_hold_just_so_is_not_refused() -> None:
    columns = [sa.Column("a", sa.String(65_535)), sa.Column("b", sa.CHAR(4_096))]
    unique = [sa.Column(f"u{n}", sa.Integer, unique=True) for n in range(23)]

    assert engines.objections(table(*columns, *unique), "dsql") == []


def test_dsql_cannot_hold_tables_of_other_kinds() -> None:
    assert engines.objections(table(prefixes=["UNLOGGED"]), "dsql") == [
        "table things has no log. Leave its prefixes out."
    ]
    assert "partitioned" in str(engines.objections(table(postgresql_partition_by="x"), "dsql"))
    assert "citext" in str(engines.objections(table(info={"extensions": ["citext"]}), "dsql"))
    numbered = MetaData()
    sa.Table("things", numbered, sa.Column("id", sa.BigInteger, primary_key=True))
    assert "things.id is numbered by a sequence" in str(engines.objections([numbered], "dsql"))


def test_dsql_holds_what_it_has() -> None:
    metadata = MetaData()
    sa.Table("parents", metadata, sa.Column("code", sa.String(4), primary_key=True))
    sa.Table(
        "things",
        metadata,
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("other", sa.BigInteger, sa.Identity(cache=65_536)),
        sa.Column("parent", sa.ForeignKey("parents.code", deferrable=True), index=True),
        sa.Column("kind", sa.Enum("a", "b", native_enum=False)),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("made", sa.Integer, sa.Computed("number + 1")),
        *[
            sa.Column(f"c{n}", type_)
            for n, type_ in enumerate(
                (
                    *(sa.SmallInteger, sa.Numeric(8, 2), sa.Float, sa.Double, sa.REAL, sa.CHAR(3)),
                    *(sa.Text, sa.Boolean, sa.Date, sa.Time, sa.Time(True), sa.DateTime, sa.Uuid),
                    *(sa.DateTime(True), sa.Interval, sa.LargeBinary, sa.JSON, postgresql.JSONB),
                    *(postgresql.TIMESTAMP(True, 3), postgresql.INTERVAL(fields="DAY TO SECOND")),
                )
            )
        ],
        sa.CheckConstraint("number > 0"),
        sa.UniqueConstraint("number", "kind"),
    )

    assert engines.objections([metadata], "dsql") == []


@pytest.mark.parametrize(
    ("statement", "taken"),
    [
        (
            'CREATE UNIQUE INDEX "a b" ON ONLY crm.t USING btree (x, lower(y)) WHERE z > 3;',
            ['CREATE UNIQUE INDEX ASYNC "a b" ON crm.t (x, lower(y)) WHERE z > 3'],
        ),
        ("CREATE INDEX CONCURRENTLY i ON t (x)", ["CREATE INDEX ASYNC i ON t (x)"]),
        (
            "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0)",
            [
                "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID",
                "ALTER TABLE ASYNC t VALIDATE CONSTRAINT c",
            ],
        ),
        (
            "ALTER TABLE ONLY t ADD CONSTRAINT u UNIQUE NULLS NOT DISTINCT (a, b)",
            [
                "CREATE UNIQUE INDEX ASYNC u ON t (a, b) NULLS NOT DISTINCT",
                "ALTER TABLE t ADD CONSTRAINT u UNIQUE USING INDEX u",
            ],
        ),
        (
            "ALTER TABLE t ADD COLUMN n numeric(8, 2) DEFAULT 'DEFAULT NOT NULL'::text",
            [
                "ALTER TABLE t ADD COLUMN n numeric(8, 2)",
                "ALTER TABLE t ALTER COLUMN n SET DEFAULT 'DEFAULT NOT NULL'::text",
            ],
        ),
        (
            "CREATE TABLE t (a bigint GENERATED ALWAYS AS IDENTITY, b text DEFAULT 'AS IDENTITY',"
            " c bigint GENERATED BY DEFAULT AS IDENTITY (START WITH 5))",
            [
                "CREATE TABLE t (a bigint GENERATED ALWAYS AS IDENTITY (CACHE 1), b text DEFAULT"
                " 'AS IDENTITY', c bigint GENERATED BY DEFAULT AS IDENTITY (START WITH 5 CACHE 1))"
            ],
        ),
        ("CREATE SEQUENCE s", ["CREATE SEQUENCE s CACHE 1"]),
        ("ALTER TABLE t DROP COLUMN x", ["ALTER TABLE t DROP COLUMN x"]),
        ("ALTER TABLE t ALTER COLUMN x DROP NOT NULL", None),
    ],
)
def test_statements_as_dsql_takes_them(statement: str, taken: list[str] | None) -> None:
    assert adapted(statement, DSQL) == (taken or [statement])
    for engine in (POSTGRES, CITUS):
        assert adapted(statement, engine) == [statement.rstrip(";")]


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("CREATE INDEX g ON t USING gin (x)", "its only indexes are btree"),
        ("ALTER TABLE t ADD CONSTRAINT u UNIQUE (a) DEFERRABLE", "adds no such constraint"),
        ("ALTER TABLE t ADD CONSTRAINT p PRIMARY KEY (a)", "adds no such constraint"),
        ("ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES b", "the constraint needs a name"),
        ("ALTER TABLE t ADD COLUMN n text NOT NULL", "no column with NOT NULL. Add it nullable"),
        ("ALTER TABLE t ALTER COLUMN n TYPE text", "cannot change the type of a column"),
        ("ALTER TABLE t ALTER COLUMN n SET NOT NULL", "cannot change a column to NOT NULL"),
        ("CREATE TABLE t (a int) PARTITION BY RANGE (a)", "has no partitions"),
        ("CREATE TYPE x AS ENUM ()", "has no types of its own"),
        ("CREATE EXTENSION citext", "has no extensions"),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$ $$", "no functions in plpgsql"),
        ("CREATE TRIGGER x AFTER INSERT ON t EXECUTE FUNCTION f()", "has no triggers"),
    ],
)
def test_statements_that_dsql_has_nothing_for(statement: str, sentence: str) -> None:
    with pytest.raises(MigrationRefused, match=f"dsql refuses .*{sentence}"):
        adapted(statement, DSQL)
    with pytest.raises(ModelError, match=f"No revision can be written .*{sentence}"):
        check_steps([Step("COMMENT ON TABLE t IS 'x'"), Step(statement)], "dsql")


def test_the_index_that_a_statement_makes() -> None:
    assert job_of('CREATE UNIQUE INDEX ASYNC "a b" ON crm.t (x)') == ("crm.t", '"a b"')
    assert job_of("ALTER TABLE ASYNC t VALIDATE CONSTRAINT c") is None
