"""Peers of the drain, a function each, from the event to after COMMIT.

All write the same rows to the same tables, and enter every message in the ledger in the same
transaction, so that a redelivery has no effect.
"""

import io
import json
from collections.abc import Callable
from typing import Any, NamedTuple

from aws_lambda_powertools.utilities.batch import (
    BatchProcessor,
    EventType,
    process_partial_response,
)
from psycopg2.extras import Json as JsonValue
from psycopg2.extras import execute_values
from sqlalchemy import StaticPool, create_engine, insert, text

from benchmarks.harness import Json
from chalicelib.postgres.connecting import session
from chalicelib.postgres.resources import resources

Peer = Callable[[Json], None]
CopyText = list[tuple[str, bytes]]

_LEDGER = "INSERT INTO decanter.ledger (dedup_id, fingerprint, writes) VALUES "


def copy_ready(url: str) -> Callable[[CopyText], None]:
    """COPY into ledger and table without any check, of text that is made before: the most that one
    connection to Postgres can do."""
    connection = session.opened(url, "bench")

    def pour(batch: CopyText) -> None:
        with connection, connection.cursor() as cursor:
            for statement, lines in batch:
                cursor.copy_expert(statement, io.BytesIO(lines))

    return pour


def copy(url: str) -> Peer:
    """The same from the event: making the text for COPY from JSON is part of the measured time."""
    pour = copy_ready(url)
    return lambda event: pour(copy_text(event))


def copy_text(event: Json) -> CopyText:
    """Return a batch as statements of COPY and their lines, the ledger's first."""
    messages = _messages(event)
    entries = "".join(f"{each.dedup_id}\t{each.fingerprint}\t{each.writes}\n" for each in messages)
    batch = [("COPY decanter.ledger (dedup_id, fingerprint, writes) FROM STDIN", entries.encode())]
    for resource, rows in _rows(messages).items():
        names = [*rows[0]]
        lines = "".join("\t".join(_copy_field(row[name]) for name in names) + "\n" for row in rows)
        statement = f"COPY {resource} ({', '.join(names)}) FROM STDIN"
        batch.append((statement, lines.encode()))
    return batch


def execute_values_(url: str) -> Peer:
    """psycopg2's execute_values with pages of 1,000 rows."""
    connection = session.opened(url, "bench")

    def pour(event: Json) -> None:
        messages = _messages(event)
        with connection, connection.cursor() as cursor:
            _claim(cursor, messages)
            for resource, rows in _rows(messages).items():
                names = [*rows[0]]
                values = [tuple(_adapt(row[name]) for name in names) for row in rows]
                statement = f"INSERT INTO {resource} ({', '.join(names)}) VALUES %s"
                execute_values(cursor, statement, values, page_size=1000)

    return pour


def sqlalchemy(url: str) -> Peer:
    """SQLAlchemy Core with insertmanyvalues, as its documentation recommends for many rows."""
    engine, tables = _engine(url), _tables()

    def pour(event: Json) -> None:
        messages = _messages(event)
        with engine.begin() as connection:
            with connection.connection.cursor() as cursor:
                _claim(cursor, messages)
            for resource, rows in _rows(messages).items():
                connection.execute(insert(tables[resource]), rows)

    return pour


def powertools(url: str) -> Peer:
    """Powertools' batch processor with one transaction a record, as in AWS's documentation.

    A record is one write; SQLAlchemy builds the statement.
    """
    engine, tables = _engine(url), _tables()
    processor = BatchProcessor(event_type=EventType.SQS)
    claim = text(
        "INSERT INTO decanter.ledger (dedup_id, fingerprint, writes)"
        " VALUES (:dedup_id, :fingerprint, :writes) ON CONFLICT DO NOTHING"
    )

    def record_handler(record: Any) -> None:
        message = _message(record.body)
        with engine.begin() as connection:
            entry = connection.execute(
                claim,
                {
                    "dedup_id": message.dedup_id,
                    "fingerprint": message.fingerprint,
                    "writes": message.writes,
                },
            )
            if entry.rowcount:
                for row in message.rows:
                    connection.execute(insert(tables[message.resource]), row)

    def pour(event: Json) -> None:
        process_partial_response(event, record_handler, processor, context=None)

    return pour


PEERS: dict[str, Callable[[str], Peer]] = {
    "copy": copy,
    "sqlalchemy": sqlalchemy,
    "execute_values": execute_values_,
    "powertools": powertools,
}


def _engine(url: str) -> Any:
    connection = session.opened(url, "bench")
    return create_engine("postgresql+psycopg2://", creator=lambda: connection, poolclass=StaticPool)


def _tables() -> dict[str, Any]:
    return {name: resource.table for name, resource in resources().items()}


class _Message(NamedTuple):
    dedup_id: str
    fingerprint: str
    resource: str
    rows: list[Json]

    @property
    def writes(self) -> int:
        return len(self.rows)


def _message(body: str) -> _Message:
    """Parse a message without any check."""
    first, *lines = body.split("\n")
    header = json.loads(first)
    rows = [row for line in lines for row in json.loads(line)]
    return _Message(header["id"], header["fp"], header["resource"], rows)


def _messages(event: Json) -> list[_Message]:
    return [_message(record["body"]) for record in event["Records"]]


def _rows(messages: list[_Message]) -> dict[str, list[Json]]:
    """Group the rows by resource."""
    found: dict[str, list[Json]] = {}
    for message in messages:
        found.setdefault(message.resource, []).extend(message.rows)
    return found


def _claim(cursor: Any, messages: list[_Message]) -> None:
    entries = [(m.dedup_id, m.fingerprint, m.writes) for m in messages]
    execute_values(cursor, f"{_LEDGER} %s ON CONFLICT DO NOTHING", entries, page_size=1000)


def _adapt(value: Any) -> Any:
    return JsonValue(value) if isinstance(value, dict | list) else value


def _copy_field(value: Any) -> str:
    """Format a value as a field of COPY's text format."""
    if value is None:
        return "\\N"
    text = value if isinstance(value, str) else json.dumps(value)
    for plain, escaped in (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r")):
        text = text.replace(plain, escaped)
    return text
