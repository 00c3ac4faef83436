"""What a status lists: both lists hold all that there is up to the same item."""

from chalicelib.postgres.made_keys import Run
from chalicelib.reader.listing import address, has_address, lists


def rejections(*items):
    return [{"item": item, "type": "check", "reason": "x" * 100} for item in items]


def listed(found):
    items = [each["item"] for each in (*found.rejections, *found.locations)]
    return sorted(items), dict(found.unlisted), found.last_item


def test_all_that_fits_is_listed():
    found = lists(rejections(1, 4), 2, [Run(0, 1, "a"), Run(2, 2, 7)], "/things", -1, 10_000)

    assert listed(found) == ([0, 1, 2, 4], {"rejections": 0, "locations": 0}, None)
    assert found.locations == [
        {"item": 0, "location": "/things/a"},
        {"item": 2, "location": "/things/7", "last_item": 3, "last_location": "/things/8"},
    ]


def test_rows_behind_a_rejection_that_was_not_read_come_with_it():
    """The next rejection is of item 3, and too long to be read with the others."""
    found = lists(rejections(1), 2, [Run(0, 1, "a"), Run(2, 1, "b"), Run(4, 9, 7)], "/", -1, 10_000)

    assert listed(found) == ([0, 1], {"rejections": 1, "locations": 10}, 1)


def test_one_is_listed_however_long_it_is():
    found = lists(rejections(5, 6), 2, [Run(7, 3, 1)], "/things", 4, 1)

    assert listed(found) == ([5], {"rejections": 1, "locations": 3}, 5)


def test_a_run_goes_on_behind_the_item():
    found = lists([], 0, [Run(0, 5, 10), Run(6, 1, 20)], "/things", 2, 10_000)

    assert found.locations[0] == {
        "item": 3, "location": "/things/13", "last_item": 4, "last_location": "/things/14",
    }  # fmt: skip
    assert listed(found) == ([3, 6], {"rejections": 0, "locations": 0}, None)


def test_an_address_is_that_of_a_path():
    assert address("/things", ["a/b %", 5, "ü"]) == "/things/a%2Fb%20%25/5/%C3%BC"
    assert address("/things", ["..", ".", "..."]) == "/things/%2E%2E/%2E/..."


def test_what_no_path_can_name_has_no_address():
    named = [0, "a", ["a", 0], "ü" * 1_000, "x" * 7_000]
    unnamed = ["", ["a", ""], [None, "a"], "ü" * 2_000, ["x" * 4_000] * 2]

    assert [key for key in [*named, *unnamed] if has_address(key)] == named
