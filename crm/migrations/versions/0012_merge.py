"""leads: records that were made one, and can part again"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "contact_merge",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), primary_key=True),
        sa.Column("kept_id", sa.BigInteger(), sa.ForeignKey("contact.id"), nullable=False),
        sa.Column("gone_id", sa.BigInteger(), sa.ForeignKey("contact.id"), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("moved", postgresql.JSONB(), nullable=False),
        sa.Column("undone_at", sa.DateTime(timezone=True), nullable=True),
        sa.Index("ix_contact_merge_kept", "kept_id", "id"),
    )


def downgrade():
    op.drop_table("contact_merge")
