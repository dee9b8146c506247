"""staff: links to sign in with; counting of failures moved to Redis"""

import sqlalchemy as sa
from alembic import op

import crm.core.db

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "sign_in_link",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("made_at", crm.core.db.UtcDateTime(timezone=True), nullable=False),
        sa.Column("expires_at", crm.core.db.UtcDateTime(timezone=True), nullable=False),
        sa.Column("used_at", crm.core.db.UtcDateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name=op.f("fk_sign_in_link_user_id_user")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sign_in_link")),
    )
    op.create_index(op.f("ix_sign_in_link_user_id"), "sign_in_link", ["user_id"])
    op.drop_column("user", "failed_sign_ins")
    op.drop_column("user", "locked_until")


def downgrade():
    op.add_column("user", sa.Column("locked_until", crm.core.db.UtcDateTime(timezone=True), nullable=True))
    op.add_column("user", sa.Column("failed_sign_ins", sa.BigInteger(), server_default="0", nullable=False))
    op.drop_index(op.f("ix_sign_in_link_user_id"), table_name="sign_in_link")
    op.drop_table("sign_in_link")
