"""branches of sequences: the arm that people took, their answers, and the name of the end that they reached"""

import sqlalchemy as sa
from alembic import op

revision = "0055"
down_revision = "0054"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("enrolment", sa.Column("end_name", sa.Text(), nullable=True))
    op.create_table(
        "passage",
        sa.Column("enrolment_id", sa.BigInteger(), nullable=False),
        sa.Column("node", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("yes", sa.Boolean(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["enrolment_id"], ["enrolment.id"], name=op.f("fk_passage_enrolment_id_enrolment")),
        sa.PrimaryKeyConstraint("enrolment_id", "node", name=op.f("pk_passage")),
    )
    op.create_table(
        "message_answer",
        sa.Column("message_id", sa.BigInteger(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("answer in ('call','not_now','guide')", name=op.f("ck_message_answer_answer")),
        sa.ForeignKeyConstraint(["message_id"], ["message.id"], name=op.f("fk_message_answer_message_id_message")),
        sa.PrimaryKeyConstraint("message_id", "answer", name=op.f("pk_message_answer")),
    )


def downgrade():
    op.drop_table("message_answer")
    op.drop_table("passage")
    op.drop_column("enrolment", "end_name")
