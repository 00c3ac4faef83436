"""Rejections of a resource in the order in which they were made."""

from alembic import op

revision = "decanter_0007"
down_revision = "decanter_0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE INDEX rejection_resource
            ON decanter.rejection (resource, rejected_at, dedup_id, item);
        """
    )


def downgrade() -> None:
    op.execute("DROP INDEX decanter.rejection_resource")
