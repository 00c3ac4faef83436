"""The SQL that reads the user's tables."""

from functools import cache

from chalicelib.database.pieces import column_name, same_key, sent_rows, table_name
from chalicelib.database.resources import Resource

_ROW = '"decanter:row"'


def etag(resource: Resource, alias: str = "target") -> str:
    """An expression for the ETag of the row that has this alias, without quotes.

    It covers the row as the reader shows it, generated columns included: 32 hexadecimal digits.
    """
    columns = ", ".join(f"{alias}.{column_name(column)}" for column in resource.table.columns)
    return f"(SELECT {_digest(f'row_to_json({_ROW})::text')} FROM (SELECT {columns}) AS {_ROW})"


@cache
def row_query(resource: Resource) -> str:
    """One row as JSON text, by its key: %(rows)s is an array of one object."""
    columns = ", ".join(f"target.{column_name(column)}" for column in resource.table.columns)
    return (
        f"SELECT row_to_json({_ROW})::text"
        f" FROM (SELECT {columns} FROM {table_name(resource.table)} AS target"
        f" JOIN {sent_rows(resource.key)} ON {same_key(resource)}) AS {_ROW}"
    )


def _digest(text: str) -> str:
    return f"left(encode(sha256(convert_to({text}, 'UTF8')), 'hex'), 32)"
