"""Messages that wait for a parent row, and how often it was missing."""

from alembic import op

revision = "decanter_0002"
down_revision = "decanter_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE decanter.orphan (
            dedup_id uuid PRIMARY KEY,
            tries integer NOT NULL,
            tried_at timestamptz NOT NULL DEFAULT now()
        );
        CREATE INDEX orphan_tried_at ON decanter.orphan USING brin (tried_at);
        COMMENT ON TABLE decanter.orphan IS
            'Messages with a row whose parent was not there, and how often that was found.';
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE decanter.orphan")
