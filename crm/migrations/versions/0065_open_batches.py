"""batches found by their version, and the open ones by their broadcast"""

import sqlalchemy as sa
from alembic import op

revision = "0065"
down_revision = "0064"
branch_labels = None
depends_on = None


def upgrade():
    op.create_index("ix_batch_version", "batch", ["content_version_id", "campaign_id"])
    op.create_index(
        "ix_batch_campaign_open",
        "batch",
        ["campaign_id", "state"],
        postgresql_where=sa.text("campaign_id is not null and state in ('ready','held','sending')"),
    )


def downgrade():
    op.drop_index("ix_batch_campaign_open", table_name="batch")
    op.drop_index("ix_batch_version", table_name="batch")
