"""what a claim is for: a call, or the review of a referral; an index in the order of the review"""

import sqlalchemy as sa
from alembic import op

revision = "0052"
down_revision = "0051"
branch_labels = None
depends_on = None

WAITS = "kind = 'referral' and stage in ('received','in_review') and closed_at is null"


def upgrade():
    op.add_column("call_claim", sa.Column("work", sa.Text(), nullable=False, server_default="call"))
    op.create_check_constraint(op.f("ck_call_claim_work"), "call_claim", "work in ('call','review')")
    op.create_index(
        "ix_lead_review",
        "lead",
        [sa.text("urgent desc"), sa.text("stage desc"), "created_at", "id"],
        postgresql_where=sa.text(WAITS),
    )


def downgrade():
    op.drop_index("ix_lead_review", table_name="lead")
    op.drop_constraint(op.f("ck_call_claim_work"), "call_claim")
    op.drop_column("call_claim", "work")
