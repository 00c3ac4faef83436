"""Names of shards in errors of Citus become those of the models, and nothing else does."""

from types import ModuleType

import pytest
from sqlalchemy import CheckConstraint, Column, ForeignKey, Integer, MetaData, Table

import chalicelib
from chalicelib.errors import RefusedByDatabase
from chalicelib.postgres import resources, shard_names

LONG = "c" * 63
CUT = f"{'c' * 47}_9d5f409f_102010"
FOREIGN = f"{'c' * 51}_parent_fkey"


@pytest.fixture(autouse=True)
def models(monkeypatch: pytest.MonkeyPatch) -> None:
    metadata = MetaData()
    number = Column("m_202401", Integer, CheckConstraint("m_202401 < 9", name="small_202402"))
    Table("par_20240101", metadata, Column("id", Integer, primary_key=True), number)
    Table(
        LONG,
        metadata,
        Column("id", Integer, primary_key=True),
        Column("parent", Integer, ForeignKey("par_20240101.id")),
        Column("m", Integer, CheckConstraint("m < 9")),
        info={"resource": False},
    )
    Table('We"ird', metadata, Column("id", Integer, primary_key=True), info={"resource": False})
    made = ModuleType("models")
    made.metadata = metadata  # type: ignore[attr-defined]
    monkeypatch.setattr(chalicelib, "models", made, raising=False)
    for each in (resources.resources, shard_names._known):
        each.cache_clear()


@pytest.mark.parametrize(
    ("message", "names"),
    [
        (
            f'insert or update on table "{CUT}" violates foreign key constraint "{CUT}"',
            (LONG, FOREIGN, None),
        ),
        (
            'update or delete on table "par_20240101_102008" violates foreign key constraint'
            f' "{CUT}" on table "{CUT}"',
            (LONG, FOREIGN, None),
        ),
        (
            'update or delete on table "par_20240101" violates RESTRICT setting of foreign key'
            f' constraint "{FOREIGN}" on table "{LONG}"',
            (LONG, FOREIGN, None),
        ),
        (
            f'duplicate key value violates unique constraint "{CUT}"',
            (None, f"{'c' * 58}_pkey", None),
        ),
        (
            f'new row for relation "{CUT}" violates check constraint "{CUT}"',
            (LONG, f"{'c' * 55}_m_check", None),
        ),
        (
            'new row for relation "par_20240101_102008" violates check constraint'
            ' "small_202402_102008"',
            ("par_20240101", "small_202402", None),
        ),
        (
            'new row for relation "par_20240101" violates check constraint "small_202402"',
            ("par_20240101", "small_202402", None),
        ),
        (
            'null value in column "m_202401" of relation "par_20240101_102008" violates not-null'
            " constraint",
            ("par_20240101", None, "m_202401"),
        ),
        (
            'duplicate key value violates unique constraint "We"ird_pkey_102011"',
            (None, 'We"ird_pkey', None),
        ),
        ('new row for relation "other_102012" violates check constraint "b_102012"',
         ("other", "b", None)),
    ],
)  # fmt: skip
def test_names_are_those_of_the_models(
    message: str, names: tuple[str | None, str | None, str | None]
) -> None:
    found = shard_names.restored(RefusedByDatabase(message))

    assert (found.table, found.constraint, found.column) == names
    assert [each for each in ("_1020", "_9d5f409f") if each in found.message] == []


def test_names_that_an_error_has_count_more_than_its_message() -> None:
    message = 'new row for relation "par_20240101_102008" violates check constraint "b"'
    error = RefusedByDatabase(message, table=CUT, constraint="small_202402_102008", column=None)

    found = shard_names.restored(error)

    assert (found.table, found.constraint) == (LONG, "small_202402")


def test_a_detail_names_no_shard() -> None:
    detail = 'Key (parent)=(5) is not present in table "par_20240101_102008".'

    found = shard_names.restored(RefusedByDatabase("x", detail=detail))

    assert found.detail == 'Key (parent)=(5) is not present in table "par_20240101".'


@pytest.mark.parametrize(
    "message",
    [
        'invalid input syntax for type integer: "order_102008"',
        'column "m_202401" can only be updated to DEFAULT',
        'relation "par_20240101" does not exist',
    ],
)
def test_what_is_no_shard_stays(message: str) -> None:
    assert shard_names.restored(RefusedByDatabase(message)).message == message


def test_a_shard_is_named_by_its_table_in_any_message() -> None:
    found = shard_names.restored(RefusedByDatabase('no rule for "par_20240101_102008" here'))

    assert found.message == 'no rule for "par_20240101" here'
