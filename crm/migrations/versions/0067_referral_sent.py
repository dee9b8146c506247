"""the form of a referral as its practice last sent it, so that the practice can correct it"""

import sqlalchemy as sa
from alembic import op

revision = "0067"
down_revision = "0065"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("referral", sa.Column("sent", sa.LargeBinary()))


def downgrade():
    op.drop_column("referral", "sent")
