"""files of referrals from practices"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def _at(name):
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False)


def _to(name, other, **options):
    return sa.Column(name, sa.BigInteger(), sa.ForeignKey(f"{other}.id"), **options)


def upgrade():
    op.create_table(
        "referral_upload",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), primary_key=True),
        _to("practice_id", "practice", nullable=False),
        _to("person_id", "portal_person", nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("name", sa.LargeBinary(), nullable=False),
        sa.Column("content", sa.LargeBinary()),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("mapping", postgresql.JSONB(), nullable=False),
        _to("clinician_id", "clinician"),
        _to("sender_id", "portal_person"),
        sa.Column("language", sa.Text()),
        _at("created_at"),
        _at("beat_at"),
        _at("expires_at"),
        sa.CheckConstraint("state in ('uploaded','mapped','taking','done')", name="state"),
        sa.Index("ix_referral_upload_practice", "practice_id", "id"),
        sa.Index("ix_referral_upload_expires", "expires_at"),
    )
    op.create_table(
        "referral_upload_row",
        sa.Column(
            "upload_id",
            sa.BigInteger(),
            sa.ForeignKey("referral_upload.id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("line", sa.BigInteger(), primary_key=True),
        sa.Column("state", sa.Text(), nullable=False),
        _to("lead_id", "lead"),
        sa.Column("reason", sa.Text()),
        sa.CheckConstraint("state in ('wanted','taken','known','refused','double')", name="state"),
        sa.CheckConstraint("(state in ('taken','known')) = (lead_id is not null)", name="lead"),
        sa.Index("ix_referral_upload_row_lead", "lead_id"),
    )
    op.create_table(
        "referral_columns",
        _to("practice_id", "practice", primary_key=True),
        sa.Column("mapping", sa.LargeBinary(), nullable=False),
    )


def downgrade():
    for table in ("referral_columns", "referral_upload_row", "referral_upload"):
        op.drop_table(table)
