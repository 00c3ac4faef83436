"""What the command that reconciles prints."""

import json
from dataclasses import replace

import pytest

from decanter.__main__ import main
from decanter.deployment import pipeline
from decanter.deployment import reconcile as reconciling
from decanter.deployment.reconcile import Reconciled

DONE = Reconciled(items=1_200, sent=7, settled_before=1_790_000_000_000)
NAMES = ('row/things/["7"]', 'row/things/["8"]')


@pytest.fixture
def printed(monkeypatch, capsys):
    """`printed(done, *options)`: what a run with that end prints."""

    def run(done, *options):
        monkeypatch.setattr(pipeline, "front", lambda _: ("table", "drain"))
        monkeypatch.setattr(reconciling, "reconcile", lambda *_: iter([Reconciled(items=1), done]))
        main(["reconcile", "--stage", "dev", *options])
        return capsys.readouterr().out

    return run


def test_it_says_which_receipts_read_superseded(printed):
    text = printed(DONE)

    assert "7 last writes of 1,200 items" in text
    assert "accepted before 2026-09-21T14:13+00:00 that were overtaken read `superseded`" in text


@pytest.mark.parametrize(
    ("left", "cure"),
    [
        ({"damaged": 2}, "PUT or DELETE their rows"),
        ({"newer": 2}, "deploy that again, or a later one"),
    ],
)
def test_it_names_what_is_left_and_what_to_do(printed, left, cure):
    text = printed(replace(DONE, settled_before=None, names=NAMES, **left))

    assert cure in text
    assert all(f"  {name}\n" in text for name in NAMES)
    assert "go on reading `pending`. Then run this again." in text


def test_a_deployed_version_that_cannot_tell_overtaken_writes_is_named(printed):
    assert "The deployed drain cannot say so" in printed(replace(DONE, settled_before=None))


def test_the_numbers_may_be_json(printed):
    assert json.loads(printed(DONE, "--json"))["settled_before"] == DONE.settled_before
