"""Each kind of statement is refused once, and what never was is told."""

import pytest

from decanter.proof.load.conflicts import Conflicts, Kind, texts


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("SELECT * FROM a WHERE id = 'x''; y'", "SELECT * FROM a WHERE id = 'z'"),
        ("INSERT INTO a2 VALUES (1, NULL, E'\\\\')", "INSERT INTO a2 VALUES (-2, 'x', true)"),
        ("INSERT INTO a VALUES (1, 2), (3, 4)", "INSERT  INTO a\nVALUES (1)"),
        ("SELECT ARRAY['a'::uuid, 'b'::uuid]", "SELECT ARRAY['c'::uuid]"),
    ],
)
def test_kinds_have_no_literals_and_no_lengths(one: str, other: str) -> None:
    assert texts(one) == texts(other)


def test_kinds_are_statements_but_for_begin_and_rollback() -> None:
    assert texts("BEGIN; SELECT a2 FROM b; COMMIT") == ["SELECT a2 FROM b", "COMMIT"]
    assert texts("ROLLBACK") == []
    assert texts("SELECT a1") != texts("SELECT a2")


def test_each_kind_of_each_role_is_refused_once() -> None:
    conflicts = Conflicts()
    sent = "BEGIN; SELECT 1; COMMIT"

    answers = [conflicts("decanter-drain", sent) for _ in range(4)]

    assert [bool(each) for each in answers] == [True, True, False, False]
    assert "OC000" in str(answers[0])
    assert "OC001" in str(answers[1])
    assert conflicts("decanter-reader", "COMMIT")
    assert conflicts.by_role() == {
        "drain": {"kinds": 2, "struck": 2},
        "reader": {"kinds": 1, "struck": 1},
    }


def test_a_kind_that_comes_again_and_was_never_refused_is_told() -> None:
    conflicts = Conflicts()
    seen = Kind("drain", "SELECT ?")
    conflicts.came[seen] = 1
    assert conflicts.spared() == []
    conflicts.came[seen] = 2
    assert conflicts.spared() == [seen]
