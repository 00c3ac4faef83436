"""The contract compiler: models in, OpenAPI 3.1 out."""

import json
import os
import re
import subprocess
import sys
import warnings
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import jsonschema_rs
import pytest
import sqlalchemy as sa
from openapi_spec_validator import validate
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from chalicelib import errors, models
from chalicelib.api.http import idempotency, preconditions
from chalicelib.postgres.resources import ModelError
from decanter import contract
from decanter.__main__ import main
from decanter.contract import problems
from decanter.contract.forms import form


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


def operations(document):
    """Path, method and operation of every call."""
    return [
        (path, method, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method != "parameters"
    ]


def resolved(document, responses):
    """Responses by status, their references followed."""
    return {
        status: document["components"]["responses"][response["$ref"].rsplit("/", 1)[1]]
        if "$ref" in response
        else response
        for status, response in responses.items()
    }


def parameters_of(document, operation_id):
    """Every parameter of a call, those of its path included."""
    (found,) = [
        [*document["paths"][path].get("parameters", ()), *operation.get("parameters", ())]
        for path, _, operation in operations(document)
        if operation["operationId"] == operation_id
    ]
    return [
        document["components"]["parameters"][each["$ref"].rsplit("/", 1)[1]]
        if "$ref" in each
        else each
        for each in found
    ]


def within(document, schema, example):
    """What is wrong with an example."""
    # To read them takes most of the time, and most schemas refer to none.
    components = {"components": document["components"]} if "$ref" in str(schema) else {}
    return jsonschema_rs.validator_for(
        {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, **components},
        validate_formats=True,
    ).iter_errors(example)


def examples_of(node, place=""):
    """Place, schema and value of every example of a document. Bodies that are not JSON are text."""
    if isinstance(node, list):
        for number, part in enumerate(node):
            yield from examples_of(part, f"{place}/{number}")
    if not isinstance(node, dict):
        return
    if isinstance(schema := node.get("schema"), dict):
        found = [*([node["example"]] if "example" in node else [])]
        found += [each["value"] for each in node.get("examples", {}).values()]
        is_text = place.endswith(("/text/csv", "/application/x-ndjson"))
        for value in found:
            yield place, {"type": "string"} if is_text else schema, value
    elif isinstance(values := node.get("examples"), list):
        for value in values:
            yield place, node, value
    for name, part in node.items():
        yield from examples_of(part, f"{place}/{name}")


def taken_by(parse, headers):
    """Whether the API function takes these headers."""
    try:
        parse(headers)
    except errors.Problem:
        return False
    return True


def generate_client(document, folder):
    """Run openapi-python-client; its output has no colours and no line breaks of its own."""
    command = ["generate", "--path", str(document), "--output-path", str(folder), "--meta", "none"]
    return subprocess.run(
        [str(Path(sys.executable).with_name("openapi-python-client")), *command],
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200", "TERM": "dumb"},
        capture_output=True,
        text=True,
        timeout=600,
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


def every_type():
    """A contract with a column of every type, odd names, keys of all kinds, and no key at all."""
    kinds = [sa.Text, sa.Uuid, sa.DateTime(timezone=True), sa.Date, sa.Numeric(5, 2), sa.Boolean]
    return compile_(
        table(
            "every",
            key(),
            *(
                sa.Column(f"c{n}", t, nullable=n % 2 == 0)
                for n, t in enumerate([*EVERY_TYPE, Geometry, Label])
            ),
        ),
        table(
            "keys", *(key(f"k{n}", t) for n, t in enumerate([*kinds, EVERY_TYPE[24], sa.Double]))
        ),
        table(
            "odd-name",
            key("a b/c~d%é{"),
            key("a_b_c_d_é_", sa.Text),
            *(sa.Column(name, sa.Text) for name in ("order", "limit", "class", "body", "client")),
            schema="other",
        ),
        table("keyless", sa.Column("x", sa.Text), info={"ordered": False}),
        table(
            "fronted",
            *(key(f"k{n}", t) for n, t in enumerate(kinds)),
            key("a b/c~d%é{", sa.Text),
            info={"front": "dynamodb"},
        ),
    )


def test_contract_is_current(capsys):
    assert main(["contract", "--check"]) == 0, capsys.readouterr().err


def test_check_names_what_is_stale_and_changes_nothing(tmp_path, capsys, monkeypatch):
    file = tmp_path / "contract.json"
    monkeypatch.setattr(contract, "FILE", file)
    main(["contract"])
    stale = file.read_text().replace('"maxLength": 4', '"maxLength": 5')
    file.write_text(stale)

    assert main(["contract", "--check"]) == 1

    said = capsys.readouterr().err
    assert "contract.json does not match the models; run: make contract" in said
    assert '-            "maxLength": 5' in said
    assert file.read_text() == stale


def test_the_contract_is_the_same_each_time():
    assert contract.compiled(models) == contract.compiled(models)


def test_the_samples_contract_is_valid_openapi():
    validate(json.loads(contract.compiled(models)))


@pytest.mark.parametrize("type_", [*EVERY_TYPE, Geometry, Label], ids=lambda t: str(t)[:40])
def test_every_type_has_a_form_that_compiles(type_):
    document = compile_(
        table("things", key(), sa.Column("a", type_), sa.Column("b", type_, nullable=False))
    )
    for schema in document["components"]["schemas"]:
        validator(document, schema)
    create = validator(document, "things.create")
    assert not create.is_valid({"id": 1, "b": None})
    assert not create.is_valid({"id": 1})
    assert document["components"]["schemas"]["things"]["properties"]["a"]["description"]


def test_every_form_is_valid_openapi():
    columns = [
        sa.Column(f"{'a' if nullable else 'b'}{n}", type_, nullable=nullable)
        for n, type_ in enumerate([*EVERY_TYPE, Geometry, Label])
        for nullable in (True, False)
    ]

    document = compile_(table("things", key(), *columns))

    validate(json.loads(json.dumps(document, default=float)))


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

    assert methods["/a"] == {"get", "post"}
    assert methods["/b"] == {"post"}  # without a key there is no order to list in
    assert methods["/a/{id}"] == {"get"}
    assert set(document["x-decanter"]["resources"]["b"]["schemas"]) == {"create", "row"}
    assert not [path for path in methods if path.startswith("/b/")]


def test_each_key_column_is_a_path_segment_whatever_it_is_called():
    document = compile_(table("t", key("a b/c~d%é{"), key("a_b_c_d_é_", sa.Text)))
    (path,) = [path for path in document["paths"] if path.startswith("/t/")]

    assert path == "/t/{a_b_c_d}/{a_b_c_d_2}"
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


def test_all_calls_but_health_need_a_token_or_a_signature():
    document = json.loads(contract.compiled(models))
    assert set(document["components"]["securitySchemes"]) == {"bearer", "sigv4"}
    for path, method, operation in operations(document):
        taken = [set(each) for each in operation["security"]]
        assert taken == ([] if path == "/health" else [{"bearer"}, {"sigv4"}]), (method, path)


def test_every_operation_names_its_scope():
    document = json.loads(contract.compiled(models))
    scopes = {
        operation["operationId"]: operation["security"][0]["bearer"]
        for path, _, operation in operations(document)
        if path.startswith("/stations")
    }
    assert scopes == {
        "stations.list": ["stations:read"],
        "stations.read": ["stations:read"],
        "stations.create": ["stations:create"],
        "stations.replace": ["stations:replace"],
        "stations.merge": ["stations:merge"],
        "stations.delete": ["stations:delete"],
    }


def test_every_problem_is_described_where_it_can_come():
    document = json.loads(contract.compiled(models))
    told = {
        (operation["operationId"], int(status)): set(
            response["content"]["application/problem+json"]["examples"]
        )
        for _, _, operation in operations(document)
        for status, response in resolved(document, operation["responses"]).items()
        if int(status) >= 400
    }
    for (operation, status), types in told.items():
        for type_ in types:
            assert errors.PROBLEMS[type_][0] == status, (operation, type_)
    # These come where the document describes no call.
    elsewhere = {"unknown-resource", "op-not-allowed", "no-such-entry", "invalid-act"}
    assert set().union(*told.values()) | elsewhere == set(errors.PROBLEMS)
    assert set(problems.WHEN) == set(errors.PROBLEMS)
    assert told["stations.read", 404] == {"no-such-row", "unknown-receipt", "write-rejected"}
    assert told["stations.create", 422] == {"invalid-row", "key-reused"}


def test_every_example_fits_its_schema():
    document = every_type()
    rows = [name for name in document["components"]["schemas"] if not name.startswith("decanter.")]
    bodies = 0
    for place, schema, example in examples_of(document):
        faults = [f"{e.instance_path} {e.message}" for e in within(document, schema, example)]
        assert not faults, (place, faults)
        bodies += "/requestBody/" in place
    assert len(rows) > 10
    assert bodies > 10


def test_examples_fit_for_validators_that_compute_with_floats():
    document = json.loads(contract.FILE.read_text(encoding="utf-8"))
    found = [
        (place, value / schema["multipleOf"])
        for place, schema, value in examples_of(document["components"]["schemas"])
        if "multipleOf" in schema
    ]

    assert found
    assert [place for place, units in found if units != int(units)] == []


def test_the_row_that_an_example_creates_is_the_one_that_others_refer_to():
    document = json.loads(contract.compiled(models))
    body = document["paths"]["/observations"]["post"]["requestBody"]["content"]
    example = body["application/json"]["examples"]["row"]["value"]

    assert example["station"] == "LSZH"
    assert example["observed_at"].startswith("2026-01-31T")
    assert "id" not in example
    assert body["text/csv"]["example"].startswith("station,observed_at,")


def test_an_example_that_does_not_fit_its_column_is_refused():
    column = sa.Column("code", sa.String(3), info={"example": "far too long"})
    with pytest.raises(ModelError, match=r"things\.code: its example .* at most 3"):
        compile_(table("things", key(), column))


def test_links_lead_to_the_state_and_to_the_row_where_its_key_is_known():
    document = compile_(
        table("t", key("a b", sa.Text), key("c/d"), sa.Column("x", sa.Text)),
        table("keyless", sa.Column("x", sa.Text), info={"ordered": False}),
        table("numbered", sa.Column("id", sa.Integer, sa.Identity(always=True), primary_key=True)),
    )
    by_id = {operation["operationId"]: operation for _, _, operation in operations(document)}

    def links(operation):
        return by_id[operation]["responses"]["202"]["links"]

    assert links("t.create")["status"]["operationId"] == "status"
    assert links("t.create")["row"]["parameters"] == {
        "a_b": "$request.body#/a b",
        "c_d": "$request.body#/c~1d",
        "after": "$response.body#/receipt",
    }
    assert links("t.merge")["row"]["parameters"]["a_b"] == "$request.path.a_b"
    assert set(links("keyless.create")) == set(links("numbered.create")) == {"status"}
    for operation in by_id.values():
        for link in resolved(document, operation["responses"]).get("202", {}).get("links", {}):
            target = by_id[operation["responses"]["202"]["links"][link]["operationId"]]
            known = {p["name"] for p in parameters_of(document, target["operationId"])}
            assert set(operation["responses"]["202"]["links"][link]["parameters"]) <= known


def test_a_list_names_what_it_filters_and_orders_by():
    document = compile_(
        table(
            "t",
            key(),
            sa.Column("order", sa.Text),
            sa.Column("at", sa.DateTime(timezone=True)),
            sa.Column("many", sa.ARRAY(sa.Text)),
            sa.Column("any", pg.JSONB),
            sa.Column("exact", sa.Numeric(4, 1)),
            sa.Column("a,b", sa.Text),
        )
    )
    named = {p["name"]: p for p in parameters_of(document, "t.list")}

    assert list(named) == [
        "id", "column.order", "at", "many", "any", "exact", "a,b", "select", "order", "limit",
        "cursor", "Prefer",
    ]  # fmt: skip
    assert document["x-decanter"]["resources"]["t"]["filters"] == [
        "id", "order", "at", "exact", "a,b",
    ]  # fmt: skip
    value, *by_name = named["at"]["schema"]["anyOf"]
    assert value["format"] == "date-time"
    schemas = document["components"]["schemas"]
    operator, several = (schemas[each["$ref"].rsplit("/", 1)[1]] for each in by_name)
    assert several["items"] == by_name[0]
    for text in ("gte.2026-01-01", "not.in.(a,b)", "is.null"):
        assert re.search(operator["pattern"], text), text
    assert not re.search(operator["pattern"], "2026-01-01")
    assert named["exact"]["schema"]["anyOf"][0]["multipleOf"] == Decimal("0.1")
    assert named["any"]["schema"]["enum"] == ["is.null", "not.is.null"]
    chosen = re.compile(named["select"]["schema"]["pattern"])
    for text in ("id", "any,id", '"a,b"', "*", *named["select"]["schema"]["examples"]):
        assert chosen.search(text), text
    for text in ("", "a,b", "*,id", "id,", "id::text"):
        assert not chosen.search(text), text
    order = re.compile(named["order"]["schema"]["pattern"])
    for text in (
        "id",
        "order.desc",
        "at.asc,exact,id.desc",
        '"a,b".desc',
        *named["order"]["schema"]["examples"],
    ):
        assert order.search(text), text
    for text in ("", "many", "id.down", "id,", "ID"):
        assert not order.search(text), text


@pytest.mark.parametrize(
    ("fits", "header"),
    [
        (True, '"8e03978e"'),
        (True, "8e03978e"),
        (True, r'"a \\ \" b"'),
        (True, "x" * 255),
        (False, ""),
        (False, '""'),
        (False, "x" * 256),
        (False, "a b"),
        (False, '"a'),
        (False, "ä"),
    ],
)
def test_an_idempotency_key_that_the_contract_takes_is_taken(fits, header):
    document = json.loads(contract.compiled(models))
    pattern = document["components"]["parameters"]["idempotency-key"]["schema"]["pattern"]
    assert bool(re.search(pattern, header)) is fits
    assert taken_by(idempotency.idempotency_key, {"idempotency-key": header}) is fits


@pytest.mark.parametrize(
    ("fits", "header"),
    [
        (True, "*"),
        (True, '"a"'),
        (True, 'W/"a", "b" ,"c"'),
        (True, ", ".join(['"a"'] * 20)),
        (False, ", ".join(['"a"'] * 21)),
        (False, "a"),
        (False, '"a" "b"'),
        (False, '"a",'),
        (False, '*, "a"'),
    ],
)
def test_a_precondition_that_the_contract_takes_is_taken(fits, header):
    document = json.loads(contract.compiled(models))
    pattern = document["components"]["parameters"]["if-match"]["schema"]["pattern"]
    assert bool(re.search(pattern, header)) is fits
    assert taken_by(preconditions.condition, {"if-match": header}) is fits


def test_text_with_a_zero_character_does_not_fit():
    document = json.loads(contract.compiled(models))
    merge = validator(document, "stations.merge")
    assert merge.is_valid({"name": "a\nb"})
    assert not merge.is_valid({"name": "a\0b"})


def test_generators_make_a_client_of_it(tmp_path):
    """Of every kind of column. What is left out are bodies that the generator cannot send."""
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(every_type(), default=float))
    done = generate_client(file, tmp_path / "client")

    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    lines = said.splitlines()
    heads = [n for n, line in enumerate(lines) if line.startswith(("WARNING", "ERROR"))]
    told = {" ".join(lines[head + 1 : head + 4]).split("{")[0].strip() for head in heads}
    assert told == {
        "Unsupported content type application/x-ndjson",
        "Unsupported content type text/csv",
    }
    made = {file.stem for file in (tmp_path / "client/api/odd_name").glob("odd_name_*.py")}
    assert made == {
        f"odd_name_{op}" for op in ("create", "list", "read", "replace", "merge", "delete")
    }


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

    assert main(["contract", "--check"]) == 1
    assert "has no table that is a resource" in capsys.readouterr().err
