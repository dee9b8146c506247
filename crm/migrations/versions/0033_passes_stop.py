"""alert emails to staff leave while all sending is stopped; who left a sequence lately is counted from an index"""

import sqlalchemy as sa
from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("batch", sa.Column("passes_stop", sa.Boolean(), nullable=False, server_default="false"))
    op.create_index(
        "ix_enrolment_left", "enrolment", ["left_at", "sequence_id", "state"],
        postgresql_where=sa.text("state in ('completed','exited')"),
    )


def downgrade():
    op.drop_index("ix_enrolment_left", table_name="enrolment")
    op.drop_column("batch", "passes_stop")
