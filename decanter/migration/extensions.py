"""Extensions of Postgres that models need.

A model says it itself (`MetaData(info={"extensions": ("postgis",)})`), or Postgres does: its tables
are made once for trial, and of what is not there Postgres says the name. So a column that is called
like an extension means nothing, and types, operator classes, index methods and functions are found
wherever they stand.
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
"""What Postgres says, in English, of what it does not have."""

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
"""Names that extensions hold beside their own, as patterns. Of any other extension it is enough
that it is called like its type, or that the models declare it."""


def create_needed(connection: Connection, metadatas: Sequence[MetaData]) -> tuple[str, ...]:
    """Create the extensions that the models need; returns their names, sorted.

    connection: of an empty database that will be thrown away. Of what no extension has, nothing is
    said here: a revision may make it. Raises ModelError for an extension that the server has not
    got, or that may not be made.
    """
    before = _present(connection)
    trial = connection.begin_nested()
    _speak_english(connection)
    for name in _declared(metadatas):
        _create(connection, name, f'MetaData(info={{"{DECLARED}": …}}) in chalicelib/models.py')
    for statement in _statements(metadatas):
        while missing := _missing(connection, statement):
            holder = _holder(connection, missing)
            if holder is None or holder in _present(connection):
                break
            _create(connection, holder, _place(missing, statement, metadatas))
    # With those that others need, and those that a listener of the models' has made.
    needed = sorted(_present(connection) - before)
    trial.rollback()
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
    """All that makes what the models say, in its order."""
    found: list[Any] = [
        CreateSchema(name, if_not_exists=True)
        for metadata in metadatas
        for name in schemas(metadata)
    ]
    engine = create_mock_engine("postgresql+psycopg2://", lambda each, *_: found.append(each))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SAWarning)  # of foreign keys in a circle
        for metadata in metadatas:
            # A listener of the user's that asks the database gets no answer here.
            with suppress(AttributeError, TypeError):
                metadata.create_all(engine, checkfirst=False)
    return found


def _missing(connection: Connection, statement: Any) -> str | None:
    """Run a statement; what it lacks, if it fails for that."""
    try:
        with connection.begin_nested():
            if isinstance(statement, CreateIndex):
                sql = str(statement.compile(dialect=connection.dialect))
                connection.exec_driver_sql(sql.replace("INDEX CONCURRENTLY", "INDEX", 1))
            else:
                connection.execute(statement)
    except DBAPIError as error:
        matches = (re.search(pattern, _said(error)) for pattern in _MISSING)
        return next((match["name"] for match in matches if match), None)
    return None


def _holder(connection: Connection, missing: str) -> str | None:
    """The extension that has it."""
    name = missing.rpartition(".")[2]
    for extension, pattern in _HOLDERS.items():
        if name == extension or re.fullmatch(pattern, name):
            return extension
    return name if _is_available(connection, name) else None


def _place(missing: str, statement: Any, metadatas: Sequence[MetaData]) -> str:
    """Where the models need it."""
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
            f"{place} needs the extension {name}, which this Postgres has not got. Install it there"
            f" (the embedded one has only vector), or name a server that has it: {POSTGRES_URL}"
            "=postgresql://role:password@host:port/postgres. The database of each stage has to have"
            " it as well; on RDS, SHOW rds.extensions lists those that it has."
        )
    try:
        with connection.begin_nested():
            connection.execute(_create_statement(connection, name))
    except DBAPIError as error:
        raise ModelError(
            f"{place} needs the extension {name}, which cannot be created on this Postgres:"
            f" {_said(error)}. Name a role in {POSTGRES_URL} that may, such as a superuser."
        ) from error


def _create_statement(connection: Connection, name: str) -> TextClause:
    quoted = connection.dialect.identifier_preparer.quote(name)
    return text(f"CREATE EXTENSION IF NOT EXISTS {quoted} CASCADE")


def _is_available(connection: Connection, name: str) -> bool:
    asked = text("SELECT true FROM pg_available_extensions WHERE name = :name")
    return bool(connection.scalar(asked, {"name": name}))


def _present(connection: Connection) -> set[str]:
    return set(connection.scalars(text("SELECT extname FROM pg_extension")))


def _said(error: DBAPIError) -> str:
    return str(error.orig).partition("\n")[0]


def _speak_english(connection: Connection) -> None:
    # Who may not set it is told in the server's own language, which is English nearly always.
    with suppress(DBAPIError), connection.begin_nested():
        connection.execute(text("SET LOCAL lc_messages = 'C'"))
