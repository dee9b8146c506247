"""leads: clocks that pause and run out, calls, consultations, who takes new leads"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def _id():
    return sa.Column("id", sa.BigInteger(), sa.Identity(always=False), primary_key=True)


def _lead():
    return sa.Column("lead_id", sa.BigInteger(), sa.ForeignKey("lead.id"), nullable=False)


def upgrade():
    op.add_column("lead", sa.Column("clock_left", sa.BigInteger(), nullable=True))
    op.add_column("lead", sa.Column("attempts", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("lead", sa.Column("last_attempt_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "ix_lead_open_stage_at", "lead", ["stage_at", "id"], postgresql_where=sa.text("closed_at is null")
    )
    op.create_index(
        "ix_task_owner_open", "task", ["owner_id", "due_at", "id"], postgresql_where=sa.text("done_at is null")
    )
    op.create_table(
        "lead_breach",
        _id(),
        _lead(),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("lead_id", "due_at"),
    )
    op.create_table(
        "lead_call",
        _id(),
        _lead(),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("note", sa.LargeBinary(), nullable=True),
        sa.Index("ix_lead_call_lead", "lead_id", "at"),
    )
    op.create_table(
        "consultation",
        _id(),
        _lead(),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("minutes", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), server_default="booked", nullable=False),
        sa.Column("state_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "state in ('booked','rescheduled','cancelled','no_show','attended')", name="state"
        ),
        sa.Index("ix_consultation_lead", "lead_id", "id"),
        sa.Index("ix_consultation_starts", "starts_at", "id"),
        sa.Index(
            "uq_consultation_booked", "lead_id", unique=True, postgresql_where=sa.text("state = 'booked'")
        ),
    )
    op.create_table(
        "assignee",
        sa.Column("user_id", sa.BigInteger(), sa.ForeignKey("user.id"), primary_key=True),
        sa.Column("languages", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False),
        sa.Column("capacity", sa.BigInteger(), nullable=True),
        sa.Column("on_duty", sa.Boolean(), server_default="true", nullable=False),
    )


def downgrade():
    for name in ("assignee", "consultation", "lead_call", "lead_breach"):
        op.drop_table(name)
    op.drop_index("ix_task_owner_open", table_name="task")
    op.drop_index("ix_lead_open_stage_at", table_name="lead")
    for name in ("last_attempt_at", "attempts", "clock_left"):
        op.drop_column("lead", name)
