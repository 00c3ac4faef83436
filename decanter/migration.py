"""Migrations from the models."""

from collections.abc import Iterator

from sqlalchemy import ARRAY, MetaData
from sqlalchemy.dialects.postgresql.named_types import NamedType
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeDecorator, TypeEngine


def schemas(metadata: MetaData) -> list[str]:
    """The Postgres schemas that the tables and types of the metadata name, sorted."""
    named = [*metadata.tables.values(), *named_types(metadata)]
    return sorted({thing.schema for thing in named if thing.schema})


def named_types(metadata: MetaData) -> list[NamedType]:
    """Enums and domains that are made by themselves in Postgres, sorted by schema and name."""
    found: dict[tuple[str, str], NamedType] = {}
    for table in metadata.tables.values():
        for column in table.columns:
            for type_ in _parts(column.type):
                if isinstance(type_, NamedType) and type_.name:
                    found.setdefault((type_.schema or "", str(type_.name)), type_)
    return [found[name] for name in sorted(found)]


def _parts(type_: TypeEngine[object]) -> Iterator[TypeEngine[object]]:
    implementation = type_.dialect_impl(postgresql.dialect())
    if isinstance(implementation, TypeDecorator):
        implementation = implementation.impl_instance
    yield implementation
    if isinstance(implementation, ARRAY):
        yield from _parts(implementation.item_type)
