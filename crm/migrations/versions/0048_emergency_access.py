"""emergency access: one record opened to one member of staff, with a reason"""

import sqlalchemy as sa
from alembic import op

revision = "0048"
down_revision = "0047"
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "emergency_access",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), primary_key=True),
        sa.Column("user_id", sa.BigInteger(), sa.ForeignKey("user.id"), nullable=False),
        sa.Column("contact_id", sa.BigInteger(), sa.ForeignKey("contact.id"), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("text", sa.LargeBinary(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("reason in ('medical', 'safety', 'nobody')", name="reason"),
    )
    op.create_index("ix_emergency_access_contact_id", "emergency_access", ["contact_id"])


def downgrade():
    op.drop_table("emergency_access")
