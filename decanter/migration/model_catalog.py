"""The catalog of the models: create them in an empty database, describe it, and roll back."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg2
from sqlalchemy import Connection, FetchedValue, MetaData, text
from sqlalchemy.dialects.postgresql import DOMAIN
from sqlalchemy.dialects.postgresql.psycopg2 import dialect as psycopg2_dialect
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.schema import CreateSchema

from chalicelib.postgres.resources import ModelError, sql_type
from decanter.contract.names import parts
from decanter.contract.placement import placement_of
from decanter.migration.catalog import CatalogEntry, Key, describe, differing_keys
from decanter.migration.extensions import create_needed
from decanter.migration.placement import add_placements
from decanter.migration.plan import steps
from decanter.migration.statements import Step
from decanter.migration.types import named_types, schemas

_FORMS = 4
_DIALECT = psycopg2_dialect(paramstyle="named")  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class ModelCatalog:
    """The objects of the models.

    catalog: how Postgres spells them once they are recreated from its own definitions. spellings:
    how it spelled them before: Postgres does not always print a definition as it would print one
    made from that text. unmanaged_columns: columns whose default is the database's alone
    (FetchedValue).
    """

    catalog: dict[Key, CatalogEntry]
    spellings: tuple[dict[Key, CatalogEntry], ...]
    unmanaged_columns: set[Key]


def describe_models(connection: Connection, metadatas: Sequence[MetaData]) -> ModelCatalog:
    """Describe the models by creating them in an empty database, which is left empty.

    Raise ModelError for models that Postgres or SQLAlchemy refuses, or no revision can create.
    """
    driver = connection.connection
    cursor = driver.cursor()
    extensions: tuple[str, ...] = ()
    try:
        extensions = create_needed(connection, metadatas)
        with warnings.catch_warnings():
            # Foreign keys in a circle are created after their tables.
            warnings.filterwarnings("ignore", message="Cannot correctly sort tables")
            _create(connection, metadatas)
        unmanaged = _unmanaged_columns(connection, metadatas)
        placed = _placed(connection, metadatas)
        forms = [describe(cursor)]
        connection.rollback()
        while len(forms) < _FORMS:
            driver.rollback()
            for step in steps({}, forms[-1]):
                _execute(cursor, step)
            forms.append(describe(cursor))
            if not differing_keys(*forms[-2:]):
                break
        return ModelCatalog(add_placements(forms[-1], placed), tuple(forms[:-1]), unmanaged)
    except DBAPIError as error:
        what = " ".join((error.statement or "").split("(\n")[0].replace("%%", "%").split())[:200]
        raise ModelError(
            f"Postgres refuses what chalicelib/models.py says, at: {what}\n"
            f"{str(error.orig).strip()}\n"
            "Correct it there."
        ) from error
    except SQLAlchemyError as error:
        raise ModelError(
            f"SQLAlchemy cannot create what chalicelib/models.py says: {error}\nCorrect it there."
        ) from error
    finally:
        connection.rollback()
        driver.rollback()
        for name in extensions:  # for the revisions to create
            quoted = _DIALECT.identifier_preparer.quote(name)
            cursor.execute(f"DROP EXTENSION IF EXISTS {quoted} CASCADE")
        driver.commit()


def _execute(cursor: Any, step: Step) -> None:
    try:
        cursor.execute(step.sql)
    except psycopg2.Error as error:
        raise ModelError(
            f"No revision can create what chalicelib/models.py says; Postgres refuses {step.sql}\n"
            f"{error}".strip()
        ) from error


def _create(connection: Connection, metadatas: Sequence[MetaData]) -> None:
    for schema in sorted({name for metadata in metadatas for name in schemas(metadata)}):
        connection.execute(CreateSchema(schema, if_not_exists=True))
    types = named_types(metadatas).values()
    base_types = {
        sql_type(each)
        for type_ in types
        if isinstance(type_, DOMAIN)
        for each in parts(type_.data_type)
    }
    for type_ in types:
        # create_all skips these types.
        if not type_.create_type or sql_type(type_) in base_types:
            type_.create(connection, checkfirst=True)
    for metadata in metadatas:
        metadata.create_all(connection)


def _placed(connection: Connection, metadatas: Sequence[MetaData]) -> dict[str, str | None]:
    """Return the tables that the models place, as `describe` names them, with the column that each
    is distributed by."""
    found: dict[str, str | None] = {}
    for metadata in metadatas:
        for table in metadata.tables.values():
            if (placement := placement_of(table)) is not None:
                name = _DIALECT.identifier_preparer.format_table(table)
                query = text("SELECT CAST(to_regclass(:table) AS text)")
                found[str(connection.scalar(query, {"table": name}))] = placement.column
    return found


def _unmanaged_columns(connection: Connection, metadatas: Sequence[MetaData]) -> set[Key]:
    found: set[Key] = set()
    for metadata in metadatas:
        for table in metadata.tables.values():
            for column in table.columns:
                if type(column.server_default) is FetchedValue:
                    names = connection.execute(
                        text("SELECT CAST(to_regclass(:table) AS text), quote_ident(:column)"),
                        {
                            "table": _DIALECT.identifier_preparer.format_table(table),
                            "column": column.name,
                        },
                    ).one()
                    found.add(("column", *names))
    return found
