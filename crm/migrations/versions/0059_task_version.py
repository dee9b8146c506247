"""version of a task: the form of an older one does not overwrite it"""

import sqlalchemy as sa
from alembic import op

revision = "0059"
down_revision = "0058"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("task", sa.Column("version", sa.BigInteger(), nullable=False, server_default="1"))


def downgrade():
    op.drop_column("task", "version")
