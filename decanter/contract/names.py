"""Checks for names that Postgres would cut, refuse, or take for something else."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import ARRAY, Column, Index, MetaData, Table
from sqlalchemy.dialects.postgresql import DOMAIN, ENUM
from sqlalchemy.dialects.postgresql.psycopg2 import dialect as psycopg2_dialect
from sqlalchemy.exc import IdentifierError
from sqlalchemy.schema import Constraint
from sqlalchemy.schema import Sequence as SqlSequence
from sqlalchemy.types import TypeEngine

from chalicelib.postgres.resources import ModelError, postgres_type

LONGEST = 63
"""Most bytes of a name in UTF-8; Postgres cuts longer ones, mostly in silence."""

_PREPARER = psycopg2_dialect(paramstyle="named").identifier_preparer  # type: ignore[no-untyped-call]
_SYSTEM_COLUMNS = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})
_INDEXED = ("index", "primary_key_constraint", "unique_constraint", "exclude_constraint")
_TYPE_NAMES = """
    aclitem any anyarray anycompatible anycompatiblearray anycompatiblemultirange
    anycompatiblenonarray anycompatiblerange anyelement anyenum anymultirange anynonarray
    anyrange bit bool box bpchar bytea char cid cidr circle cstring date datemultirange
    daterange event_trigger fdw_handler float4 float8 gtsvector index_am_handler inet int2
    int2vector int4 int4multirange int4range int8 int8multirange int8range internal interval
    json jsonb jsonpath language_handler line lseg macaddr macaddr8 money name numeric
    nummultirange numrange oid oidvector path point polygon record refcursor regclass
    regcollation regconfig regdictionary regnamespace regoper regoperator regproc regprocedure
    regrole regtype table_am_handler text tid time timestamp timestamptz timetz trigger
    tsm_handler tsmultirange tsquery tsrange tstzmultirange tstzrange tsvector txid_snapshot
    unknown uuid varbit varchar void xid xid8 xml between bigint boolean character coalesce dec
    decimal exists extract float greatest grouping inout int integer json_array json_arrayagg
    json_exists json_object json_objectagg json_query json_scalar json_serialize json_table
    json_value least merge_action national nchar none normalize nullif out overlay position
    precision real row setof smallint substring treat trim values xmlattributes xmlconcat
    xmlelement xmlexists xmlforest xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable
"""
_TYPES = frozenset(_TYPE_NAMES.split())
"""Types of `pg_catalog`, which Postgres searches first, and words that cannot name a type."""


def check(metadatas: Sequence[MetaData]) -> None:
    """Raises ModelError, which says what is wrong with the name of which object, and the cure."""
    taken: dict[tuple[str, str], str] = {}
    types: dict[tuple[str, str], ENUM | DOMAIN] = {}

    def take(schema: str | None, name: str, what: str) -> None:
        first = taken.setdefault((schema or "public", name), what)
        if first != what:
            raise ModelError(
                f"{what} has the name {name!r}, which {first} has in the same schema; tables,"
                " indexes, keys, sequences and types share their names there. Rename one of them."
            )

    for metadata in metadatas:
        for table in metadata.tables.values():
            _check_table(table)
            take(table.schema, table.name, f"Table {table.fullname}")
            items: tuple[Any, ...] = (*table.constraints, *table.indexes)
            for item in items:
                name = built(table, item)
                if name and item.__visit_name__ in _INDEXED:
                    take(table.schema, name, f"{type(item).__name__} of {table.fullname}")
            for column in table.columns:
                where = _check_column(column)
                if isinstance(column.default, SqlSequence):
                    sequence = column.default
                    _check(sequence.name, f"{where}: its sequence")
                    take(sequence.schema, sequence.name, f"Sequence {sequence.name}")
                for type_ in parts(column.type):
                    _check_type(type_, where)
                    place = (type_.schema or "public", str(type_.name))
                    take(type_.schema, place[1], f"Type {place[1]}")
                    first = types.setdefault(place, type_)
                    if _labels(first) != _labels(type_):
                        raise ModelError(
                            f"{where}: its enum {place[1]!r} has other labels than the one of that"
                            ' name elsewhere. Give one of them another name: Enum(…, name="…").'
                        )


def _check_table(table: Table) -> None:
    where = f"Table {table.fullname}"
    _check(table.name, where, 'another name: __tablename__ = "…"')
    if table.schema is None and table.name.startswith("pg_"):
        raise ModelError(
            f"{where}: names that begin with pg_ are Postgres' own, and found before yours. Give it"
            " another name or a schema."
        )
    if table.schema is not None:
        _check(table.schema, f"{where}: its schema")
        if table.schema.startswith("pg_"):
            raise ModelError(
                f"{where}: Postgres makes no schema that begins with pg_. Give it another schema."
            )


def _check_column(column: Column[Any]) -> str:
    where = f"Column {column.table.fullname}.{column.name}"
    _check(column.name, where, 'another name in Postgres: mapped_column("…")')
    if column.name in _SYSTEM_COLUMNS and not column.system:
        raise ModelError(
            f"{where}: every table of Postgres has a column of this name already. Give it another"
            ' name in Postgres: mapped_column("…").'
        )
    return where


def _check_type(type_: ENUM | DOMAIN, where: str) -> None:
    kind = "enum" if isinstance(type_, ENUM) else "domain"
    cure = f'{kind.upper() if kind == "domain" else "Enum"}(…, name="…")'
    if not type_.name:
        raise ModelError(f"{where}: its {kind} has no name. Give it one: {cure}.")
    name = str(type_.name)
    _check(name, f"{where}: its {kind}", f"another name: {cure}")
    if type_.schema is None and (name.removeprefix("_") in _TYPES or name.startswith("pg_")):
        raise ModelError(
            f"{where}: its {kind} is called {name!r}, as a type of Postgres is, which would be"
            f" taken in its place. Give it another name: {cure}."
        )
    for label in _labels(type_):
        if len(label.encode()) > LONGEST:
            raise ModelError(
                f"{where}: the label {label!r} of its enum has {len(label.encode())} bytes;"
                f" Postgres takes {LONGEST}. Give it a shorter one, or use a text column."
            )


def built(table: Table, item: Constraint | Index) -> str | None:
    """The name from the model or its naming convention; None if Postgres generates one."""
    if item.name is None:
        return None
    where = f"{type(item).__name__} of {table.fullname}"
    cure = "another name, or another naming_convention of the MetaData"
    try:
        name = _PREPARER.format_constraint(item, _alembic_quote=False)
    except IdentifierError:
        name = str(item.name)
    if name is not None:
        _check(name, where, cure)
    return name


def _check(name: str, where: str, cure: str = "another name") -> None:
    size = len(name.encode(errors="surrogatepass"))
    if not 0 < size <= LONGEST:
        raise ModelError(
            f"{where}: its name {name!r} has {size} bytes; Postgres takes 1 to {LONGEST}. Give it"
            f" {cure}."
        )
    if "\0" in name or any("\ud800" <= sign <= "\udfff" for sign in name):
        raise ModelError(f"{where}: its name {name!r} is not valid UTF-8 text. Give it {cure}.")


def parts(type_: TypeEngine[Any]) -> Iterator[ENUM | DOMAIN]:
    """The enums and domains that a type consists of, the innermost first."""
    bare = postgres_type(type_)
    if isinstance(bare, ARRAY):
        yield from parts(bare.item_type)
    elif isinstance(bare, DOMAIN):
        yield from parts(bare.data_type)
        yield bare
    elif isinstance(bare, ENUM):
        yield bare


def _labels(type_: ENUM | DOMAIN) -> list[str]:
    return [str(label) for label in type_.enums] if isinstance(type_, ENUM) else []
