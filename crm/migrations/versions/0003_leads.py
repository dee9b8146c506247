"""leads: find the same request sent twice"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("lead", sa.Column("content_index", sa.LargeBinary(), nullable=True))


def downgrade():
    op.drop_column("lead", "content_index")
