"""segments: saved audiences, and the versions of their rules"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0049"
down_revision = "0048"
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "segment",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_segment")),
    )
    op.create_index("uq_segment_name", "segment", [sa.text("lower(name)")], unique=True)
    op.create_table(
        "segment_rule",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("segment_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("rule", postgresql.JSONB(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["segment_id"], ["segment.id"], name=op.f("fk_segment_rule_segment_id_segment")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_segment_rule")),
        sa.UniqueConstraint("segment_id", "number", name=op.f("uq_segment_rule_segment_id_number")),
    )


def downgrade():
    op.drop_table("segment_rule")
    op.drop_table("segment")
