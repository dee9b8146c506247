"""batches of the last days are found by their day"""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade():
    # The breakers add up what was sent in seven days, every minute.
    op.create_index("ix_batch_created_at", "batch", ["created_at"])


def downgrade():
    op.drop_index("ix_batch_created_at", table_name="batch")
