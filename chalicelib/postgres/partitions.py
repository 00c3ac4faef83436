"""The partitions of the ledger: leaves of a week each, made ahead, and the rest.

A dedup ID begins with the time of acceptance, unless it is made of an Idempotency-Key: then it is
anywhere. So a leaf has the bulk of one week, and of the others the few whose random IDs are in that
week. What no leaf takes is in `ledger_rest`: a missing leaf stops nothing. Leaves are grouped into
terms, of those that were made together: for each row of the rest, Postgres checks that it belongs
to no term, which would cost more with each leaf.

Terms are made by the migrate function, with the owner's rights. Postgres attaches one without
reading `ledger_rest` where a constraint says that nothing there belongs to it:

1. In one transaction, rows of the rest that are in the time of the new term are held in a table of
   their own, and a constraint keeps others from coming. A message that would be one of them is
   refused as if it had met a lock, so it comes again; and so does a late one, as nobody can tell
   whether a newer write to its key was poured.
2. The constraint is validated, for as long as it takes to read the rest. Pours go on.
3. In one transaction the term is attached, and the held rows go back.

The new term begins at least a week ahead, so that what is refused meanwhile is what has a random
ID, one in ten thousand. What was begun and not ended is ended by the next run, or undone.
"""

import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import date, timedelta
from typing import Any, NamedTuple

import psycopg2

from chalicelib.postgres.connecting.session import Connection
from chalicelib.postgres.errors import LEDGER_EXTENDED, translated
from chalicelib.postgres.ledger import IS_KEYED, first_id

WEEKS = 26
"""How far ahead leaves are made, once they reach less than half as far."""

_WEEK = timedelta(days=7)
_LEAST_AHEAD = timedelta(days=2)
"""What was begun is ended while its first leaf is still so far ahead; then the sweep undoes it."""

_KEPT = timedelta(days=90)
"""How long a term stays after its last week, of which all bulk is forgotten by then."""

_MOST_MOVED = 10_000
"""Rows of a term that are moved, while pours wait; with more it stays."""

_LOCK_TRIES, _LOCK_PAUSE = 50, 0.3
_LOCK_MILLISECONDS = 100  # that a lock may wait: all pours wait behind it
_VALIDATE_TIMEOUT = "10min"  # of the migrate function's 15

_REST, _HELD = "decanter.ledger_rest", "decanter.ledger_held"

_TODAY = "SELECT (now() AT TIME ZONE 'UTC')::date"
_TERMS = """
    SELECT substr(term.relname, 13), array_agg(substr(leaf.relname, 8) ORDER BY leaf.relname)
    FROM pg_inherits AS above
        JOIN pg_inherits AS below ON below.inhparent = above.inhrelid
        JOIN pg_class AS term ON term.oid = above.inhrelid
        JOIN pg_class AS leaf ON leaf.oid = below.inhrelid
    WHERE above.inhparent = 'decanter.ledger'::regclass
    GROUP BY 1 ORDER BY 1
"""
_BEGUN = """
    SELECT obj_description(oid, 'pg_class') FROM pg_class
    WHERE oid = to_regclass('decanter.ledger_held')
"""
# Also if it had rows: to read the pages that deleted ones have left takes as long.
_HAS_ROWS = f"""
    SELECT CASE WHEN pg_relation_size('{_REST}') > 1 << 20 THEN true
        ELSE EXISTS (SELECT FROM {_REST}) END
"""  # noqa: S608

# Read before they are moved, so that nothing is fetched from a disk while pours wait.
_FETCH = f"SELECT count(fingerprint) FROM {_REST} WHERE dedup_id >= %s AND dedup_id < %s"  # noqa: S608
_HOLD = f"""
    CREATE TABLE {_HELD} (LIKE decanter.ledger INCLUDING STORAGE);
    COMMENT ON TABLE {_HELD} IS %s;
    WITH moved AS (DELETE FROM {_REST} WHERE dedup_id >= %s AND dedup_id < %s RETURNING *)
        INSERT INTO {_HELD} SELECT * FROM moved;
    ALTER TABLE {_REST} ADD CONSTRAINT {LEDGER_EXTENDED}
        CHECK (dedup_id < %s OR dedup_id >= %s) NOT VALID
"""  # noqa: S608
_VALIDATE = f"ALTER TABLE {_REST} VALIDATE CONSTRAINT {LEDGER_EXTENDED}"
_PUT_BACK = "SELECT decanter.put_back_held()"

_CREATE = f"""
    CREATE TABLE {{term}} (LIKE decanter.ledger INCLUDING ALL) PARTITION BY RANGE (dedup_id);
    CREATE INDEX ON {{term}} (poured_at) WHERE {IS_KEYED}
"""
_CREATE_LEAF = "CREATE TABLE {leaf} PARTITION OF {term} FOR VALUES FROM (%s) TO (%s)"
_ATTACH = "ALTER TABLE decanter.ledger ATTACH PARTITION {term} FOR VALUES FROM (%s) TO (%s)"
_END = f"""
    ALTER TABLE {_REST} DROP CONSTRAINT {LEDGER_EXTENDED};
    INSERT INTO decanter.ledger SELECT * FROM {_HELD};
    DROP TABLE {_HELD}
"""  # noqa: S608

_DROP = """
    CREATE TABLE decanter.ledger_moved AS SELECT * FROM {term};
    DROP TABLE {term};
    INSERT INTO decanter.ledger SELECT * FROM decanter.ledger_moved;
    DROP TABLE decanter.ledger_moved
"""


class Span(NamedTuple):
    """Leaves for the weeks from the first day until the day `end`, both Mondays."""

    first: date
    end: date

    @property
    def days(self) -> list[date]:
        """The first day of each leaf."""
        return [self.first + n * _WEEK for n in range((self.end - self.first) // _WEEK)]


def leaf_name(first: date) -> str:
    """The table of the week that begins on that day."""
    return f"decanter.ledger_{first:%Y%m%d}"


def _term_name(first: date) -> str:
    return f"decanter.ledger_from_{first:%Y%m%d}"


def extend(connection: Connection, weeks: int = WEEKS, today: date | None = None) -> list[str]:
    """Make leaves for so many weeks ahead, if they reach less than half as far; and end or undo
    what was begun before. Drops terms that are long over, whose last rows go to the rest.

    connection: of the owner, outside of a transaction and not in autocommit. Returns the names of
    the new leaves. Raises DatabaseError, and then either all is as before, or the next run goes on.
    """
    with translated():
        today = today or _value(connection, _TODAY)
        _drop_old(connection, today)
        begun = _begun(connection)
        if begun and begun.first < today + _LEAST_AHEAD:
            _put_back(connection)
            begun = None
        span = begun or _wanted(connection, today, weeks)
        if span is None:
            return []
        if begun or _value(connection, _HAS_ROWS):
            return _extend_filled(connection, span, is_begun=bool(begun))
        return _extend_empty(connection, span)


def _drop_old(connection: Connection, today: date) -> None:
    """Drop terms that are long over, unless somebody holds a lock. Their few rows, with random IDs
    that come at any time, go to the rest."""
    old = [each for each in _terms(connection) if each.end + _KEPT <= today]
    small = [each for each in old if _value(connection, _rows_of(each)) <= _MOST_MOVED]
    if not small:
        return
    with suppress(psycopg2.errors.LockNotAvailable), connection, connection.cursor() as cursor:
        _lock(cursor, "decanter.ledger", tries=3)
        for term in small:
            cursor.execute(_rows_of(term))
            ((count,),) = cursor.fetchall()
            if count <= _MOST_MOVED:
                cursor.execute(_DROP.format(term=_term_name(term.first)))


def _extend_empty(connection: Connection, span: Span) -> list[str]:
    """There is nothing to read or to move; unless something has just come."""
    with connection, connection.cursor() as cursor:
        _create(cursor, span)
        _lock(cursor, _REST)
        cursor.execute(_HAS_ROWS)
        if cursor.fetchone() == (True,):
            connection.rollback()
            return []
        return _attach(cursor, span)


def _extend_filled(connection: Connection, span: Span, *, is_begun: bool) -> list[str]:
    try:
        if not is_begun:
            _hold(connection, span)
        with connection, connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL statement_timeout = '{_VALIDATE_TIMEOUT}'")
            cursor.execute(_VALIDATE)
        with connection, connection.cursor() as cursor:
            _create(cursor, span)
            _lock(cursor, _REST)
            attached = _attach(cursor, span)
            cursor.execute(_END)
            return attached
    except psycopg2.Error:
        if not connection.closed and _begun(connection):
            _put_back(connection)
        raise


def _hold(connection: Connection, span: Span) -> None:
    ids = (_id(span.first), _id(span.end))
    _value(connection, _FETCH, *ids)
    with connection, connection.cursor() as cursor:
        _lock(cursor, _REST)
        cursor.execute(_HOLD, (f"{span.first} {span.end}", *ids, *ids))


def _put_back(connection: Connection) -> None:
    with connection, connection.cursor() as cursor:
        _lock(cursor, _REST)
        cursor.execute(_PUT_BACK)


def _create(cursor: Any, span: Span) -> None:
    """The term, with its leaves, which is no part of the ledger yet."""
    term = _term_name(span.first)
    cursor.execute(_CREATE.format(term=term))
    for day in span.days:
        leaf = _CREATE_LEAF.format(leaf=leaf_name(day), term=term)
        cursor.execute(leaf, (_id(day), _id(day + _WEEK)))


def _attach(cursor: Any, span: Span) -> list[str]:
    attach = _ATTACH.format(term=_term_name(span.first))
    cursor.execute(attach, (_id(span.first), _id(span.end)))
    return [leaf_name(day) for day in span.days]


def _lock(cursor: Any, table: str, tries: int = _LOCK_TRIES) -> None:
    """Lock a table alone. A lock that waits holds up all pours behind it: it waits a moment, and
    then lets them pass."""
    for is_last in [*[False] * (tries - 1), True]:
        cursor.execute("SAVEPOINT unlocked")
        try:
            cursor.execute(
                f"SET LOCAL lock_timeout = {_LOCK_MILLISECONDS};"
                f" LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"
            )
            return
        except psycopg2.errors.LockNotAvailable:
            if is_last:
                raise
            cursor.execute("ROLLBACK TO SAVEPOINT unlocked")
            time.sleep(_LOCK_PAUSE)


def _begun(connection: Connection) -> Span | None:
    """The leaves that were begun to be made, and not ended."""
    found = _value(connection, _BEGUN)
    return Span(*map(date.fromisoformat, found.split())) if found else None


def _wanted(connection: Connection, today: date, weeks: int) -> Span | None:
    """The leaves that are missing; None if they reach far enough. The first week may be this one
    where nothing has to be read."""
    monday = today - timedelta(days=today.weekday())
    end = monday + weeks * _WEEK
    terms = _terms(connection)
    reached = terms[-1].end if terms else monday
    if terms and reached > monday + weeks * _WEEK / 2:
        return None
    ahead = 2 if _value(connection, _HAS_ROWS) else 0
    first = max(reached, monday + ahead * _WEEK)
    return Span(first, end) if first < end else None


def _terms(connection: Connection) -> list[Span]:
    """The weeks of each term, in order."""
    with connection, connection.cursor() as cursor:
        cursor.execute(_TERMS)
        found: Sequence[tuple[str, list[str]]] = cursor.fetchall()
    return [
        Span(date.fromisoformat(first), date.fromisoformat(leaves[-1]) + _WEEK)
        for first, leaves in found
    ]


def _id(day: date) -> str:
    return first_id((day - date(1970, 1, 1)).days * 86_400_000)


def _rows_of(term: Span) -> str:
    """Count the rows, as far as it matters."""
    some = f"SELECT FROM {_term_name(term.first)} LIMIT {_MOST_MOVED + 1}"
    return f"SELECT count(*) FROM ({some}) AS row"  # noqa: S608


def _value(connection: Connection, sql: str, *values: Any) -> Any:
    """The value of a transaction of its own; None if there is none."""
    with connection, connection.cursor() as cursor:
        cursor.execute(sql, values or None)
        found = cursor.fetchone()
    return found[0] if found else None
