"""The resources: the tables of `chalicelib/models.py` as drain, reader and contract use them."""

import inspect
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from functools import cache, lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from math import isfinite
from types import MappingProxyType, ModuleType, NoneType
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, JSON, Column, Dialect, Integer, MetaData, Table, Uuid
from sqlalchemy.dialects.postgresql import DOMAIN, HSTORE
from sqlalchemy.dialects.postgresql.psycopg2 import dialect as psycopg2_dialect
from sqlalchemy.dialects.postgresql.ranges import AbstractMultiRange
from sqlalchemy.exc import StatementError
from sqlalchemy.schema import sort_tables_and_constraints
from sqlalchemy.sql.schema import CallableColumnDefault, ScalarElementColumnDefault
from sqlalchemy.types import TypeDecorator, TypeEngine

RESERVED = frozenset({"console", "docs", "health", "openapi.json", "ops", "writes"})
"""First segments of paths that belong to no resource."""

FRONTS = ("sqs", "closed", "dynamodb")
"""The buffers through which a resource may be written, the default first; and `closed`, through
which none is: the resource is on its way from one of them to the other."""

DISTRIBUTED_BY = "distribute_by"
"""The member of `Table.info` with the column by whose values a table is divided among nodes."""

MAX_KEY_COLUMNS = 8
"""The number of path segments that the routes of `app.py` take."""

_NAME = re.compile(r"[A-Za-z0-9_-]+")
# Not the driver's parameter style, with which names would have every % doubled.
DIALECT: Dialect = psycopg2_dialect(paramstyle="named")  # type: ignore[no-untyped-call]
_SENT = (str, int, float, Decimal, list, dict, date, time, UUID, NoneType, IPv4Address,
         IPv6Address, IPv4Network, IPv6Network)  # fmt: skip
"""Types of JSON, and types whose text Postgres reads as a value of the column's type."""
_CHANGING = ("process_bind_param", "bind_processor", "bind_expression")


class ModelError(Exception):
    """A model that cannot be served; the text says why, where, and the cure."""


@dataclass(frozen=True, eq=False)
class ResourceTable:
    """A table of the user's.

    key: primary key columns, in order; empty for an unordered table without one.
    writable: columns that a write may name, in table order: all but those generated always and
        system columns such as xmin.
    front: one of `FRONTS`.
    """

    name: str
    table: Table
    ordered: bool
    key: tuple[Column[Any], ...]
    writable: tuple[Column[Any], ...]
    front: str

    @property
    def is_fronted(self) -> bool:
        """Whether requests are answered from a DynamoDB table, instead of being queued."""
        return self.front == "dynamodb"

    @property
    def has_items(self) -> bool:
        """Whether rows may have items in a DynamoDB table, be it answered from there or closed."""
        return self.front != FRONTS[0]


@cache
def resources() -> Mapping[str, ResourceTable]:
    """The resources of `chalicelib/models.py` by name, parents before children.

    Raises ModelError.
    """
    from chalicelib import models

    return resources_of(*metadatas(models))


def metadatas(models: ModuleType) -> tuple[MetaData, ...]:
    """Every MetaData that a name of the module leads to, itself or as `.metadata`."""
    found: dict[int, MetaData] = {}
    for value in vars(models).values():
        metadata = value if isinstance(value, MetaData) else getattr(value, "metadata", None)
        if isinstance(metadata, MetaData):
            found[id(metadata)] = metadata
    return tuple(found.values())


def resources_of(*metadatas: MetaData) -> Mapping[str, ResourceTable]:
    """The resources of these MetaData by name, parents before children. Raises ModelError."""
    found: dict[str, ResourceTable] = {}
    for metadata in metadatas:
        for table in _parents_first(metadata):
            if table.info.get("resource") is False:
                continue
            resource = _resource(table)
            if resource.name in found:
                raise ModelError(
                    f"Tables {found[resource.name].table.fullname} and {table.fullname} would both"
                    f" be the resource {resource.name!r}. {_rename(table)}"
                )
            found[resource.name] = resource
    if not found:
        raise ModelError(
            "chalicelib/models.py has no table that is a resource. Declare one: a class with"
            " __tablename__ on a DeclarativeBase, or a Table with a module-level MetaData."
        )
    return MappingProxyType(found)


def recordset_type(column: Column[Any]) -> str:
    """The column's type for the column list of `json_to_recordset`, limits and collation included.

    Leaving out the limits would change nothing: Postgres rounds numerics and fractions of a second,
    and cuts blanks beyond varchar(n), on assignment as well. The contract refuses such values.
    """
    return sql_type(column.type)


def sql_of(expression: Any) -> str:
    """An expression of a model as SQL, with its values as literals."""
    return str(expression.compile(dialect=DIALECT, compile_kwargs={"literal_binds": True}))


def sql_type(type_: TypeEngine[Any]) -> str:
    """The type as SQL text, schema and collation included."""
    return DIALECT.type_compiler_instance.process(type_)


def postgres_type(type_: TypeEngine[Any]) -> TypeEngine[Any]:
    """The type that Postgres gets: variants chosen, decorators taken off."""
    implementation = type_.dialect_impl(DIALECT)
    if isinstance(implementation, TypeDecorator):
        return postgres_type(implementation.impl_instance)
    return implementation


def base_type(type_: TypeEngine[Any]) -> TypeEngine[Any]:
    """The type that Postgres gets; of a domain, the type beneath."""
    base = postgres_type(type_)
    return base_type(base.data_type) if isinstance(base, DOMAIN) else base


def json_value(type_: TypeEngine[Any], value: Any) -> Any:
    """A value that Python makes for a column, as JSON that means the same to Postgres as the value
    that SQLAlchemy would send: enums as labels, a UUID in the column's form, ranges, bytes and
    intervals as text."""
    bare = postgres_type(type_)
    if isinstance(bare, DOMAIN):
        return json_value(bare.data_type, value)
    if value is None or isinstance(bare, JSON):
        return value
    if isinstance(bare, ARRAY) and isinstance(value, Sequence | Set) and not _is_text(value):
        return [json_value(_item_type(type_, bare, part), part) for part in value]
    if isinstance(bare, AbstractMultiRange) and isinstance(value, Sequence) and not _is_text(value):
        return f"{{{','.join(map(_plain, value))}}}"
    # The driver's own ranges and hstores do not fit into JSON.
    if isinstance(bare, HSTORE):
        process = HSTORE.bind_processor(bare, DIALECT)
    else:
        process = bare.bind_processor(DIALECT)
    return _plain(process(value) if process else value)


def _item_type(type_: TypeEngine[Any], bare: ARRAY[Any], part: Any) -> TypeEngine[Any]:
    """The type of a part of an array: the array's own if the part is a dimension of it."""
    item = postgres_type(bare.item_type)
    holds_lists = isinstance(item, JSON | AbstractMultiRange)
    is_dimension = isinstance(part, list | tuple) and not holds_lists
    return type_ if is_dimension else bare.item_type


def _is_text(value: Any) -> bool:
    return isinstance(value, str | bytes | bytearray | memoryview)


def _plain(value: Any) -> Any:
    """A value of JSON, or the text that Postgres reads."""
    if isinstance(value, bytes | bytearray | memoryview):
        return f"\\x{bytes(value).hex()}"
    if isinstance(value, timedelta):
        return f"P{value.days}DT{value.seconds}.{value.microseconds:06}S"
    if isinstance(value, float) and not isfinite(value):
        return str(value)
    if hasattr(value, "lower_inc"):
        return _range(value)
    return value


def _range(value: Any) -> str:
    """The text of a range, be it SQLAlchemy's or the driver's."""
    if getattr(value, "isempty", False) is True or getattr(value, "empty", False):
        return "empty"
    lower, upper = ("" if bound is None else f'"{bound}"' for bound in (value.lower, value.upper))
    return f"{'[' if value.lower_inc else '('}{lower},{upper}{']' if value.upper_inc else ')'}"


def constant(type_: TypeEngine[Any], value: Any) -> str | None:
    """A `json_value` as the text that Postgres reads as a constant of that type, which is none of a
    domain."""
    if isinstance(type_, JSON):
        return None if value is None else json.dumps(value, default=str)
    if isinstance(type_, ARRAY) and isinstance(value, list):
        item = base_type(type_.item_type)
        return f"{{{','.join(_item(type_, item, part) for part in value)}}}"
    if value is None:
        return None
    return str(value).lower() if isinstance(value, bool) else str(value)


def _item(array: TypeEngine[Any], item: TypeEngine[Any], part: Any) -> str:
    """A part of an array's constant."""
    if isinstance(part, list) and not isinstance(item, JSON):
        return constant(array, part) or ""
    text = constant(item, part)
    if text is None:
        return "NULL"
    return '"{}"'.format(text.replace("\\", "\\\\").replace('"', '\\"'))


def is_generated(column: Column[Any]) -> bool:
    """Whether Postgres always gives the column its value."""
    is_identity = bool(column.identity and column.identity.always)
    return column.computed is not None or column.system or is_identity


def _parents_first(metadata: MetaData) -> list[Table]:
    # Not `sorted_tables`, which warns of circular foreign keys. Sorted by name first, as SQLAlchemy
    # keeps independent tables in the order of a dict.
    tables = [metadata.tables[name] for name in sorted(metadata.tables)]
    pairs = sort_tables_and_constraints(tables)  # type: ignore[no-untyped-call]
    return [table for table, _ in pairs if table is not None]


def _resource(table: Table) -> ResourceTable:
    for objection in _objections(table):
        raise ModelError(objection)
    return ResourceTable(
        name=table.info.get("resource", table.name),
        table=table,
        ordered=table.info.get("ordered", True),
        key=tuple(table.primary_key.columns),
        writable=tuple(column for column in table.columns if not is_generated(column)),
        front=table.info.get("front", FRONTS[0]),
    )


def _objections(table: Table) -> Iterator[str]:
    """Why the table cannot be served, and the cure; the first is enough."""
    name, ordered = table.info.get("resource", table.name), table.info.get("ordered", True)
    key, where = table.primary_key.columns, f"Table {table.fullname}"
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        yield (
            f"{where} cannot be served as {name!r}: a resource's name is made of letters, digits,"
            f" _ and -. {_rename(table)}"
        )
    if name in RESERVED:
        yield (
            f"{where} cannot be served as {name!r}: the path /{name} is Decanter's."
            f" {_rename(table)}"
        )
    if not isinstance(ordered, bool):
        yield f'{where}: info["ordered"] is {ordered!r}. Make it True or False.'
    if table.info.get("front", FRONTS[0]) not in FRONTS:
        yield (
            f'{where}: info["front"] is {table.info["front"]!r}. Make it one of'
            f" {', '.join(map(repr, FRONTS))}."
        )
    if table.schema == "decanter":
        yield f"{where} is in the schema decanter, which holds the ledger. Give it another schema."
    if ordered and not key:
        yield (
            f"{where} has no primary key, so its writes have no order. Give it one, or set"
            ' info={"ordered": False} if rows are only ever added.'
        )
    if len(key) > MAX_KEY_COLUMNS:
        yield (
            f"{where} has {len(key)} key columns; a path takes {MAX_KEY_COLUMNS}. Give it a shorter"
            " key and a unique constraint over these columns."
        )
    if ordered and table.primary_key.deferrable:
        yield (
            f"{where} has a deferrable primary key, which Postgres cannot overwrite rows by. Make"
            " the key not deferrable."
        )
    for column in table.columns:
        yield from _column_objections(column)


def _rename(table: Table) -> str:
    return f'Name it in {table.name}\'s table arguments: info={{"resource": "another-name"}}.'


def _column_objections(column: Column[Any]) -> Iterator[str]:
    where = f"Column {column.table.fullname}.{column.name}"
    if column.name.startswith("decanter:"):
        yield f"{where}: names that begin with decanter: are reserved. Rename it."
    for type_ in _nested(column.type):
        if isinstance(type_, TypeDecorator) and _overrides(type_, TypeDecorator, _CHANGING):
            yield (
                f"{where}: {type(type_).__name__} changes values in Python, but rows are poured by"
                " Postgres alone. Use the type beneath it and let Postgres do the change (a"
                " generated column, a trigger or a domain), or keep the table out with"
                ' info={"resource": False}.'
            )
    for default in (column.default, column.onupdate):
        arg = getattr(default, "arg", None)
        if isinstance(default, ScalarElementColumnDefault) and not _can_be_sent(column, arg):
            yield (
                f"{where}: its default {arg!r} is no value that SQLAlchemy could send as"
                f" {sql_type(column.type)}. Use a default of the column's type in Python."
            )
        if arg is JSON.NULL:
            yield (
                f"{where}: its default JSON.NULL is a marker of SQLAlchemy's for Python only."
                " Use server_default=text(\"'null'\")."
            )
        if isinstance(default, CallableColumnDefault) and _takes_context(arg):
            yield (
                f"{where}: its default takes SQLAlchemy's execution context, which the drain does"
                " not have. Use a function without parameters, or an SQL expression."
            )


def _can_be_sent(column: Column[Any], value: Any) -> bool:
    try:
        made = json_value(column.type, value)
        is_json = isinstance(postgres_type(column.type), JSON)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, StatementError):
        return False
    return is_json or isinstance(made, _SENT)


def _nested(type_: TypeEngine[Any]) -> Iterator[TypeEngine[Any]]:
    """The type, what it decorates, and the type of an array's items."""
    implementation = type_.dialect_impl(DIALECT)
    yield implementation
    if isinstance(implementation, TypeDecorator):
        yield from _nested(implementation.impl_instance)
    elif isinstance(implementation, ARRAY):
        yield from _nested(implementation.item_type)


def _overrides(instance: object, base: type, names: Iterable[str]) -> bool:
    return any(getattr(type(instance), name) is not getattr(base, name) for name in names)


def _takes_context(function: Any) -> bool:
    # SQLAlchemy wraps a function without parameters in one that takes the context.
    original = getattr(function, "__wrapped__", None)
    if original is not None:
        return False
    module = getattr(function, "__globals__", {}).get("__name__", "")
    return inspect.isfunction(function) and not module.startswith("sqlalchemy.")


@lru_cache(maxsize=1_000)
def identifies_keys(name: str) -> bool:
    """Whether equal digests mean equal keys of a resource. Digests leave out key columns with a
    default, which clients could also send; generated numbers and UUIDs are never equal to those."""
    resource = resources().get(name)
    return resource is not None and not any(
        isinstance(column.type, DOMAIN)
        or (
            (column.default is not None or column.server_default is not None)
            and not isinstance(column.type, Integer | Uuid)
        )
        for column in resource.key
    )
