"""counts of consultations for the reports, and whether a reminder was emailed"""

import sqlalchemy as sa
from alembic import op

revision = "0061"
down_revision = "0060"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("consultation_reminder", sa.Column("emailed", sa.Boolean(), nullable=False, server_default="false"))
    op.execute("""
        update consultation_reminder r set emailed = true from activity a
        where a.kind = 'consultation' and a.detail->>'what' = 'reminder' and a.detail->>'id' = r.consultation_id::text
            and a.at = r.at
    """)
    op.create_table(
        "report_consultation",
        sa.Column("day", sa.Date(), primary_key=True),
        sa.Column("kind", sa.Text(), primary_key=True),
        sa.Column("clinician_id", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("state", sa.Text(), primary_key=True),
        sa.Column("reminded", sa.Boolean(), primary_key=True),
        sa.Column("consultations", sa.BigInteger(), nullable=False),
    )


def downgrade():
    op.drop_table("report_consultation")
    op.drop_column("consultation_reminder", "emailed")
