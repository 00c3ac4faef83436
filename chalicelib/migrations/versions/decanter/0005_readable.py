"""A check that merged documents can still be read."""

from alembic import op

revision = "decanter_0005"
down_revision = "decanter_0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A JSONB has at most four times the bytes of its text, except for long numbers, which have all
    # their digits only in the text. The reader shows texts of 5,500,000 bytes.
    op.execute(
        """
        CREATE FUNCTION decanter.readable(document jsonb) RETURNS jsonb
        LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
        SET search_path = pg_catalog, pg_temp
        AS $$
        DECLARE
            long CONSTANT jsonpath :=
                'strict $.** ? (@.abs() > 1e30 || @.abs() < 1e-30 && @ != 0)';
            size bigint := pg_column_size(document);
            digits bigint := 0;
        BEGIN
            IF size <= 22000000 AND document @? long THEN
                SELECT sum(4 * CASE WHEN get_byte(sent, 2) < 128
                    THEN (get_byte(sent, 2) << 8) + get_byte(sent, 3) ELSE 0 END
                    + (get_byte(sent, 6) << 8) + get_byte(sent, 7)) INTO digits
                FROM jsonb_array_elements(jsonb_path_query_array(document, long)) AS number,
                    LATERAL (SELECT numeric_send(number::numeric) AS sent) AS as_sent;
            END IF;
            IF size > 22000000 OR digits > 5500000 THEN
                RAISE EXCEPTION 'the document would be too large to be read'
                    USING ERRCODE = 'program_limit_exceeded',
                    DETAIL = format('It would have %s bytes, and where it is shown %s digits.',
                        size, digits);
            END IF;
            RETURN document;
        END
        $$;
        COMMENT ON FUNCTION decanter.readable IS
            'The document; an error if it is far too large to be read.';
        """
    )


def downgrade() -> None:
    op.execute("DROP FUNCTION decanter.readable(jsonb)")
