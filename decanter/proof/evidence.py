"""Append-only evidence in the database: triggers record every change of a row, in its transaction.

A row that is written twice with the same values looks as if it was written once; its evidence does
not. The triggers are AFTER … FOR EACH ROW, so the drain takes the way that it takes without them.
"""

import json
from collections.abc import Iterable
from typing import Any

from decanter.proof.history import Effect
from decanter.proof.tables import QUEUED, key_text

CLOCK = "extract(epoch FROM statement_timestamp())"
"""The time of the machine."""


def install(cursor: Any, clock: str = CLOCK, names: Iterable[str] = QUEUED) -> None:
    """Create the evidence, and its triggers on these tables. clock: an SQL expression, seconds."""
    cursor.execute(recording(clock))
    for name in names:
        cursor.execute(trigger(name))


def recording(clock: str) -> str:
    """The statements that make the table of evidence, and the function of its triggers."""
    return f"""
        CREATE SCHEMA IF NOT EXISTS proof;
        CREATE TABLE proof.effect (
            number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            transaction bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint,
            at float8 NOT NULL DEFAULT {clock},
            resource text NOT NULL,
            before json,
            after json
        );
        CREATE FUNCTION proof.record() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
        BEGIN
            INSERT INTO proof.effect (resource, before, after) VALUES (
                TG_ARGV[0],
                CASE WHEN TG_OP <> 'INSERT' THEN row_to_json(OLD) END,
                CASE WHEN TG_OP <> 'DELETE' THEN row_to_json(NEW) END);
            RETURN NULL;
        END $$
    """


def trigger(name: str) -> str:
    """The statement that makes a table's trigger."""
    return (
        f"CREATE TRIGGER proof AFTER INSERT OR UPDATE OR DELETE ON {name}"
        f" FOR EACH ROW EXECUTE FUNCTION proof.record({name})"
    )


def effects(cursor: Any) -> Iterable[Effect]:
    """All effects, in the order of their numbers."""
    cursor.execute(
        "SELECT number, transaction, at, resource, before::text, after::text FROM proof.effect"
        " ORDER BY number"
    )
    return [effect(*row) for row in cursor.fetchall()]


def effect(
    number: int, transaction: int, at: float, resource: str, old: str | None, new: str | None
) -> Effect:
    """An effect. old, new: columns of the row as JSON, None where there is none."""
    before, after = (json.loads(row or "null") for row in (old, new))
    return Effect(
        number, transaction, at, resource, key_text(resource, after or before), before, after
    )
