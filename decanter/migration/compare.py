"""How Alembic compares the models with the database, and writes down what differs."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from alembic.autogenerate import renderers
from alembic.operations import ops
from sqlalchemy import CheckConstraint, DefaultClause, ForeignKeyConstraint, MetaData, inspect
from sqlalchemy.dialects.postgresql import DOMAIN, ENUM
from sqlalchemy.dialects.postgresql.psycopg2 import dialect as psycopg2_dialect
from sqlalchemy.schema import CreateSequence, DropSequence
from sqlalchemy.schema import Sequence as SqlSequence
from sqlalchemy.types import TypeDecorator, TypeEngine

from chalicelib.database.migrate import SCHEMA
from chalicelib.database.resources import postgres_type, sql_type
from decanter.migration import defaults
from decanter.migration.types import Step, changes, schemas

if TYPE_CHECKING:
    from alembic.autogenerate.api import AutogenContext
    from alembic.runtime.migration import MigrationContext

_DIALECT = psycopg2_dialect(paramstyle="named")  # type: ignore[no-untyped-call]
_POSTGRESQL = "from sqlalchemy.dialects import postgresql"


def comparison(metadatas: Sequence[MetaData]) -> dict[str, Any]:
    """Options of Alembic's `context.configure` for a comparison with these models."""

    def complete(
        context: "MigrationContext", _: Any, directives: list[ops.MigrationScript]
    ) -> None:
        (script,) = directives
        _complete(context, script, metadatas)
        if script.upgrade_ops is not None and script.upgrade_ops.is_empty():
            directives.clear()

    return {
        "target_metadata": list(metadatas),
        "include_schemas": True,
        "include_name": _is_the_users,
        "compare_type": True,
        "compare_server_default": True,
        "autogenerate_plugins": [
            "alembic.autogenerate.*",
            "alembic.ext.checkconstraint_byname",
            defaults.PLUGIN.name,
        ],
        "render_item": _render,
        "process_revision_directives": complete,
    }


class RunSql(ops.MigrateOperation):
    """SQL of a revision. alone: in a transaction of its own."""

    def __init__(self, step: Step) -> None:
        self.step = step


@renderers.dispatch_for(RunSql)
def _render_sql(_: "AutogenContext", op: RunSql) -> list[str]:
    # op.execute takes a colon before a name for a parameter.
    statement = f"op.execute({op.step.sql.replace(':', chr(92) + ':')!r})"
    if op.step.alone:
        return ["with op.get_context().autocommit_block():", statement, ""]
    return [statement]


@renderers.dispatch_for(ops.AlterColumnOp, replace=True)
def _render_alter_column(context: "AutogenContext", op: ops.AlterColumnOp) -> str:
    from alembic.autogenerate.render import _alter_column

    rendered = str(_alter_column(context, op))
    using = op.kw.get("postgresql_using")
    return rendered if using is None else f"{rendered[:-1]}, postgresql_using={using!r})"


def _is_the_users(name: str | None, kind: str, _: Mapping[str, Any]) -> bool:
    return kind != "schema" or name != SCHEMA


def _complete(
    context: "MigrationContext", script: ops.MigrationScript, metadatas: Sequence[MetaData]
) -> None:
    """Add what Alembic leaves out: schemas, sequences, enums, domains, casts between types."""
    upgrade, downgrade = script.upgrade_ops, script.downgrade_ops
    connection = context.connection
    if upgrade is None or downgrade is None or connection is None:
        return
    nameless = _nameless_checks(metadatas)
    same = _of_nameless(upgrade.ops, nameless)
    for operations in (upgrade.ops, downgrade.ops):
        _drop_false_changes(operations, same)
    for op in (*_flat(upgrade.ops), *_flat(downgrade.ops)):
        if isinstance(op, ops.AlterColumnOp):
            _cast(op)
        elif isinstance(op, ops.CreateTableOp):
            op.info = {}  # says how the table is served; nothing to Postgres
    upgrade.ops = _untangled(upgrade.ops)
    downgrade.ops = _untangled(downgrade.ops)
    up, down = changes(connection, metadatas)
    made, gone = _schemas_and_sequences(inspect(connection), metadatas)
    upgrade.ops[:0] = _run((*made, *up.before))
    upgrade.ops += _run(up.after)
    downgrade.ops[:0] = _run(down.before)
    downgrade.ops += _run((*down.after, *gone))


def _schemas_and_sequences(
    inspector: Any, metadatas: Sequence[MetaData]
) -> tuple[list[Step], list[Step]]:
    quote = _DIALECT.identifier_preparer.quote
    known = set(inspector.get_schema_names())
    new = sorted({name for metadata in metadatas for name in schemas(metadata)} - known)
    made = [Step(f"CREATE SCHEMA {quote(name)}") for name in new]
    gone = [Step(f"DROP SCHEMA {quote(name)}") for name in reversed(new)]
    for sequence in _sequences(metadatas):
        exists = sequence.schema not in new and sequence.name in inspector.get_sequence_names(
            schema=sequence.schema
        )
        if not exists:
            made.append(Step(str(CreateSequence(sequence).compile(dialect=_DIALECT))))
            gone.insert(0, Step(str(DropSequence(sequence).compile(dialect=_DIALECT))))
    return made, gone


def _sequences(metadatas: Sequence[MetaData]) -> list[SqlSequence]:
    """Sequences that defaults name."""
    found = {
        (column.default.schema or "", column.default.name): column.default
        for metadata in metadatas
        for table in metadata.tables.values()
        for column in table.columns
        if isinstance(column.default, SqlSequence)
    }
    return [found[name] for name in sorted(found)]


def _flat(operations: Iterable[ops.MigrateOperation]) -> Iterable[ops.MigrateOperation]:
    for op in operations:
        if isinstance(op, ops.OpContainer):
            yield from _flat(op.ops)
        else:
            yield op


def _nameless_checks(metadatas: Sequence[MetaData]) -> Counter[tuple[str | None, str]]:
    """How many check constraints of each table have no name."""
    return Counter(
        (table.schema, table.name)
        for metadata in metadatas
        for table in metadata.tables.values()
        for constraint in table.constraints
        if isinstance(constraint, CheckConstraint) and constraint.name is None
    )


def _of_nameless(
    operations: Iterable[ops.MigrateOperation], nameless: Counter[tuple[str | None, str]]
) -> set[tuple[str | None, str, str]]:
    """Constraints that are to go only because Postgres named them and the models did not."""
    left = nameless.copy()
    same: set[tuple[str | None, str, str]] = set()
    for op in _flat(operations):
        if not isinstance(op, ops.DropConstraintOp) or op.constraint_type != "check":
            continue
        name = str(op.constraint_name)
        table = (op.schema, op.table_name)
        if left[table] and re.fullmatch(rf"{re.escape(op.table_name)}_(.*_)?check\d*", name):
            left[table] -= 1
            same.add((*table, name))
    return same


def _drop_false_changes(
    operations: list[ops.MigrateOperation], same: set[tuple[str | None, str, str]]
) -> None:
    """A column of a domain that is NOT NULL reads as NOT NULL itself; that is no difference. Nor is
    the name of a constraint that the models do not name."""
    for op in list(operations):
        if isinstance(op, ops.OpContainer):
            _drop_false_changes(op.ops, same)
            if op.is_empty():
                operations.remove(op)
        elif isinstance(op, ops.DropConstraintOp | ops.CreateCheckConstraintOp):
            if (op.schema, op.table_name, str(op.constraint_name)) in same:
                operations.remove(op)
        elif (
            isinstance(op, ops.AlterColumnOp)
            and isinstance(op.existing_type, DOMAIN)
            and op.existing_type.not_null
        ):
            op.modify_nullable = None
            if not op.has_changes():
                operations.remove(op)


def _cast(op: ops.AlterColumnOp) -> None:
    """Postgres has no cast of its own between an enum and another type."""
    types = (op.modify_type, op.existing_type)
    if isinstance(op.modify_type, TypeEngine) and any(
        isinstance(type_, TypeEngine) and isinstance(postgres_type(type_), ENUM | DOMAIN)
        for type_ in types
    ):
        column = _DIALECT.identifier_preparer.quote(op.column_name)
        op.kw["postgresql_using"] = f"{column}::text::{sql_type(op.modify_type)}"


def _untangled(operations: Sequence[ops.MigrateOperation]) -> list[ops.MigrateOperation]:
    """Foreign keys to tables that come later, or went before, as steps of their own."""
    created = {_table(op) for op in operations if isinstance(op, ops.CreateTableOp)}
    dropped: set[str] = set()
    first: list[ops.MigrateOperation] = []
    last: list[ops.MigrateOperation] = []
    for op in operations:
        if isinstance(op, ops.CreateTableOp):
            created.discard(_table(op))
            late = [key for key in _foreign_keys(op) if _referred(key) in created]
            op.columns = [item for item in op.columns if not any(item is key for key in late)]
            last += [ops.CreateForeignKeyOp.from_constraint(key) for key in late]
        elif isinstance(op, ops.DropTableOp):
            early = [key for key in _foreign_keys(op.reverse()) if _referred(key) in dropped]
            first += [ops.DropConstraintOp.from_constraint(key) for key in early]
            dropped.add(_table(op))
    return [*first, *operations, *last]


def _foreign_keys(op: ops.CreateTableOp) -> list[ForeignKeyConstraint]:
    return [item for item in op.columns if isinstance(item, ForeignKeyConstraint)]


def _referred(key: ForeignKeyConstraint) -> str:
    return key.elements[0].target_fullname.rsplit(".", 1)[0]


def _table(op: ops.CreateTableOp | ops.DropTableOp) -> str:
    return f"{op.schema}.{op.table_name}" if op.schema else op.table_name


def _run(steps: Iterable[Step]) -> list[ops.MigrateOperation]:
    return [RunSql(step) for step in steps]


def _render(kind: str, item: Any, context: "AutogenContext") -> str | Literal[False]:
    """Types as a revision names them: without the user's classes, and without CREATE TYPE.

    False leaves an item to Alembic.
    """
    if kind == "server_default" and isinstance(item, DefaultClause) and isinstance(item.arg, str):
        return repr(item.arg)  # Alembic would take quotes off its ends
    if kind != "type":
        return False
    if isinstance(item, TypeDecorator):
        from alembic.autogenerate.render import _repr_type

        return str(_repr_type(postgres_type(item), context))
    bare = postgres_type(item)
    if isinstance(bare, ENUM | DOMAIN):
        context.imports.add(_POSTGRESQL)
        place = f", schema={bare.schema!r}" if bare.schema else ""
        if isinstance(bare, ENUM):
            labels = ", ".join(repr(str(label)) for label in bare.enums)
            return f"postgresql.ENUM({labels}, name={bare.name!r}{place}, create_type=False)"
        from alembic.autogenerate.render import _repr_type

        base = _repr_type(bare.data_type, context)
        return f"postgresql.DOMAIN({bare.name!r}, {base}{place}, create_type=False)"
    module = type(item).__module__
    if not module.startswith(("sqlalchemy.", "alembic.")):
        context.imports.add(f"import {module}")
    return False
