"""the next version of a sequence, written in the console"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "sequence_draft",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("sequence_id", sa.BigInteger(), nullable=False),
        sa.Column("base_id", sa.BigInteger(), nullable=False),
        sa.Column("plan", postgresql.JSONB(), nullable=False),
        sa.Column("before", postgresql.JSONB(), nullable=True),
        sa.Column("people", sa.Text(), server_default="finish", nullable=False),
        sa.Column("state", sa.Text(), server_default="open", nullable=False),
        sa.Column("lock", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("edited_by", sa.Text(), nullable=False),
        sa.Column("edited_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("approved_by", sa.Text(), nullable=True),
        sa.Column("publish_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version_id", sa.BigInteger(), nullable=True),
        sa.Column("moved_to", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("results", postgresql.JSONB(), nullable=True),
        sa.CheckConstraint(
            "state in ('open','approved','moving','published','discarded')", name=op.f("ck_sequence_draft_state")
        ),
        sa.CheckConstraint("people in ('finish','move')", name=op.f("ck_sequence_draft_people")),
        sa.CheckConstraint(
            "(state in ('approved','moving','published')) = (approved_by is not null)",
            name=op.f("ck_sequence_draft_approved"),
        ),
        sa.CheckConstraint(
            "approved_by is null or approved_by <> edited_by", name=op.f("ck_sequence_draft_second_person")
        ),
        sa.CheckConstraint(
            "(state in ('moving','published')) = (version_id is not null)", name=op.f("ck_sequence_draft_version")
        ),
        sa.ForeignKeyConstraint(
            ["sequence_id"], ["sequence.id"], name=op.f("fk_sequence_draft_sequence_id_sequence")
        ),
        sa.ForeignKeyConstraint(
            ["base_id"], ["sequence_version.id"], name=op.f("fk_sequence_draft_base_id_sequence_version")
        ),
        sa.ForeignKeyConstraint(
            ["version_id"], ["sequence_version.id"], name=op.f("fk_sequence_draft_version_id_sequence_version")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sequence_draft")),
    )
    op.create_index("ix_sequence_draft_sequence_id", "sequence_draft", ["sequence_id"])
    op.create_index(
        "uq_sequence_draft_open",
        "sequence_draft",
        ["sequence_id"],
        unique=True,
        postgresql_where=sa.text("state in ('open','approved','moving')"),
    )


def downgrade():
    op.drop_table("sequence_draft")
