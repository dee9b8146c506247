"""signed exceptions from the claims check, and safety changes of shared blocks"""

import sqlalchemy as sa
from alembic import op

revision = "0057"
down_revision = "0056"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column(
        "content_version", sa.Column("safety", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    )
    op.create_table(
        "content_exception",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("version_id", sa.BigInteger(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("asked_by", sa.Text(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("clinician", sa.Text(), nullable=True),
        sa.Column("clinician_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("admin", sa.Text(), nullable=True),
        sa.Column("admin_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_by", sa.Text(), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("reason <> ''", name=op.f("ck_content_exception_reason")),
        sa.CheckConstraint(
            "ends_at > asked_at and ends_at <= asked_at + interval '180 days'",
            name=op.f("ck_content_exception_ends_at"),
        ),
        sa.CheckConstraint("(clinician is null) = (clinician_at is null)", name=op.f("ck_content_exception_clinician")),
        sa.CheckConstraint("(admin is null) = (admin_at is null)", name=op.f("ck_content_exception_admin")),
        sa.CheckConstraint("clinician <> admin", name=op.f("ck_content_exception_two_people")),
        sa.CheckConstraint("(ended_by is null) = (ended_at is null)", name=op.f("ck_content_exception_ended")),
        sa.ForeignKeyConstraint(
            ["version_id"], ["content_version.id"], name=op.f("fk_content_exception_version_id_content_version")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_content_exception")),
    )
    op.create_index("ix_content_exception_digest", "content_exception", ["digest", sa.text("id desc")])
    op.create_index(op.f("ix_content_exception_version_id"), "content_exception", ["version_id"])


def downgrade():
    op.drop_table("content_exception")
    op.drop_column("content_version", "safety")
