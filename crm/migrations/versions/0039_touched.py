"""when staff were last in touch with a person"""

import sqlalchemy as sa
from alembic import op

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("contact", sa.Column("touched_at", sa.DateTime(timezone=True)))


def downgrade():
    op.drop_column("contact", "touched_at")
