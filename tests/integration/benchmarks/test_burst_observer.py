"""The observer of a burst sees each of its rows."""

from contextlib import closing

import psycopg2

from benchmarks.burst.observer import Observer
from tests.kit.waiting import LONG

STATION = """
INSERT INTO stations (icao, name, country, elevation_ft, latitude, longitude, timezone)
VALUES ('BRST', 'Burst', 'CH', 0, 0, 0, 'UTC')
"""
ROW = """
INSERT INTO observations (station, observed_at, report)
VALUES ('BRST', '2026-01-01', '{"run": "r", "write": 7}')
"""


def test_a_row_of_the_burst_s_first_moment_is_seen(database_url: str) -> None:
    with closing(psycopg2.connect(database_url)) as own, own.cursor() as cursor:
        own.autocommit = True
        cursor.execute(STATION)

        with Observer(database_url, "r") as observer:
            cursor.execute(ROW)
            observer.await_rows({7}, LONG)

    assert observer.rows == {7: 1}
