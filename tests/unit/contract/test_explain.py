"""What a client reads of a row that is none: the place, what is wrong, and what would be right."""

import difflib
import json
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

COLOURS = ("red", "green", "blue", "grey", "black", "white", "pink")
MANY = [f"label-{number}" for number in range(500)]
LONG = [f"{number}{'y' * 62}" for number in range(6)]

METADATA = sa.MetaData()
sa.Table(
    "things",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", sa.DateTime(timezone=True)),
    sa.Column("local", sa.DateTime, comment="Where it happened; by the clock there."),
    sa.Column("time", sa.Time),
    sa.Column("day", sa.Date),
    sa.Column("colour", pg.ENUM(*COLOURS, name="colour")),
    sa.Column("many", pg.ENUM(*MANY, name="many")),
    sa.Column("long", pg.ENUM(*LONG, name="long")),
    sa.Column("price", sa.Numeric(10, 2)),
    sa.Column("exact", sa.Numeric(30, 10)),
    sa.Column("hundreds", sa.Numeric(5, -2)),
    sa.Column("code", sa.String(3), nullable=False),
    sa.Column("small", sa.SmallInteger),
    sa.Column("net", pg.INET),
    sa.Column("moments", pg.ARRAY(sa.DateTime)),
    sa.Column("document", pg.JSONB, nullable=False, server_default="{}"),
    sa.Column("total", sa.Integer, sa.Computed("small + 1", persisted=True)),
    sa.Column("number", sa.Integer, sa.Identity(always=True)),
)
LOCAL = (
    " is not a value of this column; expected timestamp without time zone (ISO 8601 without an"
    " offset), such as 2026-01-31T12:00:00"
)


@pytest.mark.parametrize(
    ("row", "errors"),
    [
        ({"local": "2013-01-01 25:00"}, {"/local": '"2013-01-01 25:00"' + LOCAL}),
        ({"local": "2013-02-30T10:00:00Z"}, {"/local": '"2013-02-30T10:00:00Z"' + LOCAL}),
        ({"local": 5}, {"/local": f"it must be null or text, {LOCAL[41:]}, not 5"}),
        ({"moments": ["x"]}, {"/moments/0": '"x" is not a value of this column; expected timestamp'
         ' without time zone[] (array of timestamp without time zone, ISO 8601 without an offset),'
         ' such as ["2026-01-31T12:00:00"]'}),
        ({"day": "31.1.2026"}, {"/day": '"31.1.2026" is not a value of this column; expected date,'
         " such as 2026-01-31"}),
        ({"net": "10"}, {"/net": '"10" is not a value of this column; expected inet, such as'
         " 192.0.2.1"}),
        ({"colour": "gray"}, {"/colour": '"gray" is not one of "red", "green", "blue", "grey",'
         ' "black", "white", "pink"'}),
        ({"many": "label_7"}, {"/many": '"label_7" is not one of the 500 labels that the contract'
         ' lists, such as "label-0", "label-1", "label-2"'}),
        ({"long": "x" * 100}, {"/long": f'"{"x" * 79}… (102 characters) is not one of the 6 labels'
         f' that the contract lists, such as {", ".join(json.dumps(each) for each in LONG[:3])}'}),
        ({"price": 1.005}, {"/price": "1.005 has more than 2 decimal places"}),
        ({"price": -100_000_000}, {"/price": "-100000000 is out of range: it must be at least"
         " -99999999.99"}),
        ({"exact": 10**20}, {"/exact": "100000000000000000000 is out of range: it must be at most"
         " 99999999999999999999.9999999999"}),
        ({"hundreds": 150}, {"/hundreds": "150 is not a multiple of 100"}),
        ({"small": 40_000}, {"/small": "40000 is out of range: it must be at most 32767"}),
        ({"small": "4"}, {"/small": 'it must be a whole number or null, not "4"'}),
        ({"small": [4]}, {"/small": "it must be a whole number or null, not an array"}),
        ({"code": "x" * 100}, {"/code": "it has 100 characters; at most 3 are allowed"}),
        ({"code": ...}, {"/code": "it is missing, and has no default"}),
        ({"document": None}, {"/document": "null is not allowed"}),
        ({"total": 3}, {"/total": "the database computes this column; leave it out"}),
        ({"number": 3}, {"/number": "the database generates this column; leave it out"}),
        ({"Color": "red"}, {"/Color": "there is no such column; did you mean colour?"}),
        ({"a/b~c": 1}, {"/a~1b~0c": "there is no such column"}),
        ({"at": "now", "day": "x" * 100}, {
            "/at": '"now" is not a value of this column; expected timestamp with time zone (ISO'
            " 8601 with an offset), such as 2026-01-31T12:00:00Z",
            "/day": f'"{"x" * 79}… (102 characters) is not a value of this column; expected date,'
            " such as 2026-01-31"}),
    ],
)  # fmt: skip
def test_a_row_that_is_none_is_explained_in_words(
    api: Any, recorder: Any, compile_contract: Any, row: dict[str, Any], errors: dict[str, str]
) -> None:
    compile_contract(METADATA)
    sent = {name: value for name, value in {"code": "a", **row}.items() if value is not ...}

    answer = api("POST", "/things", sent)

    assert answer.status_code == 422
    problem = json.loads(answer.body)
    assert {error["pointer"]: error["detail"] for error in problem["errors"]} == errors
    assert len(problem["errors"]) == len(errors)


def test_a_patch_and_a_key_are_explained_in_words(
    api: Any, recorder: Any, compile_contract: Any
) -> None:
    compile_contract(METADATA)
    empty = json.loads(api("PATCH", "/things/1", {}).body)
    (fault,) = json.loads(api("DELETE", "/things/one").body)["errors"]

    assert empty["errors"][0]["detail"].startswith("an empty patch changes nothing")
    assert fault["detail"] == 'in the path: it must be a whole number, not "one"'


def test_what_was_meant_is_looked_for_once(
    api: Any, recorder: Any, compile_contract: Any, monkeypatch: Any
) -> None:
    """It takes milliseconds, and an answer tells what is wrong with thousands of rows."""
    compile_contract(METADATA)
    looked: list[str] = []
    find = difflib.get_close_matches
    monkeypatch.setattr(
        difflib, "get_close_matches", lambda *of, **more: looked.append(of[0]) or find(*of, **more)
    )
    rows = [{"code": "a", "document": {}, "colur": 1, "many": f"label_{n}"} for n in range(40)]

    told = json.loads(api("POST", "/things", rows).body)

    assert len(told["errors"]) == 50
    assert told["errors"][-1]["detail"].endswith(("did you mean colour?", '"label-2"'))
    assert looked == ["colur"]


def test_members_too_many_are_named_or_counted(
    api: Any, recorder: Any, compile_contract: Any
) -> None:
    compile_contract(METADATA)
    whole = {column.name: None for column in METADATA.tables["things"].columns}
    whole |= {"id": 1, "code": "a", "document": {}}

    few = json.loads(api("POST", "/things", {**whole, "cod": 1}).body)
    many = json.loads(api("POST", "/things", whole | {f"x{n}": 1 for n in range(1_000)}).body)

    assert {error["pointer"]: error["detail"] for error in few["errors"]} == {
        "/total": "the database computes this column; leave it out",
        "/number": "the database generates this column; leave it out",
        "/cod": "there is no such column; did you mean code?",
    }
    assert [error["rule"] for error in many["errors"]] == ["maxProperties"]
