"""The body of a message: what is encoded comes back, what is foreign is told apart."""

import json
import re
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.errors import ForeignMessage, NewerMessage
from chalicelib.messages.message import (
    SINCE,
    VERSION,
    Condition,
    Message,
    RowSet,
    caller_name,
    decode,
    encode,
    read_header,
)
from chalicelib.messages.receipt import Receipt, issue
from chalicelib.ops import OPS, Op
from chalicelib.settings import LEAST_MESSAGE_BYTES, queue_bytes

ID = "01890000-0000-7000-8000-000000000000"
FOREIGN = "the header is not one"
RECEIPT = issue(Receipt(UUID(ID), 1, 1, 1, "0" * 32), b"k" * 32, "me")

names = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Zs", "Cn")), min_size=1, max_size=20
).filter(str.isprintable)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=("Cs",))),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=5,
)


lines = st.sampled_from(['"LSZH",12.50', "null", '7,"{\\"a\\":1}"', '"é",true'])


@st.composite
def row_sets(draw: st.DrawFn) -> RowSet:
    rows = draw(st.lists(st.dictionaries(names, json_values, max_size=3), min_size=1, max_size=4))
    texts = [json.dumps(row, ensure_ascii=draw(st.booleans())) for row in rows]
    ordered = draw(st.booleans())
    members = tuple(sorted(draw(st.sets(names, max_size=3))))
    by_values = bool(members) and draw(st.booleans())
    return RowSet(
        members=members,
        items=tuple(range(len(rows))),
        digests=tuple(range(2**64 - len(rows), 2**64)) if ordered else (),
        text="\n".join(draw(lines) for _ in rows) if by_values else ",".join(texts),
        documents=tuple(draw(st.lists(st.sampled_from(members)))) if by_values else None,
    )


etags = st.lists(st.text(st.characters(max_codepoint=255, exclude_characters="\0"))).map(tuple)
conditions = st.builds(Condition, match=etags | st.none(), none_match=etags | st.none()).filter(
    lambda condition: condition != (None, None)
)


@st.composite
def messages(draw: st.DrawFn) -> Message:
    sets = tuple(draw(st.lists(row_sets(), min_size=1, max_size=3)))
    op: Op = draw(st.sampled_from([*OPS]))
    is_one = sum(len(rows.items) for rows in sets) == 1 and not op.startswith("create")
    return Message(
        dedup_id=draw(st.uuids().map(str)),
        fingerprint=draw(st.text("0123456789abcdef", min_size=32, max_size=32)),
        accepted_at=draw(st.integers(0, 2**47 - 1)),
        resource=draw(names),
        op=op,
        sets=sets,
        condition=draw(st.none() | conditions) if is_one else None,
        caller=draw(st.text(st.characters(exclude_characters="\0", codec="utf-8"))),
        receipt=draw(st.sampled_from(["", RECEIPT])),
    )


def one(**changes: object) -> Message:
    fields: dict[str, object] = {
        "dedup_id": ID,
        "fingerprint": "0" * 32,
        "accepted_at": 1,
        "resource": "stations",
        "op": "create",
        "sets": (RowSet(("icao",), (0,), (7,), '{"icao":"EDDF"}'),),
    }
    return Message(**{**fields, **changes})  # type: ignore[arg-type]


def with_header(**changes: object) -> str:
    """A message that `encode` made, with its header changed. A change to `...` leaves out."""
    header, *lines = encode(one()).split("\n")
    fields = {**json.loads(header), **changes}
    kept = {name: value for name, value in fields.items() if value is not ...}
    return "\n".join([json.dumps(kept), *lines])


def with_two(**changes: object) -> str:
    """Two rows in two sets."""
    described = [["icao"], [0], [7]]
    return with_header(sets=[described, described], **changes) + '\n[{"icao":"EDDF"}]'


def with_set(members: object = ("icao",), items: object = (0,), digests: object = (7,)) -> str:
    return with_header(sets=[[members, items, digests]])


@given(messages())
def test_what_is_encoded_comes_back(message):
    body = encode(message)

    decoded = decode(body)

    assert "\ufffe" not in body
    assert "\uffff" not in body
    assert [said(part) for part in decoded.sets] == [said(part) for part in message.sets]
    assert encode(decoded) == body
    assert decoded._replace(sets=()) == message._replace(sets=())
    escaped = [part.text for part in message.sets if part.text.isascii()]
    assert escaped == [part.text for part in decoded.sets if part.text in escaped]


def said(rows: RowSet) -> Any:
    return json.loads(f"[{rows.text}]") if rows.documents is None else rows


def test_noncharacters_that_sqs_refuses_travel_escaped():
    rows = '{"name":"\ufffe and \uffff"}'

    body = encode(one(sets=(RowSet(("name",), (0,), (1,), rows),)))

    assert '{"name":"\\ufffe and \\uffff"}' in body
    assert json.loads(f"[{decode(body).sets[0].rows}]") == [{"name": "\ufffe and \uffff"}]


def test_digits_of_numbers_travel_as_they_were_sent():
    rows = '{"n":0.12345678901234567890,"m":1.50,"i":9223372036854775807,"e":1E+5}'

    assert decode(encode(one(sets=(RowSet(("n",), (0,), (1,), rows),)))).sets[0].rows == rows


def test_line_separators_other_than_newline_stay_within_their_row():
    rows = '{"name":"a\u2028b\u2029c\x85d\\ne"}'

    assert decode(encode(one(sets=(RowSet(("name",), (0,), (1,), rows),)))).sets[0].rows == rows


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("", "not JSON"),
        ("hello", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('{"v":' + "9" * 5_000 + "}", "not JSON"),
        ("null", "no Decanter header"),
        ("[]", "no Decanter header"),
        ('{"Records": []}', "no Decanter header"),
        (with_header(v=0), f"has version 0, this deployment reads up to {VERSION}"),
        (with_header(v=-1), "has version"),
        (with_header(v=True), "has version"),
        (with_header(v=1.0), "has version"),
        (with_header(v="3"), "has version"),
        (with_header(v="\0"), "has version"),
        (
            with_header(v=VERSION + 1, id=...),
            f"has version {VERSION + 1}, this deployment reads up to {VERSION}",
        ),
        (with_header(v=VERSION + 1, id=7), f"has version {VERSION + 1}"),
        (with_header(v=VERSION + 1, fp="x"), f"has version {VERSION + 1}"),
        (with_header(v=VERSION + 1, at=None), f"has version {VERSION + 1}"),
        (with_header(v=10**4_000, at=None), "has version 1000"),
        (with_header(v=None), "has version None"),
        *[
            (with_header(**{name: ...}), repr(name))
            for name in ("id", "fp", "at", "resource", "op", "sets")
        ],
        (with_header(id="not-a-uuid"), "is invalid"),
        (with_header(id=ID.upper().replace("8", "A")), "is invalid"),
        (with_header(id=f"{{{ID}}}"), "is invalid"),
        (with_header(id=7), FOREIGN),
        (with_header(id=None), FOREIGN),
        (with_header(fp=7), FOREIGN),
        (with_header(fp="x" * 32), "is invalid"),
        (with_header(fp="\0" * 32), "is invalid"),
        (with_header(fp="0" * 32 + "\n"), "is invalid"),
        (with_header(at="now"), "time"),
        (with_header(at=1.5), "time"),
        (with_header(at=True), "time"),
        (with_header(at=-1), "time"),
        (with_header(at=2**47), "time"),
        (with_header(at=10**4_000), "time"),
        (with_header(resource=["stations"]), FOREIGN),
        (with_header(resource="a\0b"), "resource"),
        (with_header(resource="a\ud800b"), "resource"),
        (with_header(op="upsert"), "op"),
        (with_header(op="create-or-merge"), "version 1 has no such op"),
        (with_header(op="create-or-ignore"), "version 1 has no such op"),
        (with_header(op="delete", **{"if": {"match": ["a"]}}), "version 1 has no such op, cond"),
        *[
            (with_header(v=2, op="delete", **{"if": value}), FOREIGN)
            for value in (
                None,
                {},
                [],
                "*",
                7,
                True,
                {"match": None},
                {"match": "*"},
                {"match": [7]},
                {"match": [None]},
                {"match": [["a"]]},
                {"none": {"a": 1}},
                {"none_match": ["*"]},
                {"match": ["*"], "since": ["a"]},
                {"match": ["a\0b"]},
                {"none": ["a\ud800"]},
            )
        ],
        *[
            (with_header(v=2, op=op, **{"if": {"match": ["a"]}}), "names its row")
            for op in ("create", "create-or-merge", "create-or-ignore")
        ],
        (with_two(v=2, op="delete", **{"if": {"none": ["*"]}}), "names its row"),
        (with_header(op=["create"]), "op"),
        (with_header(op=None), "op"),
        (with_header(sets=[]), FOREIGN),
        (with_header(sets={}), FOREIGN),
        (with_header(sets=7), FOREIGN),
        (with_header(sets=["members"]), FOREIGN),
        (with_header(sets=[None]), FOREIGN),
        (with_header(sets=[[["icao"], [0]]]), FOREIGN),
        (with_header(sets=[{"members": [], "items": [0], "digests": []}]), FOREIGN),
        (with_set(members=None), FOREIGN),
        (with_set(members=[7]), "names"),
        (with_set(members=[[]]), "names"),
        (with_set(members=["a\0b"]), "names"),
        (with_set(members=["a\ud800"]), FOREIGN),
        (with_set(items=None), FOREIGN),
        (with_set(items=[]), "whole numbers"),
        (with_set(items=[-1]), "agree"),
        (with_set(items=[2**31]), "agree"),
        (with_set(items=[True]), "whole numbers"),
        (with_set(items=["0"]), "whole numbers"),
        (with_set(items="0"), "whole numbers"),
        (with_set(digests=[1, 2]), "agree"),
        (with_set(digests=[1.5]), "whole numbers"),
        (with_set(digests=None), FOREIGN),
        (with_header() + "\n[{}]", FOREIGN),
        (with_header().split("\n")[0], FOREIGN),
        (with_header().split("\n")[0] + '\n{"icao":"EDDF"}', "array of rows"),
        (with_header().split("\n")[0] + "\n[1]", "array of rows"),
    ],
)
def test_a_foreign_body_is_recognized_with_a_reason(body, reason):
    with pytest.raises(ForeignMessage) as caught:
        decode(body)

    assert reason in str(caught.value)
    assert len(str(caught.value)) < 2_000
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("depth", range(900, 1_000, 7))
def test_no_depth_of_nesting_breaks_the_reader_of_messages(depth):
    nested = "[" * depth + "]" * depth
    header = encode(one()).split("\n")[0]

    for body in (
        header.replace('"icao"', nested),
        header.replace('"v":1', f'"v":{nested}'),
        header.replace('"v":1', f'"v":2,"if":{nested}'),
        header.replace('"v":1', f'"v":2,"if":{{"match":{nested}}}'),
        header.replace('"stations"', nested),
    ):
        with pytest.raises(ForeignMessage):
            decode(body + '\n[{"icao":"EDDF"}]')


@given(st.text())
def test_no_text_breaks_the_reader_of_messages(body):
    with pytest.raises(ForeignMessage):
        decode(body)


@given(
    st.sampled_from(["v", "id", "fp", "at", "resource", "op", "sets"]),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=5,
    ),
)
def test_no_header_breaks_the_reader_of_messages(name, value):
    try:
        message = decode(with_header(**{name: value}))
    except ForeignMessage:
        return
    except NewerMessage:
        assert name == "v"
        return
    assert decode(encode(message)) == message


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["match", "none"]),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(["match", "none", "x"]), inner)
        ),
        max_leaves=5,
    ),
)
def test_no_condition_breaks_the_reader_of_messages(value):
    try:
        message = decode(with_header(v=2, op="merge", **{"if": value}))
    except ForeignMessage:
        return
    assert decode(encode(message)) == message


single_writes = st.builds(
    one,
    dedup_id=st.uuids().map(str),
    accepted_at=st.integers(0, 2**47 - 1),
    resource=st.sampled_from(["stations", "a b", 'a"b', "a]b", "", "é"]),
    op=st.sampled_from([*OPS]),
    sets=st.builds(
        lambda *fields: (RowSet(*fields),),
        st.sampled_from([("icao",), ("a", "b"), (), ("a]b",), ("a", "a"), ('"',), ("é", "z")]),
        st.integers(0, 2**31).map(lambda item: (item,)),
        st.sampled_from([(), (0,), (7,), (2**64 - 1,), (-7,), (10**40,)]),
        st.sampled_from(['{"icao":"EDDF"}', "{}", '{"a":"é\\n"}', '{"a":1},{"a":2}', "{"]) | lines,
        st.sampled_from([None, None, (), ("icao",), ("a", "b"), ("z",)]),
    ),
    is_patient=st.sampled_from([True, True, True, False]),
    caller=st.sampled_from(["", "me", 'm"e', "m\\e", "é", "\x7f"]),
    receipt=st.sampled_from(["", RECEIPT, RECEIPT[1:]]),
)
TOKENS = re.compile(r'"[^"]*"|[0-9]+|\D')
PIECES = [
    *("", *'"\\[]{},:.-01 \n\0\x7f', "\ud800", "007", "-1", str(2**31), str(2**47), "9" * 4_301),
    *("[{", "}]", "],[", "null", "٣", '"id":"a",', '["a","b"]', '"create-or-merge"'),
]
edits = st.lists(st.tuples(st.integers(0, 60), st.sampled_from(PIECES)), max_size=2)


def outcome(read: Callable[[str], Message], body: str) -> Message | tuple[type, str]:
    try:
        return read(body)
    except (ForeignMessage, NewerMessage) as error:
        return type(error), str(error)


@settings(max_examples=5 * settings.default.max_examples)
@given(single_writes, edits)
def test_the_shortcut_for_single_writes_reads_what_the_header_says(message, edits):
    tokens = TOKENS.findall(encode(message))
    for place, piece in edits:
        tokens[place % len(tokens)] = piece
    body = "".join(tokens)

    assert outcome(decode, body) == outcome(read_header, body)


PLAIN = encode(one())


@pytest.mark.parametrize(
    ("text", "instead"),
    [
        ("[0]", "[00]"),
        ("[0]", f"[{2**31}]"),
        ("[0]", "[-1]"),
        ("[7]", "[07]"),
        ("[7]", "[٣]"),
        ("[7]", f"[{'9' * 5_000}]"),
        ('"at":1', '"at":01'),
        ('"at":1', f'"at":{2**47}'),
        ('"stations"', r'"stat\u0000ions"'),
        ('"stations"', '"stat\tions"'),
        ('"stations"', '"stations","op":"x"'),
        ('"create"', '"create-or-merge"'),
        ('"create"', '"upsert"'),
        ('["icao"]', '["icao","icao"]'),
        ('["icao"]', "[7]"),
        ('["icao"]', "[NaN]"),
        ('["icao"]', '[{"id":[]}]'),
        ('["icao"]', '["icao"],["name"]'),
        ("}\n", "},\n"),
        ("}\n", ',"by":"a\\nb"}\n'),
        ("}\n", ',"receipt":"short"}\n'),
        ("}\n", ',"id":"other"}\n'),
        ("[{", "["),
        ("[{", "\n[{"),
        ("}]", "}"),
        ("}]", "}]\n"),
        ("}]", "}\n}]"),
    ],
)
def test_what_is_not_quite_a_single_write_is_read_by_its_header(text, instead):
    assert text in PLAIN
    body = PLAIN.replace(text, instead)

    assert outcome(decode, body) == outcome(read_header, body)


@pytest.mark.parametrize("caller", ["", "someone else"])
@pytest.mark.parametrize("receipt", ["", RECEIPT])
@pytest.mark.parametrize("digests", [(), (2**64 - 1,)])
@pytest.mark.parametrize("op", [op for op, facts in OPS.items() if facts.since == 1])
@pytest.mark.parametrize("documents", [None, (), ("name",)])
def test_the_shortcut_is_what_reads_a_single_write(
    monkeypatch, documents, op, digests, receipt, caller
):
    text = '{"icao":"EDDF","name":"é"}' if documents is None else '"EDDF","é"'
    rows = RowSet(("icao", "name"), (0,), digests, text, documents)
    message = one(op=op, sets=(rows,), receipt=receipt, caller=caller)
    body = encode(message)
    monkeypatch.delattr(f"{decode.__module__}.read_header")

    assert decode(body) == message


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ("[[]]", "\\."),
        ("[[]]", ""),
        ("[[]]", '"EDDF"\n"EDDG"'),
        ("[[]]", '"EDDF"\n'),
        ('[["other"]]', '"EDDF"'),
        ("[[7]]", '"EDDF"'),
        ("[[[]]]", '"EDDF"'),
        ("[{}]", '"EDDF"'),
        ("[]", '"EDDF"'),
        ("[[],[]]", '"EDDF"'),
        ("[null]", '"EDDF"'),
        ("7", '"EDDF"'),
        ("null", '"EDDF"'),
    ],
)
def test_rows_by_values_that_are_not_as_written_are_foreign(values, line):
    body = encode(one(sets=(RowSet(("icao",), (0,), (7,), '"EDDF"', ()),)))
    header, _ = body.split("\n")

    with pytest.raises(ForeignMessage):
        decode(f"{header.replace('[[]]', values)}\n{line}")


def test_a_message_may_have_sets_of_both_forms():
    sets = (
        RowSet(("a",), (0, 1), (), '{"a":1},{"a":2}'),
        RowSet(("b", "a"), (2, 3), (), '"x",1\n"y",2', ("b",)),
        RowSet(("b",), (4,), (), '{"b":1}'),
    )
    message = one(sets=sets)

    assert decode(encode(message)) == message
    assert [rows.rows for rows in decode(encode(message)).sets] == [
        '{"a":1},{"a":2}',
        '{"b":x,"a":1},{"b":y,"a":2}',
        '{"b":1}',
    ]


# Versions


def version(message: Message) -> int:
    return int(json.loads(encode(message).split("\n")[0])["v"])


def test_an_op_or_a_condition_that_earlier_readers_do_not_know_says_so_by_its_version():
    """A new member of the header needs an entry in SINCE, as a new op has its version in OPS: what
    is rolled back meets it."""
    assert (VERSION, dict(SINCE)) == (4, {"if": 2, "patient": 3, "values": 4})
    assert {op: version(one(op=op)) for op in OPS} == {
        "create": 1,
        "replace": 1,
        "merge": 1,
        "delete": 1,
        "create-or-merge": 2,
        "create-or-ignore": 2,
    }
    conditional = one(op="merge", condition=Condition((), None))
    assert version(conditional) == 2
    header = json.loads(encode(conditional).split("\n")[0])
    assert [*header] == ["v", "id", "fp", "at", "resource", "op", "sets", "if"]
    assert version(one(op="create", is_patient=False)) == 3


def test_who_has_sent_a_write_changes_no_version_as_earlier_readers_ignore_it():
    named = one(caller="https://issuer.example someone")

    header = json.loads(encode(named).split("\n")[0])

    assert (header["v"], header["by"]) == (1, "https://issuer.example someone")
    assert decode(encode(named)) == named
    assert '"by"' not in encode(one())
    later = with_header(by="me", later={"member": [1]}, another=None)
    assert decode(later) == decode(with_header(by="me"))


def test_a_former_version_reads_a_message_with_a_receipt():
    header = json.loads(encode(one(receipt=RECEIPT)).split("\n")[0])

    assert header.pop("receipt") == RECEIPT
    assert header == json.loads(encode(one()).split("\n")[0])


@pytest.mark.parametrize("receipt", [None, 1, [RECEIPT], "", RECEIPT[1:], f"{RECEIPT}\n"])
def test_a_receipt_that_is_no_token_is_left_out(receipt):
    assert decode(with_header(receipt=receipt)) == decode(with_header())


@pytest.mark.parametrize("caller", [None, 1, ["me"], {"name": "me"}, "m\0e"])
def test_a_caller_that_cannot_be_kept_is_left_out(caller):
    assert decode(with_header(by=caller)) == decode(with_header())


def test_half_of_a_surrogate_pair_in_a_callers_name_is_left_out():
    assert decode(with_header(by="m\ud800e")).caller == "me"


@given(st.text(max_size=500) | st.text("é€", min_size=100, max_size=3_000))
def test_the_name_of_a_caller_takes_few_bytes_of_a_message(name):
    """Less than what a queue takes beyond the smallest message that a stage may set."""
    with_caller, without = (encode(one(caller=each)) for each in (caller_name(name), ""))
    assert len(with_caller) - len(without) < queue_bytes(LEAST_MESSAGE_BYTES) - LEAST_MESSAGE_BYTES


def test_a_message_that_does_not_wait_for_parents_reads_as_one():
    message = one(op="create", is_patient=False)
    assert decode(encode(message)) == message
    assert decode(encode(one(op="create"))).is_patient
    for wrong in ("true", "null", "0", "[]"):
        with pytest.raises(ForeignMessage):
            decode(encode(message).replace('"patient":false', f'"patient":{wrong}'))
    with pytest.raises(ForeignMessage, match="version 1 has no such"):
        decode(encode(message).replace('"v":3', '"v":1'))


@pytest.mark.parametrize(
    ("condition", "described"),
    [
        (Condition(("*",), None), {"match": ["*"]}),
        (Condition(None, ("*",)), {"none": ["*"]}),
        (Condition((), None), {"match": []}),
        (Condition(("a", "b"), ("c",)), {"match": ["a", "b"], "none": ["c"]}),
    ],
)
def test_a_condition_travels_in_the_header(condition, described):
    body = encode(one(op="merge", condition=condition))

    assert json.loads(body.split("\n")[0])["if"] == described
    assert decode(body).condition == condition


@pytest.mark.parametrize(
    "body",
    [
        with_header(v=VERSION + 1),
        with_header(v=10**9),
        with_header(v=VERSION + 1, op="truncate"),
        with_header(v=VERSION + 1, **{"if": {"since": "yesterday"}}),
        with_header(v=VERSION + 1, resource=..., sets=...),
        with_header(v=VERSION + 1).split("\n")[0],
        with_header(v=VERSION + 1) + "\nand more",
    ],
)
def test_a_message_of_a_newer_version_is_not_foreign(body):
    with pytest.raises(NewerMessage, match=f"this deployment reads up to {VERSION}"):
        decode(body)


def test_writes_are_counted_over_all_sets():
    sets = (RowSet(("a",), (0, 2), (), '{"a":1},{"a":2}'), RowSet(("b",), (1,), (), '{"b":1}'))

    assert one(sets=sets).writes == 3
