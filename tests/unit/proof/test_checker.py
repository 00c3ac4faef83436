"""The checker accepts a history that keeps every promise, and sees each that breaks one."""

from dataclasses import replace
from itertools import count

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from decanter.proof.checker import KINDS, check
from decanter.proof.checking import order
from decanter.proof.checking.explain import explain
from decanter.proof.history import Attempt, Effect, History, Reading, Sample, Snapshot, Violation
from decanter.proof.history import Write as HistoryWrite
from decanter.proof.tables import COLUMNS, KEYS, key_text

CREATES = ("create", "create-or-ignore", "create-or-merge", "replace")
OPS = (*CREATES, "merge", "delete")


class Story:
    """A history as it is written: a request is poured as soon as it is sent, in a transaction of
    its own, unless the test says otherwise. Each step takes a second."""

    def __init__(self):
        self.attempts, self.readings, self.effects = [], [], []
        self.finals, self.rows, self.rejected_at = {}, {}, {}
        self.tokens, self.places, self.transactions = count(1), count(1), count(100)
        self.now = 0.0

    def write(self, op, resource, *key, item=0, **values):
        named = dict(zip(KEYS[resource], key, strict=True)) | values
        if op != "delete":
            named["token"] = f"t{next(self.tokens)}"
        return HistoryWrite(item, resource, op, key_text(resource, named), named)

    def send(self, *writes, status=202, request=None, key=None, pours=True, place=True):
        """Send a request, or retry one; returns its number. status: None for no answer."""
        number = request or len({each.request for each in self.attempts}) + 1
        self.attempts.append(
            Attempt(
                number,
                "c",
                key,
                tuple(writes),
                self.tick(),
                None if status is None else self.tick(),
                status,
                f"r{number}" if status == 202 else None,
                next(self.places) if place else None,
            )
        )
        if pours:
            self.pour(number)
        return number

    def change(self, op, *key, resource="accounts", **how):
        """Send one write; returns the number of its request."""
        values = {name: how.pop(name) for name in ("a", "b") if name in how}
        return self.send(self.write(op, resource, *key, **values), **how)

    def tick(self):
        self.now += 1
        return self.now

    def pour(self, number):
        at, transaction, rejections = self.tick(), next(self.transactions), {}
        attempt = next(each for each in self.attempts if each.request == number)
        for write in attempt.writes:
            row = (write.resource, write.key)
            before = self.rows.get(row)
            kind, after = self.outcome(write, before)
            if kind:
                rejections[write.item] = kind
                self.rejected_at[f"r{number}", write.item] = at
            elif after != before:
                self.effects.append(
                    Effect(len(self.effects) + 1, transaction, at, *row, before, after)
                )
                self.rows[row] = after
        self.rows = {row: values for row, values in self.rows.items() if values is not None}
        states = {0: "applied", len(attempt.writes): "rejected"}
        self.final(number, states.get(len(rejections), "partial"), rejections)

    def final(self, number, state, rejections=None):
        receipt = f"r{number}"
        if any(each.receipt == receipt for each in self.attempts):
            self.finals[receipt] = Reading(receipt, 9e9, 9e9, state, rejections or {})

    def outcome(self, write, row):
        """The type of the rejection, or else the row after the write."""
        sent, empty = dict(write.values), dict.fromkeys(COLUMNS[write.resource])
        account = ("accounts", write.key.split(",")[0])
        is_bad = (sent.get("a") or 0) < 0
        if write.op in ("merge", "delete") and row is None:
            return "missing", row
        if write.op == "delete":
            children = [key for name, key in self.rows if name == "entries"]
            if write.resource == "accounts" and any(
                child.split(",")[0] == write.key for child in children
            ):
                return "still-referenced", row
            return None, None
        if is_bad:
            return "check", row
        if write.op == "create" and row is not None:
            return "conflict", row
        if row is None and write.resource == "entries" and account not in self.rows:
            return "missing-parent", row
        if write.op == "create-or-ignore" and row is not None:
            return None, row
        if write.op in ("merge", "create-or-merge") and row is not None:
            return None, {**row, **sent}
        return None, {**empty, **sent}

    def read(self, number, state, rejections=None, **snapshots):
        self.readings.append(
            Reading(f"r{number}", self.tick(), self.tick(), state, rejections or {}, **snapshots)
        )

    def history(self, **others):
        return History(
            list(self.attempts),
            list(self.readings),
            dict(self.finals),
            list(self.effects),
            dict(self.rows),
            rejected_at=dict(self.rejected_at),
            **others,
        )


def kinds(history):
    found = check(history)
    assert all(each.kind in KINDS and each.text and "\n" not in each.text for each in found)
    return {each.kind for each in found}


def changed(items, place, **values):
    """The same records, with one of them changed."""
    return [
        each._replace(**values) if place == number else each for number, each in enumerate(items)
    ]


def kept(items, *places):
    return [items[place] for place in places]


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
    return right, replace(right, effects=right.effects[:1], rows={("accounts", "1"): right.effects[0].after})  # fmt: skip


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
    return right, replace(right, finals=pending)


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
    story = Story()
    story.change("create", 1, key="k")
    story.change("create", 2, key="k", pours=False)
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
    return right, replace(right, effects=[each._replace(number=-each.number) for each in right.effects],
                          rows={("accounts", "1"): right.effects[0].after})  # fmt: skip


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
    newest = [each._replace(place=9 if each.request == late else each.place) for each in right.attempts]  # fmt: skip
    return right, replace(right, attempts=newest)


@broken("wrong-rejection")
def a_reused_key_that_nobody_else_has():
    story = Story()
    story.change("create", 1, key="k", status=503)
    story.change("create", 2, key="k", pours=False)
    story.final(2, "rejected", {None: "key-reused"})
    right = story.history()
    return right, replace(right, attempts=changed(right.attempts, 0, key="other"))


@broken("invented")
def an_effect_of_nobody():
    story = Story()
    story.change("create", 1)
    right = story.history()
    return right, replace(right, attempts=[], finals={})


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
    story = Story()
    story.change("create", 1)
    right = story.history(innocent=frozenset({1}), bound_seconds=3)
    return right, replace(right, effects=changed(right.effects, 0, at=5.5))


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
    assert {kind for kind, _ in BROKEN.values()} | {"undecided"} == {*KINDS}


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
    story.change("merge", 1, a=1)  # rejected: there is no row yet
    story.now += 60
    story.pour(dead)
    assert kinds(story.history(redriven=frozenset({dead}))) == set()
    assert kinds(story.history()) == {"misordered"}

    story.change("create", 2)
    dead = story.change("merge", 2, a=1, pours=False)
    story.now += 60
    story.change("merge", 2, a=2)
    story.pour(dead)
    assert kinds(story.history(redriven=frozenset({1, dead}))) == {"misordered"}


def test_a_parent_is_missing_until_the_account_is_committed():
    story = Story()
    story.change("create", 1)
    story.change("create", 1, 1, resource="entries", pours=False)
    story.final(2, "rejected", {0: "missing-parent"})

    assert kinds(story.history()) == {"wrong-rejection"}
    assert kinds(story.history(commit_seconds=5)) == set()


def test_receipts_of_one_request_agree():
    story = Story()
    story.change("create", 1, key="k")
    again = story.attempts[0]._replace(receipt="other", place=2)
    story.attempts.append(again)
    story.finals["other"] = story.finals["r1"]._replace(receipt="other")
    right = story.history()
    other = {**right.finals, "other": Reading("other", 9, 9, "rejected", {0: "conflict"})}

    assert kinds(right) == set()
    assert kinds(replace(right, finals=other)) == {"untruthful"}


def test_a_row_whose_writes_have_places_needs_a_step_for_each_effect(monkeypatch):
    story = Story()
    for _ in range(10):
        for op in ("create", "merge", "create", "delete", "delete"):
            story.change(op, 1, a=1)
    monkeypatch.setattr(order, "MAX_STATES", len(story.effects) + 1)

    assert kinds(story.history()) == set()


def test_a_search_that_takes_too_long_is_told(monkeypatch):
    story = Story()
    for _ in range(4):
        story.change("create", 1, place=False)
        story.change("delete", 1, status=None, place=False)
    for _ in range(4):
        story.change("delete", 1, status=None, place=False, pours=False)
    late = story.change("create", 1, a=5)
    right = story.history()
    wrong = changed(right.attempts, late - 1, sent_at=-2, answered_at=-1)
    monkeypatch.setattr(order, "MAX_STATES", 20)

    assert kinds(right) == set()
    assert kinds(replace(right, attempts=wrong)) == {"undecided"}


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


@st.composite
def histories(draw):
    """Random requests, poured in the order in which they were accepted."""
    story = Story()
    has_places = draw(st.booleans())
    for _ in range(draw(st.integers(1, 14))):
        resource = draw(st.sampled_from(["accounts"] * 3 + ["entries"] * 2 + ["events"]))
        writes = [
            _write(draw, story, resource, item) for item in range(draw(st.sampled_from([1, 1, 2])))
        ]
        status = draw(st.sampled_from([202] * 5 + [None, 503, 400]))
        pours = status == 202 or (status != 400 and draw(st.booleans()))
        has_place = has_places and (status == 202 or pours)
        key = f"k{story.now}" if draw(st.booleans()) else None
        number = story.send(*writes, status=status, key=key, pours=pours, place=has_place)
        if status == 202 and draw(st.booleans()):
            final = story.finals[f"r{number}"]
            story.read(number, final.state, final.rejections)
        if key and status in (None, 503) and draw(st.booleans()):
            if pours:
                story.send(*writes, request=number, key=key, pours=False, place=has_place)
                done = {each.after["token"] for each in story.effects if each.after}
                assume(all(write.token in done for write in writes))
                story.final(number, "applied")
            else:
                story.send(*writes, request=number, key=key, place=has_places)
    return story.history(is_ordered=has_places)


def _write(draw, story, resource, item):
    op = draw(st.sampled_from(CREATES[:2] if resource == "events" else OPS))
    key = [draw(st.integers(1, 2)) for _ in KEYS[resource]]
    values = {}
    if op != "delete":
        if draw(st.booleans()):
            values["a"] = draw(st.sampled_from([-1, None, 1, 2]))
        if resource != "events" and draw(st.booleans()):
            values["b"] = draw(st.integers(1, 2))
    return story.write(op, resource, *key, item=item, **values)


@given(histories())
@settings(max_examples=150)
def test_a_history_of_writes_in_their_order_is_right(history):
    assert check(history) == []
