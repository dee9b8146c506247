"""practices that staff edit and merge; notes, visits and tasks of a practice"""

import sqlalchemy as sa
from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None

ACTIVE = "coalesce(current_setting('crm.act', true), '') <> ''"
TABLES = ("practice", "clinician", "portal_person", "practice_note", "practice_task", "referral_upload")


def upgrade():
    op.add_column("practice", sa.Column("address", sa.Text()))
    op.add_column("practice", sa.Column("merged_into_id", sa.BigInteger(), sa.ForeignKey("practice.id")))
    op.add_column("practice", sa.Column("version", sa.BigInteger(), nullable=False, server_default="1"))
    op.create_index("ix_practice_merged_into", "practice", ["merged_into_id"],
                    postgresql_where=sa.text("merged_into_id is not null"))  # fmt: skip
    op.create_table(
        "practice_note",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), primary_key=True),
        sa.Column("practice_id", sa.BigInteger(), sa.ForeignKey("practice.id"), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("text", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("kind in ('note', 'call', 'visit')", name=op.f("ck_practice_note_kind")),
    )
    op.create_index("ix_practice_note_practice", "practice_note", ["practice_id", "at", "id"])
    op.create_table(
        "practice_task",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), primary_key=True),
        sa.Column("practice_id", sa.BigInteger(), sa.ForeignKey("practice.id"), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("owner_id", sa.BigInteger(), sa.ForeignKey("user.id")),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True)),
        sa.Column("done_by", sa.Text()),
    )
    op.create_index("ix_practice_task_practice", "practice_task", ["practice_id", "due_at", "id"])
    op.create_index("ix_practice_task_open", "practice_task", ["due_at", "id"],
                    postgresql_where=sa.text("done_at is null"))  # fmt: skip
    op.create_index("ix_referral_clinician", "referral", ["clinician_id", "lead_id"])
    for table in TABLES:
        op.execute(
            f"create trigger note_act after insert or update or delete on {table} for each row when ({ACTIVE}) "
            "execute function note_act_change('id')"
        )
    for table in ("api_key", '"user"'):
        op.execute(
            f"create trigger note_act after update of practice_id on {table} for each row "
            f"when (old.practice_id is distinct from new.practice_id and {ACTIVE}) execute function note_act_change('id')"
        )


def downgrade():
    for table in ("practice", "clinician", "portal_person", "referral_upload", "api_key", '"user"'):
        op.execute(f"drop trigger note_act on {table}")
    op.drop_index("ix_referral_clinician", table_name="referral")
    op.drop_table("practice_task")
    op.drop_table("practice_note")
    op.drop_index("ix_practice_merged_into", table_name="practice")
    for name in ("version", "merged_into_id", "address"):
        op.drop_column("practice", name)
