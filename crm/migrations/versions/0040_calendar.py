"""who sees the person at a consultation, absences, the rising SEQUENCE of calendars, and calendar feeds of staff"""

import sqlalchemy as sa
from alembic import op

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("consultation", sa.Column("clinician_id", sa.BigInteger(), sa.ForeignKey("user.id")))
    op.create_index("ix_consultation_clinician", "consultation", ["clinician_id", "starts_at", "id"])
    op.create_index("ix_consultation_no_show", "consultation", ["starts_at", "id"],
                    postgresql_where=sa.text("state = 'no_show'"))  # fmt: skip
    op.create_table(
        "consultation_sequence",
        sa.Column("lead_id", sa.BigInteger(), sa.ForeignKey("lead.id"), primary_key=True),
        sa.Column("number", sa.BigInteger(), nullable=False),
    )
    op.execute(
        "insert into consultation_sequence (lead_id, number) "
        "select lead_id, max(revision) + 1 from consultation group by lead_id"
    )
    op.create_table(
        "absence",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), primary_key=True),
        sa.Column("user_id", sa.BigInteger(), sa.ForeignKey("user.id"), nullable=False),
        sa.Column("first_day", sa.Date(), nullable=False),
        sa.Column("last_day", sa.Date(), nullable=False),
        sa.CheckConstraint("last_day >= first_day", name=op.f("ck_absence_days")),
    )
    op.create_index("ix_absence_user", "absence", ["user_id", "last_day"])
    op.create_index("ix_absence_last_day", "absence", ["last_day"])
    op.create_table(
        "calendar_feed",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), primary_key=True),
        sa.Column("user_id", sa.BigInteger(), sa.ForeignKey("user.id"), nullable=False),
        sa.Column("everyone", sa.Boolean(), nullable=False, server_default="false"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("user_id", name=op.f("uq_calendar_feed_user_id")),
    )


def downgrade():
    op.drop_table("calendar_feed")
    op.drop_table("absence")
    op.drop_table("consultation_sequence")
    op.drop_index("ix_consultation_no_show", table_name="consultation")
    op.drop_index("ix_consultation_clinician", table_name="consultation")
    op.drop_column("consultation", "clinician_id")
