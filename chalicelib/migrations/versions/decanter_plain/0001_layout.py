"""Decanter's tables for an engine without partitions: the layout of decanter_0011.

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


def upgrade() -> None:
    for table, columns in _TABLES.items():
        op.execute(f"CREATE TABLE decanter.{table} ({columns})")
    for index, columns in _INDEXES.items():
        op.execute(f"CREATE INDEX {index} ON decanter.{columns}")


def downgrade() -> None:
    for table in reversed(_TABLES):
        op.execute(f"DROP TABLE decanter.{table}")
