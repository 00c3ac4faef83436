"""Requests are checked by the rules as they would be by the contract that clients see."""

import json
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from chalicelib.contract import resources
from chalicelib.errors import Problem
from decanter import contract
from decanter.__main__ import main
from decanter.contract import compiled
from decanter.contract.forms import STORABLE
from decanter.contract.rules import rules

METADATA = sa.MetaData()
sa.Table(
    "things",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("description", sa.Numeric(5, 2), nullable=False, comment="how much"),
    sa.Column("default", sa.Enum("a", "title", "\u2028", name="kind"), server_default="a"),
    sa.Column("examples", ARRAY(sa.Integer)),
    sa.Column("title", JSONB),
)
sa.Table("thing-2", METADATA, sa.Column("id", sa.BigInteger, primary_key=True))
sa.Table("log", METADATA, sa.Column("x", sa.Text), info={"ordered": False})


@pytest.fixture
def document(compile_contract):
    compile_contract(METADATA)
    return json.loads(resources.document())


def bare(schema):
    """A schema without descriptions and examples, and without the pattern of text; columns may have
    these names."""
    said = {"description", "examples", "title", "default", "readOnly"}
    return {
        keyword: {name: bare(each) for name, each in value.items()}
        if keyword == "properties"
        else value
        for keyword, value in schema.items()
        if keyword not in said and value != STORABLE
    }


@pytest.mark.parametrize("name", ["things", "thing-2", "log"])
def test_a_row_is_checked_by_the_schema_that_clients_see(document, name):
    entry = document["x-decanter"]["resources"][name]
    resource = resources.resource(name)

    row = entry["schemas"].pop("row")
    seen = document["components"]["schemas"]
    assert json.loads(json.dumps(resource.schemas, default=float)) == {
        op: bare(seen[each]) for op, each in entry["schemas"].items()
    }
    assert [column.name for column in resource.key] == [each["name"] for each in entry["key"]]
    assert list(resource.filters) == entry["filters"]
    for column in resource.key:
        schema = json.loads(json.dumps(column.schema, default=float))
        assert schema == bare(seen[row]["properties"][column.name])


def test_columns_may_be_called_like_what_is_left_out(document):
    check = resources.resource("things").validator("create").is_valid

    assert check({"id": "a", "description": 1.25, "default": "title"})
    assert check({"id": "a", "description": 1.25, "default": "\u2028", "examples": [1]})
    assert not check({"id": "a"})
    assert not check({"id": "a", "description": 1.255})
    assert not check({"id": "a", "description": 1, "default": "b"})
    assert not check({"id": "a", "description": 1, "examples": "x"})


def test_a_resource_that_is_not_there_is_a_404_that_names_those_that_are(document):
    with pytest.raises(Problem, match="the resources are: log, thing-2, things") as caught:
        resources.resource("thing")

    assert caught.value.type == "unknown-resource"


def test_only_the_line_that_is_asked_for_is_parsed(document, monkeypatch):
    loads, parsed = json.loads, []
    monkeypatch.setattr(
        json, "loads", lambda text, **how: parsed.append(text) or loads(text, **how)
    )

    resources.resource("things")

    assert [text[:16] for text in parsed] == ['{"name":"things"']


def test_the_rules_say_nothing_by_reference_and_are_far_smaller():
    document = compiled(SimpleNamespace(metadata=METADATA))

    made = rules(document)

    assert "$ref" not in made
    assert len(made) < len(document) / 10


def test_stale_rules_are_named_and_written_anew(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(contract, "FILE", tmp_path / "contract.json")
    main(["contract"])
    current = (tmp_path / "rules.jsonl").read_text()
    (tmp_path / "rules.jsonl").write_text(current.replace('"maxLength":4', '"maxLength":5'))
    capsys.readouterr()

    assert main(["contract", "--check"]) == 1
    said = capsys.readouterr().err
    assert "rules.jsonl does not match the models; run: make contract" in said
    assert "contract.json" not in said

    assert main(["contract"]) == 0
    assert (tmp_path / "rules.jsonl").read_text() == current
    assert main(["contract", "--check"]) == 0
