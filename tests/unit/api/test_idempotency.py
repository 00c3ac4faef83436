"""The Idempotency-Key header: what it names, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.api.http.idempotency import idempotency_key
from chalicelib.errors import Problem


@pytest.mark.parametrize(
    ("sent", "key"),
    [
        ('"8e03978e-40d5-43dd-bc93-6894a57f9324"', "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        ("8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        (' "a b, c; d" ', "a b, c; d"),
        (r'"a \"b\" \\ c"', r'a "b" \ c'),
        ("  bare  ", "bare"),
        ("x" * 255, "x" * 255),
        ('"a";x=1', "a"),
        ('"a" ;x; y="b;c" ', "a"),
    ],
)
def test_a_key_is_a_quoted_string_or_bare_text(sent, key):
    assert idempotency_key({"idempotency-key": sent}) == key


def test_quoted_and_bare_are_one_key():
    assert idempotency_key({"idempotency-key": '"a"'}) == idempotency_key({"idempotency-key": "a"})


def test_there_may_be_no_key():
    assert idempotency_key({"Content-Type": "application/json"}) is None


@pytest.mark.parametrize(
    "sent",
    ["", "   ", '""', '"', '"a', 'a"', '"a"b', "a, b", '"a", "b"', '"a";', '"a";X=1',
     '"a";x=1, "b"', "a;x=1", "a b", "ü", '"ü"', '"a\tb"', '"a\\b"', '"a\\"', "a\nb", "x" * 256,
     f'"{"x" * 256}"', "\0", '"\x7f"'],
)  # fmt: skip
def test_an_empty_malformed_or_long_key_is_refused(sent):
    with pytest.raises(Problem) as caught:
        idempotency_key({"idempotency-key": sent})

    assert caught.value.status == 400
    assert caught.value.type == "invalid-idempotency-key"


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=255))
def test_any_printable_key_can_be_sent_quoted(key):
    quoted = key.replace("\\", "\\\\").replace('"', '\\"')

    assert idempotency_key({"idempotency-key": f'"{quoted}"'}) == key
