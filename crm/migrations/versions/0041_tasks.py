"""tasks: priority, and how often a task repeats"""

import sqlalchemy as sa
from alembic import op

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("task", sa.Column("priority", sa.Text(), nullable=False, server_default="normal"))
    op.add_column("task", sa.Column("repeats", sa.Text()))
    op.create_check_constraint(op.f("ck_task_priority"), "task", "priority in ('high','normal','low')")
    op.create_check_constraint(op.f("ck_task_repeats"), "task", "repeats in ('day','week','two_weeks','month')")


def downgrade():
    op.drop_constraint(op.f("ck_task_repeats"), "task")
    op.drop_constraint(op.f("ck_task_priority"), "task")
    op.drop_column("task", "repeats")
    op.drop_column("task", "priority")
