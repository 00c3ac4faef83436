"""Alembic's way in. `chalicelib.database.migrate` gives it a connection that is under its lock."""

from alembic import context

from chalicelib.database.migrate import SCHEMA, VERSION_TABLE

connection = context.config.attributes.get("connection")
if connection is None:
    raise SystemExit("Migrations are made with `make migration` and applied by `migrate`.")

context.configure(
    connection=connection,
    version_table=VERSION_TABLE,
    version_table_schema=SCHEMA,
    # A revision that fails leaves those before it applied; a new enum label can be used in the
    # revision after it.
    transaction_per_migration=True,
    **context.config.attributes["options"],
)
with context.begin_transaction():
    context.run_migrations()
