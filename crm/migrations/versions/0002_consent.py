"""consent: a yes holds for one address; pauses are evidence too"""

import sqlalchemy as sa
from alembic import op

import crm.core.db

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ACTIONS = "'attested','requested','granted','withdrawn','merged'"


def upgrade():
    op.add_column("consent_record", sa.Column("until", crm.core.db.UtcDateTime(timezone=True), nullable=True))
    op.drop_constraint(op.f("ck_consent_record_action"), "consent_record")
    op.create_check_constraint(
        op.f("ck_consent_record_action"), "consent_record", f"action in ({ACTIONS},'snoozed')"
    )
    op.add_column("consent_state", sa.Column("address_index", sa.LargeBinary(), nullable=True))
    op.create_index("ix_confirmation_address", "confirmation", ["address_index", "asked_at"])
    op.create_index("ix_suppression_address", "suppression", ["address_index", "at"])


def downgrade():
    op.drop_index("ix_suppression_address", table_name="suppression")
    op.drop_index("ix_confirmation_address", table_name="confirmation")
    op.drop_column("consent_state", "address_index")
    op.drop_constraint(op.f("ck_consent_record_action"), "consent_record")
    op.create_check_constraint(op.f("ck_consent_record_action"), "consent_record", f"action in ({ACTIONS})")
    op.drop_column("consent_record", "until")
