"""what reports count, in one index"""

from alembic import op

revision = "0070"
down_revision = "0069"
branch_labels = None
depends_on = None

INCLUDED = [
    "step", "source", "practice_id", "owner_id", "language", "closed", "reason", "stage_at", "hours_to_booked",
    "hours_to_attended",
]  # fmt: skip


def upgrade():
    op.create_index("ix_report_lead_kind", "report_lead", ["kind", "day"], postgresql_include=INCLUDED)


def downgrade():
    op.drop_index("ix_report_lead_kind", table_name="report_lead")
