"""campaigns: frozen in slices, told by their batches"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column(
        "campaign", sa.Column("late_after_hours", sa.BigInteger(), server_default="24", nullable=False)
    )
    op.add_column("campaign", sa.Column("people", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("campaign", sa.Column("slices", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column(
        "campaign",
        sa.Column("tail", postgresql.ARRAY(sa.BigInteger()), server_default="{}", nullable=False),
    )
    op.create_index("uq_campaign_resend_of_id", "campaign", ["resend_of_id"], unique=True)
    op.create_index(
        "ix_campaign_open",
        "campaign",
        ["id"],
        postgresql_where=sa.text(
            "state in ('scheduled','freezing','sending') or (launched_at is not null and frozen_at is null)"
        ),
    )
    op.add_column("batch", sa.Column("time_zones", postgresql.ARRAY(sa.Text()), nullable=True))
    op.add_column("batch", sa.Column("left_out", sa.BigInteger(), server_default="0", nullable=False))


def downgrade():
    op.drop_column("batch", "left_out")
    op.drop_column("batch", "time_zones")
    op.drop_index("ix_campaign_open", table_name="campaign")
    op.drop_index("uq_campaign_resend_of_id", table_name="campaign")
    for name in ("tail", "slices", "people", "late_after_hours"):
        op.drop_column("campaign", name)
