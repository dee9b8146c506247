"""who is calling whom now, and calls that were promised for a time"""

import sqlalchemy as sa
from alembic import op

revision = "0046"
down_revision = "0045"
branch_labels = None
depends_on = None

OPEN = "kind = 'callback' and done_at is null"


def upgrade():
    op.create_table(
        "call_claim",
        sa.Column("lead_id", sa.BigInteger(), sa.ForeignKey("lead.id"), primary_key=True),
        sa.Column("user_id", sa.BigInteger(), sa.ForeignKey("user.id"), nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("user_id", name=op.f("uq_call_claim_user_id")),
        sa.CheckConstraint("until > claimed_at", name=op.f("ck_call_claim_until")),
    )
    op.create_index("uq_task_callback", "task", ["lead_id"], unique=True, postgresql_where=sa.text(OPEN))
    op.create_index("ix_task_callback_due", "task", ["due_at", "lead_id"], postgresql_where=sa.text(OPEN))


def downgrade():
    op.drop_index("ix_task_callback_due", table_name="task")
    op.drop_index("uq_task_callback", table_name="task")
    op.drop_table("call_claim")
