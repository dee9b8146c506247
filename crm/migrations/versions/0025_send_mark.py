"""numbers of claims, by which a database put back in an older state is noticed"""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "send_mark",
        sa.Column("number", sa.BigInteger(), sa.Identity(always=False), primary_key=True),
    )
    op.add_column("sending_control", sa.Column("place", sa.Text()))
    op.add_column("sending_control", sa.Column("mark_floor", sa.BigInteger()))


def downgrade():
    op.drop_column("sending_control", "mark_floor")
    op.drop_column("sending_control", "place")
    op.drop_table("send_mark")
