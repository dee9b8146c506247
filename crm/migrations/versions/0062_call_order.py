"""an index in the order of the calling list"""

import sqlalchemy as sa
from alembic import op

revision = "0062"
down_revision = "0061"
branch_labels = None
depends_on = None

RANK = """case when kind = 'contact_request' and stage in ('confirmed','new','unconfirmed') then 1
 when urgent then 2 when stage = 'received' then 3 else 4 end"""
STAGES = (
    "'accepted', 'cancelled', 'confirmed', 'contacted', 'contacting', 'in_review', 'new', 'no_show', 'qualified', "
    "'received', 'rescheduled', 'unconfirmed'"
)
CALLABLE = f"due_at is not null and closed_at is null and stage in ({STAGES})"


def upgrade():
    op.create_index(
        "ix_lead_call", "lead", [sa.text(f"({RANK})"), "due_at", "id"], postgresql_where=sa.text(CALLABLE)
    )


def downgrade():
    op.drop_index("ix_lead_call", table_name="lead")
