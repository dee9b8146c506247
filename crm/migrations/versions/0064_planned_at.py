"""since when a step is due that waits for its send window; legal holds found by their person"""

import sqlalchemy as sa
from alembic import op

revision = "0064"
down_revision = "0063"
branch_labels = None
depends_on = None

NAMES = ("planned_at", "waits_until")


def upgrade():
    for name in NAMES:
        op.add_column("enrolment", sa.Column(name, sa.DateTime(timezone=True)))
    op.create_index("ix_legal_hold_contact_id", "legal_hold", ["contact_id"])


def downgrade():
    op.drop_index("ix_legal_hold_contact_id", table_name="legal_hold")
    for name in NAMES:
        op.drop_column("enrolment", name)
