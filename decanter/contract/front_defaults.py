"""Defaults that a request can make itself."""

from typing import Any

from sqlalchemy import Column

from chalicelib.postgres.resources import ModelError
from decanter.contract.defaults import constant_default

Json = dict[str, Any]


def front_default(column: Column[Any]) -> Json:
    """The default of a column: `value`, or `make`. Raises ModelError for any other."""
    constant = constant_default(column)
    if constant is not None:
        return {"value": constant}
    raise ModelError(f"Column {column.table.fullname}.{column.name}: its default is unknown.")
