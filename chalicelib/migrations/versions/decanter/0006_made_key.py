"""Keys that the database has made for rows whose writes did not name them."""

from alembic import op

revision = "decanter_0006"
down_revision = "decanter_0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # One row for a statement, found by the time that the ledger has for its messages: a row for
    # each of ten thousand messages would add a third to the cost of pouring them. The IDs are
    # random, so that trying to compress them would only cost time.
    op.execute(
        """
        CREATE TABLE decanter.made_key (
            poured_at timestamptz NOT NULL,
            resource text NOT NULL,
            dedup_ids uuid[] NOT NULL,
            ends integer[] NOT NULL,
            items json NOT NULL,
            keys json NOT NULL
        );
        ALTER TABLE decanter.made_key ALTER COLUMN dedup_ids SET STORAGE EXTERNAL;
        CREATE INDEX made_key_poured_at ON decanter.made_key (poured_at);
        COMMENT ON TABLE decanter.made_key IS
            'Keys of rows whose writes did not name them, for messages of one time in the ledger.';
        COMMENT ON COLUMN decanter.made_key.ends IS
            'The place in keys, from 1, of the last row of each message.';
        COMMENT ON COLUMN decanter.made_key.items IS
            'Of each message the items of its rows: the first of a run, how many, and so on.';
        COMMENT ON COLUMN decanter.made_key.keys IS
            'Each an array of the values of its columns, or the value of its only one; of that, a'
            ' whole number less its place. null where it is not known.';
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE decanter.made_key")
