"""A table three times, with the same columns: in front, in front with a unique value, and behind
SQS."""

import random
from uuid import UUID

import sqlalchemy as sa

from benchmarks.harness import Json

FRONT, UNIQUE, QUEUED = "alerts", "unique_alerts", "queued_alerts"


def tables() -> sa.MetaData:
    metadata = sa.MetaData()
    in_front = {"front": "dynamodb"}
    sa.Table(FRONT, metadata, *_columns(), info=in_front)
    both = sa.UniqueConstraint("email", "station", name="unique_alerts_email_station")
    sa.Table(UNIQUE, metadata, *_columns(), both, info=in_front)
    sa.Table(QUEUED, metadata, *_columns())
    return metadata


def _columns() -> list[sa.Column[object]]:
    return [
        sa.Column("id", sa.Uuid, primary_key=True, server_default=sa.text("gen_random_uuid()")),
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("station", sa.String(4), nullable=False),
        sa.Column("wind_above_kt", sa.Numeric(5, 1), nullable=False),
        sa.Column("note", sa.Text),
        sa.Column("active", sa.Boolean, nullable=False, server_default="true"),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()
        ),
    ]


def sent(count: int, seed: int = 1) -> list[Json]:
    """Return that many rows as clients send them: without what has a default."""
    numbers = random.Random(seed)  # noqa: S311
    return [
        {
            "email": f"ada.{number:06}@example.com",
            "station": "".join(numbers.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ", k=4)),
            "wind_above_kt": numbers.randrange(100, 800) / 10,
            "note": "ask the tower before take-off",
        }
        for number in range(count)
    ]


def stored(row: Json, seed: int = 1) -> Json:
    """Return a row as it is stored."""
    key = UUID(int=random.Random(seed).getrandbits(128), version=4)  # noqa: S311
    return {
        "id": str(key),
        **row,
        "active": True,
        "created_at": "2026-01-01T12:00:00.123456+00:00",
    }
