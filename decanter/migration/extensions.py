"""Extensions of Postgres that models need.

Models declare them (`MetaData(info={"extensions": ("postgis",)})`), or Postgres names them:
its errors say what is missing when the tables are created in a savepoint. So types, operator
classes, index methods and functions are found wherever they are used, and a column named like an
extension does not matter.
"""

import re
import warnings
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from sqlalchemy import Connection, Index, MetaData, TextClause, create_mock_engine, text
from sqlalchemy.exc import DBAPIError, SAWarning
from sqlalchemy.schema import CreateIndex, CreateSchema

from chalicelib.postgres.resources import ModelError, sql_type
from decanter import POSTGRES_URL
from decanter.migration.types import schemas

DECLARED = "extensions"
"""Member of `MetaData.info`: names of extensions."""

_MISSING = (
    r'type "(?P<name>[^"]+?)(?:\[\])?" does not exist',
    r'operator class "(?P<name>[^"]+)" does not exist',
    r'access method "(?P<name>[^"]+)" does not exist',
    r"function (?P<name>[^\s(]+)\(.*\) does not exist",
    r'text search \w+ "(?P<name>[^"]+)" does not exist',
    r'has no default operator class for access method "(?P<name>gist|gin)"',
)
"""Postgres' English messages about something that does not exist."""

_HOLDERS = {
    "citext": "citext_.*",
    "btree_gist": r"gist|gist_(?!trgm|hstore|cube|ltree|geo)[a-z0-9]+_ops",
    "btree_gin": "gin",
    "cube": "cube_.*|gist_cube_ops",
    "earthdistance": "earth|ll_to_earth|earth_.*",
    "fuzzystrmatch": "levenshtein.*|d?metaphone.*|soundex|daitch_mokotoff",
    "hstore": "(gist|gin|btree|hash)_hstore_ops|hstore_.*",
    "intarray": "query_int|gist__int(big)?_ops|gin__int_ops",
    "isn": "ean13|is[bms]n(13)?|upc",
    "ltree": "lquery|ltxtquery|gist_ltree_ops|gist__ltree_ops|nlevel|subpath|subltree|text2ltree",
    "pg_trgm": "gi(st|n)_trgm_ops|(strict_)?(word_)?similarity|show_trgm",
    "pgcrypto": "gen_random_bytes|digest|hmac|crypt|gen_salt|pgp_.*|(en|de)crypt(_iv)?",
    "postgis": "geometry|geography|box[23]d|gidx|st_.*|gist_geo\\w+_ops.*",
    "postgis_raster": "raster",
    "postgis_topology": "topogeometry",
    "unaccent": "unaccent",
    "uuid-ossp": "uuid_generate_.*|uuid_(nil|ns_.*)",
    "vector": "halfvec|sparsevec|ivfflat|hnsw|(vector|halfvec|sparsevec|bit)_(l1|l2|ip|cosine"
    "|hamming|jaccard)_ops",
}
"""Patterns of the names that extensions define beside their own. Any other extension has to be
named like its type, or be declared by the models."""


def create_needed(connection: Connection, metadatas: Sequence[MetaData]) -> tuple[str, ...]:
    """Create the extensions that the models need; return their names, sorted.

    connection: to an empty scratch database. A name that no extension defines is ignored: a
    revision may create it. Raise ModelError for an extension that the server does not have or may
    not create.
    """
    before = _present(connection)
    savepoint = connection.begin_nested()
    _set_english_messages(connection)
    for name in _declared(metadatas):
        _create(connection, name, f'MetaData(info={{"{DECLARED}": …}}) in chalicelib/models.py')
    for statement in _statements(metadatas):
        while missing := _find_missing(connection, statement):
            holder = _find_holder(connection, missing)
            if holder is None or holder in _present(connection):
                break
            _create(connection, holder, _place(missing, statement, metadatas))
    # Includes those that other extensions or listeners of the models have created.
    needed = sorted(_present(connection) - before)
    savepoint.rollback()
    for name in needed:
        connection.execute(_create_statement(connection, name))
    connection.commit()
    return tuple(needed)


def _declared(metadatas: Sequence[MetaData]) -> list[str]:
    found: list[str] = []
    for metadata in metadatas:
        given = metadata.info.get(DECLARED, ())
        if isinstance(given, str) or not all(isinstance(name, str) for name in given):
            raise ModelError(
                f"MetaData.info[{DECLARED!r}] is {given!r}. Make it a list of names of extensions,"
                f' such as ["citext"].'
            )
        found += given
    return found


def _statements(metadatas: Sequence[MetaData]) -> list[Any]:
    """Return the statements that create the models, in order."""
    found: list[Any] = [
        CreateSchema(name, if_not_exists=True)
        for metadata in metadatas
        for name in schemas(metadata)
    ]
    engine = create_mock_engine("postgresql+psycopg2://", lambda each, *_: found.append(each))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SAWarning)  # of foreign keys in a circle
        for metadata in metadatas:
            # A listener of the user's that queries the database gets no answer here.
            with suppress(AttributeError, TypeError):
                metadata.create_all(engine, checkfirst=False)
    return found


def _find_missing(connection: Connection, statement: Any) -> str | None:
    """Run a statement; return the name of what does not exist, if it fails for that."""
    try:
        with connection.begin_nested():
            if isinstance(statement, CreateIndex):
                sql = str(statement.compile(dialect=connection.dialect))
                connection.exec_driver_sql(sql.replace("INDEX CONCURRENTLY", "INDEX", 1))
            else:
                connection.execute(statement)
    except DBAPIError as error:
        matches = (re.search(pattern, _message(error)) for pattern in _MISSING)
        return next((match["name"] for match in matches if match), None)
    return None


def _find_holder(connection: Connection, missing: str) -> str | None:
    """Return the extension that defines a name."""
    name = missing.rpartition(".")[2]
    for extension, pattern in _HOLDERS.items():
        if name == extension or re.fullmatch(pattern, name):
            return extension
    return name if _is_available(connection, name) else None


def _place(missing: str, statement: Any, metadatas: Sequence[MetaData]) -> str:
    """Describe where the models use a name."""
    for metadata in metadatas:
        for table in metadata.tables.values():
            for column in table.columns:
                if re.search(rf"\b{re.escape(missing)}\b", sql_type(column.type), re.IGNORECASE):
                    return f"Column {table.fullname}.{column.name} ({sql_type(column.type)})"
    element = getattr(statement, "element", None)
    if isinstance(element, Index):
        return f"Index {element.name} of {element.table} ({missing})"
    name = getattr(element, "fullname", getattr(element, "name", None)) or "a statement"
    return f"{type(element).__name__} {name} ({missing})"


def _create(connection: Connection, name: str, place: str) -> None:
    if not _is_available(connection, name):
        raise ModelError(
            f"{place} needs the extension {name}, which this Postgres does not have. Install it"
            " there (the embedded one has only vector), or name a server that has it:"
            f" {POSTGRES_URL}=postgresql://role:password@host:port/postgres. The database of each"
            " stage needs it as well; on RDS, SHOW rds.extensions lists what is available."
        )
    try:
        with connection.begin_nested():
            connection.execute(_create_statement(connection, name))
    except DBAPIError as error:
        raise ModelError(
            f"{place} needs the extension {name}, which cannot be created on this Postgres:"
            f" {_message(error)}. Name a role in {POSTGRES_URL} that may, such as a superuser."
        ) from error


def _create_statement(connection: Connection, name: str) -> TextClause:
    quoted = connection.dialect.identifier_preparer.quote(name)
    return text(f"CREATE EXTENSION IF NOT EXISTS {quoted} CASCADE")


def _is_available(connection: Connection, name: str) -> bool:
    query = text("SELECT true FROM pg_available_extensions WHERE name = :name")
    return bool(connection.scalar(query, {"name": name}))


def _present(connection: Connection) -> set[str]:
    return set(connection.scalars(text("SELECT extname FROM pg_extension")))


def _message(error: DBAPIError) -> str:
    return str(error.orig).partition("\n")[0]


def _set_english_messages(connection: Connection) -> None:
    # A role that may not set it gets the server's language, which is nearly always English.
    with suppress(DBAPIError), connection.begin_nested():
        connection.execute(text("SET LOCAL lc_messages = 'C'"))
