"""Questions and answers are the same in the API function and in the reader."""

import json
from typing import Any

import pytest

from chalicelib.messages.questions import (
    CountedPage,
    Expired,
    InvalidList,
    ListQuestion,
    OpsAnswer,
    OpsQuestion,
    Page,
    PageTooLarge,
    Pending,
    PouredAnswer,
    PouredQuestion,
    RefusedQuestion,
    RefusedWrite,
    RefusedWrites,
    Rejected,
    RejectionsQuestion,
    RowAnswer,
    RowQuestion,
    RowsAnswer,
    RowsQuestion,
    StatusAnswer,
    StatusQuestion,
    TooLarge,
    Unavailable,
    Where,
    from_event,
    read_refusal,
    to_event,
)
from chalicelib.messages.receipt import Receipt, new_id

RECEIPT = Receipt(new_id(7), 7, 2, 5, "0" * 32)
LIST = ListQuestion("things", '{"a":1.50}', [["id", "asc"]], 7, '{"id":1}', [])  # type: ignore[list-item]
SEARCH = ListQuestion("things", "{}", [], 1, None, [Where("a", "in", True, ["x", "y"])], ["id"])
COUNTED = ListQuestion("things", "{}", [], 1, None, [], None, counted=True)
ROW = RowQuestion("things", '{"id":1}')
AFTER = RowQuestion("things", '{"id":1}', ["id"], RECEIPT)
REFUSED = RefusedQuestion("since")
REFUSED_WRITE = RefusedWrite("things", "{}", "id", "check", "why", "{}", "5f8a", False)

ANSWERS: list[tuple[Any, list[Any]]] = [
    (StatusQuestion(RECEIPT), [StatusAnswer("{}", "pending", True, 7)]),
    (StatusQuestion(RECEIPT, 0), [StatusAnswer("{}", "applied", False)]),
    (RejectionsQuestion(RECEIPT, 9, 7, "lines"), [StatusAnswer("", "partial", False, 16)]),
    (OpsQuestion("causes", {"filter": {}}), [OpsAnswer("{}", "next", 7), InvalidList("why")]),
    (SEARCH, [Page("[]", None, 0, 2.0, 0.0)]),
    (COUNTED, [CountedPage("[]", None, 0, 0, 0.5, 7.0)]),
    (ROW, [RowAnswer("{}", "5f8a"), RowAnswer(None)]),
    (AFTER, [RowAnswer("{}"), Pending(True), Rejected("why"), Expired("why")]),
    (RowsQuestion("things", "[]"), [RowsAnswer([None, "{}"], [None, "5f8a"])]),
    (LIST, [Page("[]", None, 0), Page("[]", '{"id":1}', 7), InvalidList("why")]),
    (SEARCH, [Page("[]", None, 0), InvalidList("why")]),
    (COUNTED, [CountedPage("[]", None, 0, 0), InvalidList("why")]),
    (PouredQuestion("things", ["id"]), [PouredAnswer(["id"], 0), PouredAnswer([], 2)]),
    (REFUSED, [RefusedWrites([REFUSED_WRITE], "next", "known"), RefusedWrites([], None, "")]),
]


@pytest.mark.parametrize("sent", [sent for sent, _ in ANSWERS])
def test_a_question_reads_back_from_its_event(sent: Any) -> None:
    event = json.loads(to_event(sent, 2.0004))

    assert from_event(event) == sent
    assert event["seconds"] == 2.0
    assert from_event({**event, "of a later version": 1}) == sent


@pytest.mark.parametrize(("sent", "answer"), [(q, each) for q, found in ANSWERS for each in found])
def test_an_answer_reads_back_from_its_payload(sent: Any, answer: Any) -> None:
    payload = json.loads(json.dumps(vars(answer)))

    assert sent.read_answer(payload) == answer
    assert sent.read_answer({**payload, "of a later version": 1}) == answer
    assert read_refusal(payload) is None


@pytest.mark.parametrize("answer", [TooLarge(True), PageTooLarge(True, None), Unavailable(True)])
def test_a_refusal_is_no_answer(answer: Any) -> None:
    payload = json.loads(json.dumps(vars(answer)))

    assert read_refusal(payload) == answer
    for sent, _ in ANSWERS:
        with pytest.raises(ValueError, match="no answer"):
            sent.read_answer(payload)


@pytest.mark.parametrize("answer", [Pending(True), Rejected("why"), Expired("why")])
def test_only_a_row_that_is_read_after_a_write_is_answered_by_that(answer: Any) -> None:
    with pytest.raises(ValueError, match="no answer"):
        ROW.read_answer(vars(answer))


def test_a_question_that_is_not_known_is_not_taken_for_another() -> None:
    with pytest.raises(KeyError):
        from_event({**json.loads(to_event(LIST, 1)), "ask": "searched"})


def test_a_refused_write_of_another_version_is_read_or_no_answer() -> None:
    longer = {"refused": [[*REFUSED_WRITE, "of a later version"]], "next": None, "known": ""}
    shorter = {**longer, "refused": [REFUSED_WRITE[:-1]]}

    assert REFUSED.read_answer(longer).refused == [REFUSED_WRITE]
    with pytest.raises(ValueError, match="no answer"):
        REFUSED.read_answer(shorter)
