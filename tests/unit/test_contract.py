"""The contract compiler: models in, OpenAPI 3.1 out."""

import json
import re
import warnings
from decimal import Decimal
from types import SimpleNamespace

import jsonschema_rs
import pytest
import sqlalchemy as sa
from openapi_spec_validator import validate
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from chalicelib import models
from decanter import contract
from decanter.contract.columns import form


def compile_(*tables, descriptions=None):
    """The contract of tables, read back as intake reads it."""
    metadata = sa.MetaData()
    for table in tables:
        name, *items = table
        sa.Table(name, metadata, *items[:-1], **items[-1])
    text = contract.compiled(SimpleNamespace(metadata=metadata))
    return json.loads(text, parse_float=Decimal)


def table(name, *items, **arguments):
    return (name, *items, arguments)


def key(name="id", type_=sa.Integer, **arguments):
    return sa.Column(name, type_, primary_key=True, **arguments)


def validator(document, schema):
    return jsonschema_rs.validator_for(
        {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$ref": f"#/components/schemas/{schema}",
            "components": document["components"],
        },
        validate_formats=True,
    )


EVERY_TYPE = [
    sa.SmallInteger, sa.Integer, sa.BigInteger, sa.Numeric, sa.Numeric(38, 10), sa.Float, sa.Double,
    sa.String, sa.String(5), sa.String(5, collation="nocase"), sa.CHAR(2), sa.Text, sa.Unicode(3),
    sa.Boolean, sa.Date, sa.DateTime, sa.DateTime(timezone=True), sa.Time, sa.Time(timezone=True),
    sa.Interval, sa.Uuid, sa.Uuid(native_uuid=False), sa.LargeBinary, sa.JSON,
    sa.Enum("a", name="e"),
    sa.Enum("a", "b", native_enum=False), sa.ARRAY(sa.Integer), sa.ARRAY(sa.Text, dimensions=3),
    pg.JSONB, pg.HSTORE, pg.CITEXT, pg.INET, pg.CIDR, pg.MACADDR, pg.MACADDR8, pg.MONEY, pg.OID,
    pg.REGCLASS, pg.TSVECTOR, pg.TSQUERY, pg.BIT(3), pg.BIT(varying=True), pg.INTERVAL(precision=3),
    pg.INTERVAL(fields="DAY TO SECOND"), pg.INT4RANGE, pg.INT8MULTIRANGE, pg.NUMRANGE, pg.DATERANGE,
    pg.TSTZRANGE, pg.JSONPATH, pg.TIMESTAMP(precision=3), pg.ARRAY(pg.TSTZRANGE), pg.REAL,
    pg.DOMAIN("d", sa.Integer), pg.ENUM("x", name="f", schema="s"), sa.VARCHAR, sa.REAL,
    sa.Numeric(3),
    pg.ARRAY(pg.ENUM("x", name="f", schema="s")), sa.Text().with_variant(pg.JSONB(), "postgresql"),
]  # fmt: skip


class Geometry(sa.types.UserDefinedType):
    cache_ok = True

    def get_col_spec(self, **_):
        return 'public."odd type"(POINT, 4326)'


class Label(sa.TypeDecorator):
    impl = sa.String(7)
    cache_ok = True


def test_contract_is_current(capsys):
    assert contract.main(["--check"]) == 0, capsys.readouterr().err


def test_check_names_what_is_stale_and_changes_nothing(tmp_path, capsys):
    file = tmp_path / "contract.json"
    contract.main([], file)
    stale = file.read_text().replace('"maxLength": 4', '"maxLength": 5')
    file.write_text(stale)

    assert contract.main(["--check"], file) == 1

    said = capsys.readouterr().err
    assert "contract.json is not what the models say; run: make contract" in said
    assert '-            "maxLength": 5' in said
    assert file.read_text() == stale


def test_the_contract_is_the_same_each_time():
    assert contract.compiled(models) == contract.compiled(models)


def test_the_samples_contract_is_valid_openapi():
    validate(json.loads(contract.compiled(models)))


@pytest.mark.parametrize("type_", [*EVERY_TYPE, Geometry, Label], ids=lambda t: str(t)[:40])
def test_every_type_has_a_form_that_compiles_and_is_valid_openapi(type_):
    document = compile_(
        table("things", key(), sa.Column("a", type_), sa.Column("b", type_, nullable=False))
    )
    validate(json.loads(json.dumps(document, default=float)))
    for schema in document["components"]["schemas"]:
        validator(document, schema)
    create = validator(document, "things.create")
    assert not create.is_valid({"id": 1, "b": None})
    assert not create.is_valid({"id": 1})
    assert document["components"]["schemas"]["things"]["properties"]["a"]["description"]


@pytest.mark.parametrize("type_", EVERY_TYPE, ids=lambda t: str(t)[:40])
def test_patterns_mean_the_same_in_python(type_):
    schema = form(sa.types.to_instance(type_)).write
    if "pattern" in schema:
        re.compile(schema["pattern"])


def test_keys_name_their_kind():
    kinds = {
        sa.Text: "text", sa.String(3, collation="C"): "text", sa.String(collation="ci"): "opaque",
        sa.SmallInteger: "integer", sa.BigInteger: "integer", sa.Numeric(5, 2): "numeric",
        sa.Boolean: "boolean", sa.Uuid: "uuid", sa.DateTime(timezone=True): "timestamptz",
        sa.DateTime: "timestamp", sa.Date: "date", sa.LargeBinary: "bytea",
        sa.Enum("a", name="e"): "enum", sa.Double: "opaque", sa.CHAR(3): "opaque",
        pg.CITEXT: "opaque", pg.INET: "opaque", sa.Interval: "opaque", sa.Time: "opaque",
        pg.DOMAIN("d", sa.Integer): "integer", pg.DOMAIN("c", sa.Text, collation="ci"): "opaque",
        Label: "text", Geometry: "opaque",
    }  # fmt: skip
    columns = [key(f"k{number}", type_) for number, type_ in enumerate(kinds)]
    for number in range(0, len(columns), 8):
        document = compile_(table("t", *columns[number : number + 8]))
        named = [k["kind"] for k in document["x-decanter"]["resources"]["t"]["key"]]
        assert named == list(kinds.values())[number : number + 8]


def test_members_without_default_are_required_and_generated_ones_cannot_be_written():
    document = compile_(
        table(
            "t",
            key("a", sa.Text),
            key("b", sa.Text, server_default="x"),
            sa.Column("needed", sa.Text, nullable=False),
            sa.Column("optional", sa.Text),
            sa.Column("by_server", sa.Text, nullable=False, server_default="x"),
            sa.Column("by_model", sa.Text, nullable=False, default="x"),
            sa.Column("by_callable", sa.Uuid, nullable=False, default=lambda: 1),
            sa.Column("always", sa.Integer, sa.Identity(always=True)),
            sa.Column("computed", sa.Text, sa.Computed("a || b")),
            sa.Column("domain", pg.DOMAIN("d", sa.Text, not_null=True)),
            sa.Column("filled", pg.DOMAIN("e", sa.Text, not_null=True, default="x")),
        )
    )
    schemas = document["components"]["schemas"]

    assert schemas["t.create"]["required"] == ["a", "needed", "domain"]
    assert schemas["t.replace"]["required"] == ["needed", "domain"]
    assert "required" not in schemas["t.merge"]
    for op in ("create", "replace", "merge"):
        assert not {"always", "computed"} & set(schemas[f"t.{op}"]["properties"])
    assert {"always", "computed"} <= set(schemas["t"]["properties"])
    merge = validator(document, "t.merge")
    assert merge.is_valid({"optional": None})
    for refused in ({}, {"needed": None}, {"unknown": 1}, {"computed": "x"}, {"domain": None}):
        assert not merge.is_valid(refused), refused


@pytest.mark.parametrize(
    ("column", "required"),
    [
        (key(), False),
        (key(autoincrement=False), True),
        (key(type_=sa.Text), True),
        (key(type_=sa.Uuid, server_default=sa.func.gen_random_uuid()), False),
        (sa.Column("id", sa.Integer, sa.Identity(), primary_key=True), False),
        (sa.Column("id", sa.Integer, sa.Sequence("s"), primary_key=True), False),
    ],
)
def test_a_key_that_the_database_makes_is_not_required(column, required):
    document = compile_(table("t", column))
    assert ("required" in document["components"]["schemas"]["t.create"]) is required


def test_unordered_resources_are_created_and_read_only():
    info = {"info": {"ordered": False}}
    document = compile_(
        table("a", key(), **info),
        table("b", sa.Column("x", sa.Text), **info),
    )
    methods = {path: set(item) - {"parameters"} for path, item in document["paths"].items()}

    assert methods["/a"] == methods["/b"] == {"post"}
    assert methods["/a/{id}"] == {"get"}
    assert set(document["x-decanter"]["resources"]["b"]["schemas"]) == {"create", "row"}
    assert not [path for path in methods if path.startswith("/b/")]


def test_each_key_column_is_a_path_segment_whatever_it_is_called():
    document = compile_(table("t", key("a b/c~d%é{"), key("a_b_c_d_é_", sa.Text)))
    (path,) = [path for path in document["paths"] if path.startswith("/t/")]

    assert path == "/t/{a_b_c_d_é_}/{a_b_c_d_é__}"
    merge = validator(document, "t.merge")
    assert merge.is_valid({"a b/c~d%é{": 1})
    assert not merge.is_valid({"a b/c~d%é{": "x"})


def test_descriptions_come_from_comments_docs_and_docstrings():
    class Base(DeclarativeBase):
        pass

    class Thing(Base):
        """A thing."""

        __tablename__ = "things"
        id: Mapped[int] = mapped_column(primary_key=True, doc="Its number.")
        name: Mapped[str] = mapped_column(unique=True, comment="What it is called.")
        other: Mapped[int] = mapped_column(sa.ForeignKey("things.id"), info={"example": 7})

    document = json.loads(contract.compiled(SimpleNamespace(Base=Base, Thing=Thing)))
    row = document["components"]["schemas"]["things"]

    assert row["description"].startswith("A thing.")
    assert row["properties"]["id"]["description"].startswith("Its number.")
    assert row["properties"]["name"]["description"] == "What it is called.\n\nvarchar; unique"
    assert "references things.id" in row["properties"]["other"]["description"]
    assert row["properties"]["other"]["examples"] == [7]


def test_all_calls_but_health_are_signed():
    document = json.loads(contract.compiled(models))
    unsigned = [
        path
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method != "parameters" and operation.get("security", document["security"]) == []
    ]
    assert unsigned == ["/health"]
    (scheme,) = document["components"]["securitySchemes"].values()
    assert scheme["x-amazon-apigateway-authtype"] == "awsSigv4"


def test_numbers_of_the_contract_are_exact():
    document = compile_(table("t", key(), sa.Column("x", sa.Numeric(38, 10))))
    schema = document["components"]["schemas"]["t.create"]["properties"]["x"]
    assert schema["maximum"] == Decimal("9999999999999999999999999999.9999999999")
    assert schema["multipleOf"] == Decimal("0.0000000001")


def test_integers_are_named_arrays_included():
    document = compile_(
        table(
            "t",
            key(),
            sa.Column("small", sa.SmallInteger),
            sa.Column("many", sa.ARRAY(sa.BigInteger)),
            sa.Column("numeric", sa.Numeric),
            sa.Column("domain", pg.DOMAIN("d", sa.Integer)),
        )
    )
    named = document["x-decanter"]["resources"]["t"]["integers"]
    assert named == ["id", "small", "many", "domain"]


def test_foreign_keys_in_a_circle_are_no_obstacle():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        document = compile_(
            table("a", key(), sa.Column("b", sa.ForeignKey("b.id"))),
            table("b", key(), sa.Column("a", sa.ForeignKey("a.id"))),
        )
    assert list(document["x-decanter"]["resources"]) == ["a", "b"]


def test_a_model_that_cannot_be_served_ends_the_command_with_the_reason(monkeypatch, capsys):
    monkeypatch.setattr(models.Base, "metadata", sa.MetaData())
    for name in ("Station", "Observation"):
        monkeypatch.delattr(models, name)

    assert contract.main(["--check"]) == 1
    assert "has no table that is a resource" in capsys.readouterr().err
