"""answers of reviewers to the claims check, each bound to the hash of its sentence"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "content_answer",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), primary_key=True),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.Column("before", sa.Text(), nullable=False),
        sa.Column("kinds", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("claim", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("version_id", sa.BigInteger(), sa.ForeignKey("content_version.id"), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("verdict in ('no_claim','supported','claim')", name="ck_content_answer_verdict"),
        sa.CheckConstraint("(verdict = 'supported') = (claim <> '')", name="ck_content_answer_claim"),
        sa.CheckConstraint("reason <> ''", name="ck_content_answer_reason"),
        sa.CheckConstraint("place in ('body','subject')", name="ck_content_answer_place"),
    )
    op.create_index("ix_content_answer_digest", "content_answer", ["digest", sa.text("id desc")])
    op.create_index("ix_content_answer_version_id", "content_answer", ["version_id"])


def downgrade():
    op.drop_table("content_answer")
