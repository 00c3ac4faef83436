"""Defaults and generated columns, compared as Postgres spells them.

Alembic compares the values of two defaults in SQL, which fails for types without equality (json)
and for quotes, and warns of every generated column whose expression Postgres writes differently.
"""

from typing import TYPE_CHECKING, Any

from alembic.runtime.plugins import Plugin
from alembic.util import DispatchPriority, PriorityDispatchResult
from sqlalchemy import Column, Computed, DefaultClause, FetchedValue, MetaData, Table, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateTable

from chalicelib.database.resources import postgres_type

if TYPE_CHECKING:
    from alembic.autogenerate.api import AutogenContext
    from alembic.operations.ops import AlterColumnOp
    from sqlalchemy import Connection

PLUGIN = Plugin("decanter.defaults")

_CONTINUE, _STOP = PriorityDispatchResult.CONTINUE, PriorityDispatchResult.STOP
_SPELLED = text(
    "SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef d JOIN pg_attribute a"
    " ON attrelid = adrelid AND attnum = adnum"
    " WHERE adrelid = 'pg_temp.decanter_probe'::regclass AND attname = :column"
)


def _compare(
    context: "AutogenContext",
    op: "AlterColumnOp",
    _schema: str | None,
    _table: str,
    _column: str,
    present: Column[Any],
    wanted: Column[Any],
) -> PriorityDispatchResult:
    connection = context.connection
    old, new = present.server_default, wanted.server_default
    if connection is None:
        return _CONTINUE
    if isinstance(old, Computed) and isinstance(new, Computed):
        same = str(old.sqltext) == _spelled(connection, wanted, new)
        return _STOP if same else _CONTINUE
    if type(new) is FetchedValue:  # the models leave it to the database
        return _STOP
    if not (_is_plain(old) and _is_plain(new)):
        return _CONTINUE
    spelled = _spelled(connection, wanted, new) if new is not None else None
    is_serial = new is None and wanted is wanted.table.autoincrement_column
    if isinstance(old, DefaultClause):
        op.existing_server_default = old
    if (str(old.arg) if isinstance(old, DefaultClause) else None) != spelled and not is_serial:
        op.modify_server_default = new
    return _STOP


def _is_plain(default: object) -> bool:
    return default is None or isinstance(default, DefaultClause)


def _spelled(connection: "Connection", wanted: Column[Any], default: FetchedValue) -> str:
    """The column's default as Postgres spells it; "" when the type or label is not there yet."""
    probe = Table("decanter_probe", MetaData(), prefixes=["TEMPORARY"])
    for column in wanted.table.columns:
        probe.append_column(Column(column.name, postgres_type(column.type)))
    mine: Any = default
    copied: Any = (
        Computed(mine.sqltext, persisted=mine.persisted)
        if isinstance(default, Computed)
        else DefaultClause(mine.arg)
    )
    probe.append_column(
        Column(wanted.name, postgres_type(wanted.type), copied), replace_existing=True
    )
    savepoint = connection.begin_nested()
    try:
        connection.execute(CreateTable(probe))
        return str(connection.scalar(_SPELLED, {"column": wanted.name}))
    except DBAPIError:
        return ""
    finally:
        savepoint.rollback()


PLUGIN.add_autogenerate_comparator(
    _compare, "column", "server_default", priority=DispatchPriority.FIRST
)
