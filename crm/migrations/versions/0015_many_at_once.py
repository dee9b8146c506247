"""leads: filters with a name, acts on many leads at once, leads given by state; merged records found by the one that is left"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def _id():
    return sa.Column("id", sa.BigInteger(), sa.Identity(always=False), primary_key=True)


def _at(name, nullable=False):
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _user():
    return sa.Column("user_id", sa.BigInteger(), sa.ForeignKey("user.id"), nullable=False)


def upgrade():
    op.create_table(
        "saved_filter",
        _id(),
        _user(),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("shared", sa.Boolean(), nullable=False),
        sa.Column("filters", postgresql.JSONB(), nullable=False),
        _at("created_at"),
        sa.UniqueConstraint("user_id", "name"),
    )
    op.create_table(
        "bulk_run",
        _id(),
        _user(),
        sa.Column("act", sa.Text(), nullable=False),
        sa.Column("given", postgresql.JSONB(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        _at("created_at"),
        _at("beat_at"),
        _at("done_at", nullable=True),
        sa.CheckConstraint("state in ('planned','running','done','undoing','undone')", name="state"),
        sa.Index("ix_bulk_run_state", "state", "beat_at"),
    )
    op.create_table(
        "bulk_item",
        sa.Column("run_id", sa.BigInteger(), sa.ForeignKey("bulk_run.id"), primary_key=True),
        sa.Column("lead_id", sa.BigInteger(), sa.ForeignKey("lead.id"), primary_key=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=True),
        sa.Column("before", postgresql.JSONB(), nullable=True),
        sa.CheckConstraint("state in ('waiting','refused','done','undone','kept')", name="state"),
        sa.Index("ix_bulk_item_state", "run_id", "state", "lead_id"),
        sa.Index("ix_bulk_item_lead", "lead_id"),
    )
    op.add_column(
        "assignee", sa.Column("states", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False)
    )
    op.create_index(
        "ix_lead_board",
        "lead",
        ["kind", "stage", "stage_at", "id"],
        postgresql_where=sa.text("closed_at is null"),
    )
    op.create_index(
        "ix_contact_merged_into",
        "contact",
        ["merged_into_id"],
        postgresql_where=sa.text("merged_into_id is not null"),
    )


def downgrade():
    op.drop_index("ix_contact_merged_into", table_name="contact")
    op.drop_index("ix_lead_board", table_name="lead")
    op.drop_column("assignee", "states")
    for table in ("bulk_item", "bulk_run", "saved_filter"):
        op.drop_table(table)
