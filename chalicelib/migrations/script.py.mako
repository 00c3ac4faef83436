"""${message}"""
${noqa}
from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}

# Parts of tables that this makes for the models, and that a later revision drops when they do not
# have them any more. What is not in such a list, and not in the models, is left alone.
made = ${made}


def upgrade() -> None:
${upgrades}


def downgrade() -> None:
${downgrades}
