"""Keys: equal keys share a digest however they are spelled, so that they share a lane."""

from datetime import datetime
from decimal import Decimal
from itertools import combinations
from urllib.parse import quote
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Enum,
    FetchedValue,
    Float,
    LargeBinary,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import CITEXT, DOMAIN, INET, JSONB, TIME, TIMESTAMP

from chalicelib.api.writes import rows
from chalicelib.api.writes.body import ParsedRow, json_body
from chalicelib.contract import key, resources
from chalicelib.contract.json_text import Scanner, render
from chalicelib.errors import Problem

KINDS = {
    "text": Text(),
    "varchar": String(8),
    "integer": BigInteger(),
    "numeric": Numeric(38, 10),
    "free": Numeric(),
    "boolean": Boolean(),
    "uuid": Uuid(),
    "instant": DateTime(timezone=True),
    "moment": DateTime(),
    "date": Date(),
    "bytes": LargeBinary(),
    "enum": Enum("red", "green", name="colour"),
    "citext": CITEXT(),
    "float": Float(),
    "inet": INET(),
    "whole": TIMESTAMP(timezone=True, precision=0),
    "tenths": TIME(timezone=True, precision=1),
    "digits": Numeric(1000, 0),
    "document": JSONB(),
}


METADATA = MetaData()
for name, type_ in KINDS.items():
    Table(name, METADATA, Column("id", type_, primary_key=True), Column("v", Text))
Table(
    "pairs",
    METADATA,
    Column("a", Text, primary_key=True),
    Column("b", BigInteger, primary_key=True),
)


@pytest.fixture(autouse=True)
def _tables(compile_contract):
    compile_contract(METADATA)


def digest(kind: str, text: str) -> int:
    """Of a key as a body names it, which has to be one that the contract takes."""
    resource = resources.resource(kind)
    (row,) = json_body(f'{{"id": {text}}}'.encode()).rows
    assert resource.validator("create").is_valid(row.value), text
    return key.digest(resource, row.value)


def path_digest(kind: str, segment: str) -> int:
    resource = resources.resource(kind)
    return key.digest(resource, key.from_path(resource, [segment]))


EQUAL = {
    "text": [['"a"', '"\\u0061"'], ['"ü/%"', '"\\u00fc\\/%"']],
    "integer": [["1", "1.0", "1e0", "10E-1"], ["-7", "-7.000"], ["0", "-0", "0.0", "-0.0", "0e5"],
                ["1000", "1e3", "1E+3"]],
    "numeric": [["1.5", "1.50", "15e-1", "0.15E+1", "1.5000000000"], ["0", "-0", "0.0", "-0e3"],
                ["100", "1e2", "100.0"], ["-2.5", "-2.50", "-25e-1"],
                [f"{10**27}.0123456789", f"{10**27}.01234567890"]],
    "free": [["1e100", "1" + "0" * 100], ["1e-100", "0." + "0" * 99 + "1"]],
    "boolean": [["true"], ["false"]],
    "uuid": [['"6BA7B812-9DAD-11D1-80B4-00C04FD430C8"', '"6ba7b812-9dad-11d1-80b4-00c04fd430c8"']],
    "instant": [['"2026-01-01T00:00:00Z"', '"2026-01-01T01:00:00+01:00"',
                 '"2025-12-31T14:30:00-09:30"', '"2026-01-01T00:00:00.000000-00:00"'],
                ['"2026-01-02T00:00:00Z"', '"2026-01-01t24:00:00z"', '"2026-01-01 24:00 +00"',
                 '"20260102 0000+0000"', '"2026-01-02T05:30+05:30"',
                 '"20260102T000000.000000000Z"'],
                ['"2026-01-01T00:00:00.1Z"', '"2026-01-01T00:00:00.100Z"'],
                ['"0002-01-01T00:00:00Z"', '"0001-12-31T19:00:00-05:00"']],
    "moment": [['"2026-01-01T00:00:00"', '"2026-01-01T00:00:00.0"', '"2026-01-01T00:00:00.000000"'],
               ['"2026-01-02T00:00"', '"20260101T2400"', '"2026-01-01 24:00:00.0"'],
               ['"2026-01-01T00:00:00.12"', '"2026-01-01T00:00:00.120"']],
    "date": [['"2026-01-01"', '"20260101"'], ['"2026-01-02"']],
    "bytes": [['"\\\\x00FF"', '"\\\\x00ff"'], ['"\\\\x"']],
    "enum": [['"red"'], ['"green"']],
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "texts"), [(kind, texts) for kind, groups in EQUAL.items() for texts in groups]
)
def test_equal_keys_have_one_digest_however_they_are_spelled(kind, texts):
    assert len({digest(kind, text) for text in texts}) == 1


@pytest.mark.parametrize("kind", EQUAL)
def test_different_keys_have_different_digests(kind):
    for one, other in combinations(EQUAL[kind], 2):
        assert digest(kind, one[0]) != digest(kind, other[0])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("0001-01-01T00:00:00+15:00", "0001-01-01T00:00:01+15:00"),
        ("9999-12-31T23:59:59-15:00", "0001-01-01T00:00:00+15:00"),
        ("9999-12-31T23:59:59-15:00", "2026-01-01T00:00:00Z"),
    ],
)
def test_keys_without_a_canonical_form_are_the_same_only_as_themselves(one, other):
    (column,) = resources.resource("instant").key

    assert key.same(column, one, one)
    assert not key.same(column, one, other)
    assert not key.same(column, other, one)
    assert digest("instant", f'"{one}"')  # by which they share a lane, whatever they are


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        ("instant", "0001-01-01T00:30:00Z", "0001-12-31T23:30:00-01:00 BC"),
        ("instant", "0001-01-01T00:00:00Z", "0001-12-31T24:00:00+00 BC"),
        ("instant", "9999-12-31T23:30:00Z", "10000-01-01T00:30:00+01:00"),
        ("moment", "0001-01-01T00:00:00", "0001-12-31T24:00:00 BC"),
        ("moment", "9999-12-31T24:00:00", "10000-01-01T00:00:00"),
    ],
)
def test_a_moment_at_the_ends_of_pythons_years_shares_a_lane_with_those_beyond(kind, one, other):
    assert path_digest(kind, quote(one)) == path_digest(kind, quote(other))


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("1", "1.0", True), ("1", "true", False), ("[0]", "[false]", False), ("[]", "{}", False),
        ('{"a":1,"b":[2]}', '{"b":[2.0],"a":1}', True), ('{"a":1}', '{"a":true}', False),
        ('{"a":1}', '{"b":1}', False), ("[1]", "[1,2]", False), ('"1"', "1", False),
    ],
)  # fmt: skip
def test_a_document_is_the_same_key_as_json_has_it(one, other, is_same):
    (column,) = resources.resource("document").key

    assert key.same(column, *(Scanner().value(text)[1] for text in (one, other))) is is_same


@pytest.mark.parametrize(
    "spelling",
    ["2026-01-01T23:59:60Z", "2026-01-01T24:00:01Z", "2026-01-01T00:00:00", "0000-01-01T00:00:00Z",
     "2026-01-01T00:00:00.1234567Z", "2026-01-01T00:00:00+24:00", "2025-02-29T00:00:00Z"],
)  # fmt: skip
def test_instants_that_have_no_digest_of_their_own_are_not_taken_for_keys(spelling):
    validator = resources.resource("instant").validator("create")

    assert not validator.is_valid({"id": spelling})


@pytest.mark.parametrize("kind", ["citext", "float", "inet"])
def test_keys_whose_equality_only_postgres_knows_share_a_lane(kind):
    texts = {
        "citext": ['"Ab"', '"aB"'],
        "float": ["1.5", "15e-1", "2"],
        "inet": ['"::1"', '"0::1"'],
    }

    assert len({digest(kind, text) for text in texts[kind]}) == 1


def test_tables_do_not_share_keys():
    assert digest("text", '"a"') != digest("varchar", '"a"')


@given(
    st.decimals(
        allow_nan=False, allow_infinity=False, places=10, min_value=-(10**20), max_value=10**20
    )
)
def test_every_spelling_of_a_number_is_one_key(number):
    column = resources.resource("numeric").key[0]

    canonical = {
        key._canonical(column, Decimal(text))
        for text in (f"{number:f}", f"{number:e}", f"{number:f}000", f"{number:.12E}00"[:-2])
        if Decimal(text) == number
    }

    assert len(canonical) == 1


@given(
    st.decimals(allow_nan=False, allow_infinity=False),
    st.decimals(allow_nan=False, allow_infinity=False),
)
def test_numbers_are_one_key_exactly_when_they_are_equal(one, other):
    column = resources.resource("free").key[0]

    assert (key._canonical(column, one) == key._canonical(column, other)) == (one == other)


@pytest.mark.parametrize(
    ("kind", "segment", "text"),
    [
        ("text", "a%2Fb", '"a/b"'),
        ("text", "100%25", '"100%"'),
        ("text", "%2525", '"%25"'),
        ("text", "a+b", '"a+b"'),
        ("text", "a%20b", '"a b"'),
        ("text", "%C3%BC%F0%9F%98%80", '"ü😀"'),
        ("text", "ü", '"ü"'),
        ("text", "17", '"17"'),
        ("text", "null", '"null"'),
        ("varchar", "12345678", '"12345678"'),
        ("integer", "17", "17"),
        ("integer", "-0", "0"),
        ("integer", "007", "7"),
        ("integer", "-9223372036854775808", "-9223372036854775808"),
        ("numeric", "1.50", "1.5"),
        ("numeric", "15e-1", "1.5"),
        ("numeric", "-0.0", "0"),
        ("boolean", "true", "true"),
        ("uuid", "6BA7B812-9DAD-11D1-80B4-00C04FD430C8", '"6ba7b812-9dad-11d1-80b4-00c04fd430c8"'),
        ("instant", "2026-01-01T01:00:00%2B01:00", '"2026-01-01T00:00:00Z"'),
        ("digits", "7" * 45, "7" * 45),
        ("digits", f"-{'9' * 1_000}", f"-{'9' * 1_000}"),
        ("date", "2026-01-01", '"2026-01-01"'),
        ("bytes", "%5Cx00FF", '"\\\\x00ff"'),
        ("bytes", "\\x00ff", '"\\\\x00ff"'),
        ("enum", "red", '"red"'),
    ],
)
def test_a_path_names_the_same_key_as_a_body(kind, segment, text):
    assert path_digest(kind, segment) == digest(kind, text)


@pytest.mark.parametrize(
    ("kind", "segment"),
    [
        ("text", "%00"), ("text", "%FF"), ("text", "%ED%A0%80"), ("text", "a\0b"),
        ("varchar", "123456789"),
        ("integer", "x"), ("integer", "1.5"), ("integer", "1 "), ("integer", "%20"),
        ("integer", "+1"), ("integer", "9223372036854775808"), ("integer", "9" * 5_000),
        ("integer", "١"), ("integer", "1_0"), ("integer", "true"), ("integer", "null"),
        ("numeric", "nan"), ("numeric", "Infinity"), ("numeric", "1e99999999999"),
        ("free", "inf"), ("free", "-NaN"), ("moment", "Infinity"), ("date", "-infinit"),
        ("date", "10000-13-01"), ("date", "010000-01-01"), ("date", "44-03-15 BC"),
        ("instant", "10000-01-01T00:00:00"), ("moment", "10000-01-01T00:00:00Z"),
        ("numeric", ".5"), ("numeric", "9" * 5_000), ("numeric", f"{'9' * 5_000}e0"),
        ("numeric", "0.00000000001"), ("numeric", "1e28"), ("numeric", "x"),
        ("boolean", "True"), ("boolean", "1"), ("boolean", ""),
        ("uuid", "nope"), ("uuid", ""), ("uuid", "%7B6ba7b812-9dad-11d1-80b4-00c04fd430c8%7D"),
        ("instant", "yesterday"), ("instant", "2026-01-01"), ("instant", "2026-01-01T00:00:00"),
        ("moment", "2026-01-01T00:00:00."), ("instant", "20260101T000000.Z"),
        ("whole", "2026-01-01T00:00:00.Z"), ("moment", "2026-01-01T24:00:00."),
        ("digits", "9" * 1_001),
        ("moment", "2026-01-01T00:00:00Z"), ("moment", "2026-02-30T00:00:00"),
        ("date", "2026-02-30"), ("date", "2026-1-1"), ("date", "0000-01-01"),
        ("whole", "10000-01-01T00:00:00.5+00:00"), ("tenths", "12:00:00.55+00"),
        ("bytes", "00ff"), ("bytes", "%5Cx0"), ("bytes", "%5Cxzz"),
        ("enum", "blue"), ("enum", "RED"),
    ],
)  # fmt: skip
def test_a_path_that_names_no_possible_key_is_refused(kind, segment):
    resource = resources.resource(kind)

    with pytest.raises(Problem) as caught:
        path_digest(kind, segment)

    assert caught.value.status == 422
    assert caught.value.type == "invalid-key"
    assert caught.value.faults[0].pointer == f"/{resource.key[0].name}"


FAR = {
    "date": ["infinity", "-infinity", "10000-01-01", "0044-03-15 BC", "2026-01-31"],
    "moment": ["infinity", "-infinity", "10000-01-01T00:00:00.5", "0044-03-15T00:00:00 BC"],
    "instant": ["infinity", "-infinity", "10000-01-01T00:00:00+00:00",
                "0044-03-15T00:00:00+00:00 BC"],
    "free": ["NaN", "Infinity", "-Infinity", "0"],
    "numeric": ["NaN", "0"],
    "float": ["NaN", "Infinity", "-Infinity", "0"],
    "whole": ["infinity", "10000-01-01T00:00:00+00:00", "0044-03-15T00:00:00+00:00 BC"],
    "tenths": ["12:00:00.5+00", "12:00:00+05:59:59"],
}  # fmt: skip


@pytest.mark.parametrize("kind", FAR)
def test_a_path_names_what_no_write_gives_and_postgres_shows(kind):
    resource = resources.resource(kind)
    (column,) = resource.key
    found = [key.from_path(resource, [segment])["id"] for segment in FAR[kind]]

    assert [str(value) for value in found] == FAR[kind]
    for one, other in combinations(found, 2):
        assert not key.same(column, one, other)
        assert key.same(column, one, one)
    if kind in ("free", "numeric"):  # others share a lane where there is no canonical form
        assert len({key.digest(resource, {"id": value}) for value in found}) == len(found)


@pytest.mark.parametrize("segments", [[], ["a"], ["a", "1", "x"]])
def test_a_path_with_another_number_of_segments_names_nothing(segments):
    with pytest.raises(Problem) as caught:
        key.from_path(resources.resource("pairs"), segments)

    assert caught.value.status == 404
    assert "/pairs/{a}/{b}" in caught.value.detail


def test_parts_of_a_composite_key_do_not_run_into_each_other():
    pairs = resources.resource("pairs")

    assert key.from_path(pairs, ["x", "7"]) == {"a": "x", "b": 7}
    assert key.digest(pairs, {"a": "x", "b": 17}) != key.digest(pairs, {"a": "x1", "b": 7})
    assert key.digest(pairs, {"a": "x", "b": 17}) == key.digest(
        pairs, {"b": Decimal("17.0"), "a": "x"}
    )


@given(st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0")))
def test_any_text_that_can_be_a_key_goes_through_a_path(text):
    from urllib.parse import quote

    resource = resources.resource("text")

    assert key.from_path(resource, [quote(text, safe="")]) == {"id": text}


@given(st.text())
def test_no_segment_breaks_the_reading_of_keys(segment):
    for kind in KINDS:
        resource = resources.resource(kind)
        try:
            members = key.from_path(resource, [segment])
        except Problem:
            continue
        key.digest(resource, members)
        render(members).encode()


@pytest.mark.parametrize(
    ("kind", "one", "other", "same"),
    [
        ("uuid", f"6BA7{12 * '0'}8{15 * '0'}", f"6ba7{12 * '0'}8{15 * '0'}", True),
        ("numeric", Decimal("1.50"), 1, False),
        ("numeric", Decimal("1.0"), 1, True),
        ("integer", Decimal("1.0"), 1, True),
        ("text", "a", "A", False),
        ("citext", "a", "a", True),
        ("citext", "a", "b", False),
        ("float", Decimal("1.50"), Decimal("1.5"), True),
        ("instant", "2026-01-01T01:00:00+01:00", "2026-01-01T00:00:00Z", True),
    ],
)  # fmt: skip
def test_a_key_in_the_body_is_compared_with_the_one_in_the_path(kind, one, other, same):
    assert key.same(resources.resource(kind).key[0], one, other) is same


REQUEST, OTHER_REQUEST = UUID(int=1), UUID(int=2)
COMPLETED = {
    "by_today": [Column("day", Date, server_default=text("CURRENT_DATE"))],
    "by_now": [Column("at", DateTime(timezone=True), server_default="2026-01-01 00:00:00")],
    "by_clock": [Column("at", DateTime(timezone=True), default=datetime.now)],
    "by_domain": [Column("code", DOMAIN("code", Text, default="x"))],
    "by_trigger": [Column("code", Text, FetchedValue())],
    "by_rounding": [Column("n", Numeric(3, 1), server_default="1.25")],
    "by_user": [Column("name", Text, server_default=text("current_user"))],
    "by_python": [Column("name", Text, default=lambda: "x")],
    "twice": [
        Column("day", Date, server_default=text("CURRENT_DATE")),
        Column("code", Text, default=lambda: "x"),
    ],
}
NAMED = {"day": ["2026-01-31", "2026-02-01"], "at": ["2026-01-31T00:00:00Z"], "code": ["x", "y"],
         "n": [Decimal("1.3"), 1], "name": ["x"]}  # fmt: skip


COMPLETED_METADATA = MetaData()
for name, columns in {
    **COMPLETED,
    "drawn": [Column("by", Uuid, default=uuid4)],
    "constant": [Column("kind", Text, server_default="x")],
}.items():
    own = [column._copy() for column in columns]
    for column in own:
        column.primary_key = True
    number = Column("id", BigInteger, primary_key=True, autoincrement=False)
    Table(name, COMPLETED_METADATA, number, *own)


@pytest.fixture
def completed(compile_contract):
    """Tables whose keys are made of a number that a client gives and of what may be completed."""
    compile_contract(COMPLETED_METADATA)


def split_digest(resource, request_id=REQUEST, /, **members):
    (row,) = rows.to_split(
        resources.resource(resource), "create", [ParsedRow(render(members), members)], request_id
    )
    return row.digest


@pytest.mark.usefixtures("completed")
@pytest.mark.parametrize("name", COMPLETED)
def test_a_key_that_is_completed_shares_the_lane_of_the_one_that_a_client_names(name):
    absent = split_digest(name, id=1)
    given = [
        {column.name: value}
        for column in resources.resource(name).key
        for value in NAMED.get(column.name, [])
    ]
    together = {name: value for each in given for name, value in each.items()}

    for request_id in (REQUEST, OTHER_REQUEST):
        for members in ({}, *given, together):
            assert split_digest(name, request_id, id=1, **members) == absent
            assert split_digest(name, request_id, id=2, **members) != absent


@pytest.mark.usefixtures("completed")
def test_a_key_that_no_client_can_name_yet_has_a_digest_of_its_own():
    one = split_digest("drawn", id=1)

    assert one == split_digest("drawn", id=1)
    assert one != split_digest("drawn", OTHER_REQUEST, id=1)
    named = split_digest("drawn", id=1, by=str(UUID(int=7)))
    assert named == split_digest("drawn", OTHER_REQUEST, id=1, by=str(UUID(int=7)))
    assert named != split_digest("drawn", id=1, by=str(UUID(int=8)))


@pytest.mark.usefixtures("completed")
def test_a_constant_default_counts_as_if_it_were_named():
    assert split_digest("constant", id=1) == split_digest("constant", id=1, kind="x")
    assert split_digest("constant", id=1) != split_digest("constant", id=1, kind="y")


def test_digests_are_the_same_in_every_process_and_version():
    # Digests choose lanes: a change would reorder what is queued while it is deployed.
    assert key.number("stations\0EDDF") == 1554451341821527600
