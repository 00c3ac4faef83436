"""An op is a row of a table: what is asked of an op elsewhere follows from it."""

import json
import re
from collections.abc import Iterator
from types import ModuleType
from typing import get_args

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text

from chalicelib import ops, stage
from chalicelib.api.http.caller import _INSTEAD, Caller
from chalicelib.authorizer import tokens
from chalicelib.drain import compatibility, sets
from chalicelib.errors import ForeignMessage
from chalicelib.messages import message as messages
from chalicelib.messages.message import Condition, Message, RowSet
from chalicelib.ops import OPS, Op, OpFacts
from decanter import contract
from decanter.contract import problems, rules, schemas
from tests.kit.project import PROJECT

ADDED = OpFacts("close", "POST", ("close",), "close", since=messages.VERSION + 1,  # type: ignore[arg-type]
                names_row=True, partial=True, removes=True)  # fmt: skip
ROW = RowSet(("id", "note"), (0,), (1,), '{"id":1,"note":"gone"}')


def message(op: str, condition: Condition | None = None, resource: str = "things") -> Message:
    """A message of one row."""
    id_ = "01890000-0000-7000-8000-000000000000"
    return Message(id_, "0" * 32, 1, resource, op, (ROW,), condition)  # type: ignore[arg-type]


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Another op: its row, and what the contract says of it."""
    monkeypatch.setitem(OPS, ADDED.op, ADDED)  # type: ignore[arg-type]
    monkeypatch.setattr(messages, "VERSION", ADDED.since)
    monkeypatch.setitem(schemas.WORDS, ADDED.op, schemas.Words("Close a row", "Why."))  # type: ignore[arg-type]
    for known in (problems._types, problems._by_status):
        known.cache_clear()
    yield ADDED.op
    for known in (problems._types, problems._by_status):
        known.cache_clear()


def models(**options: bool) -> ModuleType:
    found = ModuleType("models")
    found.metadata = MetaData()  # type: ignore[attr-defined]
    Table("things", found.metadata, Column("id", Integer, primary_key=True), Column("note", Text),
          info=options)  # type: ignore[attr-defined]  # fmt: skip
    return found


def test_every_op_has_a_row() -> None:
    assert get_args(Op) == tuple(facts.op for facts in OPS.values())
    assert {*stage.BEYOND} == {*_INSTEAD}  # each with what to do instead


def test_another_op_has_its_scope(added: str) -> None:
    assert Caller("me", frozenset({"things:write"})).may("things", added)
    assert not Caller("me", frozenset({"things:merge"})).may("things", added)
    assert f"`{added}`" in contract.compiled(models())


def test_another_op_is_in_the_contract_and_its_rules(added: str) -> None:
    document = json.loads(contract.compiled(models()))

    call = document["paths"]["/things/{id}"]["post"]
    assert (call["operationId"], call["summary"]) == (f"things.{added}", "Close a row")
    assert call["security"][0] == {"bearer": [f"things:{added}"]}
    assert call["responses"] == document["paths"]["/things/{id}"]["patch"]["responses"] | {
        "200": call["responses"]["200"]
    }
    content = call["requestBody"]["content"]
    assert [*content] == ["application/merge-patch+json", "application/json"]
    assert content["application/json"]["schema"]["$ref"] == f"#/components/schemas/things.{added}"
    assert document["components"]["schemas"][f"things.{added}"]["minProperties"] == 1
    (line,) = rules.rules(json.dumps(document)).splitlines()
    assert added in json.loads(line)["schemas"]


def test_an_unordered_resource_takes_only_ops_that_only_add(added: str) -> None:
    document = contract.compiled(models(ordered=False))

    assert f"things.{added}" not in document
    assert "things.create" in document


@pytest.mark.parametrize("condition", [None, Condition(("5f8a",), None)])
def test_a_message_of_another_op_is_read_by_its_version_alone(
    added: str, condition: Condition | None
) -> None:
    sent = message(added, condition)

    body = messages.encode(sent)

    assert json.loads(body.split("\n")[0])["v"] == ADDED.since
    assert messages.decode(body) == sent
    with pytest.raises(ForeignMessage, match="has no such op"):
        messages.decode(body.replace(f'"v":{ADDED.since}', '"v":3'))


def test_only_an_op_that_names_its_row_has_preconditions(
    added: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = messages.encode(message(added, Condition(("5f8a",), None)))
    monkeypatch.setitem(OPS, added, ADDED._replace(names_row=False))  # type: ignore[arg-type]

    with pytest.raises(ForeignMessage, match="names its row"):
        messages.decode(body)


def test_another_op_that_removes_comes_behind_the_others_with_children_first(added: str) -> None:
    of_a_parent, of_a_child = message(added), message(added, resource="parts")
    written = message("create", resource="parts")._replace(sets=(ROW._replace(digests=(2,)),))
    apart = of_a_child._replace(sets=(ROW._replace(digests=(3,)),))

    (wave,) = sets.waves([of_a_parent, apart, written], {"things": 0, "parts": 1})

    assert [(each.resource, each.op) for each in wave] == [
        ("parts", "create"),
        ("parts", added),
        ("things", added),
    ]


def test_what_another_op_asks_of_a_row_is_judged_before_it_is_poured(
    added: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chalicelib.postgres.resources import resources_of

    found = resources_of(models().metadata)
    monkeypatch.setattr(compatibility, "resources", lambda: found)
    compatibility._mismatch_of.cache_clear()

    assert compatibility.mismatch(message(added)) == ""
    keyless = message(added)._replace(sets=(ROW._replace(members=("note",)),))
    assert compatibility.mismatch(keyless) == f"a {added} must name the key of things"
    keyed = message(added)._replace(sets=(ROW._replace(members=("id",)),))
    assert compatibility.mismatch(keyed) == f"a {added} must change something"
    compatibility._mismatch_of.cache_clear()


def test_a_token_may_name_every_scope_of_an_op() -> None:
    for scope in (ops.READ, ops.WRITE, *ops.scopes()):
        assert tokens._SCOPE.fullmatch(f"things:{scope}")
    assert not tokens._SCOPE.fullmatch("things:close")


def test_the_table_in_the_docs_has_every_op() -> None:
    text = (PROJECT / "docs" / "operating.md").read_text(encoding="utf-8")
    table = text.partition("| op | call | scope |")[2].partition("\n\n")[0]

    listed = [
        [cell.strip() for cell in row]
        for row in re.findall(r"^\| ([a-z][a-z-]*) \|([^|]*)\|([^|]*)\|", table, re.MULTILINE)
    ]

    assert sorted(listed) == sorted(
        [
            facts.op,
            facts.method + (f", `resolution={facts.resolution}`" if facts.resolution else ""),
            ", ".join(facts.scopes),
        ]
        for facts in OPS.values()
    )


def test_a_row_that_is_not_there_is_missing_unless_the_op_inserts() -> None:
    text = (PROJECT / "docs" / "operating.md").read_text(encoding="utf-8")

    for facts in OPS.values():
        (row,) = re.findall(rf"^\| {facts.op} \|.*$", text, re.MULTILINE)
        absent = row.split("|")[4].strip()
        assert absent.startswith("applied") is facts.inserts, facts.op
