"""Resources behind a DynamoDB table → what the API function needs to answer their requests itself.

A request is answered before Postgres has seen it. So what Postgres alone can make is refused here,
by name; a constraint that only Postgres can judge is left to it.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import Column, Index, Table, UniqueConstraint

from chalicelib.contract.key import is_canonical
from chalicelib.postgres.resources import ModelError, ResourceTable, is_generated, sql_type
from decanter.contract.defaults import has_default, is_numbered
from decanter.contract.forms import form, reads_otherwise
from decanter.contract.front_defaults import front_default
from decanter.contract.names import built

Json = dict[str, Any]


def front(resource: ResourceTable, resources: Mapping[str, ResourceTable]) -> Json:
    """The entry `front` of a resource among all resources. Raises ModelError.

    closed, if it is: no writes are taken. defaults: of columns that have one. unique: constraints
    besides the key, with the columns and the kinds of their values. parents: foreign keys onto
    resources behind the same front.
    """
    for objection in _objections(resource):
        raise ModelError(objection)
    return {
        **({} if resource.is_fronted else {"closed": True}),
        "defaults": {c.name: front_default(c) for c in resource.writable if has_default(c)},
        "unique": [*_unique(resource)],
        "parents": [*_parents(resource, resources)],
    }


def _objections(resource: ResourceTable) -> Iterator[str]:
    """Why a resource cannot be behind DynamoDB, and the cure; the first is enough."""
    where = f"Table {resource.table.fullname}"
    if not resource.ordered:
        yield (
            f"{where} is unordered, but a row behind DynamoDB is written and read by its key. Leave"
            ' info["ordered"] or info["front"] out.'
        )
    for column in resource.key:
        yield from _key_objections(column)
    for column in resource.table.columns:
        yield from _column_objections(column)
    for constraint in resource.table.foreign_key_constraints:
        for event, action in (("DELETE", constraint.ondelete), ("UPDATE", constraint.onupdate)):
            if action and action.upper() not in ("NO ACTION", "RESTRICT"):
                names = ", ".join(column.name for column in constraint.columns)
                yield (
                    f"{where}: its foreign key of {names} is ON {event} {action.upper()}, which"
                    f" changes rows in Postgres alone, and not behind DynamoDB. Leave"
                    f' on{event.lower()} out, or leave info["front"] out.'
                )


def _key_objections(column: Column[Any]) -> Iterator[str]:
    where = f"Column {column.table.fullname}.{column.name}"
    if is_numbered(column):
        yield (
            f"{where} is a key that Postgres numbers, but behind DynamoDB a row has its key before"
            " Postgres has seen it. Let clients name it (autoincrement=False), or use a Uuid with"
            ' server_default=text("gen_random_uuid()"), or leave info["front"] out.'
        )
    if not is_canonical(form(column.type).kind):
        yield (
            f"{where} is a key of type {sql_type(column.type)}, whose values Postgres compares in"
            " a way that DynamoDB cannot. Use text without a collation of its own, an integer,"
            " numeric, boolean, enum, date, timestamp, uuid or bytea, or leave"
            ' info["front"] out.'
        )


def _column_objections(column: Column[Any]) -> Iterator[str]:
    where = f"Column {column.table.fullname}.{column.name}"
    if is_generated(column):
        how = "computes" if column.computed is not None else "generates"
        yield (
            f"{where}: Postgres {how} it, but a row behind DynamoDB is read before Postgres has"
            ' seen it. Take the column out of the model, or leave info["front"] out.'
        )
    if column.onupdate is not None or column.server_onupdate is not None:
        yield (
            f"{where}: it changes with every update in Postgres, but not behind DynamoDB. Let"
            ' clients send it (without onupdate), or leave info["front"] out.'
        )
    if reads_otherwise(column.type):
        yield (
            f"{where}: Postgres shows {sql_type(column.type)} in another form than it is written,"
            " but a row behind DynamoDB is shown as it was written. Use text or jsonb, or leave"
            ' info["front"] out.'
        )


def _unique(resource: ResourceTable) -> Iterator[Json]:
    """In the order of their names, as a table's constraints are a set."""
    table, found = resource.table, {}
    for item in (*table.constraints, *table.indexes):
        columns = _judged(item)
        if columns and not {*resource.key} <= {*columns}:
            found[_name(table, item, columns, "key")] = columns
    for name in sorted(found):
        kinds = [{"name": c.name, "kind": form(c.type).kind} for c in found[name]]
        yield {"name": name, "columns": kinds}


def _judged(item: Any) -> list[Column[Any]]:
    """The columns whose values together are unique, if their equality is known without Postgres."""
    if isinstance(item, Index):
        columns: list[Any] = [*item.expressions] if item.unique else []
    else:
        columns = [*item.columns] if isinstance(item, UniqueConstraint) else []
    options = item.dialect_options["postgresql"]
    is_plain = options.get("where") is None and not options.get("nulls_not_distinct")
    is_known = all(isinstance(c, Column) and is_canonical(form(c.type).kind) for c in columns)
    return columns if is_plain and is_known else []


def _parents(resource: ResourceTable, resources: Mapping[str, ResourceTable]) -> Iterator[Json]:
    tables = {each.table: each for each in resources.values() if each.front == resource.front}
    found = {}
    for constraint in resource.table.foreign_key_constraints:
        parent = tables.get(constraint.referred_table)
        columns = {element.column: element.parent for element in constraint.elements}
        if parent and {*columns} == {*parent.key} and all(map(_is_same_kind, columns.items())):
            name = _name(resource.table, constraint, constraint.columns, "fkey")
            found[name] = {
                "columns": [columns[each].name for each in parent.key],
                "resource": parent.name,
            }
    for name in sorted(found):
        yield {"name": name, **found[name]}


def _is_same_kind(columns: tuple[Column[Any], Column[Any]]) -> bool:
    parent, child = columns
    return form(parent.type).kind == form(child.type).kind


def _name(table: Table, item: Any, columns: Iterable[Column[Any]], suffix: str) -> str:
    """The name of a constraint, or the one that Postgres gives it."""
    names = (column.name for column in columns)
    return built(table, item) or "_".join((table.name, *names, suffix))
