"""Decanter's tables and functions for an engine without partitions and PL/pgSQL: the layout of
decanter_0011.

Each statement is a transaction of its own, so there is one in each `op.execute`. Arrays are kept as
their text, and times are indexed by B-trees.
"""

from alembic import op

revision = "decanter_plain_0001"
down_revision = None
branch_labels = ("decanter",)
depends_on = None

_TABLES = {
    "ledger": """
        dedup_id uuid PRIMARY KEY,
        fingerprint text NOT NULL,
        writes integer NOT NULL,
        accepted_at timestamptz,
        poured_at timestamptz NOT NULL DEFAULT now(),
        items bytea,
        keys bytea,
        resource_name text
    """,
    "rejection": """
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
        key bytea,
        caller text,
        PRIMARY KEY (dedup_id, item)
    """,
    "orphan": """
        dedup_id uuid PRIMARY KEY,
        tries integer NOT NULL,
        tried_at timestamptz NOT NULL DEFAULT now()
    """,
    "waiting": """
        place bigint GENERATED ALWAYS AS IDENTITY (CACHE 1) PRIMARY KEY,
        dedup_id uuid NOT NULL,
        item integer NOT NULL,
        digest bigint,
        reason text NOT NULL,
        message text NOT NULL,
        since timestamptz NOT NULL DEFAULT now(),
        tried_at timestamptz NOT NULL DEFAULT now(),
        waited double precision NOT NULL DEFAULT 0,
        tries integer NOT NULL DEFAULT 0,
        is_late boolean NOT NULL DEFAULT false,
        UNIQUE (dedup_id, item)
    """,
    "made_key": """
        id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        poured_at timestamptz NOT NULL,
        resource text NOT NULL,
        dedup_ids text NOT NULL,
        ends text NOT NULL,
        items json NOT NULL,
        keys json NOT NULL
    """,
    "act": """
        id uuid PRIMARY KEY,
        kind text NOT NULL,
        who text NOT NULL,
        note text NOT NULL DEFAULT '',
        target json NOT NULL,
        writes bigint,
        begun_at timestamptz NOT NULL DEFAULT now()
    """,
    "act_step": """
        act uuid NOT NULL REFERENCES decanter.act,
        step integer NOT NULL,
        who text NOT NULL,
        done bigint NOT NULL,
        failed bigint NOT NULL DEFAULT 0,
        state text NOT NULL,
        detail json,
        at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (act, step)
    """,
    "correction": """
        dedup_id uuid NOT NULL,
        item integer NOT NULL,
        act uuid NOT NULL REFERENCES decanter.act,
        kind text NOT NULL,
        resent_as uuid,
        resent_item integer,
        corrected_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (dedup_id, item)
    """,
    "outbox": """
        place bigint GENERATED ALWAYS AS IDENTITY (CACHE 1) PRIMARY KEY,
        dedup_id uuid NOT NULL,
        receipt text NOT NULL,
        resource text NOT NULL,
        caller text,
        entered_at timestamptz NOT NULL DEFAULT clock_timestamp()
    """,
}

_INDEXES = {
    "ledger_poured_at": "ledger (poured_at)",
    "rejection_rejected_at": "rejection (rejected_at)",
    "rejection_resource": "rejection (resource, rejected_at, dedup_id, item)",
    "waiting_digest": "waiting (digest, place)",
    "made_key_poured_at": "made_key (poured_at)",
    "correction_resent_as": "correction (resent_as)",
    "correction_corrected_at": "correction (corrected_at)",
    "outbox_dedup_id": "outbox (dedup_id)",
}

# A function has to be there before it can call itself.
_MERGE_PATCH = """
    CREATE OR REPLACE FUNCTION decanter.merge_patch(target jsonb, patch jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$ {body} $$
"""
_MERGED = """
    SELECT CASE WHEN patch IS NULL OR jsonb_typeof(patch) <> 'object' THEN patch
    ELSE (
        SELECT coalesce(jsonb_object_agg(key, value), '{}')
        FROM (
            SELECT key, value
            FROM jsonb_each(CASE WHEN jsonb_typeof(target) = 'object' THEN target ELSE '{}' END)
            WHERE NOT patch ? key
            UNION ALL
            SELECT key, decanter.merge_patch(target -> key, value)
            FROM jsonb_each(patch) WHERE value <> 'null') AS member)
    END
"""

# As in decanter_0005. SQL has no RAISE: a text that is no truth value says why.
_READABLE = """
    CREATE FUNCTION decanter.readable(document jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT CASE WHEN size > 22000000 OR digits > 5500000
            THEN to_jsonb(concat('the document would be too large to be read: ', size,
                ' bytes, and where it is shown ', digits, ' digits')::boolean)
            ELSE document END
        FROM (SELECT pg_column_size(document) AS size) AS whole,
            LATERAL (SELECT CASE WHEN size <= 22000000 THEN jsonb_path_query_array(document,
                'strict $.** ? (@.abs() > 1e30 || @.abs() < 1e-30 && @ != 0)') END) AS long (found),
            LATERAL (
                SELECT sum(4 * CASE WHEN get_byte(sent, 2) < 128
                    THEN (get_byte(sent, 2) << 8) + get_byte(sent, 3) ELSE 0 END
                    + (get_byte(sent, 6) << 8) + get_byte(sent, 7)) AS digits
                FROM jsonb_array_elements(found) AS number,
                    LATERAL (SELECT numeric_send(number::numeric) AS sent) AS as_sent) AS counted
    $$
"""


def upgrade() -> None:
    for table, columns in _TABLES.items():
        op.execute(f"CREATE TABLE decanter.{table} ({columns})")
    for index, columns in _INDEXES.items():
        op.execute(f"CREATE INDEX {index} ON decanter.{columns}")
    for body in ("SELECT patch", _MERGED):
        op.execute(_MERGE_PATCH.replace("{body}", body))
    op.execute(_READABLE)


def downgrade() -> None:
    op.execute("DROP FUNCTION decanter.readable(jsonb)")
    op.execute("DROP FUNCTION decanter.merge_patch(jsonb, jsonb)")
    for table in reversed(_TABLES):
        op.execute(f"DROP TABLE decanter.{table}")
