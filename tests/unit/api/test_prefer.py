"""The Prefer header: what is known, what counts, what is said to be applied."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.api.http.prefer import MAX_WAIT_SECONDS, Preferences, preferences


def of(sent: str) -> Preferences:
    return preferences({"prefer": sent})


def test_without_the_header_nothing_is_preferred():
    assert preferences({}) == Preferences()
    assert preferences({}).applied() == {}


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        ("handling=lenient", {"lenient": True}),
        ("handling=strict", {"lenient": False}),
        ("Handling = LENIENT", {"lenient": True}),
        ('handling="lenient"', {"lenient": True}),
        ("handling=lenient; q=1; x", {"lenient": True}),
        (", handling=lenient, ,wait=7,", {"lenient": True, "wait_seconds": 7}),
        ("resolution=merge-duplicates", {"resolution": "merge-duplicates"}),
        ("resolution=ignore-duplicates", {"resolution": "ignore-duplicates"}),
        ("missing=default", {"missing_default": True}),
        ("missing-parent=reject", {"is_patient": False}),
        ("missing-parent=wait", {}),
        ("return=minimal", {"returned": "minimal"}),
        ("return=representation", {"returned": "representation"}),
        ("wait=7", {"wait_seconds": 7}),
        ("wait=0", {"wait_seconds": 0}),
        ("wait=3600", {"wait_seconds": MAX_WAIT_SECONDS}),
        ("wait=" + "9" * 5_000, {"wait_seconds": MAX_WAIT_SECONDS}),
        ("respond-async", {"wait_seconds": 0}),
        ("respond-async, wait=5", {"wait_seconds": 0}),
        ("wait=5, respond-async", {"wait_seconds": 0}),
        ("handling=lenient, handling=strict", {"lenient": True}),
        ("handling=strict, handling=lenient", {"lenient": False}),
        ("foo, bar=1; x=2,handling=lenient", {"lenient": True}),
        ("handling=lenient,, wait=3", {"lenient": True, "wait_seconds": 3}),
        ("return=minimal,wait=3", {"returned": "minimal", "wait_seconds": 3}),
        ("handling=sloppy", {}),
        ("wait=soon", {}),
        ("wait=-1", {}),
        ("wait=1.5", {}),
        ("wait=٣", {}),
        ('wait="٣"', {}),
        ("wait", {}),
        ("missing=null", {}),
        ("return", {}),
        ("respond-async=1", {}),
        ("", {}),
        ("=;,", {}),
    ],
)
def test_what_a_client_prefers(sent, found):
    got = of(sent)

    assert {name: getattr(got, name) for name in found} == found
    if not found:
        assert got == Preferences()


def test_what_is_applied_is_what_was_known_and_not_left_out():
    got = of("foo, return=representation, wait=99, handling=lenient, handling=strict, x=y")

    assert got.applied() == {
        "Preference-Applied": "return=representation, wait=20, handling=lenient"
    }
    assert got.applied("return", "wait") == {"Preference-Applied": "handling=lenient"}
    assert got.applied("return", "wait", "handling") == {}


@given(st.text(max_size=60) | st.text(alphabet='=;, "\\wait5returnminimal', max_size=60))
def test_no_header_breaks_it(sent):
    of(sent)
