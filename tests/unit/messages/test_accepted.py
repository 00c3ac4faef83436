"""The line of an accepted request: written and read."""

import logging

import pytest

from chalicelib.messages.accepted import LoggedRequest, log_accepted, read
from chalicelib.messages.receipt import Receipt, new_id

RECEIPT = Receipt(new_id(7), 0, 3, 5, "0f" * 16)
REQUEST = LoggedRequest(str(RECEIPT.id), 1_700_000_000_007, "größe", 5, 3, "0f" * 16)


@pytest.fixture
def line(caplog):
    with caplog.at_level(logging.INFO, "decanter.intake"):
        log_accepted(RECEIPT, REQUEST.accepted_at, REQUEST.resource)
    return caplog.messages[-1]


def test_a_request_is_read_as_it_was_logged(line):
    assert read(line) == REQUEST
    assert read(f"decanter.intake - INFO - {line}\n") == REQUEST
    assert line.isascii()


@pytest.mark.parametrize(
    "other",
    ["", "START RequestId: 1", "accepted", "accepted {}", "accepted {nothing", "accepted [1]"],
)
def test_other_lines_are_none(other):
    assert read(other) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("}", ""),
        ('"writes":5', '"writes":"5"'),
        ('"messages":3', '"messages":true'),
        (f'"{RECEIPT.id}"', '"7"'),
        (f'"{RECEIPT.id}"', "7"),
        ('"writes"', '"others"'),
    ],
)
def test_a_line_that_is_not_whole_is_none(line, old, new):
    assert read(line.replace(old, new)) is None


def test_members_of_later_versions_are_ignored(line):
    assert read(line[:-1] + ',"more":1}') == REQUEST
