"""The places of writes in the ordered queue, from the messages that it took."""

from chalicelib.messages.message import Message, RowSet, encode
from chalicelib.messages.receipt import Receipt, issue, keyed_id, new_id
from decanter.proof.history import Attempt, Write
from decanter.proof.load.places import with_places

CALLER = "issuer subject"


def attempt(request, *writes, key=None, receipt=None):
    return Attempt(request, "client", key, writes, 1.0, receipt=receipt)


def write(request, item, op="replace"):
    values = {"id": 1} if op == "delete" else {"id": 1, "token": f"{request}.{item}"}
    return Write(item, "accounts", op, "1", values)


def body(identity, op, items, rows):
    sets = (RowSet(("id", "token"), tuple(items), tuple(items), rows),)
    return encode(Message(str(identity), "0" * 32, 1, "accounts", op, sets))


def replaced(request, *items):
    rows = ",".join(f'{{"id": 1, "token": "{request}.{item}"}}' for item in items)
    return body(new_id(1), "replace", items, rows)


def deleted(identity):
    return body(identity, "delete", [0], '{"id": 1}')


def test_places_are_those_of_each_items_message():
    sent = attempt(3, write(3, 0), write(3, 1), write(3, 2))

    [placed], are_known = with_places([sent], [(replaced(3, 1), 7), (replaced(3, 0, 2), 9)], CALLER)

    assert are_known
    assert [placed.place_of(item) for item in range(3)] == [9, 7, 9]


def test_places_of_a_retry_are_where_it_was_first_accepted():
    attempts = [attempt(3, write(3, 0), key="k"), attempt(3, write(3, 0), key="k")]

    placed, _ = with_places(attempts, [(replaced(3, 0), place) for place in (8, 5, 9)], CALLER)

    assert [each.place_of(0) for each in placed] == [5, 5]


def test_places_of_deletes_are_found_by_key_or_receipt():
    identity = new_id(2)
    receipt = issue(Receipt(identity, 2, 1, 1, "0" * 32), b"secret", CALLER)
    attempts = [
        attempt(1, write(1, 0, "delete"), key="k"),
        attempt(2, write(2, 0, "delete"), receipt=receipt),
    ]

    accepted = [(deleted(keyed_id(CALLER, "k")), 4), (deleted(identity), 6)]
    placed, are_known = with_places(attempts, accepted, CALLER)

    assert are_known
    assert [each.place_of(0) for each in placed] == [4, 6]


def test_places_are_not_all_known_if_a_message_is_nobodys():
    [placed], are_known = with_places(
        [attempt(1, write(1, 0, "delete"))], [(deleted(new_id(1)), 4)], CALLER
    )

    assert not are_known
    assert placed.place_of(0) is None
