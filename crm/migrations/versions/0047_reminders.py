"""reminders of consultations, each sent once"""

import sqlalchemy as sa
from alembic import op

revision = "0047"
down_revision = "0046"
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "consultation_reminder",
        sa.Column("consultation_id", sa.BigInteger(), sa.ForeignKey("consultation.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("kind", sa.Text(), primary_key=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("kind in ('two_days','two_hours')", name=op.f("ck_consultation_reminder_kind")),
    )


def downgrade():
    op.drop_table("consultation_reminder")
