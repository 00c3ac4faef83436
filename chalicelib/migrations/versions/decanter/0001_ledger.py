"""Ledger, rejections and merge patch."""

from alembic import op

revision = "decanter_0001"
down_revision = None
branch_labels = ("decanter",)
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE decanter.ledger (
            dedup_id uuid PRIMARY KEY,
            fingerprint text NOT NULL,
            writes integer NOT NULL,
            accepted_at timestamptz,
            poured_at timestamptz NOT NULL DEFAULT now()
        );
        COMMENT ON TABLE decanter.ledger IS
            'One row for each message poured, committed together with the effect of the message.';
        CREATE INDEX ledger_poured_at ON decanter.ledger USING brin (poured_at);

        CREATE TABLE decanter.rejection (
            dedup_id uuid NOT NULL,
            item integer NOT NULL,
            resource text,
            op text,
            type text NOT NULL,
            reason text NOT NULL,
            sqlstate text,
            "constraint" text,
            "column" text,
            row json,
            body text,
            rejected_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (dedup_id, item)
        );
        CREATE INDEX rejection_rejected_at ON decanter.rejection USING brin (rejected_at);
        COMMENT ON TABLE decanter.rejection IS
            'Writes that the database can never take, with the reason.';
        """
    )
    # The search path is fixed, so that no object of the user's can replace an operator here.
    op.execute(
        """
        CREATE FUNCTION decanter.merge_patch(target jsonb, patch jsonb) RETURNS jsonb
        LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
        SET search_path = pg_catalog, pg_temp
        AS $$
        BEGIN
            IF patch IS NULL OR jsonb_typeof(patch) <> 'object' THEN
                RETURN patch;
            END IF;
            IF target IS NULL OR jsonb_typeof(target) <> 'object' THEN
                target := '{}';
            END IF;
            RETURN (
                SELECT target
                    - coalesce(array_agg(key) FILTER (WHERE value = 'null'), '{}')
                    || coalesce(
                        jsonb_object_agg(key, decanter.merge_patch(target -> key, value))
                            FILTER (WHERE value <> 'null'),
                        '{}'
                    )
                FROM jsonb_each(patch)
            );
        END
        $$;
        COMMENT ON FUNCTION decanter.merge_patch IS 'JSON Merge Patch, RFC 7396.';
        """
    )


def downgrade() -> None:
    op.execute("DROP FUNCTION decanter.merge_patch(jsonb, jsonb)")
    op.execute("DROP TABLE decanter.rejection")
    op.execute("DROP TABLE decanter.ledger")
