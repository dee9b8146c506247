"""rooms in which consultations are booked"""

import sqlalchemy as sa
from alembic import op

revision = "0069"
down_revision = "0068"
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "room",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_room")),
    )
    op.create_index("uq_room_name", "room", [sa.text("lower(name)")], unique=True)
    op.add_column("consultation", sa.Column("room_id", sa.BigInteger()))
    op.create_foreign_key(
        op.f("fk_consultation_room_id_room"), "consultation", "room", ["room_id"], ["id"]
    )
    op.create_index(
        "ix_consultation_room",
        "consultation",
        ["room_id", "starts_at", "id"],
        postgresql_where=sa.text("room_id is not null"),
    )


def downgrade():
    op.drop_index("ix_consultation_room", table_name="consultation")
    op.drop_column("consultation", "room_id")
    op.drop_table("room")
