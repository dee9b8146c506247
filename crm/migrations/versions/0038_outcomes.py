"""what outcome of a referral was sent, and how; past consultations without an outcome"""

import sqlalchemy as sa
from alembic import op

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("referral", sa.Column("outcome_what", sa.Text()))
    op.add_column("referral", sa.Column("outcome_how", sa.Text()))
    op.create_index(
        "ix_consultation_booked_starts",
        "consultation",
        ["starts_at", "lead_id"],
        postgresql_where=sa.text("state = 'booked'"),
    )


def downgrade():
    op.drop_index("ix_consultation_booked_starts", "consultation")
    op.drop_column("referral", "outcome_how")
    op.drop_column("referral", "outcome_what")
