"""Whether a waiting write may have come after newer writes to its key."""

from alembic import op

revision = "decanter_0010"
down_revision = "decanter_0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        ALTER TABLE decanter.waiting ADD COLUMN is_late boolean NOT NULL DEFAULT false;
        COMMENT ON COLUMN decanter.waiting.is_late IS
            'It came long after it was accepted, so that a newer write may have come before it.';
        """
    )


def downgrade() -> None:
    op.execute("ALTER TABLE decanter.waiting DROP COLUMN is_late")
