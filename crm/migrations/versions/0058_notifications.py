"""notifications of staff, and what they chose"""

import sqlalchemy as sa
from alembic import op

revision = "0058"
down_revision = "0057"
branch_labels = None
depends_on = None

KINDS = "kind in ('assigned','mentioned','reply','review','breach')"


def upgrade():
    op.create_table(
        "notification",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("link", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("read_at", sa.DateTime(timezone=True)),
        sa.Column("emailed_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint(KINDS, name=op.f("ck_notification_kind")),
        sa.ForeignKeyConstraint(
            ["user_id"], ["user.id"], name=op.f("fk_notification_user_id_user"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notification")),
    )
    op.create_index("ix_notification_user", "notification", ["user_id", "id"])
    unread = sa.text("read_at is null")
    op.create_index(
        "uq_notification_unread", "notification", ["user_id", "kind", "link"], unique=True, postgresql_where=unread
    )
    op.create_index(
        "ix_notification_digest",
        "notification",
        ["at"],
        postgresql_where=sa.text("read_at is null and emailed_at is null"),
    )
    op.create_index(
        "ix_notification_emailed",
        "notification",
        ["emailed_at"],
        postgresql_where=sa.text("emailed_at is not null"),
    )
    op.create_index(
        "ix_notification_read", "notification", ["read_at"], postgresql_where=sa.text("read_at is not null")
    )
    op.create_table(
        "notification_choice",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("shown", sa.Boolean(), nullable=False),
        sa.Column("emailed", sa.Boolean(), nullable=False),
        sa.CheckConstraint(KINDS, name=op.f("ck_notification_choice_kind")),
        sa.ForeignKeyConstraint(
            ["user_id"], ["user.id"], name=op.f("fk_notification_choice_user_id_user"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", "kind", name=op.f("pk_notification_choice")),
    )


def downgrade():
    op.drop_table("notification_choice")
    op.drop_table("notification")
