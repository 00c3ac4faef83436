"""Examples of rows and bodies, from the columns' examples."""

import csv
import io
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Column

from chalicelib.contract.explain import detail
from chalicelib.contract.json_text import render
from chalicelib.contract.validator import compiled
from chalicelib.postgres.resources import ModelError, ResourceTable
from decanter.contract.columns import example, shown_example, write_schema
from decanter.contract.defaults import fits, has_default
from decanter.contract.rules import checked

Json = dict[str, Any]


def check(resource: ResourceTable) -> None:
    """Raises ModelError for a column whose example or default is not a value of its type."""
    for column in resource.writable:
        schema = checked(write_schema(column))
        validator = compiled(schema)
        where = f"Column {column.table.fullname}.{column.name}"
        for error in validator.iter_errors(example(column)) if "example" in column.info else ():
            raise ModelError(
                f"{where}: its example {column.info['example']!r} is not a value of its type:"
                f" {detail(error, schema)}."
                ' Change it in the column\'s info={"example": …}.'
            )
        if not fits(column):
            raise ModelError(
                f"{where}: its default {column.default.arg!r} is no value of its type, so rows"  # type: ignore[union-attr]
                " without the member would be rejected or changed. Change the default, or the type."
            )


def row(resource: ResourceTable) -> Json:
    """A row as a read shows it."""
    return {column.name: shown_example(column) for column in resource.table.columns}


def create(resource: ResourceTable) -> Json:
    """A row as a client would send it, without members that have defaults."""
    required = [column for column in resource.writable if not has_default(column)]
    return _members(required or resource.writable)


def replace(resource: ResourceTable) -> Json:
    """The same, without the key that the path names."""
    key = {column.name for column in resource.key}
    return {name: value for name, value in create(resource).items() if name not in key}


def merge(resource: ResourceTable) -> Json:
    """One member to change."""
    others = [column for column in resource.writable if not column.primary_key]
    others = others or [*resource.writable]
    return _members([column for column in others if not has_default(column)][:1] or others[:1])


def lines(resource: ResourceTable) -> str:
    """A body of NDJSON."""
    return render(create(resource)) + "\n"


def comma_separated(resource: ResourceTable) -> str:
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
