"""what a batch must know so that the claim can ask: send window, and whether a broadcast may repeat itself"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("batch", sa.Column("send_window", postgresql.JSONB()))
    op.add_column("campaign", sa.Column("repeat_allowed", sa.Boolean(), nullable=False, server_default="false"))
    op.create_index("ix_batch_sequence", "batch", ["sequence_id", "id"], postgresql_where=sa.text("sequence_id is not null"))
    # emails of sequences that wait while this is installed
    op.execute("""
        update batch b set send_window = (
            select v.plan->'window' from sequence_version v where v.sequence_id = b.sequence_id order by v.number desc limit 1)
        where b.sequence_id is not null and b.state in ('ready', 'held')
    """)


def downgrade():
    op.drop_index("ix_batch_sequence", table_name="batch")
    op.drop_column("campaign", "repeat_allowed")
    op.drop_column("batch", "send_window")
