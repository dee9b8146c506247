"""Codes with a key outside the database on audit entries and links; the releases before write none."""

import sqlalchemy as sa
from alembic import op

revision = "0043"
down_revision = "0042"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("audit_entry", sa.Column("proof", sa.LargeBinary(), nullable=True))
    op.add_column("audit_link", sa.Column("mac", sa.LargeBinary(), nullable=True))


def downgrade():
    op.drop_column("audit_link", "mac")
    op.drop_column("audit_entry", "proof")
