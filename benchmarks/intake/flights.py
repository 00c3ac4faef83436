"""A table of 19 columns like that of flights out of New York, and random rows for it.

Numbers are as pandas prints them: 517.0 for an integer in a column with nulls.
"""

import random
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from benchmarks.harness import Json

_TIMES = ("dep_time", "sched_dep_time", "dep_delay", "arr_time", "sched_arr_time", "arr_delay")
_KEY = ("year", "month", "day", "carrier", "flight")
_START = datetime(2013, 1, 1, tzinfo=UTC)


def tables() -> sa.MetaData:
    metadata = sa.MetaData()
    sa.Table(
        "flights",
        metadata,
        *[sa.Column(name, sa.SmallInteger, primary_key=True) for name in _KEY[:3]],
        *[sa.Column(name, sa.Integer) for name in _TIMES],
        sa.Column("carrier", sa.String(2), primary_key=True),
        sa.Column("flight", sa.Integer, primary_key=True),
        sa.Column("tailnum", sa.String(6)),
        sa.Column("origin", sa.String(3), nullable=False),
        sa.Column("dest", sa.Text, nullable=False),
        sa.Column("air_time", sa.Integer),
        sa.Column("distance", sa.Numeric(8, 2)),
        sa.Column("hour", sa.SmallInteger),
        sa.Column("minute", sa.SmallInteger),
        sa.Column("time_hour", sa.DateTime(timezone=True)),
    )
    return metadata


def rows(count: int) -> list[Json]:
    numbers = random.Random(1)  # noqa: S311
    found = []
    for number in range(count):
        at = _START + timedelta(minutes=10 * number)
        is_cancelled = numbers.random() < 0.03
        whole = [
            None if is_cancelled and each % 3 else float(numbers.randrange(2_400))
            for each in range(len(_TIMES) + 1)
        ]
        found.append(
            {
                **{"year": at.year, "month": at.month, "day": at.day},
                **dict(zip(_TIMES, whole, strict=False)),
                "carrier": numbers.choice(["UA", "AA", "B6", "DL", "EV"]),
                "flight": number % 8_000,
                "tailnum": None if is_cancelled else f"N{numbers.randrange(10_000, 99_999)}",
                "origin": numbers.choice(["EWR", "LGA", "JFK"]),
                "dest": numbers.choice(["Houston, TX", "IAH", "MIA"]),
                "air_time": whole[-1],
                "distance": float(numbers.randrange(80, 5_000)),
                **{"hour": at.hour, "minute": at.minute},
                "time_hour": at.strftime("%Y-%m-%dT%H:00:00Z"),
            }
        )
    return found
