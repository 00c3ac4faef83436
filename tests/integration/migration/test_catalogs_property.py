"""Random models and random changes of them: revisions give the catalogs that the models give.

`make property` tries more of them; DECANTER_EXAMPLES says how many.
"""

import os
import shutil
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects import postgresql as pg

from chalicelib.postgres.resources import ModelError
from decanter.migration.generation import compare
from decanter.migration.revision import write
from tests.kit.databases import create_tables, execute
from tests.kit.revisions import CONVENTION, catalog, downgrade, unlike

EXAMPLES = int(os.environ.get("DECANTER_EXAMPLES", "4"))

LABELS = [("a", "b"), ("a", "b", "c"), ("b", "a"), ("c",), ("a", "n:w", "b")]
DOMAINS: list[dict[str, Any]] = [
    {"data_type": sa.Integer},
    {"data_type": sa.Integer, "check": "VALUE > 0"},
    {"data_type": sa.BigInteger, "check": "VALUE > 1", "default": "7"},
    {"data_type": sa.Text, "not_null": True, "check": "VALUE IN ('a', 'b')"},
    {"data_type": sa.Text, "collation": "C"},
]
# Type and defaults by name; m and d are the enum and the domain as the models have them.
TYPES: dict[str, tuple[Callable[[Any, Any], Any], tuple[Any, ...]]] = {
    "int": (lambda m, d: sa.Integer(), ("1", sa.text("2 * 3"))),
    "bigint": (lambda m, d: sa.BigInteger(), ("1",)),
    "short": (lambda m, d: sa.String(5), ("a", "'s:x")),
    "longer": (lambda m, d: sa.String(9), ("a",)),
    "text": (lambda m, d: sa.Text(), ("a", "50% \\:x")),
    "in C": (lambda m, d: sa.Text(collation="C"), ("a",)),
    "numeric": (lambda m, d: sa.Numeric(8, 2), ("1.5", "-1")),
    "bool": (lambda m, d: sa.Boolean(), (sa.true(),)),
    "at": (lambda m, d: sa.DateTime(timezone=True), (sa.func.now(),)),
    "day": (lambda m, d: sa.Date(), (sa.text("CURRENT_DATE"),)),
    "uuid": (lambda m, d: sa.Uuid(), (sa.func.gen_random_uuid(),)),
    "json": (lambda m, d: pg.JSONB(), ("{}", '{"a": [1]}')),
    "texts": (lambda m, d: pg.ARRAY(sa.Text), (sa.text("'{}'"),)),
    "mood": (lambda m, d: m, ("FIRST",)),
    "moods": (lambda m, d: pg.ARRAY(m), (sa.text("'{}'"),)),
    "domain": (lambda m, d: d, ()),
    "kind": (
        lambda m, d: sa.Enum("x", "y:z", native_enum=False, create_constraint=True, name="kind"),
        ("x",),
    ),
    "range": (lambda m, d: pg.INT4RANGE(), ("[1,2)",)),
}
TABLES = {"t": None, "u": "other", 'Odd "x%': None}
NAMES = ("a", "b", "user", "Per%c:ent")

columns = st.fixed_dictionaries(
    {
        "type": st.sampled_from(list(TYPES)),
        "nullable": st.booleans(),
        "default": st.integers(0, 3),
        "comment": st.sampled_from([None, None, "it's :so"]),
        "special": st.sampled_from(["", "", "", "", "identity", "always", "stored", "virtual"]),
    }
)
tables = st.fixed_dictionaries(
    {
        "columns": st.fixed_dictionaries({name: st.none() | columns for name in NAMES}),
        "key": st.sampled_from(["id", "id", "id a", "a id", "k"]),
        "id": st.sampled_from(["int", "bigint", "text"]),
        "serial": st.booleans(),
        "check": st.sampled_from(["", "id > 0", "id > 1", "id BETWEEN 1 AND 9 OR k IN (1, 2)"]),
        "nameless": st.sampled_from(["", "id <> 0", "k <> 0 AND k IS NOT NULL", "k <> 7"]),
        "unique": st.sampled_from(["", "k", "k id", "k nulls", "k deferred"]),
        "index": st.sampled_from(
            ["", "k", "k unique", "abs(k)", "k DESC", "k WHERE id IS NOT NULL"]
        ),
        "exclude": st.sampled_from(["", "=", "WHERE"]),
        "refers": st.sampled_from(["", "plain", "CASCADE", "deferred"]),
        "comment": st.sampled_from([None, "a table"]),
        "fill": st.sampled_from([None, 70, 80]),
    }
)
models = st.fixed_dictionaries(
    {
        "tables": st.fixed_dictionaries({name: st.none() | tables for name in TABLES}),
        "labels": st.sampled_from(LABELS),
        "domain": st.sampled_from(DOMAINS),
        "convention": st.booleans(),
    }
)


@st.composite
def changed(draw: st.DrawFn, before: Any, other: Any) -> Any:
    """The first with some parts of the second."""
    if isinstance(before, dict) and isinstance(other, dict) and before.keys() == other.keys():
        return {name: draw(changed(before[name], other[name])) for name in before}
    return other if draw(st.integers(0, 2)) == 0 else before


@st.composite
def changes(draw: st.DrawFn) -> tuple[Any, Any]:
    before = draw(models)
    return before, draw(changed(before, draw(models)))


def metadata_of(spec: Any) -> sa.MetaData:
    metadata = sa.MetaData(naming_convention=CONVENTION if spec["convention"] else None)
    mood = pg.ENUM(*spec["labels"], name="mood")
    domain = pg.DOMAIN("small", **spec["domain"], schema="other")
    present = {name: table for name, table in spec["tables"].items() if table is not None}
    present.setdefault("t", {**EMPTY})
    for name, table in present.items():
        sa.Table(
            name,
            metadata,
            *_columns(table, mood, domain),
            *_parts(name, table, present),
            schema=TABLES[name],
            comment=table["comment"],
            postgresql_with={"fillfactor": table["fill"]} if table["fill"] else {},
        )
    return metadata


EMPTY = {
    "columns": {}, "key": "id", "id": "int", "serial": False, "check": "", "nameless": "",
    "unique": "", "index": "", "exclude": "", "refers": "", "comment": None, "fill": None,
}  # fmt: skip


def _columns(table: Any, mood: Any, domain: Any) -> list[sa.Column[Any]]:
    id_, _ = TYPES[table["id"]]
    key = table["key"].split()
    serial = table["serial"] and table["id"] != "text" and key == ["id"]
    found = [
        sa.Column("id", id_(mood, domain), autoincrement=serial, nullable=False),
        sa.Column("k", sa.Integer, nullable="k" not in key),
    ]
    for name, column in table["columns"].items():
        if column is None:
            continue
        make, defaults = TYPES[column["type"]]
        items: list[Any] = []
        default = defaults[column["default"]] if column["default"] < len(defaults) else None
        default = mood.enums[0] if default == "FIRST" else default
        type_ = make(mood, domain)
        if column["type"] == "kind":
            type_.name = f"kind of {name}"
        nullable = column["nullable"]
        special = column["special"]
        if special in ("identity", "always") and column["type"] in ("int", "bigint"):
            items, default, nullable = [sa.Identity(always=special == "always")], None, False
        elif special in ("stored", "virtual") and column["type"] in ("int", "text") and name != "a":
            expression = "k + 1" if column["type"] == "int" else "'v' || k"
            if column["default"] % 2:
                expression = f"coalesce({expression}, {expression})"
            items, default = [sa.Computed(expression, persisted=special == "stored")], None
            nullable = True
        found.append(
            sa.Column(
                name,
                type_,
                *items,
                nullable=nullable and name not in key,
                server_default=default,
                comment=column["comment"],
            )
        )
    for column in found:
        column.primary_key = column.name in key
    return found


def _parts(name: str, table: Any, present: Any) -> list[Any]:
    found: list[Any] = []
    if table["check"] and table["id"] != "text":
        found.append(sa.CheckConstraint(table["check"], name="checked"))
    if table["nameless"] and table["id"] != "text":
        found.append(sa.CheckConstraint(table["nameless"]))
    if table["unique"]:
        names = [name for name in table["unique"].split() if name in ("id", "k")]
        options: dict[str, Any] = {}
        if "nulls" in table["unique"]:
            options = {"postgresql_nulls_not_distinct": True}
        elif "deferred" in table["unique"]:
            options = {"deferrable": True, "initially": "DEFERRED"}
        found.append(sa.UniqueConstraint(*names, **options))
    if table["index"]:
        column, _, where = table["index"].partition(" WHERE ")
        found.append(
            sa.Index(
                f"ix {name}",
                sa.text(column.removesuffix(" unique")),
                unique=column.endswith("unique"),
                postgresql_where=sa.text(where) if where else None,
            )
        )
    parent = present["t"]
    if table["refers"] and (parent["key"], parent["id"] == "text") == ("id", False):
        options = {
            "CASCADE": {"ondelete": "CASCADE"},
            "deferred": {"deferrable": True, "initially": "DEFERRED"},
        }.get(table["refers"], {})
        found.append(sa.ForeignKeyConstraint(["k"], ["t.id"], name=f"refers {name}", **options))
    if table["exclude"]:
        where = sa.text("k > 0") if table["exclude"] == "WHERE" else None
        found.append(
            pg.ExcludeConstraint(("k", "="), using="btree", name=f"excluded {name}", where=where)
        )
    return found


@pytest.fixture
def one_database(new_database, ledger_template) -> Callable[[], str]:
    """The same database at each call, as if it were new; only the ledger is in it."""
    url = new_database(ledger_template)

    def renewed() -> str:
        execute(
            url,
            "DROP SCHEMA public CASCADE; DROP SCHEMA IF EXISTS other CASCADE; CREATE SCHEMA public;"
            "DELETE FROM decanter.alembic_version WHERE version_num NOT LIKE 'decanter%'",
        )
        return url

    return renewed


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate, Phase.shrink] if EXAMPLES > 100 else [Phase.generate],
)
@given(pair=changes())
def test_random_changes_of_random_models_are_followed(pair, one_database, folder, apply):
    for file in (folder / "versions" / "models").glob("*"):
        shutil.rmtree(file) if file.is_dir() else file.unlink()
    before, after = pair
    write(compare([metadata_of(before)], one_database(), folder), "before", folder)
    first = created(one_database(), metadata_of(before))
    wanted = created(one_database(), metadata_of(after))

    drop: list[str] = []
    try:
        change = compare([metadata_of(after)], one_database(), folder)
    except ModelError as error:  # a key that is to change, and a table left that refers to it
        others = str(error).split("is in the way (")[1].split("), drop it")[0]
        drop = [name for name in others.split(", ") if name.startswith("table ")]
        change = compare([metadata_of(after)], one_database(), folder, drop=drop)
    event(f"left: {bool(change.left)}, steps: {min(len(change.upgrade) // 5 * 5, 30)}")
    while change.left:  # the schema last
        drop += change.left
        change = compare([metadata_of(after)], one_database(), folder, drop=drop)
    assert (change.one_way, change.left) == ("", {})
    write(change, "after", folder)
    url = one_database()
    apply(url)

    assert unlike(catalog(url), wanted) == {}
    assert not compare([metadata_of(after)], one_database(), folder).upgrade
    if change.upgrade:
        downgrade(url, folder, "models@0001")
        assert unlike(catalog(url), first) == {}


def created(url: str, metadata: sa.MetaData) -> Any:
    create_tables(url, metadata)
    return catalog(url)
