"""Examples of whole rows and bodies, made of the columns' examples."""

import csv
import io
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Column

from chalicelib.database.resources import ModelError, Resource
from chalicelib.intake.body import render
from chalicelib.intake.check import compiled
from decanter.contract.columns import example, has_default, shown_example, write_schema

Json = dict[str, Any]


def check(resource: Resource) -> None:
    """Raises ModelError for a column whose example in the model is no value of it."""
    for column in resource.writable:
        if "example" in column.info:
            for error in compiled(write_schema(column)).iter_errors(example(column)):
                raise ModelError(
                    f"Column {column.table.fullname}.{column.name}: its example"
                    f" {column.info['example']!r} does not fit: {error.message}. Change it in the"
                    ' column\'s info={"example": …}.'
                )


def row(resource: Resource) -> Json:
    """A row as a read shows it."""
    return {column.name: shown_example(column) for column in resource.table.columns}


def create(resource: Resource) -> Json:
    """A row as a client would send it: without what has a default."""
    told = [column for column in resource.writable if not has_default(column)]
    return _members(told or resource.writable)


def replace(resource: Resource) -> Json:
    """The same, without the key that the path names."""
    return {
        name: value for name, value in create(resource).items() if name not in _names(resource.key)
    }


def merge(resource: Resource) -> Json:
    """One member to change."""
    others = [column for column in resource.writable if not column.primary_key]
    others = others or [*resource.writable]
    return _members([column for column in others if not has_default(column)][:1] or others[:1])


def lines(resource: Resource) -> str:
    """A body of NDJSON."""
    return render(create(resource)) + "\n"


def comma_separated(resource: Resource) -> str:
    """A body of CSV."""
    members = create(resource)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(members)
    writer.writerow(
        value if isinstance(value, str) else render(value) for value in members.values()
    )
    return text.getvalue()


def _members(columns: Iterable[Column[Any]]) -> Json:
    return {column.name: example(column) for column in columns}


def _names(columns: Iterable[Column[Any]]) -> frozenset[str]:
    return frozenset(column.name for column in columns)
