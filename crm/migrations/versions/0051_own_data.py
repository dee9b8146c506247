"""own data: links to a person's own data, erasures that the mail provider owes"""

import sqlalchemy as sa
from alembic import op

revision = "0051"
down_revision = "0050"
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "own_data_link",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True)),
        sa.Column("contact_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["contact_id"], ["contact.id"], name=op.f("fk_own_data_link_contact_id_contact")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_own_data_link")),
    )
    op.create_index("ix_own_data_link_contact_id", "own_data_link", ["contact_id"])
    op.create_table(
        "provider_erasure",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("address", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_provider_erasure")),
    )


def downgrade():
    op.drop_table("provider_erasure")
    op.drop_table("own_data_link")
