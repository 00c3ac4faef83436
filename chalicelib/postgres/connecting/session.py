"""Sessions of Postgres, configured by their URL and this module alone.

Settings of a database, role, server or shell would change texts, names and meanings between
deployments, or between two functions of one.
"""

import os
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

import psycopg2
import psycopg2.extensions
from psycopg2 import errors

from chalicelib.postgres.connecting import access
from chalicelib.postgres.engine import ASK, IS_DSQL, OpenedConnection, told
from chalicelib.postgres.errors import translated

Connection: TypeAlias = psycopg2.extensions.connection

_FORMATS = (
    "DateStyle",
    "IntervalStyle",
    "TimeZone",
    "extra_float_digits",
    "bytea_output",
)
"""Settings without which rows would be shown otherwise, for a server that may refuse others."""

SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        # The text format of values.
        "DateStyle": "ISO, MDY",
        "IntervalStyle": "iso_8601",
        "TimeZone": "UTC",
        "timezone_abbreviations": "Default",
        "extra_float_digits": "1",
        "bytea_output": "hex",
        "lc_monetary": "C",
        "xmlbinary": "base64",
        "xmloption": "content",
        "array_nulls": "on",
        "backslash_quote": "safe_encoding",
        "quote_all_identifiers": "off",
        # The meaning of statements.
        "check_function_bodies": "on",
        "default_transaction_deferrable": "off",
        "default_transaction_isolation": "read committed",
        "gin_fuzzy_search_limit": "0",
        "row_security": "on",
        "session_replication_role": "origin",
        "transform_null_equals": "off",
        # The end of a session.
        "client_connection_check_interval": "5s",
        "exit_on_error": "off",
        # A drain that is frozen or has vanished holds its locks no longer than that.
        "idle_in_transaction_session_timeout": "30s",
        "idle_session_timeout": "0",
        "lock_timeout": "0",
        "statement_timeout": "0",
        "transaction_timeout": "0",
        # A batch may write to a table that others of it refer to, which Citus refuses after it has
        # used several connections to a node; and the budget counts those of each session.
        "citus.multi_shard_modify_mode": "sequential",
        "citus.max_adaptive_executor_pool_size": "1",
    }
)
"""Settings of every session. A server that does not know one of them does without it.

Without default_transaction_read_only, as a read-only database has to refuse writes.
client_connection_check_interval: a working backend notices that its client is gone, and ends.
"""

_CHECK_CLIENT = "client_connection_check_interval"

# SQS forgets a message once its rows are committed: they have to be on disk by then.
_SET = f"""
    SELECT set_config(name, wanted, false)
    FROM unnest(%(names)s::text[], %(values)s::text[]) AS settings (name, wanted)
    WHERE current_setting(name, true) <> wanted AND (name = ANY (%(formats)s) OR NOT {IS_DSQL});
    SELECT set_config('synchronous_commit', 'on', false)
    WHERE current_setting('synchronous_commit') = 'off'
"""  # noqa: S608

# A role named decanter has our schema in its path, where the name of a user's table ledger would
# mean ours. A path without pg_catalog has it first.
_SET_PATH = """
    SELECT set_config('search_path', (
        SELECT coalesce(string_agg(quote_ident(name), ', ' ORDER BY place), 'public')
        FROM unnest(current_schemas(false)) WITH ORDINALITY AS path (name, place)
        WHERE name NOT IN ('decanter', 'pg_catalog')), false)
    WHERE current_schemas(false) && ARRAY['decanter', 'pg_catalog']::name[]
    OR current_setting('search_path') IN ('', '""')
"""

_OF_LIBPQ = re.compile(r"PG[A-Z_]+")
_NO_FILE = str(Path(__file__).with_name("no-pgpass"))


def opened(
    url: str, name: str, settings: Mapping[str, str] = SETTINGS, **parameters: Any
) -> Connection:
    """A connection with its session configured.

    name: in pg_stat_activity. parameters: of libpq, which override the URL's. Raises DatabaseError,
    NotConfigured.
    """
    connection = connected(url, name, **parameters)
    try:
        settle(connection, settings)
    except BaseException:
        connection.close()
        raise
    return connection


def connected(url: str, name: str, **parameters: Any) -> Connection:
    """A connection without its session settings. Raises DatabaseError, NotConfigured."""
    own = access.url_parts(url)
    given = {
        "application_name": name,
        "client_encoding": "UTF8",
        "options": own.get("options", ""),
        "passfile": own.get("passfile", _NO_FILE),
        **access.parameters(url),
        **parameters,
        "connection_factory": OpenedConnection,
    }
    with _hidden, translated():
        connection: Connection = psycopg2.connect(**given)
        if connection.info.parameter_status("standard_conforming_strings") == "off":
            # The driver reads once how it has to quote texts, so it cannot be set afterwards.
            connection.close()
            given["options"] += " -c standard_conforming_strings=on"
            connection = psycopg2.connect(**given)
    if connection.encoding != "UTF8":
        connection.set_client_encoding("UTF8")
    return connection


def settle(connection: Connection, settings: Mapping[str, str] = SETTINGS) -> None:
    """Apply the settings and learn the engine in one round trip, outside of a transaction. Poolers
    refuse settings in the start-up packet. Raises DatabaseError."""
    before, connection.autocommit = connection.autocommit, True
    try:
        with translated():
            try:
                _set(connection, settings)
            except errors.InvalidParameterValue:  # a server on Windows has no such check
                _set(connection, {k: v for k, v in settings.items() if k != _CHECK_CLIENT})
    finally:
        if not connection.closed:
            connection.autocommit = before


def settle_path(connection: Connection) -> None:
    """Set the search path again, after Decanter's schema was created. Needs autocommit."""
    with connection.cursor() as cursor:
        cursor.execute(_SET_PATH)


def environment(variables: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment without libpq's variables."""
    return {name: value for name, value in variables.items() if not _OF_LIBPQ.fullmatch(name)}


def _set(connection: Connection, settings: Mapping[str, str]) -> None:
    with connection.cursor() as cursor:
        bound = {"names": [*settings], "values": [*settings.values()], "formats": [*_FORMATS]}
        cursor.execute(f"{_SET}; {_SET_PATH}; {ASK}", bound)
        if isinstance(connection, OpenedConnection):
            connection.engine = told(cursor.fetchall())


class _Hidden:
    """Hides libpq's variables while a connection is opened. Some of them (PGTZ, PGSERVICE) override
    every parameter."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connecting = 0
        self._variables: dict[str, str] = {}

    def __enter__(self) -> None:
        with self._lock:
            if not self._connecting:
                kept = environment()
                self._variables = {k: v for k, v in os.environ.items() if k not in kept}
                for name in self._variables:
                    del os.environ[name]
            self._connecting += 1

    def __exit__(self, *_error: object) -> None:
        with self._lock:
            self._connecting -= 1
            if not self._connecting:
                os.environ.update(self._variables)


_hidden = _Hidden()
