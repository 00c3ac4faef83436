"""Changes of models of every kind: the revision gives the catalog that the models give."""

import os
import subprocess
import sys

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from chalicelib.postgres.resources import ModelError
from decanter import POSTGRES_URL
from decanter.migration.difference import Difference
from decanter.migration.generation import _format, compare, generate
from decanter.migration.revision import write
from tests.kit.databases import create_tables
from tests.kit.project import clone
from tests.kit.revisions import CONVENTION, catalog, downgrade, unlike

C = sa.Column


def key(type_=sa.Integer):
    return C("id", type_, primary_key=True, autoincrement=False)


def both(*more, **options):
    """A table of plain columns and these."""
    names = {item.name for item in more if isinstance(item, sa.Column)}
    plain = [key(), C("a", sa.Text), C("b", sa.Text), C("n", sa.Integer), C("d", pg.JSONB)]
    return [("t", [*(c for c in plain if c.name not in names), *more], options)]


def index(*columns, name="ix", **options):
    return sa.Index(name, *(sa.text(c) if isinstance(c, str) else c for c in columns), **options)


def parent(type_=sa.Integer, *more, **options):
    return ("parent", [key(type_), *more], options)


def cases_in(schema):
    """Functions that return tables before and after, by what changes: name, items and options of
    each."""

    def mood(*labels):
        return pg.ENUM(*labels, name="mood", schema=schema)

    def domain(base=sa.Integer, **options):
        return pg.DOMAIN("small", base, schema=schema, **options)

    def refers(**options):
        return sa.ForeignKeyConstraint(["n"], [f"{schema}.parent.id"], name="fk", **options)

    def moods(*labels):
        """A table that uses an enum in every way."""
        of = mood(*labels)
        return both(
            C("m", of, server_default=labels[0], nullable=False),
            C("ms", pg.ARRAY(of), server_default=sa.text("'{}'")),
            C("md", pg.DOMAIN("kept", of, schema=schema, check=f"VALUE <> '{labels[-1]}'")),
            C("g", sa.Text, sa.Computed(f"CASE WHEN m = '{labels[0]}' THEN a END", persisted=True)),
            sa.CheckConstraint(f"m <> '{labels[1]}' OR n > 0", name="odd"),
            sa.UniqueConstraint("m", "n"),
            index("m", name="plain"),
            index("n", name="part", postgresql_where=sa.text(f"m = '{labels[0]}'")),
        )

    return {
        "primary key": lambda: (
            both(C("k", sa.Integer, nullable=False)),
            both(
                C("id", sa.Integer, nullable=False),
                C("k", sa.Integer, primary_key=True, autoincrement=False),
            ),
        ),
        "primary key, more columns": lambda: (
            both(C("k", sa.Integer, nullable=False)),
            both(C("k", sa.Integer, primary_key=True, autoincrement=False)),
        ),
        "primary key that others refer to": lambda: (
            [parent(), *both(refers())],
            [
                parent(sa.Integer, C("more", sa.Integer, primary_key=True, autoincrement=False)),
                *both(
                    C("more", sa.Integer),
                    sa.ForeignKeyConstraint(
                        ["n", "more"], [f"{schema}.parent.id", f"{schema}.parent.more"], name="fk"
                    ),
                ),
            ],
        ),
        "type of a key that others refer to": lambda: (
            [parent(), *both(refers())],
            [parent(sa.BigInteger), *both(C("n", sa.BigInteger), refers())],
        ),
        "type of a key, without a cast": lambda: (
            [parent(), *both(refers(), index("n"))],
            [parent(sa.Text), *both(C("n", sa.Text), refers(), index("n"))],
        ),
        "check": lambda: (
            both(sa.CheckConstraint("n > 0", name="n")),
            both(sa.CheckConstraint("n > 1", name="n")),
        ),
        "check without a name": lambda: (
            both(sa.CheckConstraint("n > 0")),
            both(sa.CheckConstraint("n > 0 AND id > 0"), sa.CheckConstraint("a <> b")),
        ),
        "check of a column": lambda: (
            both(C("c", sa.Integer, sa.CheckConstraint("c > 0"))),
            both(C("c", sa.Integer, sa.CheckConstraint("c > 0 AND c % 2 = 0"))),
        ),
        "check is gone": lambda: (both(sa.CheckConstraint("n > 0", name="n")), both()),
        "checks of types": lambda: (
            both(),
            both(
                C("yes", sa.Boolean(create_constraint=True, name="yes")),
                C(
                    "kind",
                    sa.Enum("a", "b:c", native_enum=False, create_constraint=True, name="kind"),
                ),
            ),
        ),
        "labels of an enum that is text": lambda: (
            both(C("k", sa.Enum("a", "b", native_enum=False, create_constraint=True, name="k"))),
            both(C("k", sa.Enum("a", "cc", native_enum=False, create_constraint=True, name="k"))),
        ),
        "partial index": lambda: (
            both(index("a", postgresql_where=sa.text("n > 0"))),
            both(index("a", postgresql_where=sa.text("n > 1"))),
        ),
        "indexes of expressions": lambda: (
            both(),
            both(
                index("lower(trim(a))", name="trimmed"),
                index("(d -> 'user' ->> 'id')", name="user"),
                index(
                    "to_tsvector('english', coalesce(a, '') || ' ' || coalesce(b, ''))",
                    name="words",
                    postgresql_using="gin",
                ),
                index('a COLLATE "C"', name="c"),
                index("a text_pattern_ops", "b DESC NULLS LAST", name="ops"),
                index("a", name="more", postgresql_include=["b"], unique=True),
                index("a", "n", name="nulls", unique=True, postgresql_nulls_not_distinct=True),
                index("a", name="with", postgresql_with={"fillfactor": 70}),
                index("d jsonb_path_ops", name="paths", postgresql_using="gin"),
            ),
        ),
        "index of an expression": lambda: (both(index("lower(a)")), both(index("lower(trim(a))"))),
        "index has another table": lambda: (
            [*both(index("a")), ("u", [key(), C("a", sa.Text)], {})],
            [*both(), ("u", [key(), C("a", sa.Text), index("a")], {})],
        ),
        "index becomes a constraint": lambda: (
            both(index("a", name="one", unique=True)),
            both(sa.UniqueConstraint("a", name="one")),
        ),
        "constraint becomes an index": lambda: (
            both(sa.UniqueConstraint("a", name="one")),
            both(index("a", name="one", unique=True)),
        ),
        "index is gone": lambda: (both(index("a")), both()),
        "generated": lambda: (
            both(C("g", sa.Text, sa.Computed("a || b", persisted=True)), index("g")),
            both(C("g", sa.Text, sa.Computed("b || a", persisted=True)), index("g")),
        ),
        "generated, of a column that changes": lambda: (
            both(C("g", sa.Text, sa.Computed("a || b", persisted=True))),
            both(C("a", sa.String(9)), C("g", sa.Text, sa.Computed("a || b", persisted=True))),
        ),
        "generated no more": lambda: (
            both(C("g", sa.Text, sa.Computed("a", persisted=True))),
            both(C("g", sa.Text)),
        ),
        "computed no more": lambda: (
            both(C("g", sa.Text, sa.Computed("a", persisted=False))),
            both(C("g", sa.Text)),
        ),
        "generated from now on": lambda: (
            both(C("g", sa.Text)),
            both(C("g", sa.Text, sa.Computed("a"))),
        ),
        "stored from now on": lambda: (
            both(C("g", sa.Text, sa.Computed("a", persisted=False))),
            both(C("g", sa.Text, sa.Computed("a", persisted=True))),
        ),
        "exclusion": lambda: (
            both(C("r", pg.INT4RANGE), pg.ExcludeConstraint(("r", "&&"), name="x")),
            both(
                C("r", pg.INT4RANGE),
                pg.ExcludeConstraint(("r", "&&"), name="x", where=sa.text("n > 0"), using="gist"),
                pg.ExcludeConstraint((sa.text("int4range(id, n)"), "&&"), name="y", using="gist"),
            ),
        ),
        "exclusion's operator": lambda: (
            both(pg.ExcludeConstraint(("a", "="), name="x", using="btree")),
            both(
                pg.ExcludeConstraint(
                    ("a", "="), name="x", using="btree", ops={"a": "text_pattern_ops"}
                )
            ),
        ),
        "domain's check": lambda: (
            both(C("v", domain(check="VALUE > 0"))),
            both(C("v", domain(check="VALUE > 1", default="7", not_null=True))),
        ),
        "domain of arrays becomes stricter": lambda: (
            both(C("vs", pg.ARRAY(domain(check="VALUE > 0")))),
            both(C("vs", pg.ARRAY(domain(check="VALUE > 1", not_null=True)))),
        ),
        "domain's check is gone": lambda: (
            both(C("v", domain(check="VALUE > 0"))),
            both(C("v", domain())),
        ),
        "domain's base": lambda: (
            both(C("v", domain(check="VALUE > 0")), C("vs", pg.ARRAY(domain(check="VALUE > 0")))),
            both(
                C("v", domain(sa.BigInteger, check="VALUE > 0")),
                C("vs", pg.ARRAY(domain(sa.BigInteger, check="VALUE > 0"))),
            ),
        ),
        "domain's default": lambda: (
            both(C("v", domain(default="3", not_null=True)), index("v")),
            both(C("v", domain(default="4")), index("v")),
        ),
        "label in use is gone": lambda: (moods("a", "b", "c", "d"), moods("a", "b", "d")),
        "first label is gone": lambda: (moods("a", "b", "c"), moods("c", "b", "a:x")),
        "label is new": lambda: (moods("a", "b", "c"), moods("a", "b", "new", "c")),
        "enum becomes a domain": lambda: (
            both(C("m", mood("a", "b"))),
            both(C("m", pg.DOMAIN("kind", sa.Text, schema=schema))),
        ),
        "foreign key": lambda: (
            [parent(), *both(refers())],
            [parent(), *both(refers(ondelete="CASCADE", deferrable=True, initially="DEFERRED"))],
        ),
        "unique": lambda: (
            both(sa.UniqueConstraint("a", name="u")),
            both(
                sa.UniqueConstraint(
                    "a",
                    name="u",
                    postgresql_nulls_not_distinct=True,
                    postgresql_include=["b"],
                )
            ),
        ),
        "name of a constraint": lambda: (
            both(
                sa.UniqueConstraint("a", name="u"),
                sa.CheckConstraint("n > 0", name="p"),
                index("b"),
            ),
            both(
                sa.UniqueConstraint("a", name="v"),
                sa.CheckConstraint("n > 0", name="q"),
                index("b", name="iy"),
            ),
        ),
        "options of a table": lambda: (
            both(postgresql_with={"fillfactor": 80}),
            both(postgresql_with={"fillfactor": 70, "autovacuum_enabled": False}),
        ),
        "unlogged": lambda: (both(), both(prefixes=["UNLOGGED"])),
        "identity": lambda: (
            both(C("i", sa.Integer, sa.Identity())),
            both(C("i", sa.Integer, sa.Identity(always=True, start=5, increment=2, cycle=True))),
        ),
        "identity's bounds": lambda: (
            both(
                C("i", sa.Integer, sa.Identity()),
                C("j", sa.Integer, sa.Identity()),
                C("k", sa.Integer, nullable=False),
                C("s", sa.Integer, sa.Sequence("bounds", schema=schema)),
            ),
            both(
                C("i", sa.Integer, sa.Identity(start=1000, minvalue=1000)),
                C("j", sa.Integer, sa.Identity(increment=-1)),
                C("k", sa.Integer, sa.Identity(increment=-1)),
                C("s", sa.Integer, sa.Sequence("bounds", schema=schema, start=50, minvalue=50)),
            ),
        ),
        "identity, type": lambda: (
            both(C("i", sa.Integer, sa.Identity())),
            both(C("i", sa.BigInteger, sa.Identity())),
        ),
        "identity from now on": lambda: (
            both(C("i", sa.Integer, nullable=False)),
            both(C("i", sa.Integer, sa.Identity())),
        ),
        "identity no more": lambda: (
            both(C("i", sa.Integer, sa.Identity())),
            both(C("i", sa.Integer, nullable=False)),
        ),
        "identity becomes serial": lambda: (
            [("t", [C("id", sa.Integer, sa.Identity(), primary_key=True)], {})],
            [("t", [C("id", sa.Integer, primary_key=True)], {})],
        ),
        "serial becomes identity": lambda: (
            [("t", [C("id", sa.Integer, primary_key=True)], {})],
            [("t", [C("id", sa.BigInteger, sa.Identity(), primary_key=True)], {})],
        ),
        "serial becomes bigger": lambda: (
            [("t", [C("id", sa.Integer, primary_key=True)], {})],
            [("t", [C("id", sa.BigInteger, primary_key=True)], {})],
        ),
        "sequence": lambda: (
            both(C("s", sa.Integer, sa.Sequence("numbers", schema=schema, start=3))),
            both(C("s", sa.Integer, sa.Sequence("numbers", schema=schema, start=4, increment=5))),
        ),
        "collation": lambda: (
            both(C("c", sa.Text)),
            both(C("c", sa.Text(collation="C")), index("c")),
        ),
        "types with a cast": lambda: (
            both(C("x", sa.Text), C("y", sa.Text, server_default="7"), C("z", sa.Integer)),
            both(
                C("x", sa.Integer),
                C("y", sa.Integer, server_default="8"),
                C("z", sa.Boolean, server_default=sa.false()),
            ),
        ),
        "types through text": lambda: (
            both(C("x", sa.Integer), C("y", sa.Text), C("z", mood("a", "b"), server_default="a")),
            both(C("x", sa.Uuid), C("y", mood("a", "b")), C("z", sa.String(9), server_default="b")),
        ),
        "array from now on": lambda: (both(C("x", sa.Text)), both(C("x", pg.ARRAY(sa.Text)))),
        "type with a check that no longer fits": lambda: (
            both(C("x", sa.Text), sa.CheckConstraint("x <> ''", name="x"), index("lower(x)")),
            both(C("x", sa.Integer), sa.CheckConstraint("x > 0", name="x"), index("abs(x)")),
        ),
        "default": lambda: (
            both(
                C("x", sa.Text, server_default="a:b 100% 'quoted' \\:c \\ \\: :d"), C("y", sa.Uuid)
            ),
            both(
                C("x", sa.Text, server_default="\\:c ::d %s %(x)s\n\t\x01"),
                C("y", sa.Uuid, server_default=sa.func.gen_random_uuid()),
            ),
        ),
        "default is gone": lambda: (
            both(C("x", sa.Text, server_default="")),
            both(C("x", sa.Text)),
        ),
        "null": lambda: (
            both(C("x", sa.Text, nullable=False)),
            both(C("n", sa.Integer, nullable=False), C("x", sa.Text)),
        ),
        "comments": lambda: (
            both(C("x", sa.Text, comment="it's"), comment="a table"),
            both(
                C("x", sa.Text, comment="\\ other\nlines"),
                C("y", mood("a"), comment="new"),
                sa.CheckConstraint("n > 0", name="n", comment="so it is"),
            ),
        ),
        "partitioned": lambda: (
            [],
            [
                (
                    "t",
                    [key(), C("x", sa.Text), index("x")],
                    {"postgresql_partition_by": "RANGE (id)"},
                )
            ],
        ),
        "columns": lambda: (
            both(C("x", sa.Text), C("y", sa.Text)),
            both(C("z", sa.Text), index("z")),
        ),
        "column with what is on it": lambda: (
            both(
                C("x", sa.Text),
                sa.UniqueConstraint("x"),
                index("x", "a"),
                C("g", sa.Text, sa.Computed("x")),
            ),
            both(),
        ),
        "circle": lambda: (
            [],
            [
                ("a", [key(), C("b", sa.ForeignKey(f"{schema}.b.id", name="ab"))], {}),
                ("b", [key(), C("a", sa.ForeignKey(f"{schema}.a.id", name="ba"))], {}),
            ],
        ),
        "odd names": lambda: (
            [],
            [
                (
                    'Select "all"%',
                    [
                        C("a key:b", sa.Integer, sa.Identity(), primary_key=True),
                        C("user", sa.Text),
                        C('quo"ted', mood("50%", ":half"), server_default=":half"),
                        sa.CheckConstraint("\"user\" <> ':x' AND \"user\" LIKE 'a%'", name="a:b%c"),
                        index('"user"', name="table"),
                        index('lower("user")', name='odd ON "name USING'),
                    ],
                    {"comment": "100% :odd"},
                )
            ],
        ),
        "to another schema": lambda: (
            [("t", [key(), C("m", mood("a"))], {})],
            [("t", [key(), C("m", pg.ENUM("a", name="mood", schema=f"{schema} too"))], {})],
        ),
    }


CASES = tuple(cases_in("no schema"))


def schema_of(name):
    return f"case {CASES.index(name)}"


def models(names, step):
    """MetaData with the tables of these cases, each in a schema of its own."""
    metadata = sa.MetaData(naming_convention=CONVENTION)
    for name in names:
        schema = schema_of(name)
        for table, items, options in cases_in(schema)[name]()[step]:
            sa.Table(table, metadata, *items, schema=schema, **options)
    return metadata


@pytest.mark.parametrize("names", [CASES], ids=["all"])
def test_a_revision_gives_the_catalog_that_the_models_give(new_database, folder, apply, names):
    url = new_database()
    generate([models(names, 0)], "before", url, folder)
    before, created = new_database(), new_database()
    create_tables(before, models(names, 0))
    create_tables(created, models(names, 1))
    migrated = new_database()
    apply(migrated)
    assert unlike(catalog(migrated), catalog(before)) == {}

    change = compare([models(names, 1)], new_database(), folder)
    assert change.one_way == ""
    write(change, "after", folder)
    apply(migrated)

    now = catalog(migrated)
    left = now.keys() - catalog(created).keys()
    assert {key[0] for key in left} <= {"type", "domain check", "sequence"}
    assert unlike({key: now[key] for key in now.keys() - left}, catalog(created)) == {}
    assert not compare([models(names, 1)], new_database(), folder).upgrade
    downgrade(migrated, folder, "models@0001")
    assert unlike(catalog(migrated), catalog(before)) == {}


BY_HAND = """
    CREATE TABLE p1 PARTITION OF t FOR VALUES FROM (1) TO (9);
    CREATE INDEX of_p1 ON p1 (n);
    ALTER TABLE p1 ADD CHECK (n < 99);
    CREATE TABLE p2 (LIKE t);
    ALTER TABLE t ATTACH PARTITION p2 DEFAULT;
    CREATE TABLE theirs (id serial PRIMARY KEY, n integer UNIQUE);
    CREATE INDEX by_hand ON t (n);
    ALTER TABLE t ADD CONSTRAINT by_hand CHECK (n > 0), ADD COLUMN extra text NOT NULL;
    CREATE TYPE odd AS ENUM ('a');
    CREATE SEQUENCE lonely;
    CREATE VIEW seen AS SELECT n, a FROM t;
    CREATE SCHEMA archive;
    CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
    CREATE TRIGGER stop BEFORE UPDATE OF n ON t FOR EACH ROW EXECUTE FUNCTION stop();
    COMMENT ON VIEW seen IS 'theirs';
    CREATE VIEW safe WITH (security_invoker = true, security_barrier = true) AS
        SELECT n FROM t WHERE n > 0 WITH LOCAL CHECK OPTION;
    CREATE TRIGGER stop INSTEAD OF UPDATE ON seen FOR EACH ROW EXECUTE FUNCTION stop();
    CREATE MATERIALIZED VIEW sums WITH (fillfactor = 50) AS SELECT n, count(*) FROM t GROUP BY n;
    CREATE UNIQUE INDEX of_sums ON sums (n)
"""


def test_what_is_not_in_the_models_is_left_alone_and_reported(new_database, folder, apply):
    def table(*more):
        metadata = sa.MetaData()
        options = {"postgresql_partition_by": "RANGE (id)"}
        columns = [key(), C("n", sa.Integer), C("a", sa.Text), C("b", sa.Text)]
        names = {item.name for item in more if isinstance(item, sa.Column)}
        sa.Table("t", metadata, *(c for c in columns if c.name not in names), *more, **options)
        return metadata

    first = generate([table()], "first", new_database(), folder)
    first.write_text(
        first.read_text().replace(
            "def downgrade", f'    op.execute("""{BY_HAND}""")\n\n\ndef downgrade'
        )
    )

    change = compare([table()], new_database(), folder)
    assert [step.sql for step in change.upgrade] == [
        "ALTER TABLE t ALTER COLUMN extra DROP NOT NULL"
    ]
    assert set(change.left) == {
        "column t.extra", "constraint by_hand of t", "function stop()", "index by_hand",
        "schema archive", "sequence lonely", "table theirs", "trigger stop of t", "type odd",
        "view safe", "view seen", "view sums",
    }  # fmt: skip
    write(change, "relaxed", folder)

    # Whatever becomes of the models, it stays: what depends on a column goes and comes back.
    after = table(
        C("n", sa.BigInteger, server_default="5"),
        C("c", sa.Text),
        index("n", name="ours"),
        sa.CheckConstraint("n < 1000", name="ours"),
    )
    after.tables["t"]._columns.remove(after.tables["t"].c.a)
    again = compare([after], new_database(), folder)
    assert again.left.keys() == change.left.keys() | {"column t.a"}  # the view needs it
    assert again.dropped == ()
    write(again, "more", folder)
    url = new_database()
    apply(url)
    told = compare([after], new_database(), folder)
    assert (told.upgrade, told.left) == ((), again.left)
    before = {key: thing for key, thing in catalog(url).items() if key[0] != "column"}
    downgrade(url, folder, "models@0002")
    assert before.keys() - catalog(url).keys() == {
        ("constraint", "t", "ours"), ("index", "ours"), ("default", "t", "n"),
    }  # fmt: skip

    with pytest.raises(ModelError, match=r"column t\.a cannot be dropped: view seen would be"):
        compare([after], new_database(), folder, drop=["t.a"])
    with pytest.raises(ModelError, match="nothing cannot be dropped: it is in the models, or"):
        compare([after], new_database(), folder, drop=["nothing"])
    gone = compare([after], new_database(), folder, drop=["view seen", "t.a", "theirs", "t.extra"])
    assert gone.dropped == ("column t.a", "column t.extra", "table theirs")
    assert "table theirs" not in gone.left


def test_what_a_partition_had_before_its_table_becomes_part_of_that(new_database, folder, apply):
    def table(*more):
        metadata = sa.MetaData()
        options = {"postgresql_partition_by": "RANGE (id)"}
        sa.Table("t", metadata, key(), C("n", sa.Integer), *more, **options)
        return metadata

    first = generate([table()], "first", new_database(), folder)
    by_hand = """
        CREATE TABLE p PARTITION OF t FOR VALUES FROM (1) TO (9);
        CREATE INDEX by_hand ON p (n);
        ALTER TABLE p ADD CONSTRAINT checked CHECK (n > 0), ADD CONSTRAINT one UNIQUE (id, n)
    """
    first.write_text(
        first.read_text().replace(
            "def downgrade", f'    op.execute("""{by_hand}""")\n\n\ndef downgrade'
        )
    )
    after = table(
        index("n"), sa.CheckConstraint("n > 0", name="checked"), sa.UniqueConstraint("id", "n")
    )

    assert generate([after], "second", new_database(), folder) is not None
    apply(new_database())
    assert compare([after], new_database(), folder) == Difference()


ALEMBIC = """
from alembic import op
import sqlalchemy as sa
revision, down_revision, branch_labels, depends_on = "0001", None, ("models",), None

def upgrade() -> None:
    # ### commands auto generated by Alembic - please adjust! ###
    op.create_table("t",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("n", sa.Integer(), sa.Identity(), nullable=False),
        sa.Column("kind", sa.String(9), server_default="a"),
        sa.Column("gone", sa.Text(), server_default="x"),
        sa.CheckConstraint("kind IN ('a', 'b')", name="kind"),
        sa.CheckConstraint("n > 0", name=op.f("old")),
        sa.PrimaryKeyConstraint("id"))
    # ### end Alembic commands ###
    op.execute("ALTER TABLE t ADD CONSTRAINT by_hand CHECK (n > 1)")
"""


def test_revisions_that_alembic_wrote_are_understood(new_database, folder):
    (folder / "versions" / "models" / "0001_old.py").write_text(ALEMBIC)
    metadata = sa.MetaData()
    kind = sa.Enum("a", "b", native_enum=False, create_constraint=True, name="kind", length=9)
    sa.Table(
        "t", metadata, key(), C("kind", kind, server_default="a"), C("n", sa.Integer, sa.Identity())
    )

    change = compare([metadata], new_database(), folder)

    assert [step.sql for step in change.upgrade] == [
        "ALTER TABLE t DROP CONSTRAINT old",
        "ALTER TABLE t DROP COLUMN gone",
    ]
    assert change.dropped == ("column t.gone",)
    assert set(change.left) == {"constraint by_hand of t"}


def test_what_the_database_is_to_fill_and_types_that_others_make_are_no_difference(
    new_database, folder
):
    metadata = sa.MetaData()
    mood = pg.ENUM("a", "b", name="mood", create_type=False)
    sa.Table("t", metadata, key(), C("m", mood), C("f", sa.Text, server_default=sa.FetchedValue()))
    first = generate([metadata], "first", new_database(), folder)
    text = first.read_text()
    assert "CREATE TYPE mood" in text
    first.write_text(text.replace("f text", "f text DEFAULT now()::text"))

    assert compare([metadata], new_database(), folder) == Difference()


def test_extensions_are_made_by_revisions(new_database, folder, apply):
    class Vector(sa.types.UserDefinedType):
        cache_ok = True

        def get_col_spec(self, **_):
            return "vector(3)"

    metadata, without = sa.MetaData(), sa.MetaData()
    sa.Table(
        "t", metadata, key(), C("v", Vector), index("v vector_l2_ops", postgresql_using="hnsw")
    )
    sa.Table("t", without, key())

    generate([metadata], "first", new_database(), folder)
    apply(new_database())

    assert compare([metadata], new_database(), folder) == Difference()
    change = compare([without], new_database(), folder)
    assert change.left == {"extension vector": "DROP EXTENSION vector"}
    assert change.dropped == ("column t.v",)


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (sa.CheckConstraint("n >", name="bad"), r"CREATE TABLE t\nsyntax error(.|\n)*bad"),
        (sa.CheckConstraint("nosuch > 1"), r'CREATE TABLE t\ncolumn "nosuch" does not exist'),
        (index("nosuch(a)"), r"CREATE INDEX ix ON t(.|\n)*function nosuch\(text\) does not exist"),
        (C("x", sa.types.NullType()), r"SQLAlchemy cannot(.|\n)*table 't', column 'x'"),
        (C("x", sa.ForeignKey("nosuch.id")), r"SQLAlchemy cannot(.|\n)*'t.x'.*'nosuch'"),
        (C("x", sa.Text, server_default=sa.text("a")), r"CREATE TABLE t\ncannot use column"),
    ],
)
def test_models_that_cannot_be_created_are_reported_by_name(new_database, folder, item, said):
    metadata = sa.MetaData()
    sa.Table("t", metadata, key(), C("n", sa.Integer), C("a", sa.Text), item)

    with pytest.raises(ModelError, match=said) as error:
        generate([metadata], "bad", new_database(), folder)
    assert "Correct it there." in str(error.value)
    assert not list((folder / "versions" / "models").glob("*.py"))


def test_what_no_statement_changes_is_reported_with_what_to_write(new_database, folder):
    generate([models(["partitioned"], 1)], "first", new_database(), folder)
    metadata = models(["partitioned"], 1)
    (table,) = metadata.tables.values()
    table.dialect_options["postgresql"]["partition_by"] = "HASH (id)"

    with pytest.raises(ModelError, match=r"t is partitioned by RANGE \(id\) and .* HASH \(id\)"):
        generate([metadata], "second", new_database(), folder)
    table.dialect_options["postgresql"]["partition_by"] = "RANGE (id)"
    table.c.id.type = sa.BigInteger()
    with pytest.raises(ModelError, match=r"part of the partition key(.|\n)*Write a revision that"):
        generate([metadata], "second", new_database(), folder)


MODELS = """
import sqlalchemy as sa

metadata = sa.MetaData()
sa.Table("ours", metadata, sa.Column("id", sa.Integer, primary_key=True))
"""


def test_make_migration_tells_what_it_leaves_and_drops_what_is_named(tmp_path, postgres):
    project = clone(tmp_path / "project", "tests")
    (project / "chalicelib" / "models.py").write_text(MODELS)
    folder = project / "chalicelib" / "migrations" / "versions" / "models"
    first = folder / "0001_sample.py"  # as if it were the user's own
    first.write_text(first.read_text().replace('revision = "sample"', 'revision = "0001"'))

    env = {**os.environ, POSTGRES_URL: postgres.url()}

    def run(*arguments):
        command = [sys.executable, "-m", "decanter", "migration", *arguments]
        done = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    told = run("our", "own")
    assert told.startswith("chalicelib/migrations/versions/models/0002_our_own.py written.")
    assert "- table observations\n- table stations\n- table subscriptions\nTo drop them" in told
    assert "DROP" not in (folder / "0002_our_own.py").read_text().split("def downgrade")[0]
    told = run("--drop", "stations, observations, subscriptions")
    assert "It drops table stations with its data." in told
    assert "Not in the models" not in told
    assert run() == "The revisions already match the models; nothing was written.\n"


def test_a_revision_is_formatted_as_the_project_is(new_database, folder):
    written = generate([models(CASES, 1)], "all", new_database(), folder)

    _format(written)

    for arguments in (["format", "--check"], ["check"]):
        subprocess.run([sys.executable, "-m", "ruff", *arguments, str(written)], check=True)
