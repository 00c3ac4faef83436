"""The simulated SQS has the habits that AWS documents."""

import random
from itertools import count

import pytest

from decanter.proof.simulation.queue import Queue


@pytest.fixture
def fifo() -> Queue:
    return Queue(True, 30.0, 2, random.Random(1), count(1))


def test_a_repeated_message_is_accepted_once_within_five_minutes(fifo):
    first = fifo.send("a", "1", "id", 0.0)

    assert fifo.send("a", "1", "id", 299.0) is first
    assert fifo.send("a", "1", "id", 301.0) is not first
    assert len(fifo.messages) == 2


def test_a_lane_is_blocked_while_one_of_its_messages_is_in_flight(fifo):
    for body, lane in (("a", "1"), ("b", "1"), ("c", "2")):
        fifo.send(body, lane, body, 0.0)

    assert [each.message.body for each in fifo.receive(0.0, 1)] == ["a"]
    assert [each.message.body for each in fifo.receive(1.0, 10)] == ["c"]
    assert fifo.receive(2.0, 10) == []
    assert [each.message.body for each in fifo.receive(40.0, 10)] == ["a", "b", "c"]


def test_what_is_deleted_too_late_comes_again(fifo):
    fifo.send("a", "1", "a", 0.0)
    [received] = fifo.receive(0.0, 10)

    fifo.delete(received, 31.0)

    [again] = fifo.receive(31.0, 10)
    assert again.receives == 2
    fifo.delete(again, 32.0)
    assert fifo.messages == []


def test_what_is_received_too_often_is_a_dead_letter_and_comes_back_as_a_new_message(fifo):
    sent = fifo.send("a", "1", "a", 0.0)
    fifo.receive(0.0, 10)
    fifo.receive(40.0, 10)

    assert fifo.receive(80.0, 10) == []
    assert fifo.dead == [sent]
    fifo.redrive(100.0)
    [again] = fifo.receive(100.0, 10)
    assert (again.message.body, again.receives) == ("a", 1)
    assert again.message.id != sent.id
    assert again.message.place > sent.place


def test_a_standard_queue_gives_messages_in_any_order_and_some_twice():
    queue = Queue(False, 30.0, 100, random.Random(1), count(1), doubles=1.0)
    for body in "abcdefgh":
        queue.send(body, None, None, 0.0)

    received = queue.receive(0.0, 10)
    for each in received:
        queue.delete(each, 1.0)

    bodies = [each.message.body for each in received]
    assert sorted(bodies) == [*"abcdefgh"]
    assert bodies != sorted(bodies)
    assert len(queue.receive(40.0, 10)) == 8
