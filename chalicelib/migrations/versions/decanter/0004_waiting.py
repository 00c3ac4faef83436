"""Writes that wait, apart from their messages."""

from alembic import op

revision = "decanter_0004"
down_revision = "decanter_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # decanter.orphan stays for as long as the former version may run, which uses it.
    op.execute(
        """
        CREATE TABLE decanter.waiting (
            place bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            dedup_id uuid NOT NULL,
            item integer NOT NULL,
            digest bigint,
            reason text NOT NULL,
            message text NOT NULL,
            since timestamptz NOT NULL DEFAULT now(),
            tried_at timestamptz NOT NULL DEFAULT now(),
            waited double precision NOT NULL DEFAULT 0,
            tries integer NOT NULL DEFAULT 0,
            UNIQUE (dedup_id, item)
        );
        CREATE INDEX waiting_digest ON decanter.waiting (digest, place);
        COMMENT ON TABLE decanter.waiting IS
            'Writes of poured messages that wait: for a parent, a lock, the schema, a turn.';
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE decanter.waiting")
