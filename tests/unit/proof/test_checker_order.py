"""Which orders of a row's writes the checker takes for right."""

from dataclasses import replace

from decanter.proof.checking import order
from decanter.proof.checking.explain import explain
from decanter.proof.history import Violation
from tests.kit.story import Story, changed, kinds


def test_an_unknown_outcome_may_have_gone_either_way():
    story = Story()
    story.change("create", 1, status=None)
    story.change("merge", 1, a=1, status=503, pours=False)
    story.change("delete", 1, status=None)
    story.change("delete", 1, status=504, pours=False)
    story.change("create", 1, status=429)

    assert kinds(story.history()) == set()


def test_an_unknown_outcome_without_a_place_may_have_come_at_any_time():
    story = Story()
    story.change("create", 1)
    unknown = story.change("merge", 1, a=1, status=None, pours=False, place=False)
    story.change("merge", 1, a=2)
    story.pour(unknown)

    assert kinds(story.history()) == set()


def test_an_unknown_delete_comes_at_its_place_or_not_at_all():
    story = Story()
    story.change("create", 1)
    unknown = story.change("delete", 1, status=None, pours=False)
    story.change("create", 1)  # a conflict: the row was still there
    story.pour(unknown)

    assert kinds(story.history()) == {"misordered"}


def test_an_unknown_outcome_of_an_attempt_whose_place_nobody_knows_may_have_come_first():
    story = Story()
    story.change("create", 1)
    write = story.write("merge", "accounts", 1, a=1)
    retried = story.send(write, status=None, key="k", place=False)
    story.change("merge", 1, a=2)
    story.send(write, request=retried, key="k", pours=False)
    story.final(retried, "applied")

    assert kinds(story.history()) == set()
    assert kinds(story.history(is_ordered=True)) == {"misordered"}


def test_a_request_of_several_messages_has_a_place_for_each():
    story = Story()
    writes = [story.write("create", "accounts", key, item=key - 1) for key in (1, 2)]
    both = story.send(*writes, pours=False)
    story.change("create-or-ignore", 2)
    story.attempts[0] = story.attempts[0]._replace(places={1: 3})
    story.pour(both)
    right = story.history()

    assert kinds(right) == set()
    assert kinds(replace(right, attempts=changed(right.attempts, 0, places={}))) == {"misordered"}


def test_creates_of_an_unordered_resource_come_in_any_order():
    story = Story()
    first = story.change("create", 1, resource="events", pours=False)
    story.change("create", 1, resource="events")
    story.pour(first)

    assert kinds(story.history()) == set()


def test_a_dead_letter_comes_late_but_never_over_a_newer_write():
    story = Story()
    dead = story.change("create", 1, pours=False)
    story.now += 60
    story.change("merge", 1, a=1)  # rejected: there is no row yet
    story.pour(dead)
    assert kinds(story.history(dead_letters=frozenset({dead}))) == set()
    assert kinds(story.history()) == {"misordered"}

    story.change("create", 2)
    dead = story.change("merge", 2, a=1, pours=False)
    story.now += 60
    story.change("merge", 2, a=2)
    story.pour(dead)
    assert kinds(story.history(dead_letters=frozenset({1, dead}))) == {"misordered"}


def test_a_parent_is_missing_until_the_account_is_committed():
    story = Story()
    story.change("create", 1)
    story.change("create", 1, 1, resource="entries", pours=False)
    story.final(2, "rejected", {0: "missing-parent"})

    assert kinds(story.history()) == {"wrong-rejection"}
    assert kinds(story.history(commit_seconds=5)) == set()


def test_a_row_that_is_there_has_its_parent():
    story = Story()
    story.change("create", 1)
    story.change("create", 1, 1, resource="entries")
    story.change("replace", 1, 1, resource="entries", pours=False)
    story.change("delete", 1, 1, resource="entries")
    story.change("delete", 1)
    story.final(3, "rejected", {0: "missing-parent"})

    assert kinds(story.history()) == {"misordered"}


def test_a_row_whose_writes_have_places_needs_a_step_for_each_effect(monkeypatch):
    """Also if other deletes may have made its effects."""
    story = Story()
    for _ in range(3):
        story.change("delete", 1, status=None, pours=False, place=False)
    for _ in range(10):
        for op in ("create", "merge", "create", "delete", "delete"):
            story.change(op, 1, a=1)
    monkeypatch.setattr(order, "MAX_STATES", len(story.effects) + 1)

    assert kinds(story.history()) == set()


def test_a_search_that_takes_too_long_is_told(monkeypatch):
    """Any of these deletes may have made any of the effects."""
    story = Story()
    deletes = [story.change("delete", 1, status=None, place=False, pours=False) for _ in range(8)]
    for delete in deletes[:4]:
        story.change("create", 1, place=False)
        story.pour(delete)
    story.change("create", 1, place=False)
    one = story.change("merge", 1, a=1, place=False)
    story.change("merge", 1, a=2, place=False)
    right = story.history()
    last = right.attempts[-1].answered_at
    late = changed(right.attempts, one - 1, sent_at=last + 1, answered_at=last + 2)
    wrong = replace(right, attempts=late)

    assert kinds(right) == set()
    assert kinds(wrong) == {"misordered"}
    monkeypatch.setattr(order, "MAX_STATES", 20)
    assert kinds(right) == set()
    assert kinds(wrong) == {"undecided"}


def test_an_explanation_shows_the_row_by_time():
    story = Story()
    story.change("create", 1)
    story.read(1, "applied")
    story.change("merge", 1, a=1, key="k")
    story.change("create", 2)
    violation = Violation("wrong-row", "accounts 1: …", ("accounts", "1"))

    lines = explain(story.history(), violation).splitlines()

    assert lines[0] == "wrong-row: accounts 1: …"
    assert [line.split("  ")[-1].split(":")[0] for line in lines[1:]] == [
        "request 1 of c",
        "request 1 is answered 202",
        "effect 1, transaction 100",
        "request 1 reads applied, asked at 4.000",
        "request 2 of c",
        "request 2 is answered 202",
        "effect 2, transaction 101",
        "at the end, request 1 reads applied",
        "at the end, request 2 reads applied",
        "at the end, the row is {'id'",
    ]
    assert explain(story.history(), Violation("unfinished", "…")) == "unfinished: …"


def test_a_create_of_an_existing_row_is_a_conflict_even_if_its_values_are_bad():
    story, other = Story(), Story()
    story.change("create", 1)
    story.final(story.change("create", 1, a=-1), "rejected", {0: "conflict"})
    other.final(other.change("create", 1, a=-1), "rejected", {0: "conflict"})

    assert kinds(story.history()) == set()
    assert kinds(other.history()) == {"wrong-rejection"}
