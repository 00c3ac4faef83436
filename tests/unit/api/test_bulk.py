"""Bulk bodies: NDJSON and CSV, item by item, strictly or leniently."""

import csv
import io
import json
import math
from decimal import Decimal

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects.postgresql import JSONB

from chalicelib.api.writes import body, outcome
from chalicelib.api.writes.body import json_body, json_lines
from chalicelib.api.writes.csv_body import csv_body
from chalicelib.api.writes.rows import check
from chalicelib.contract import resources
from chalicelib.errors import Problem
from chalicelib.messages.receipt import verify
from chalicelib.settings import MAX_ROWS
from tests.kit.api import (
    OBSERVATION,
    RECEIPT_KEY,
    STATION,
    assert_problem,
    body_of,
    station,
    token_of,
)
from tests.kit.growth import LINEAR, TIMES, calls, growth

NDJSON = "application/x-ndjson"
metadata = sa.MetaData()
sa.Table(
    "things",
    metadata,
    sa.Column("id", sa.BigInteger, primary_key=True),
    sa.Column("name", sa.Text),
    sa.Column("amount", sa.Numeric(30, 19)),
    sa.Column("flag", sa.Boolean),
    sa.Column("document", JSONB),
    sa.Column("numbers", sa.ARRAY(sa.Integer)),
    sa.Column("at", sa.DateTime(timezone=True)),
    sa.Column('odd "name", here', sa.Text, server_default="x"),
)


@pytest.fixture
def things(compile_contract):
    compile_contract(metadata)
    return resources.resource("things")


def rows_of(text, resource, missing_default=False):
    found = csv_body(text.encode(), resource, missing_default)
    assert not found.broken
    return [json.loads(row.text, parse_float=Decimal) for row in found.rows]


# NDJSON


def test_each_line_is_a_row_with_its_line():
    found = json_lines(b'\xef\xbb\xbf{"a": 1}\r\n\n  {"a":\t2}  \n{"a": "\xe2\x80\xa8"}')

    assert [(row.text, row.item, row.line) for row in found.rows] == [
        ('{"a": 1}', 0, 1),
        ('{"a":\t2}', 1, 3),
        ('{"a": "\u2028"}', 2, 4),
    ]
    assert found.many


def test_a_broken_line_is_reported_and_the_others_are_kept():
    found = json_lines(b'{}\n{"a":\n{} {}\n{"a":1,"a":2}\n[NaN]\n{"b":2}\n')

    assert [row.item for row in found.rows] == [0, 5]
    assert [(each.item, each.line) for each in found.broken] == [(1, 2), (2, 3), (3, 4), (4, 5)]
    assert all(each.faults[0].pointer == f"/{each.item}" for each in found.broken)


def test_an_item_of_an_array_that_is_unfit_leaves_the_others():
    found = json_body(b'[{"a":1}, {"a":1,"a":2}, {"n":NaN}, {"n":1e999999}, {"b":2}]')

    assert [row.item for row in found.rows] == [0, 4]
    assert [each.item for each in found.broken] == [1, 2, 3]


# CSV


def test_fields_are_read_by_the_types_of_their_columns(things):
    text = (
        "id,name,amount,flag,document,numbers,at\r\n"
        '9223372036854775807,"a ""b"", c",0.1234567890123456789,t,"{""x"": [1, 2.50]}","[1,2]",'
        "2026-01-01T00:00:00Z\r\n"
        '2,"",,FALSE,null,,\n'
        '3,"line\nbreak",1e2,,,"[]",'
    )

    assert rows_of(text, things) == [
        {
            "id": 9223372036854775807,
            "name": 'a "b", c',
            "amount": Decimal("0.1234567890123456789"),
            "flag": True,
            "document": {"x": [1, Decimal("2.50")]},
            "numbers": [1, 2],
            "at": "2026-01-01T00:00:00Z",
        },
        {
            "id": 2,
            "name": "",
            "amount": None,
            "flag": False,
            "document": None,
            "numbers": None,
            "at": None,
        },
        {
            "id": 3,
            "name": "line\nbreak",
            "amount": Decimal("1e2"),
            "flag": None,
            "document": None,
            "numbers": [],
            "at": None,
        },
    ]


def test_an_empty_field_is_absent_where_the_client_wants_defaults(things):
    text = 'id,name,"odd ""name"", here"\n1,,\n2,"",""\n'

    assert rows_of(text, things, missing_default=True) == [
        {"id": 1},
        {"id": 2, "name": "", 'odd "name", here': ""},
    ]


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("", "no column ''"),
        ("\n1\n", "no column ''"),
        ("id,nme\n1,x\n", "no column 'nme'; it has id, name"),
        ("id,id\n1,2\n", "'id' appears more than once"),
        ('id,name\n1,"x\n', "line 2"),
        ('id,name\n1,x"y\n', "line 2"),
        ('id,name\n1,"x"y\n', "line 2"),
        ('id,name\n1,"a\nb"\n2,x"\n', "line 4"),
        ('id,name\n1,x"\n2,"y\n3,"z\n', "line 2"),
        ("id;name\n1;x\n", "no column 'id;name'"),
    ],
)
def test_what_is_no_csv_is_refused_with_the_line(things, text, detail):
    with pytest.raises(Problem) as caught:
        csv_body(text.encode(), things, False)

    assert caught.value.type == "malformed-csv"
    assert detail in caught.value.detail


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_bad_items_of_csv_are_reported_by_item_and_line(things, newline):
    text = 'id,name,document\n1,a\n2,"x\ny",{}\n\n3,c,{]\n4,d,1,2\n'

    found = csv_body(text.replace("\n", newline).encode(), things, False)

    assert [(row.item, row.line) for row in found.rows] == [(1, 3)]
    assert [(each.item, each.line, each.faults[0].pointer) for each in found.broken] == [
        (0, 2, "/0"),
        (2, 6, "/2/document"),
        (3, 7, "/3"),
    ]


@pytest.mark.parametrize("line", ["", "7"])
def test_rows_in_whose_midst_are_many_that_are_none_are_read(things, line):
    text = "\n".join(["id,flag", "1,t", *[line] * 600, "2,f"])

    found = csv_body(text.encode(), things, False)

    assert [(row.value["id"], row.line) for row in found.rows] == [(1, 2), (2, 603)]
    assert len(found.broken) == (600 if line else 0)


@pytest.mark.parametrize("field", ["\n", "1\n2", "1.0\n2", "1\n\n2.0", "1\r\n2"])
@pytest.mark.parametrize("column", ["id", "amount"])
def test_a_number_with_a_line_break_in_it_is_none(things, column, field):
    name = "id" if column == "amount" else "amount"
    text = f'{column},{name}\n3,4\n"{field}",5\n6,7\n'

    found = csv_body(text.encode(), things, False)

    assert [row.value[column] for row in found.rows] == [3, field, 6]  # no number: it is refused
    assert [json.loads(row.text)[column] for row in found.rows] == [3, field, 6]


def test_as_many_wrong_fields_of_a_row_are_reported_as_of_any_other():
    names = [f"c{each}" for each in range(30)]
    text = f"id,{','.join(names)}\n1{',{' * 30}\n2{',' * 30}\n"

    found = csv_body(text.encode(), _things(**{name: {} for name in names}), False)

    assert [row.item for row in found.rows] == [1]
    assert [each.pointer for each in found.broken[0].faults] == [f"/0/c{n}" for n in range(10)]


LONG_NUMBERS = {
    "json": f'[{{"id":1,"amount":{"9" * 5_000}.5e1}},{{"id":2}}]',
    "ndjson": f'{{"id":1,"amount":{"9" * 5_000}e0}}\n{{"id":2}}',
    "csv": f"id,amount\n1,{'9' * 5_000}\n2,\n",
}


@pytest.mark.parametrize("kind", LONG_NUMBERS)
def test_a_number_that_is_longer_than_an_int_of_python_is_refused_as_others_are(things, kind):
    read = {"json": json_body, "ndjson": json_lines, "csv": lambda b: csv_body(b, things, False)}
    found = read[kind](LONG_NUMBERS[kind].encode())

    good, refused = check(things, "create", found, lenient=True)

    assert [row.item for row in good] == [1]
    assert [each.item for each in refused] == [0]
    assert len(str(refused[0].faults)) < 1_000


ARRAYS = {
    "{1,NULL, -3}": "[1,null,-3]",
    " {} ": "[]",
    "\x0c{\x0b1,2\x0c}": "[1,2]",
    '{"1",null}': "[1,null]",
    "{ 1 , 2.0 }": "[1,2]",
    "[1, 2]": "[1, 2]",
}
NO_ARRAYS = (
    *("{", "}", "{1,2", "{1,2}}", "{1,,2}", "{,}", "{1 2}", "{1}{2}", '{"1" "2"}', "{1}x", "1,2"),
    *("{01}", "{0x1}", "{a}", "{1.5}", "{{1}}", "[0:1]={1,2}", '{"1}', "{1\\", "{" * 200_000),
    "{\xa01}",
)


@pytest.mark.parametrize("field", [*ARRAYS, *NO_ARRAYS])
def test_an_array_is_json_or_in_postgres_own_notation(api, things, recorder, field):
    quoted = field.replace('"', '""')

    answer = api("POST", "/things", f'id,numbers\n7,"{quoted}"\n'.encode(), Content_Type="text/csv")

    if field in ARRAYS:
        assert answer.status_code == 202, answer.body
        text = recorder.messages[0].sets[0].rows
        assert text == f'{{"id":7,"numbers":{ARRAYS[field]}}}'
    else:
        problem = assert_problem(answer, 422, "invalid-row")
        assert "/0/numbers" in problem["errors"][0]["pointer"]
        assert not recorder.sent


SPACES = ("\xa0", "\u2003", "\u3000", "\u2028", "\x85", "\x0b", "\x1c", "\ufeff", "\u200b")


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("field", ["{0}{{}}", "{{}}{0}", "{0}[1]{0}", "[1,{0}2]"])
def test_a_field_of_json_has_no_other_white_space_than_json_has(things, space, field):
    """Postgres refuses it, and a whole part of a message with it."""
    text = f'id,document\n1,"{field.format(space)}"\n2,"[]"\n'

    found = csv_body(text.encode(), things, False)

    assert [each.item for each in found.broken] == [0]
    assert [row.text for row in found.rows] == ['{"id":2,"document":[]}']


@pytest.mark.parametrize("column", ["id", "amount", "flag"])
@pytest.mark.parametrize("space", SPACES)
def test_a_field_of_a_number_or_boolean_has_no_other_white_space_than_json_has(
    api, things, column, space
):
    value = "true" if column == "flag" else "1"
    text = f'id,{column}\n7,"{space}{value}"\n' if column != "id" else f"id\n{value}{space}\n"

    answer = api("POST", "/things", text.encode(), Content_Type="text/csv")

    assert answer.status_code in (400, 422)


ODD_NUMBERS = (
    "+1",
    ".5",
    "5.",
    "01",
    "1_0",
    "0x1",
    "\u0661",
    "\uff11",
    "\u00b2",
    "1e",
    "--1",
    "NaN",
)


@pytest.mark.parametrize("text", ODD_NUMBERS)
@pytest.mark.parametrize("column", ["id", "amount", "numbers", "document"])
def test_what_is_no_number_of_json_is_none_in_csv(api, things, recorder, column, text):
    field = f"[{text}]" if column == "numbers" else text
    head, line = ("id", field) if column == "id" else (f"id,{column}", f'7,"{field}"')

    answer = api("POST", "/things", f"{head}\n{line}\n".encode(), Content_Type="text/csv")

    assert answer.status_code in (400, 422), answer.body
    assert not recorder.sent


def _object(parts: list[str]) -> str:
    return "{" + ",".join(f'"{name}"\t:{part}' for name, part in enumerate(parts)) + "}"


json_texts = st.recursive(
    st.sampled_from(["null", "true", "-0", "1E5", "1e-05", "0.10", r'"\u00e9"', '"\xa0\u2028"']),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda parts: f"[{' , '.join(parts)}]"),
        st.lists(inner, max_size=2).map(_object),
    ),
    max_leaves=6,
)


@given(json_texts, st.text(" \t\n\r", max_size=3), st.text(" \t\n\r\xa0\u2028\x0b", max_size=2))
def test_what_goes_on_of_a_field_is_what_was_checked(text, before, behind):
    resource = _things(document={})
    field = f"{before}{text}{behind}".replace('"', '""')

    found = csv_body(f'id,document\n1,"{field}"\n'.encode(), resource, False)

    if found.broken:
        assert behind.strip(" \t\n\r")
    else:
        (row,) = found.rows
        assert row.text == f'{{"id":1,"document":{text}}}'
        parsed = json.loads(row.text, parse_float=Decimal)
        assert parsed == row.value


@given(
    st.lists(
        st.tuples(
            st.integers(-(2**63), 2**63 - 1), st.text(st.characters(exclude_categories=("Cs",)))
        ),
        max_size=5,
    ),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_what_the_standard_library_writes_is_read_back(rows, newline):
    resource = _things()
    written = io.StringIO(newline="")
    writer = csv.writer(written, lineterminator=newline, quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(["id", "name"])
    writer.writerows(rows)

    assert rows_of(written.getvalue(), resource) == [
        {"id": number, "name": text} for number, text in rows
    ]


def _things(**more):
    """Without a fixture, which hypothesis would not make anew."""
    properties = {"id": {"type": "integer"}, "name": {"type": ["string", "null"]}, **more}

    class Things:
        name = "things"
        integers = ("id",)

        columns = properties

    return Things()


READERS = {
    "json": (json_body, lambda rows: b"[" + b"{}," * (rows - 1) + b"{}]"),
    "ndjson": (json_lines, lambda rows: b"{}\n" * rows),
    "csv": (
        lambda content: csv_body(content, _things(), False),
        lambda rows: b"id\n" + b"1\n" * rows,
    ),
}


def too_many(kind, rows):
    """Something that reads so many rows, which has to be refused."""
    read, of = READERS[kind]
    content = of(rows)

    def work():
        with pytest.raises(Problem) as caught:
            read(content)
        assert caught.value.type == "body-too-large"

    return work


@pytest.mark.parametrize("kind", READERS)
def test_more_rows_than_memory_takes_are_refused_without_reading_on(monkeypatch, kind):
    most = MAX_ROWS // 20  # a call is counted in the time of many
    monkeypatch.setattr(body, "MAX_ROWS", most)
    one_more = calls(too_many(kind, most + 1))

    assert one_more > most
    assert calls(too_many(kind, 2 * most)) < 1.1 * one_more  # the interpreter makes a few


@pytest.mark.parametrize("kind", READERS)
def test_rows_up_to_the_limit_are_read_in_time_that_grows_as_they_do(monkeypatch, kind):
    def work(times):
        most = MAX_ROWS // TIMES * times
        reads = too_many(kind, most + 1)

        def limited():
            monkeypatch.setattr(body, "MAX_ROWS", most)
            reads()

        return limited

    assert growth(work) < LINEAR


# What a value costs

KINDS = {
    "text/csv": lambda names, rows: "\n".join(
        [",".join(names), *(",".join("" if f is None else str(f) for f in row) for row in rows)]
    ),
    "application/json": lambda names, rows: json.dumps(
        [dict(zip(names, row, strict=True)) for row in rows]
    ),
    NDJSON: lambda names, rows: "\n".join(
        json.dumps(dict(zip(names, row, strict=True))) for row in rows
    ),
}
VALUES = [517, 517.0, -0.25, "text", '"quoted, and ""so"""', None, "2026-01-31T12:00:00Z", 3.0]
TYPES = [
    *(sa.Integer, sa.Integer, sa.Numeric(8, 2), sa.Text, sa.Text, sa.Integer),
    *(sa.DateTime(timezone=True), sa.BigInteger),
]


def _wide(columns):
    metadata = sa.MetaData()
    made = [sa.Column(f"c{each}", TYPES[each % len(TYPES)]) for each in range(columns)]
    sa.Table("wide", metadata, sa.Column("id", sa.Integer, primary_key=True), *made)
    return metadata


WIDE = {columns: _wide(columns) for columns in (8, 24)}


@pytest.mark.parametrize("kind", KINDS)
def test_python_takes_no_step_for_a_value_by_itself(api, compile_contract, recorder, kind):
    rows = 600

    def steps(columns):
        compile_contract(WIDE[columns])
        names = ["id", *(f"c{each}" for each in range(columns))]
        values = [VALUES[each % len(VALUES)] for each in range(columns)]
        content = KINDS[kind](names, [[number, *values] for number in range(rows)]).encode()
        ask = lambda: answers.append(api("POST", "/wide", content, Content_Type=kind))  # noqa: E731
        answers = []
        ask()  # what is made with the first one
        made = calls(ask, in_c=False)
        assert [answer.status_code for answer in answers] == [202, 202], answers[0].body
        return made

    more = steps(24) - steps(8)

    # A column of 200 rows of CSV is read by some calls, and nothing else is.
    assert more < 0.1 * rows * (24 - 8)
    assert '"c1":517,' in recorder.messages[-1].sets[0].rows.replace(": ", ":").replace(", ", ",")


def test_only_what_is_listed_of_refused_rows_is_described(api, monkeypatch):
    from chalicelib.api.writes import rows

    described = []
    monkeypatch.setattr(rows, "_MAX_DESCRIBED", 50)
    faults = rows._faults
    monkeypatch.setattr(rows, "_faults", lambda *given: described.append(given) or faults(*given))

    answer = api("POST", "/stations", [STATION] + [{}] * 500, Prefer="handling=lenient")

    told = body_of(answer)
    assert (told["refused_count"], len(told["refused"])) == (500, 50)
    assert all(each["errors"] for each in told["refused"])
    assert len(described) == 50


# What cannot be answered in time


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seconds", [7.5, 9.0])  # 7 are for the first call of SQS
def test_what_cannot_be_checked_in_time_is_refused_as_a_whole(
    api, compile_contract, monkeypatch, recorder, kind, seconds
):
    """The clock goes on by a tenth of a second each time it is looked at."""
    from chalicelib.api.http import request
    from chalicelib.api.writes import body

    compile_contract(WIDE[8])
    names = ["id", *(f"c{each}" for each in range(8))]
    content = KINDS[kind](names, [[number, *VALUES] for number in range(5_000)]).encode()
    now = iter(range(1_000_000))
    monkeypatch.setattr(request, "seconds_to_answer", lambda _: seconds)
    monkeypatch.setattr(request.time, "monotonic", lambda: 0.0)
    monkeypatch.setattr(body.time, "monotonic", lambda: next(now) / 10)

    answer = api("POST", "/wide", content, Content_Type=kind)

    problem = assert_problem(answer, 413, "body-too-large")
    assert "none was accepted. Send the body in several requests" in problem["detail"]
    assert not recorder.sent


@pytest.mark.parametrize("kind", READERS)
def test_rows_that_are_passed_over_do_not_hide_that_time_is_up(compile_contract, kind):
    compile_contract(WIDE[8])
    resource = resources.resource("wide")
    good = {"csv": "1,2\n", "ndjson": '{"id":1}\n', "json": '{"id":1},'}
    bad = {"csv": "1\n", "ndjson": "{\n", "json": '{"id":NaN},'}
    head, tail = {"csv": ("id,c0\n\n", ""), "ndjson": ("\n", ""), "json": ("[", "{}]")}[kind]
    content = (head + (bad[kind] + good[kind] * 199) * 4 + tail).encode()

    def read(until=math.inf):
        if kind == "csv":
            return csv_body(content, resource, False, until)
        return READERS[kind][0](content, until)

    for late in (lambda: read(0.0), lambda: check(resource, "create", read(), True, 0.0)):
        with pytest.raises(Problem) as caught:
            late()
        assert "not all rows can be checked in time: 200 were" in caught.value.detail


def test_rows_that_are_much_longer_as_json_are_refused_before_they_are_made(things, monkeypatch):
    from chalicelib.api.writes import csv_body as module

    monkeypatch.setattr(module, "MAX_SHOWN_BYTES", 100_000)
    name = '"odd ""name"", here"'

    with pytest.raises(Problem) as caught:
        csv_body(f"id,{name}\n".encode() + b"1,x\n" * 50_000, things, False)

    assert caught.value.type == "body-too-large"
    assert "names its columns" in caught.value.detail


# As clients see it


def ndjson(*rows):
    return "\n".join(json.dumps(row) for row in rows).encode()


@pytest.mark.parametrize("type_", [NDJSON, "application/ndjson", "application/jsonl"])
def test_ndjson_is_taken(api, recorder, type_):
    answer = api("POST", "/stations", ndjson(STATION, station(icao="LSZH")), Content_Type=type_)

    assert body_of(answer)["writes"] == 2
    assert sum(message.writes for message in recorder.messages) == 2


def test_csv_is_taken(api, recorder):
    text = b"station,observed_at,temperature_c\nEDDF,2026-01-01T00:00:00Z,-1.50\n"
    type_ = "text/csv; header=present; charset=utf-8"
    answer = api("POST", "/observations", text, Content_Type=type_)

    assert body_of(answer)["writes"] == 1
    (message,) = recorder.messages
    assert message.sets[0].rows == (
        '{"observed_at":"2026-01-01T00:00:00Z","station":"EDDF","temperature_c":-1.50}'
    )


def test_strict_handling_refuses_all_for_one(api, recorder):
    problem = assert_problem(
        api("POST", "/stations", ndjson(STATION, {"icao": 7}, STATION), Content_Type=NDJSON),
        422,
        "invalid-row",
    )

    assert problem["errors"][0]["line"] == 2
    assert problem["errors"][0]["pointer"].startswith("/1")
    assert not recorder.sent


def test_lenient_handling_takes_the_good_ones_and_answers_for_the_others(api, recorder):
    body = ndjson(STATION, {"icao": 7}, station(icao="LSZH")) + b"\n{oops\n"
    answer = api(
        "POST", "/stations", body, Content_Type=NDJSON, Prefer="handling=lenient, return=minimal"
    )

    told = body_of(answer)
    assert answer.status_code == 202
    assert told["writes"] == 2
    assert told["refused_count"] == 2
    assert [(each["item"], each["line"]) for each in told["refused"]] == [(1, 2), (3, 4)]
    assert all(each["errors"][0]["detail"] for each in told["refused"])
    assert answer.headers["Preference-Applied"] == "handling=lenient"
    items = {item for message in recorder.messages for part in message.sets for item in part.items}
    assert items == {0, 2}
    receipt = verify(told["receipt"], RECEIPT_KEY.encode(), "me")
    assert receipt is not None
    assert receipt.writes == 2


def test_lenient_handling_with_nothing_good_is_refused(api, recorder):
    assert_problem(
        api("POST", "/stations", [{"icao": 7}], Prefer="handling=lenient"), 422, "invalid-row"
    )
    assert not recorder.sent


def test_a_row_that_fits_no_message_does_not_sink_the_others(api, recorder):
    large = station(icao="LSZH", name="x" * 1_000_000)

    answer = api("POST", "/stations", [STATION, large], Prefer="handling=lenient")

    assert answer.status_code == 202
    [refused] = body_of(answer)["refused"]
    assert (refused["item"], refused["errors"][0]["pointer"]) == (1, "/1")
    assert refused["errors"][0]["rule"] == "size"
    assert [part.items for message in recorder.messages for part in message.sets] == [(0,)]


def test_all_refused_items_are_named_and_as_many_listed_as_an_answer_holds(api, monkeypatch):
    rows = [STATION, *[{}] * 500, station(icao="LSZH"), {}]
    items = [*range(1, 501), 502]

    told = body_of(api("POST", "/stations", rows, Prefer="handling=lenient"))
    assert (told["refused_count"], told["refused_items"]) == (501, "1-500,502")
    assert [each["item"] for each in told["refused"]] == items
    assert "refused_unlisted" not in told

    monkeypatch.setattr(outcome, "_REFUSED_BYTES", 20_000)
    answer = api("POST", "/stations", rows, Prefer="handling=lenient")
    told = body_of(answer)
    assert (told["refused_count"], told["refused_items"]) == (501, "1-500,502")
    listed = [each["item"] for each in told["refused"]]
    assert listed == items[: len(listed)]
    assert told["refused_unlisted"] == 501 - len(listed) > 0
    assert 15_000 < len(json.dumps(answer.body.decode())) < 21_000


def test_a_retry_under_another_contract_does_not_pass_for_the_same(api, recorder):
    """What is refused is part of the content: otherwise a row could be taken for poured."""
    from chalicelib.api.http import idempotency

    headers = {"Prefer": "handling=lenient", "Idempotency_Key": "k"}
    api("POST", "/stations", [STATION, {"icao": 7}], **headers)
    api("POST", "/stations", [STATION, {"icao": 7}], **headers)
    first, again = recorder.messages
    assert first == again._replace(accepted_at=first.accepted_at)

    idempotency._accepted.clear()
    api("POST", "/stations", [STATION, {"icao": 7}], Idempotency_Key="k")  # refused as a whole
    api("POST", "/stations", [STATION], **headers)
    assert recorder.messages[-1].fingerprint != first.fingerprint


# What is done where there is a row


@pytest.mark.parametrize(
    ("prefer", "op"),
    [
        ("resolution=merge-duplicates", "create-or-merge"),
        ("resolution=ignore-duplicates", "create-or-ignore"),
        ("missing=default", "create"),
    ],
)
def test_a_resolution_is_an_op(api, recorder, prefer, op):
    answer = api("POST", "/stations", STATION, Prefer=prefer)

    token_of(answer)
    assert answer.headers["Preference-Applied"] == prefer
    assert [message.op for message in recorder.messages] == [op]


def test_an_unordered_resource_ignores_duplicates_and_merges_none(api, recorder):
    token_of(api("POST", "/observations", OBSERVATION, Prefer="resolution=ignore-duplicates"))
    assert_problem(
        api("POST", "/observations", OBSERVATION, Prefer="resolution=merge-duplicates"),
        400,
        "invalid-preference",
    )
    assert [message.op for message in recorder.messages] == ["create-or-ignore"]


def test_another_resolution_under_one_key_is_another_content(api, recorder):
    from chalicelib.api.http import idempotency

    for prefer in ("resolution=merge-duplicates", "resolution=ignore-duplicates", "x"):
        idempotency._accepted.clear()
        api("POST", "/stations", STATION, Prefer=prefer, Idempotency_Key="k")

    assert len({message.fingerprint for message in recorder.messages}) == 3


def test_preferences_of_a_create_are_not_applied_to_one_row(api):
    answer = api(
        "PATCH", "/stations/EDDF", {"active": True}, Prefer="handling=lenient, missing=default"
    )

    assert "Preference-Applied" not in answer.headers
