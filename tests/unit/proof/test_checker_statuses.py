"""Which statuses the checker takes for true."""

from dataclasses import replace

import pytest

from decanter.proof.history import Reading, Snapshot
from tests.kit.story import Story, kinds


def test_receipts_of_one_request_agree():
    story = Story()
    story.change("create", 1, key="k")
    story.attempts.append(story.attempts[0]._replace(receipt="other", place=2))
    story.finals["other"] = story.finals["r1"]._replace(receipt="other")
    right = story.history()
    other = {**right.finals, "other": Reading("other", 9, 9, "pending")}

    assert kinds(right) == set()
    assert kinds(replace(right, finals=other)) == {"untruthful"}


def test_a_status_that_was_asked_for_before_the_end_was_read_may_be_pending():
    story = Story()
    story.change("create", 1)
    ended, open_ = Reading("r1", 5, 7, "applied"), Reading("r1", 6, 8, "pending")

    assert kinds(replace(story.history(), readings=[ended, open_])) == set()
    later = open_._replace(asked_at=7)
    assert kinds(replace(story.history(), readings=[ended, later])) == {"untruthful"}


@pytest.mark.parametrize(
    ("state", "rejections"),
    [
        ("poured", {}),
        ("partial", {None: "key-reused"}),
        ("rejected", {None: "conflict"}),
        ("partial", {2: "conflict"}),
    ],
)
def test_a_last_status_that_makes_no_sense_is_seen(state, rejections):
    """Of a request of two writes, both of which are ignored."""
    story = Story()
    story.change("create", 1)
    ops = ("create-or-ignore", "create-or-ignore")
    story.send(*(story.write(op, "accounts", 1, item=item) for item, op in enumerate(ops)))
    right = story.history()
    wrong = right.finals["r2"]._replace(state=state, rejections=rejections)

    assert kinds(right) == set()
    assert kinds(replace(right, finals={**right.finals, "r2": wrong})) >= {"untruthful"}


def test_a_rejection_of_an_applied_write_is_seen_while_others_are_pending():
    story = Story()
    story.change("create", 1)
    story.read(1, "pending", {0: "conflict"})

    assert kinds(story.history()) == {"untruthful"}


def test_a_delete_that_reads_as_applied_is_visible():
    story = Story()
    story.change("create", 1)
    story.change("delete", 1)
    story.read(2, "applied", after=Snapshot.parse("102:102:"))
    right = story.history()
    early = [right.readings[0]._replace(after=Snapshot.parse("101:101:"))]

    assert kinds(right) == set()
    assert kinds(replace(right, readings=early)) == {"untruthful"}
