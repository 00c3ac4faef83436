"""The ledger in partitions, of which whole ones can be emptied."""

from alembic import context, op

revision = "decanter_0011"
down_revision = "decanter_0010"
branch_labels = None
depends_on = None

# A lock that waits holds up all pours behind it: it waits a moment, and then lets them pass.
_LOCK = """
    DO $$
    BEGIN
        FOR attempt IN 1..600 LOOP
            BEGIN
                PERFORM set_config('lock_timeout', '100ms', true);
                LOCK TABLE decanter.ledger IN ACCESS EXCLUSIVE MODE;
                EXIT;
            EXCEPTION WHEN lock_not_available THEN
                IF attempt = 600 THEN
                    RAISE;
                END IF;
                PERFORM pg_sleep(0.3);
            END;
        END LOOP;
    END $$
"""


def upgrade() -> None:
    if context.config.attributes.get("is_rehearsal"):
        return  # it changes no table of the models, and pours would wait for the rehearsal's end
    # The table that is there becomes the partition for all that no other one takes. Nothing of it
    # is read or written: its indexes become those of the whole.
    op.execute(_LOCK)
    op.execute(
        """
        ALTER TABLE decanter.ledger RENAME TO ledger_rest;
        ALTER INDEX decanter.ledger_pkey RENAME TO ledger_rest_pkey;
        ALTER INDEX decanter.ledger_poured_at RENAME TO ledger_rest_poured_at;
        ALTER INDEX decanter.ledger_rest_poured_at SET (autosummarize = on);

        CREATE TABLE decanter.ledger (
            LIKE decanter.ledger_rest
                INCLUDING DEFAULTS INCLUDING STORAGE INCLUDING COMMENTS,
            CONSTRAINT ledger_pkey PRIMARY KEY (dedup_id)
        ) PARTITION BY RANGE (dedup_id);
        CREATE INDEX ledger_poured_at ON decanter.ledger USING brin (poured_at)
            WITH (autosummarize = on);
        ALTER TABLE decanter.ledger ATTACH PARTITION decanter.ledger_rest DEFAULT;
        COMMENT ON TABLE decanter.ledger IS
            'One row for each message poured, committed together with the effect of the message.';
        COMMENT ON TABLE decanter.ledger_rest IS
            'What no leaf of a week takes: messages with an Idempotency-Key, nearly all of them.';
        """
    )
    # A drain that waits for the lock goes on with the new table.
    op.execute(
        """
        DO $$
        DECLARE
            one record;
        BEGIN
            FOR one IN
                SELECT CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE quote_ident(rolname) END AS whom,
                    privilege_type AS what,
                    CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END AS how
                FROM pg_class CROSS JOIN aclexplode(relacl)
                    LEFT JOIN pg_roles ON pg_roles.oid = grantee
                WHERE pg_class.oid = 'decanter.ledger_rest'::regclass AND grantee <> relowner
            LOOP
                EXECUTE format('GRANT %s ON decanter.ledger TO %s%s', one.what, one.whom, one.how);
            END LOOP;
        END $$
        """
    )
    # The version before deletes by places of rows, which are those of other rows in each partition.
    op.execute(
        """
        CREATE FUNCTION decanter.refuse_delete() RETURNS trigger
        LANGUAGE plpgsql
        SET search_path = pg_catalog, pg_temp
        AS $$
        BEGIN
            RAISE EXCEPTION 'rows of the ledger are deleted from its partitions, one by one'
                USING HINT = 'The sweep of a version before partitions does nothing here: deploy'
                    ' the newer version again. Nothing is lost meanwhile, and the ledger grows.';
        END $$;
        CREATE TRIGGER refuse_delete BEFORE DELETE ON decanter.ledger
            FOR EACH STATEMENT EXECUTE FUNCTION decanter.refuse_delete();
        """
    )
    # The sweep calls it, which owns nothing, if no migration has ended what one has begun.
    op.execute(
        """
        CREATE FUNCTION decanter.put_back_held() RETURNS void
        LANGUAGE plpgsql SECURITY DEFINER
        SET search_path = pg_catalog, pg_temp
        SET lock_timeout = '100ms'
        AS $$
        BEGIN
            LOCK TABLE decanter.ledger_rest IN ACCESS EXCLUSIVE MODE;
            IF to_regclass('decanter.ledger_held') IS NULL THEN
                RETURN;
            END IF;
            ALTER TABLE decanter.ledger_rest DROP CONSTRAINT ledger_rest_ahead;
            INSERT INTO decanter.ledger SELECT * FROM decanter.ledger_held;
            DROP TABLE decanter.ledger_held;
        END $$;
        REVOKE EXECUTE ON FUNCTION decanter.put_back_held() FROM PUBLIC;
        COMMENT ON FUNCTION decanter.put_back_held IS
            'Undoes the beginning of new leaves of the ledger.';
        """
    )


def downgrade() -> None:
    op.execute(_LOCK)
    op.execute(
        """
        DO $$
        BEGIN
            IF to_regclass('decanter.ledger_held') IS NOT NULL THEN
                PERFORM decanter.put_back_held();
            END IF;
        END $$;
        DROP FUNCTION decanter.put_back_held();
        ALTER TABLE decanter.ledger DETACH PARTITION decanter.ledger_rest;
        INSERT INTO decanter.ledger_rest SELECT * FROM decanter.ledger;
        DROP TABLE decanter.ledger;
        DROP FUNCTION decanter.refuse_delete();
        ALTER TABLE decanter.ledger_rest RENAME TO ledger;
        ALTER INDEX decanter.ledger_rest_pkey RENAME TO ledger_pkey;
        ALTER INDEX decanter.ledger_rest_poured_at RENAME TO ledger_poured_at;
        COMMENT ON TABLE decanter.ledger IS
            'One row for each message poured, committed together with the effect of the message.';
        """
    )
