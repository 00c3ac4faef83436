"""What a peer logs stands for the statuses that it does not have."""

import pytest

from decanter.proof.checker import check
from decanter.proof.history import Attempt, Effect, History, Write
from decanter.proof.peers import judging
from decanter.proof.peers.log import Logged

ROW = {"id": 1, "token": "t1", "a": None, "b": None}
CREATE = Write(0, "accounts", "create", "1", {"id": 1, "token": "t1"})
DELETE = Write(0, "accounts", "delete", "1", {"id": 1})
MESSAGES = {1: frozenset({"m1"})}
APPLIED = Logged(1, {0: [""]})


def attempt(write, status=202, request=1, key=None, at=0.0, place=1):
    receipt = f"r{request}" if status == 202 else None
    return Attempt(request, "ann", key, (write,), at, at + 1, status, receipt, place)


def effect(number, before, after):
    return Effect(number, 100 + number, 5.0, "accounts", "1", before, after)


def history(*attempts, effects=()):
    rows = {("accounts", "1"): effects[-1].after} if effects and effects[-1].after else {}
    return History(attempts, (), {}, effects, rows)


def kinds(judged):
    return [each.kind for each in check(judged.history) if each.kind != "unfinished"]


def test_an_accepted_write_without_an_effect_or_a_log_line_is_lost():
    judged = judging.of_queue(history(attempt(CREATE)), MESSAGES, {})

    assert (kinds(judged), judged.untold) == (["lost"], 0)


def test_an_applied_write_breaks_no_promise():
    seen = history(attempt(CREATE), effects=[effect(1, None, ROW)])
    judged = judging.of_queue(seen, MESSAGES, {"m1": APPLIED})

    assert (kinds(judged), judged.untold) == ([], 0)


def test_a_logged_rejection_is_one_that_nobody_is_told():
    merge = CREATE._replace(op="merge")
    log = {"m1": Logged(1, {0: ["missing"]})}
    judged = judging.of_queue(history(attempt(merge)), MESSAGES, log)

    assert (kinds(judged), judged.untold) == ([], 1)


def test_a_rejection_of_a_second_delivery_is_none_if_the_first_was_applied():
    seen = history(attempt(CREATE), effects=[effect(1, None, ROW)])
    judged = judging.of_queue(seen, MESSAGES, {"m1": Logged(2, {0: ["conflict"]})})

    assert (kinds(judged), judged.untold) == ([], 0)


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        (Logged(1, {0: ["missing"]}), ["untruthful"]),
        (Logged(2, {0: ["missing"]}), []),  # the other may have deleted it
        (Logged(1), []),
    ],
)
def test_a_delete_whose_log_has_a_gap_may_have_been_done(log, expected):
    effects = [effect(1, None, ROW), effect(2, ROW, None)]
    seen = history(attempt(CREATE, request=2), attempt(DELETE, at=2.0, place=2), effects=effects)
    messages = {1: frozenset({"m1"}), 2: frozenset({"m2"})}
    judged = judging.of_queue(seen, messages, {"m1": log, "m2": APPLIED})

    assert kinds(judged) == expected


def test_two_requests_with_one_key_may_end_either_way():
    other = CREATE._replace(values={"id": 1, "token": "t2"})
    first, second = attempt(CREATE, key="k"), attempt(other, request=2, key="k", place=1)
    judged = judging.of_queue(history(first, second, effects=[effect(1, None, ROW)]), {}, {})

    assert (kinds(judged), judged.untold) == ([], 0)


def test_a_client_that_reads_a_refusal_of_its_applied_write_is_misled():
    attempts = [attempt(CREATE, status, at=at) for status, at in ((503, 0.0), (409, 2.0))]
    judged = judging.of_answers(history(*attempts, effects=[effect(1, None, ROW)]))

    assert (kinds(judged), judged.misled) == ([], 1)
    assert judging.of_answers(history(*attempts)).misled == 0
    unanswered = history(attempts[0], effects=[effect(1, None, ROW)])
    assert judging.of_answers(unanswered).misled == 0


def test_an_answered_write_without_an_effect_is_lost():
    assert kinds(judging.of_answers(history(attempt(CREATE, 201)))) == ["lost"]


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [((503, 201), 0), ((503, 409), 0), ((503, None), 1), ((503,), 1)],
)
def test_a_request_is_unserved_if_its_client_reads_no_outcome(statuses, expected):
    attempts = [attempt(CREATE, status, at=10.0 * n) for n, status in enumerate(statuses)]

    assert judging.unserved(history(*attempts)) == expected
