"""Writes that operators try: what would become of them now, and nothing of it remains."""

from collections.abc import Callable
from functools import cache
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import CheckConstraint, Column, ForeignKey, Integer, MetaData, Table, Text

from chalicelib.errors import DatabaseError, LockNotAvailable, Problem, StatementTimedOut
from chalicelib.postgres import ledger
from chalicelib.postgres.connecting.connection import Transaction
from tests.kit.api import assert_problem, body_of
from tests.kit.operators import post
from tests.kit.world import World, without_patience


@cache
def tables() -> MetaData:
    metadata = MetaData()
    key = Column("id", Integer, primary_key=True, autoincrement=False)
    boss = ForeignKey("people.id", deferrable=True, initially="DEFERRED")
    Table("people", metadata, key, Column("n", Integer), Column("name", Text, unique=True),
          Column("boss", boss), CheckConstraint("n >= 0", name="positive"))  # fmt: skip
    pet = Column("id", Integer, primary_key=True, autoincrement=False)
    Table("pets", metadata, pet, Column("owner", ForeignKey("people.id", name="has_owner")))
    Table("logs", metadata, Column("n", Integer), CheckConstraint("n >= 0", name="positive_log"),
          info={"ordered": False})  # fmt: skip
    Table("numbered", metadata, Column("id", Integer, primary_key=True), Column("n", Integer),
          CheckConstraint("n >= 0", name="positive_number"))  # fmt: skip
    return metadata


@pytest.fixture
def world(make_operated: Callable[[MetaData], World]) -> World:
    return make_operated(tables())


def rejected(world: World, resource: str, row: Any) -> str:
    """Send a row that is rejected; returns the id of the rejection."""
    world.post(resource, row)
    with without_patience():
        world.drain()
        world.drain([])
    found = world.execute(
        "SELECT dedup_id || '.' || item FROM decanter.rejection ORDER BY rejected_at"
    )
    return str(found[-1][0])


def tried(*ids: str, **rows: Any) -> list[dict[str, Any]]:
    """What is told of each write. rows: edited ones, by `row_{place}`."""
    writes: list[dict[str, Any]] = [{"id": id_} for id_ in ids]
    for name, row in rows.items():
        writes[int(name.removeprefix("row_"))]["row"] = row
    answer = post("try", {"writes": writes})
    assert answer.status_code == 200, answer.body
    outcomes: list[dict[str, Any]] = body_of(answer)["outcomes"]
    assert [each["id"] for each in outcomes] == [*ids]
    return outcomes


def everything(world: World) -> dict[str, Any]:
    """All rows of all tables."""
    tables = world.execute(
        "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables"
        " WHERE schemaname IN ('public', 'decanter')"
    )
    return {
        table: world.value(f"SELECT json_agg(r ORDER BY r::text)::text FROM {table} AS r")
        for (table,) in tables
    }


def test_each_write_is_told_what_the_drain_would_do_and_nothing_remains(world: World) -> None:
    world.post("people", {"id": 1, "n": 1, "name": "Ada"})
    world.drain()
    check = rejected(world, "people", {"id": 2, "n": -1})
    taken = rejected(world, "people", {"id": 3, "n": 1, "name": "Ada"})
    orphan = rejected(world, "pets", {"id": 1, "owner": 9})
    log = rejected(world, "logs", {"n": -1})
    number = rejected(world, "numbered", {"n": -1})
    world.execute(
        "UPDATE people SET name = 'Ann'; ALTER TABLE numbered DROP CONSTRAINT positive_number"
    )
    before = everything(world)

    found = tried(check, taken, orphan, log, number)

    assert [each["outcome"] for each in found] == [
        "rejected", "applied", "waiting", "rejected", "applied",
    ]  # fmt: skip
    reason = 'new row for relation "people" violates check constraint "positive"'
    assert (found[0]["type"], found[0]["reason"]) == ("check", reason)
    assert (found[1]["type"], found[1]["reason"]) == (None, None)
    assert found[2]["type"] == "missing-parent"
    assert "Key (owner)=(9) is not present" in found[2]["reason"]
    assert everything(world) == before
    assert world.queued == []


def test_an_edited_row_is_tried_in_place_of_the_old_one(world: World) -> None:
    bad = rejected(world, "people", {"id": 2, "n": -1})
    row = {"id": 2, "n": 5, "name": "Bob"}

    assert tried(bad)[0]["outcome"] == "rejected"
    assert tried(bad, row_0=row)[0]["outcome"] == "applied"
    assert tried(bad, row_0={**row, "boss": 77})[0]["type"] == "missing-parent"


def test_an_edited_row_has_the_faults_of_a_request_with_it(world: World) -> None:
    bad = rejected(world, "people", {"id": 2, "n": -1})
    row = {"id": "x", "n": 1.5, "what": 1}

    answer = post("try", {"writes": [{"id": bad, "row": row}]})

    problem = assert_problem(answer, 422, "invalid-row")
    with pytest.raises(Problem) as refused:
        world.post("people", row)
    faults = refused.value.faults
    assert len(faults) == 3
    assert problem["errors"] == [
        {"pointer": f"/writes/0/row{each.pointer}", "rule": each.rule, "detail": each.detail}
        for each in faults
    ]


def test_a_row_that_no_longer_meets_the_contract_would_be_rejected(world: World) -> None:
    fine = rejected(world, "people", {"id": 2, "n": -1})
    odd, gone = f"{uuid4()}.0", f"{uuid4()}.0"
    for id_, resource, row in ((odd, "people", '{"id": 1, "what": 1}'), (gone, "gone", "{}")):
        world.execute(
            "INSERT INTO decanter.rejection (dedup_id, item, resource, op, type, reason, row)"
            " VALUES (%s, 0, %s, 'create', 'check', 'why', %s)",
            *(id_.partition(".")[0], resource, row),
        )

    found = tried(odd, fine, gone)

    assert [each["outcome"] for each in found] == ["rejected"] * 3
    assert (found[0]["type"], found[2]["type"]) == ("invalid-row", "unknown-resource")
    assert found[0]["reason"].startswith("not a row of people: /what: ")
    assert found[1]["type"] == "check"


def test_what_only_commit_would_find_is_found(world: World) -> None:
    bad = rejected(world, "people", {"id": 2, "n": -1})
    world.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN RAISE EXCEPTION 'not on a Sunday'; END$$;"
        "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON people DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION refuse()"
    )

    (found,) = tried(bad, row_0={"id": 2, "n": 2})

    assert (found["outcome"], found["type"]) == ("rejected", "trigger")
    assert "not on a Sunday" in found["reason"]


def test_writes_that_depend_on_each_other_are_tried_together(world: World) -> None:
    pet = rejected(world, "pets", {"id": 1, "owner": 2})
    owner = rejected(world, "people", {"id": 2, "n": -1})
    world.execute("ALTER TABLE people DROP CONSTRAINT positive")

    assert [each["outcome"] for each in tried(pet, owner)] == ["applied", "applied"]
    assert tried(pet)[0]["outcome"] == "waiting"


def test_whether_a_row_was_changed_since_is_told_where_it_can_be_known(world: World) -> None:
    same = rejected(world, "people", {"id": 1, "n": -1})
    changed = rejected(world, "people", {"id": 2, "n": -1})
    log = rejected(world, "logs", {"n": -1})
    number = rejected(world, "numbered", {"n": -1})
    tried_again = rejected(world, "people", {"id": 1, "n": -2})  # rejected: it changed nothing
    world.put("people", 2, {"n": 7})
    world.drain()
    accepted = world.value("SELECT max(accepted_at) FROM decanter.ledger WHERE writes > 0")

    found = tried(same, changed, log, number, tried_again)

    assert [each["changed_since"] for each in found] == [False, True, None, None, False]
    assert found[1]["changed_at"] == accepted.isoformat(timespec="milliseconds")
    assert found[0]["changed_at"] is None


@pytest.mark.parametrize("why", [StatementTimedOut, LockNotAvailable])
def test_a_ledger_that_cannot_be_searched_says_nothing_of_changes(
    world: World, monkeypatch: pytest.MonkeyPatch, why: type[DatabaseError]
) -> None:
    bad = rejected(world, "people", {"id": 1, "n": -1})

    def slow(*_: Any) -> Any:
        raise why("slow")

    monkeypatch.setattr(ledger, "later_writes", slow)

    (found,) = tried(bad)

    assert (found["outcome"], found["changed_since"]) == ("rejected", None)


def test_a_function_that_is_killed_in_the_middle_leaves_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = rejected(world, "people", {"id": 2, "n": -1})
    world.execute("ALTER TABLE people DROP CONSTRAINT positive")
    before = everything(world)
    check = Transaction.check
    poured: list[Any] = []

    def killed(self: Transaction) -> None:
        check(self)
        ((pid, rows),) = self.execute("SELECT pg_backend_pid(), count(*) FROM people")
        poured.append(rows)
        world.execute("SELECT pg_terminate_backend(%s, 5000)", pid)
        self.execute("SELECT 1")

    monkeypatch.setattr(Transaction, "check", killed)

    answer = post("try", {"writes": [{"id": bad}]})

    assert_problem(answer, 503, "reader-busy")
    assert poured == [1, 1]  # it is tried once more, on another connection
    assert everything(world) == before


def test_ids_that_no_rejection_has_are_not_tried(world: World) -> None:
    assert_problem(post("try", {"writes": [{"id": f"{uuid4()}.0"}]}), 404, "no-such-entry")


def test_rows_that_are_too_large_together_are_refused(world: World) -> None:
    ids = [rejected(world, "people", {"id": n, "n": -1, "name": "x" * 800_000}) for n in (1, 2)]

    answer = post("try", {"writes": [{"id": id_} for id_ in ids]})

    assert_problem(answer, 413, "body-too-large")
    assert tried(ids[0])[0]["outcome"] == "rejected"


def test_a_thousand_writes_are_tried_with_as_many_statements_as_ten(
    world: World, statements: list[str]
) -> None:
    world.post("people", [{"id": n, "n": -1} for n in range(1_000)], Prefer="handling=lenient")
    world.drain()
    world.execute("ALTER TABLE people DROP CONSTRAINT positive")
    ids = [
        id_ for (id_,) in world.execute("SELECT dedup_id || '.' || item FROM decanter.rejection")
    ]

    def count(*some: str) -> int:
        statements.clear()
        assert {each["outcome"] for each in tried(*some)} == {"applied"}
        return len(statements)

    count(*ids[:2])  # what is asked once
    assert count(*ids) == count(*ids[:10])
