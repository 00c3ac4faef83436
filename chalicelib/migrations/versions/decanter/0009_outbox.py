"""Requests that may just have been done, for the events about them."""

from alembic import op

revision = "decanter_0009"
down_revision = "decanter_0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Places are given out one by one: a session that kept some would use them after later ones.
    # Nothing is unique but the place, so that no drain ever waits for another one here.
    op.execute(
        """
        CREATE TABLE decanter.outbox (
            place bigint GENERATED ALWAYS AS IDENTITY (CACHE 1) PRIMARY KEY,
            dedup_id uuid NOT NULL,
            receipt text NOT NULL,
            resource text NOT NULL,
            caller text,
            entered_at timestamptz NOT NULL DEFAULT clock_timestamp()
        );
        CREATE INDEX outbox_dedup_id ON decanter.outbox (dedup_id);
        COMMENT ON TABLE decanter.outbox IS
            'Requests that may just have been done: a row for each message that was poured, and'
            ' for each that has no write waiting any more. Gone once its event is published.';
        COMMENT ON COLUMN decanter.outbox.place IS
            'Of two rows about one key, the one of the later COMMIT has the greater place.';
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE decanter.outbox")
