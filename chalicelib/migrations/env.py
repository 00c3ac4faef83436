"""Alembic's entry point. `chalicelib.migrate.handler` gives it a locked connection, or none, to
print the SQL."""

from contextlib import nullcontext

from alembic import context

from chalicelib.migrate.connection import SCHEMA, VERSION_TABLE
from chalicelib.migrate.placing import leave_out

attributes = context.config.attributes
connection = attributes.get("connection")
if connection is None and not context.is_offline_mode():
    raise SystemExit("Migrations are made with `make migration` and applied by `migrate`.")

context.configure(
    connection=connection,
    dialect_name="postgresql",
    dialect_opts={"paramstyle": "named"},
    literal_binds=context.is_offline_mode(),
    starting_rev=attributes.get("present"),
    version_table=VERSION_TABLE,
    version_table_schema=SCHEMA,
    # A revision that fails leaves those before it applied; a new enum label can be used in the
    # revision after it.
    transaction_per_migration=True,
    **attributes["options"],
)
if attributes.get("is_rehearsal") or attributes.get("is_apart"):
    # What a revision commits itself has to be rolled back as well; or is committed anyway.
    setattr(context.get_context(), "autocommit_block", nullcontext)  # noqa: B010
if not attributes["distributes"]:
    leave_out(context.get_context())
with context.begin_transaction():
    context.run_migrations()
