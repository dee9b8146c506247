"""content: comments of reviewers, what drafts said before, who handed a version in"""

import sqlalchemy as sa
from alembic import op

import crm.core.db

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("content_version", sa.Column("submitted_by", sa.Text(), nullable=True))
    op.add_column("content_version", sa.Column("submitted_at", crm.core.db.UtcDateTime(timezone=True), nullable=True))
    op.create_table(
        "content_comment",
        sa.Column("version_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("at", crm.core.db.UtcDateTime(timezone=True), nullable=False),
        sa.Column("settled_by", sa.Text(), nullable=True),
        sa.Column("settled_at", crm.core.db.UtcDateTime(timezone=True), nullable=True),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.CheckConstraint("kind in ('comment','changes')", name=op.f("ck_content_comment_kind")),
        sa.ForeignKeyConstraint(
            ["version_id"], ["content_version.id"], name=op.f("fk_content_comment_version_id_content_version")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_content_comment")),
    )
    op.create_index(op.f("ix_content_comment_version_id"), "content_comment", ["version_id"])
    op.create_table(
        "content_autosave",
        sa.Column("version_id", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("at", crm.core.db.UtcDateTime(timezone=True), nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.ForeignKeyConstraint(
            ["version_id"], ["content_version.id"], name=op.f("fk_content_autosave_version_id_content_version")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_content_autosave")),
    )
    op.create_index(op.f("ix_content_autosave_version_id"), "content_autosave", ["version_id"])


    # the same bytes may be approved again a year later
    op.drop_constraint("uq_content_approval_version_id_role_hash", "content_approval", type_="unique")
    op.create_index(op.f("ix_content_approval_version_id"), "content_approval", ["version_id"])


def downgrade():
    op.drop_index(op.f("ix_content_approval_version_id"), table_name="content_approval")
    op.create_unique_constraint(
        "uq_content_approval_version_id_role_hash", "content_approval", ["version_id", "role", "hash"]
    )
    op.drop_table("content_autosave")
    op.drop_table("content_comment")
    op.drop_column("content_version", "submitted_at")
    op.drop_column("content_version", "submitted_by")
