"""tracking: the words of provider events are found by age, to be dropped in time"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade():
    op.create_index(
        "ix_provider_event_words",
        "provider_event",
        ["received_at"],
        postgresql_where=sa.text("detail is not null"),
    )


def downgrade():
    op.drop_index("ix_provider_event_words", table_name="provider_event")
