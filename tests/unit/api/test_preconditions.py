"""If-Match and If-None-Match: which condition a write carries, and what is refused."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.api.http.preconditions import condition, refuse, tags
from chalicelib.errors import Problem
from chalicelib.messages.message import Condition


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({}, None),
        ({"if-match": "*"}, Condition(("*",), None)),
        ({"if-match": ' "a" '}, Condition(("a",), None)),
        ({"if-match": '"a", "b,c" ,"d"'}, Condition(("a", "b,c", "d"), None)),
        ({"if-match": 'W/"a", "b"'}, Condition(("b",), None)),
        ({"if-match": 'W/"a"'}, Condition((), None)),
        ({"if-match": '""'}, Condition(("",), None)),
        ({"if-none-match": "*"}, Condition(None, ("*",))),
    ],
)
def test_a_condition_is_what_the_headers_say(headers, found):
    assert condition(headers) == found


@pytest.mark.parametrize(
    "headers",
    [
        {"if-match": ""},
        {"if-match": "abc"},
        {"if-match": '"a" "b"'},
        {"if-match": '"a",'},
        {"if-match": '"a", *'},
        {"if-match": '*, "a"'},
        {"if-match": '"a'},
        {"if-match": 'w/"a"'},
        {"if-match": '"a b"'},
        {"if-match": ", ".join(['"a"'] * 21)},
        {"if-none-match": '"a"'},
        {"if-none-match": 'W/"a"'},
        {"if-none-match": ""},
        {"if-match": "*", "if-none-match": "*"},
        {"if-match": '"a"', "if-none-match": "*"},
    ],
)
def test_what_is_no_condition_is_refused_by_the_name_of_its_header(headers):
    with pytest.raises(Problem) as caught:
        condition(headers)

    assert caught.value.type == "invalid-precondition"
    assert caught.value.faults[0].pointer.lower() in headers


@pytest.mark.parametrize("name", ["if-match", "if-none-match"])
def test_a_create_takes_no_condition(name):
    refuse({})
    with pytest.raises(Problem, match="PUT, PATCH and DELETE"):
        refuse({name: "*"})


@given(
    st.lists(
        st.tuples(st.from_regex(r"[!#-~]{0,9}", fullmatch=True), st.booleans()),
        min_size=1,
        max_size=20,
    )
)
def test_a_list_of_tags_is_taken_apart(found):
    sent = " , ".join(f'{"W/" if weak else ""}"{tag}"' for tag, weak in found)

    # "*" in quotes is an ETag, which no row has.
    assert tags({"if-match": sent}, "If-Match") == tuple(each for each in found if each[0] != "*")


@given(st.text(alphabet='W/"*, ab', max_size=30))
def test_no_header_breaks_it(sent):
    with suppress(Problem):
        condition({"if-match": sent})
