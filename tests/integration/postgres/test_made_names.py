"""Names that Postgres makes for constraints are known before."""

import pytest

from chalicelib.postgres.constraint_names import made_name
from tests.kit.databases import execute


@pytest.mark.parametrize("table", ["t", "t" * 57, "t" * 58, "ü" * 31, "t" * 63])
@pytest.mark.parametrize("column", ["c", "c" * 40, "ö" * 31, "c" * 63])
def test_a_name_is_cut_as_postgres_cuts_it(database_url: str, table: str, column: str) -> None:
    execute(
        database_url,
        f'CREATE TABLE "{table}" (id int PRIMARY KEY, u int,'
        f' "{column}" int REFERENCES "{table}" CHECK ("{column}" < 9), UNIQUE (u, "{column}"))',
    )

    found = execute(
        database_url,
        "SELECT conname FROM pg_constraint WHERE conrelid = "
        f"""'"{table}"'::regclass AND contype <> 'n'""",
    )

    assert {name for (name,) in found} == {
        made_name(table, "", "pkey"),
        made_name(table, column, "fkey"),
        made_name(table, column, "check"),
        made_name(table, f"u_{column}", "key"),
    }
