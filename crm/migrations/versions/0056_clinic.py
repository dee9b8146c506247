"""clinic: facts set in the console, the logo; API keys that end"""

import sqlalchemy as sa
from alembic import op

revision = "0056"
down_revision = "0055"
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "clinic_setting",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("set_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("set_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_clinic_setting")),
    )
    op.create_table(
        "clinic_logo",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_clinic_logo")),
        sa.CheckConstraint("id = 1", name=op.f("ck_clinic_logo_one_row")),
    )
    op.add_column("api_key", sa.Column("expires_at", sa.DateTime(timezone=True)))


def downgrade():
    op.drop_column("api_key", "expires_at")
    op.drop_table("clinic_logo")
    op.drop_table("clinic_setting")
