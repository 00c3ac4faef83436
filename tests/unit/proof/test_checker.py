"""The checker accepts a history that keeps every promise, and sees each that breaks one."""

from dataclasses import replace

import pytest

from decanter.proof.checker import KINDS
from decanter.proof.history import History, Reading, Sample, Snapshot
from tests.kit.story import Story, changed, kinds

BROKEN = {}
"""By name: the expected kind, and what returns a right history and the same with one thing broken.
Together they have every kind."""


def broken(kind):
    def keep(make):
        BROKEN[make.__name__.replace("_", " ")] = (kind, make)
        return make

    return keep


@broken("lost")
def an_accepted_write_without_effect():
    story = Story()
    story.change("create", 1)
    return story.history(), replace(story.history(), effects=[], rows={})


@broken("lost")
def an_accepted_delete_without_effect():
    story = Story()
    story.change("create", 1)
    story.change("delete", 1)
    right = story.history()
    rows = {("accounts", "1"): right.effects[0].after}
    return right, replace(right, effects=right.effects[:1], rows=rows)


@broken("lost")
def a_retried_request_that_was_accepted_at_last():
    story = Story()
    number = story.change("create", 1, status=None, pours=False, key="k")
    story.send(*story.attempts[0].writes, request=number, key="k")
    return story.history(), replace(story.history(), effects=[], rows={})


@broken("lost")
def an_ignored_create_without_a_row():
    story = Story()
    story.change("create", 1)
    story.change("create-or-ignore", 1)
    other = Story()
    other.change("create-or-ignore", 1, pours=False)
    other.final(1, "applied")
    return story.history(), other.history()


@broken("unfinished")
def a_request_that_stays_pending():
    story = Story()
    story.change("create", 1)
    right = story.history()
    pending = {"r1": right.finals["r1"]._replace(state="pending")}
    return right, replace(right, finals=pending, effects=[], rows={})


@broken("unfinished")
def a_request_that_expires():
    story = Story()
    story.change("create", 1)
    right = story.history()
    return right, replace(right, finals={"r1": right.finals["r1"]._replace(state="expired")})


@broken("unfinished")
def a_request_without_a_final_status():
    story = Story()
    story.change("create", 1)
    return story.history(), replace(story.history(), finals={})


@broken("unfinished")
def a_message_that_is_never_poured():
    story = Story()
    story.change("create", 1, status=503, pours=False)
    return story.history(), story.history(left=1)


@broken("doubled")
def a_write_that_is_applied_twice_with_the_same_values():
    story = Story()
    story.change("create", 1)
    story.change("merge", 1, a=1)
    right = story.history()
    row = right.effects[1].after
    twice = right.effects[1]._replace(number=3, transaction=999, before=row)
    return right, replace(right, effects=[*right.effects, twice])


@broken("doubled")
def a_delete_that_is_applied_twice():
    story = Story()
    story.change("create", 1)
    story.change("delete", 1)
    story.change("create", 1)
    right = story.history()
    again = right.effects[1]._replace(number=4, before=right.effects[2].after)
    return right, replace(right, effects=[*right.effects, again], rows={})


@broken("doubled")
def an_idempotency_key_of_two_requests():
    """One has an effect, and nobody knows its status; the other was poured, and rejected."""
    story = Story()
    story.change("create", 1, key="k", status=503)
    story.change("create", 2, key="k", a=-1, pours=False)
    story.final(2, "rejected", {None: "key-reused"})
    right = story.history()
    story.pour(2)
    return right, story.history()


@broken("misordered")
def two_merges_in_the_wrong_order_of_acceptance():
    story = Story()
    story.change("create", 1)
    story.change("merge", 1, a=1, status=None)
    story.change("merge", 1, a=2, status=None)
    right = story.history()
    swapped = [each._replace(place={2: 3, 3: 2}.get(each.request, 1)) for each in right.attempts]
    return right, replace(right, attempts=swapped)


@broken("misordered")
def two_merges_of_which_one_was_sent_when_the_other_was_accepted():
    story = Story()
    for values in ({}, {"a": 1}, {"a": 2}):
        story.change("merge" if values else "create", 1, **values, place=False)
    right = story.history()
    first, one, two = right.attempts
    early = two._replace(sent_at=one.sent_at - 0.5, answered_at=one.sent_at - 0.1)
    return right, replace(right, attempts=[first, one, early])


@broken("misordered")
def items_of_a_request_in_the_wrong_order():
    story = Story()
    one = story.write("create-or-merge", "accounts", 1, item=0, a=1)
    two = story.write("create-or-merge", "accounts", 1, item=1, b=2)
    story.send(one, two)
    right = story.history()
    other = right.attempts[0]._replace(writes=(one._replace(item=1), two._replace(item=0)))
    return right, replace(right, attempts=[other])


@broken("misordered")
def a_conflict_with_a_row_that_came_later():
    story = Story()
    story.change("create", 1)
    story.change("create", 1)
    right = story.history()
    swapped = [each._replace(place=3 - each.place) for each in right.attempts]
    return right, replace(right, attempts=swapped)


@broken("misordered")
def effects_that_do_not_follow_each_other():
    story = Story()
    story.change("create", 1)
    story.change("merge", 1, a=1)
    right = story.history()
    backwards = [each._replace(number=-each.number) for each in right.effects]
    rows = {("accounts", "1"): right.effects[0].after}
    return right, replace(right, effects=backwards, rows=rows)


@broken("misordered")
def a_change_of_a_row_as_nobody_has_left_it():
    story = Story()
    story.change("create", 1)
    story.change("merge", 1, a=1)
    right = story.history()
    before, after = ({**row, "b": 5} for row in (right.effects[1].before, right.effects[1].after))
    effects = changed(right.effects, 1, before=before, after=after)
    return right, replace(right, effects=effects, rows={("accounts", "1"): after})


@broken("misordered")
def a_delete_before_its_turn():
    story = Story()
    story.change("create", 1)
    story.change("delete", 1)
    story.change("create", 1)
    right = story.history()
    places = {1: 1, 2: 3, 3: 2}
    swapped = [each._replace(place=places[each.request]) for each in right.attempts]
    return right, replace(right, attempts=swapped)


@broken("misordered")
def an_old_write_of_a_retried_request_over_a_newer_one():
    """What its first attempt left was done long before; only the retry was answered."""
    story = Story()
    story.change("create", 1)
    number = story.change("merge", 1, a=1, status=None, key="k")
    story.change("merge", 1, a=2)
    story.send(*story.attempts[1].writes, request=number, key="k", pours=False)
    story.final(number, "applied")
    right = story.history(is_ordered=True)
    one, two = right.effects[1], right.effects[2]
    late = [right.effects[0], two._replace(number=2, before=one.before), one._replace(number=3)]
    late[1] = late[1]._replace(after={**one.before, **right.attempts[2].writes[0].values})
    late[2] = late[2]._replace(before=late[1].after, after={**late[1].after, "a": 1, "token": "t2"})
    return right, replace(right, effects=late, rows={("accounts", "1"): late[2].after})


@broken("wrong-row")
def a_row_with_another_value():
    story = Story()
    story.change("create", 1, a=1)
    right = story.history()
    return right, replace(right, rows={("accounts", "1"): {**right.effects[0].after, "a": 2}})


@broken("wrong-row")
def a_row_that_is_gone():
    story = Story()
    story.change("create", 1)
    return story.history(), replace(story.history(), rows={})


@broken("wrong-rejection")
def a_rejection_without_reason():
    story = Story()
    story.change("create", 1, a=-1)
    right = story.history()
    write = right.attempts[0].writes[0]
    positive = write._replace(values={**write.values, "a": 1})
    return right, replace(right, attempts=changed(right.attempts, 0, writes=(positive,)))


@broken("wrong-rejection")
def a_rejection_with_another_reason():
    story = Story()
    story.change("create", 1, a=-1)
    right = story.history()
    other = right.finals["r1"]._replace(rejections={0: "conflict"})
    return right, replace(right, finals={"r1": other})


@broken("wrong-rejection")
def a_missing_parent_of_a_row_that_is_checked_first():
    story = Story()
    story.change("create", 1, 1, resource="entries", a=-1)
    right = story.history()
    other = right.finals["r1"]._replace(rejections={0: "missing-parent"})
    return right, replace(right, finals={"r1": other})


@broken("wrong-rejection")
def a_rejection_that_no_fault_of_the_run_explains():
    story = Story()
    story.change("create", 1, pours=False)
    story.final(1, "rejected", {0: "timeout"})
    return story.history(allowed=frozenset({"timeout"})), story.history()


@broken("wrong-rejection")
def a_missing_parent_that_was_there():
    story = Story()
    story.change("create", 1, 1, resource="entries")
    right = story.history()
    other = Story()
    other.change("create", 1)
    other.change("create", 1, 1, resource="entries", pours=False)
    other.final(2, "rejected", {0: "missing-parent"})
    return right, other.history()


@broken("wrong-rejection")
def a_reference_that_is_not_there():
    story = Story()
    story.change("create", 1)
    story.change("create", 1, 1, resource="entries")
    story.change("delete", 1)
    right = story.history()
    other = Story()
    other.change("create", 1)
    other.change("create", 1, 1, resource="entries")
    other.change("delete", 1, 1, resource="entries")
    other.change("delete", 1, pours=False)
    other.final(4, "rejected", {0: "still-referenced"})
    return right, other.history()


@broken("wrong-rejection")
def a_superseded_write_without_a_newer_one():
    story = Story()
    story.change("create", 1)
    late = story.change("merge", 1, a=1, pours=False)
    story.change("merge", 1, a=2)
    story.final(late, "rejected", {0: "superseded"})
    right = story.history()
    return right, replace(right, attempts=changed(right.attempts, late - 1, place=9))


@broken("wrong-rejection")
def a_superseded_write_behind_one_that_was_sent_after_its_answer():
    """Not behind one that was sent before it: its message was long on its way."""
    story = Story()
    story.change("create", 1)
    late = story.change("merge", 1, a=1, pours=False)
    newer = story.change("merge", 1, a=2)
    story.final(late, "rejected", {0: "superseded"})
    behind = changed(story.attempts, late - 1, place=9)
    overlapping = story.attempts[newer - 1].sent_at + 0.5
    right = replace(story.history(), attempts=changed(behind, late - 1, answered_at=overlapping))
    return right, replace(right, attempts=behind)


@broken("wrong-rejection")
def a_superseded_write_and_an_older_one_that_is_sent_again():
    """Its second message, which is newer, is the one that is poured."""
    story = Story()
    older = story.change("create-or-merge", 1, a=1, pours=False, key="k")
    late = story.change("merge", 1, a=2, pours=False)
    story.send(*story.attempts[0].writes, request=older, key="k")
    story.final(late, "rejected", {0: "superseded"})
    right = story.history()
    return right, replace(right, attempts=changed(right.attempts, 2, place=1))


@broken("wrong-rejection")
def a_reused_key_that_nobody_else_has():
    story = Story()
    story.change("create", 1, key="k", status=503)
    story.change("create", 2, key="k", pours=False)
    story.final(2, "rejected", {None: "key-reused"})
    right = story.history()
    return right, replace(right, attempts=changed(right.attempts, 0, key="other"))


@broken("wrong-rejection")
def a_reused_key_of_a_request_without_one():
    story = Story()
    story.change("create", 1, key="k", status=503)
    story.change("create", 2, key="k", pours=False)
    story.final(2, "rejected", {None: "key-reused"})
    right = story.history()
    return right, replace(right, attempts=changed(right.attempts, 1, key=None))


@broken("invented")
def an_effect_of_nobody():
    story = Story()
    story.change("create", 1)
    right = story.history()
    return right, replace(right, attempts=[], finals={})


@broken("invented")
def a_delete_of_no_row():
    story = Story()
    story.change("create", 1)
    story.change("delete", 1)
    story.change("delete", 1, status=503, pours=False)
    right = story.history()
    again = right.effects[1]._replace(number=3, before=None)
    return right, replace(right, effects=[*right.effects, again])


@broken("invented")
def a_row_without_effects():
    story = Story()
    story.change("create", 1, status=503, pours=False)
    return story.history(), replace(story.history(), rows={("accounts", "1"): {"id": 1}})


@broken("invented")
def a_value_that_nobody_sent():
    story = Story()
    story.change("create", 1, a=1)
    right = story.history()
    row = {**right.effects[0].after, "a": 2}
    effects = changed(right.effects, 0, after=row)
    return right, replace(right, effects=effects, rows={("accounts", "1"): row})


@broken("invented")
def a_replaced_row_with_an_old_value():
    story = Story()
    story.change("create", 1, a=1, b=1)
    story.change("replace", 1, a=2)
    right = story.history()
    row = {**right.effects[1].after, "b": 1}
    effects = changed(right.effects, 1, after=row)
    return right, replace(right, effects=effects, rows={("accounts", "1"): row})


@broken("invented")
def a_write_to_another_row():
    story = Story()
    story.change("create", 1, status=503)
    right = story.history()
    row = {**right.effects[0].after, "id": 2}
    effects = changed(right.effects, 0, key="2", after=row)
    return right, replace(right, effects=effects, rows={("accounts", "2"): row})


@broken("refused-but-applied")
def an_effect_of_a_refused_request():
    story = Story()
    story.change("create", 1, status=503)
    right = story.history()
    return right, replace(right, attempts=changed(right.attempts, 0, status=400))


@broken("untruthful")
def a_rejected_write_with_an_effect():
    story = Story()
    story.change("create", 1, status=503)
    right = story.history()
    rejected = Reading("r1", 9, 9, "rejected", {0: "conflict"})
    accepted = changed(right.attempts, 0, status=202, receipt="r1")
    return right, replace(right, attempts=accepted, finals={"r1": rejected})


@broken("untruthful")
def a_status_that_changes_after_the_end():
    story = Story()
    story.change("create", 1)
    story.read(1, "applied")
    right = story.history()
    return right, replace(right, readings=[*right.readings, Reading("r1", 20, 21, "pending")])


@broken("untruthful")
def a_status_that_is_ahead_of_the_database():
    story = Story()
    story.change("create", 1)
    story.read(1, "applied", after=Snapshot.parse("101:101:"))
    right = story.history()
    early = changed(right.readings, 0, after=Snapshot.parse("100:102:100"))
    return right, replace(right, readings=early)


@broken("untruthful")
def a_status_that_is_earlier_than_its_effect():
    story = Story()
    story.change("create", 1)
    story.read(1, "applied")
    right = story.history()
    at = right.readings[0].answered_at + 1
    return right, replace(right, effects=changed(right.effects, 0, at=at))


@broken("untruthful")
def a_status_that_is_behind_the_database():
    story = Story()
    story.change("create", 1)
    story.read(1, "pending", before=Snapshot.parse("100:101:100"))
    right = story.history()
    late = changed(right.readings, 0, before=Snapshot.parse("101:101:"))
    return right, replace(right, readings=late)


@broken("untruthful")
def a_state_that_does_not_agree_with_its_rejections():
    story = Story()
    writes = [story.write("create", "accounts", 1, item=item) for item in (0, 1)]
    story.send(*writes)
    right = story.history()
    return right, replace(right, finals={"r1": right.finals["r1"]._replace(state="rejected")})


@broken("over-budget")
def a_connection_too_many():
    right = History([], [], {}, [], {}, [Sample(1, "drain", 2)], {"drain": 2})
    return right, replace(right, samples=[*right.samples, Sample(2, "drain", 3)])


@broken("slow")
def a_write_that_waits():
    """The other one waits longer, by a fault."""
    story = Story()
    story.change("create", 1)
    story.change("create", 2)
    story.effects[1] = story.effects[1]._replace(at=99)
    right = story.history(innocent=frozenset({1}), bound_seconds=3)
    return right, replace(right, effects=changed(right.effects, 0, at=5.5))


@broken("forged")
def a_receipt_of_somebody_else():
    right = History([], [], {}, [], {}, forgeries=[Reading("r1", 1, 2, "unknown")])
    return right, replace(right, forgeries=[Reading("r1", 1, 2, "applied")])


@broken("deadlock")
def a_deadlock_that_an_order_prevents():
    right = History([], [], {}, [], {})
    return right, replace(right, needless_deadlocks=[1.0])


@broken("slow")
def a_rejection_that_waits():
    story = Story()
    story.change("create", 1, a=-1)
    right = story.history(innocent=frozenset({1}), bound_seconds=3)
    return right, replace(right, rejected_at={("r1", 0): 5.5})


@pytest.mark.parametrize("name", BROKEN)
def test_a_promise_that_is_broken_is_seen(name):
    kind, make = BROKEN[name]
    right, wrong = make()

    assert kinds(right) == set()
    assert kinds(wrong) == {kind}


def test_every_kind_is_seen_once():
    of_the_front = {"wrong-item", "misled", "diverged"}  # see test_checker_front.py

    assert {kind for kind, _ in BROKEN.values()} | {"undecided"} | of_the_front == {*KINDS}
