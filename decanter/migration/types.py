"""The schemas, enums and domains that models use."""

from collections.abc import Iterable

from sqlalchemy import MetaData
from sqlalchemy.dialects.postgresql import DOMAIN, ENUM

from chalicelib.postgres.resources import ModelError
from decanter.contract.names import parts

NamedType = ENUM | DOMAIN
Name = tuple[str, str]
"""Schema and name."""


def schemas(metadata: MetaData) -> list[str]:
    """Return the schemas of tables, types and sequences of the metadata, sorted."""
    tables = {table.schema for table in metadata.tables.values()}
    types = {type_.schema for type_ in named_types([metadata]).values()}
    sequences = {sequence.schema for sequence in metadata._sequences.values()}
    return sorted({schema for schema in tables | types | sequences if schema})


def named_types(metadatas: Iterable[MetaData]) -> dict[Name, NamedType]:
    """Return enums and domains of columns by schema ("public" if none is given) and name, base
    types first. Raise ModelError where one name has two definitions."""
    found: dict[Name, NamedType] = {}
    for metadata in metadatas:
        for table in metadata.tables.values():
            for column in table.columns:
                for type_ in parts(column.type):
                    name = (type_.schema or "public", str(type_.name))
                    other = found.setdefault(name, type_)
                    if _describe(other) != _describe(type_):
                        raise ModelError(
                            f"The type {type_.name} of column {table.fullname}.{column.name} is"
                            f" {_describe(type_)}, and {_describe(other)} elsewhere in the models."
                            " Give one of them another name."
                        )
    return found


def _describe(type_: NamedType) -> str:
    if isinstance(type_, ENUM):
        return f"an enum of {', '.join(map(repr, type_.enums))}"
    return f"a domain over {type_.data_type!r} with the check {type_.check!s}"
