"""${message}"""
${noqa}
from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}

# Parts of tables that this revision makes for the models; a later one drops them when the models no
# longer have them. Parts that are neither in such a list nor in the models are left alone.
made = ${made}


def upgrade() -> None:
${upgrades}


def downgrade() -> None:
${downgrades}
