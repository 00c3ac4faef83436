"""The resource of each message, and what operators do."""

from alembic import op

revision = "decanter_0008"
down_revision = "decanter_0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Queries of former versions join the ledger with tables that have a column called resource.
    op.execute(
        """
        ALTER TABLE decanter.ledger ADD COLUMN resource_name text;
        COMMENT ON COLUMN decanter.ledger.resource_name IS
            'The resource that the message writes to; NULL if it could not be read.';

        ALTER TABLE decanter.rejection ADD COLUMN caller text;
        COMMENT ON COLUMN decanter.rejection.caller IS 'Who has sent the write, if it is known.';

        CREATE TABLE decanter.act (
            id uuid PRIMARY KEY,
            kind text NOT NULL,
            who text NOT NULL,
            note text NOT NULL DEFAULT '',
            target json NOT NULL,
            writes bigint,
            begun_at timestamptz NOT NULL DEFAULT now()
        );
        COMMENT ON TABLE decanter.act IS
            'What operators have begun: who, what, on which writes, when. Rows are only added.';
        COMMENT ON COLUMN decanter.act.writes IS 'How many writes it was to be done to.';

        CREATE TABLE decanter.act_step (
            act uuid NOT NULL REFERENCES decanter.act,
            step integer NOT NULL,
            who text NOT NULL,
            done bigint NOT NULL,
            failed bigint NOT NULL DEFAULT 0,
            state text NOT NULL,
            detail json,
            at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (act, step)
        );
        COMMENT ON TABLE decanter.act_step IS
            'How far an act has come, step by step. Rows are only added.';

        CREATE TABLE decanter.correction (
            dedup_id uuid NOT NULL,
            item integer NOT NULL,
            act uuid NOT NULL REFERENCES decanter.act,
            kind text NOT NULL,
            resent_as uuid,
            resent_item integer,
            corrected_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (dedup_id, item)
        );
        CREATE INDEX correction_resent_as ON decanter.correction (resent_as);
        CREATE INDEX correction_corrected_at ON decanter.correction USING brin (corrected_at);
        COMMENT ON TABLE decanter.correction IS
            'Rejections that an operator has resent or discarded.';
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE decanter.correction")
    op.execute("DROP TABLE decanter.act_step")
    op.execute("DROP TABLE decanter.act")
    op.execute("ALTER TABLE decanter.rejection DROP COLUMN caller")
    op.execute("ALTER TABLE decanter.ledger DROP COLUMN resource_name")
