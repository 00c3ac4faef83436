"""Items and keys of messages in the ledger, and keys of rejections."""

from alembic import op

revision = "decanter_0003"
down_revision = "decanter_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Packed numbers: an array of them takes four times as long to write. They are random, so that
    # trying to compress them would only cost time.
    op.execute(
        """
        ALTER TABLE decanter.ledger ADD COLUMN items bytea, ADD COLUMN keys bytea;
        ALTER TABLE decanter.ledger ALTER COLUMN keys SET STORAGE EXTERNAL;
        COMMENT ON COLUMN decanter.ledger.items IS
            'Places in its request, 4 bytes each, of the writes of a message with an'
            ' Idempotency-Key, unless it is the only one of its request.';
        COMMENT ON COLUMN decanter.ledger.keys IS
            'Digests, 8 bytes each, of the keys that an ordered message writes to.';
        ALTER TABLE decanter.rejection ADD COLUMN key bytea;
        COMMENT ON COLUMN decanter.rejection.key IS
            'Digest of the key that the write is to, if it is ordered.';
        """
    )


def downgrade() -> None:
    op.execute("ALTER TABLE decanter.rejection DROP COLUMN key")
    op.execute("ALTER TABLE decanter.ledger DROP COLUMN items, DROP COLUMN keys")
