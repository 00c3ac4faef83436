"""Limits of what is shown: a small request is not taken that is large where it is read."""

import json
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.types import UserDefinedType

from chalicelib.api.writes.body import json_body
from chalicelib.contract import resources, row_size
from chalicelib.settings import MAX_SHOWN_BYTES
from tests.kit.api import OBSERVATION, STATION, assert_problem, body_of, token_of


class Pair(UserDefinedType):
    def get_col_spec(self) -> str:
        return "pair"


class Typed(UserDefinedType):
    def get_col_spec(self) -> str:
        return "numeric(1000, 500)[][]"


METADATA = sa.MetaData()
sa.Table(
    "things",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("text", sa.Text),
    sa.Column("number", sa.Numeric),
    sa.Column("numbers", sa.ARRAY(sa.Numeric)),
    sa.Column("scaled", sa.Numeric(1000, 500)),
    sa.Column("scaleds", sa.ARRAY(sa.Numeric(1000, 500), dimensions=2)),
    sa.Column("amounts", sa.ARRAY(pg.DOMAIN("amount", sa.Numeric(), create_type=False))),
    sa.Column("doubles", sa.ARRAY(sa.Double)),
    sa.Column("document", pg.JSONB),
    sa.Column("plain", pg.JSON),
    sa.Column("range", pg.NUMRANGE),
    sa.Column("typed", Typed),
    sa.Column("integers", pg.INT4RANGE),
    sa.Column("pair", Pair),
    sa.Column("pairs", sa.ARRAY(Pair)),
    sa.Column("padded", sa.CHAR(2_000_000)),
    sa.Column("paddeds", sa.ARRAY(sa.CHAR(1_000))),
    sa.Column("a/b~c", pg.JSONB),
)
DIGITS = "1e131071"


@pytest.fixture
def things(compile_contract):
    compile_contract(METADATA)


def many(text: str, count: int = 8) -> str:
    return "[" + ",".join([text] * count) + "]"


LARGE = {
    "numbers": many(DIGITS),
    "scaleds": many(many("1", 100), 25),
    "amounts": many(DIGITS),
    "document": f'{{"a":[{{"b":{many(DIGITS)}}}]}}',
    "plain": many(DIGITS),
    "pair": f'"({",".join([DIGITS] * 8)})"',
    "typed": many(many("1", 100), 25),
    "pairs": many('"(1_0e131_070,x)"'),
    "padded": '"x"',
    "paddeds": many('"x"', 1_000),
    "a/b~c": many("1e-16383", 62),
}


@pytest.mark.parametrize("name", LARGE)
@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT", "CSV", "NDJSON"])
def test_a_row_that_is_too_large_where_it_is_shown_is_refused(things, api, recorder, method, name):
    value = LARGE[name]
    row = f'{{"id":1,"text":"e","{name}":{value}}}'.encode()
    path, headers, place = "/things", {}, "/0"
    if method == "CSV":
        field = json.loads(value) if name == "padded" else value
        row = f'id,{name}\n1,"{field.replace(chr(34), chr(34) * 2)}"\n'.encode()
        headers = {"Content_Type": "text/csv"}
    elif method == "NDJSON":
        headers = {"Content_Type": "application/x-ndjson"}
    else:
        path, place = ("/things", "") if method == "POST" else ("/things/1", "")

    answer = api(method if method in ("POST", "PATCH", "PUT") else "POST", path, row, **headers)

    problem = assert_problem(answer, 413, "row-too-large")
    (fault,) = problem["errors"]
    assert fault["pointer"] == f"{place}/{name.replace('~', '~0').replace('/', '~1')}"
    assert "at most 1000000 are allowed" in fault["detail"]
    assert not recorder.sent


@pytest.mark.parametrize(
    "row",
    [
        f'{{"number":{DIGITS}}}',
        f'{{"numbers":{many(DIGITS, 7)}}}',
        f'{{"doubles":{many("1e300", 9_000)}}}',
        f'{{"document":{many(json.dumps(DIGITS), 90_000)}}}',
        f'{{"text":"{DIGITS} {DIGITS} {DIGITS} {DIGITS} {DIGITS} {DIGITS} {DIGITS} {DIGITS}"}}',
        '{"range":"[1,2.5)","integers":"[1,5)"}',
        f'{{"pair":"{"1e9999999 e5 x1e131071 1e131071x 0x1e131071 " * 9}"}}',
        f'{{"scaled":1,"scaleds":{many(many("1", 19), 100)}}}',
        f'{{"document":{many("1e-5", 120_000)}}}',
        f'{{"document":{many("0e131071", 50_000)}}}',
    ],
)
def test_a_row_is_taken_that_is_not_too_large_where_it_is_shown(things, api, recorder, row):
    token_of(api("POST", "/things", f'{{"id":1,{row[1:]}'.encode()))

    assert len(recorder.sent) == 1


def test_a_row_that_is_too_large_where_it_is_shown_leaves_the_others(api, recorder):
    large = json.dumps(OBSERVATION).replace("}", f', "report": {many(DIGITS)}}}', 1)
    body = f"[{json.dumps(OBSERVATION)},{large}]".encode()

    answer = api("POST", "/observations", body, Prefer="handling=lenient")

    (refused,) = body_of(answer)["refused"]
    assert (refused["item"], refused["errors"][0]["rule"]) == (1, "size")
    assert refused["errors"][0]["pointer"] == "/1/report"
    assert [part.items for message in recorder.messages for part in message.sets] == [(0,)]


def test_rows_that_are_too_large_together_where_they_are_shown_are_refused(api, recorder):
    row = json.dumps(OBSERVATION).replace("}", f', "report": {many(DIGITS, 7)}}}', 1)
    most = MAX_SHOWN_BYTES // (7 * 131_073)

    problem = assert_problem(
        api("POST", "/observations", many(row, most + 1).encode()), 413, "body-too-large"
    )
    assert f"at most {MAX_SHOWN_BYTES}" in problem["detail"]
    assert not recorder.sent
    token_of(api("POST", "/observations", many(row, most - 1).encode()))


def test_rows_without_exponents_are_not_measured(api, recorder, monkeypatch):
    """It would take as long as reading them."""
    measured: list[Any] = []
    sizes = row_size.sizes
    monkeypatch.setattr(row_size, "sizes", lambda *given: measured.append(given) or sizes(*given))

    token_of(api("POST", "/observations", [OBSERVATION] * 3))
    token_of(api("POST", "/stations", STATION))
    assert measured == []
    token_of(api("POST", "/observations", json.dumps(OBSERVATION).replace("}", ', "wind_kt": 1e1}')
                 .encode()))  # fmt: skip
    assert len(measured) == 1


@pytest.mark.parametrize(
    ("sent", "digits"),
    [
        ("1e131071", 131_072), ("-1e131071", 131_073), ("1e-16383", 16_385), ("1.50", 4),
        ("-0.5", 4), ("12345e-2", 6), ("1.5e1", 2), ("0", 1), ("-0", 1), ("0e5", 1),
        ("0e-3", 5), ("100", 3), ("1.25e-3", 7), ("9007199254740993", 16),
    ],
)  # fmt: skip
def test_a_number_is_counted_with_all_its_digits(things, sent, digits):
    (row,) = json_body(f'{{"number":{sent}}}'.encode()).rows

    sizes = row_size.sizes(resources.resource("things"), row.value)
    assert sizes == {"number": digits + len('"number":,')}


def test_numbers_of_a_column_are_counted_as_it_shows_them(things):
    def bytes_of(name: str, value: Any) -> int:
        return row_size.sizes(resources.resource("things"), {name: value})[name] - len(name) - 4

    assert bytes_of("scaleds", [[1, None]]) == len("[[1.,null]]") + 500 + 2
    assert bytes_of("doubles", [Decimal("1e300")]) <= len("[1.7976931348623157E+308,]") + 1
    assert bytes_of("paddeds", ["x", "é"]) == len('["","",]') + 1_000 + 1_001
    assert bytes_of("document", "\x01") == len('"\\u0001"')
