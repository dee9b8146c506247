"""urgent referrals on the lead; one calendar entry for a consultation that moves

Lists show and order by the urgency, and no list reads the referral of each lead for it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

DUE = ["kind", "stage", "source", "owner_id", "contact_id", "last_attempt_at"]


def upgrade():
    op.add_column("lead", sa.Column("urgent", sa.Boolean(), server_default="false", nullable=False))
    op.execute("update lead set urgent = true from referral r where r.lead_id = lead.id and r.urgency = 'urgent'")
    op.add_column("consultation", sa.Column("first_id", sa.BigInteger()))
    op.add_column("consultation", sa.Column("revision", sa.BigInteger(), server_default="0", nullable=False))
    _index_due([*DUE, "urgent"])


def downgrade():
    _index_due(DUE)
    op.drop_column("consultation", "revision")
    op.drop_column("consultation", "first_id")
    op.drop_column("lead", "urgent")


def _index_due(included):
    op.drop_index("ix_lead_due", table_name="lead")
    op.create_index(
        "ix_lead_due",
        "lead",
        ["due_at", "id"],
        postgresql_include=included,
        postgresql_where=sa.text("due_at is not null and closed_at is null"),
    )
