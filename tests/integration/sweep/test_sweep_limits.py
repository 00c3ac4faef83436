"""The sweep on an engine without partitions, where a transaction may change few rows."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest

from chalicelib.postgres import retention
from chalicelib.postgres.engine import DSQL
from tests.kit.databases import execute
from tests.kit.dsql import Dsql

_FILL = """
    INSERT INTO decanter.ledger (dedup_id, fingerprint, writes, poured_at)
    SELECT gen_random_uuid(), 'f', 1, now() - age FROM generate_series(1, 700),
        (VALUES (interval '32 days'), (interval '1 day')) AS ages (age);
    UPDATE decanter.ledger SET dedup_id = overlay(dedup_id::text placing '7' from 15)::uuid;
    INSERT INTO decanter.ledger (dedup_id, fingerprint, writes, poured_at)
    SELECT ('00000000-0000-8000-8000-0' || request || lpad(to_hex(message), 10, '0'))::uuid,
        'f', 1, now() - interval '90 days'
    FROM generate_series(1, 5) AS request, generate_series(0, 899) AS message
    ORDER BY message, request;
    INSERT INTO decanter.made_key (poured_at, resource, dedup_ids, ends, items, keys)
    SELECT now() - interval '90 days', 'things', ARRAY[gen_random_uuid()], '{1}', '[[0,1]]', '[0]'
    FROM generate_series(1, 5);
    INSERT INTO decanter.rejection (dedup_id, item, type, reason, rejected_at)
    SELECT gen_random_uuid(), item, 'value', 'wrong', now() - age
    FROM generate_series(1, 3) AS item,
        (VALUES (interval '32 days'), (interval '1 day')) AS ages (age);
    INSERT INTO decanter.waiting (dedup_id, item, reason, message)
    SELECT dedup_id, 0, 'lock', '' FROM decanter.ledger WHERE poured_at > now() - interval '33 days'
        AND poured_at < now() - interval '2 days' LIMIT 1
"""


class Plain:
    """What the sweep needs of a transaction."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def execute(self, sql: str, values: Any) -> Any:
        self._cursor.execute(sql, values)
        return self._cursor.fetchall()


@pytest.fixture
def steps(dsql: Dsql) -> Iterator[Any]:
    with closing(psycopg2.connect(dsql.url)) as opened, opened.cursor() as cursor:

        def step() -> int:
            with opened:
                return retention.sweep(Plain(cursor), 31, 61, 5_000, DSQL)  # type: ignore[arg-type]

        yield step


def test_a_sweep_is_done_in_transactions_that_the_engine_allows(dsql: Dsql, steps: Any) -> None:
    execute(dsql.behind, _FILL)
    deleted = []
    keyed = "SELECT count(*) FROM decanter.ledger WHERE dedup_id < '00000000-0000-9000-0000-{:012}'"
    keyed = keyed.format(0)
    while not deleted or deleted[-1]:
        deleted.append(steps())
        ((count,),) = execute(dsql.behind, keyed)
        assert count % 900 == 0  # the messages of a request go together

    assert max(deleted) < (DSQL.most_rows or 0)
    assert sum(deleted) == 699 + 4_500 + 5 + 3
    left = (
        "SELECT (SELECT count(*) FROM decanter.ledger), (SELECT count(*) FROM decanter.rejection)"
    )
    assert execute(dsql.behind, left) == [(701, 3)]


def test_the_messages_of_a_large_request_go_together(dsql: Dsql, steps: Any) -> None:
    execute(
        dsql.behind,
        "INSERT INTO decanter.ledger (dedup_id, fingerprint, writes, poured_at)"
        " SELECT ('00000000-0000-8000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'f', 1,"
        " now() - interval '90 days' FROM generate_series(0, 899) AS n",
    )

    assert [steps(), steps()] == [900, 0]
