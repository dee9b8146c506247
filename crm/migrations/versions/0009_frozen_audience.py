"""frozen audiences are kept as they are: squeezing eight kilobytes that live for seconds cost more than writing them"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade():
    op.execute("alter table batch alter column contact_ids set storage external")


def downgrade():
    op.execute("alter table batch alter column contact_ids set storage extended")
