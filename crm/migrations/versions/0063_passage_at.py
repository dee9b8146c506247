"""index of the branches that people passed, by time: the page of a sequence counts the last 30 days"""

from alembic import op

revision = "0063"
down_revision = "0062"
branch_labels = None
depends_on = None


def upgrade():
    op.create_index("ix_passage_at", "passage", ["at"])


def downgrade():
    op.drop_index("ix_passage_at", table_name="passage")
