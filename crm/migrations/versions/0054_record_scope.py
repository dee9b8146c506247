"""which leads a role sees, and the team of a member of staff"""

import sqlalchemy as sa
from alembic import op

revision = "0054"
down_revision = "0053"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("role", sa.Column("scope", sa.Text(), nullable=False, server_default="all"))
    op.create_check_constraint(op.f("ck_role_scope"), "role", "scope in ('all','team','own')")
    op.add_column("user", sa.Column("team", sa.Text(), nullable=True))
    op.create_index("ix_user_team", "user", ["team"], postgresql_where=sa.text("team is not null"))


def downgrade():
    op.drop_index("ix_user_team", table_name="user")
    op.drop_column("user", "team")
    op.drop_constraint(op.f("ck_role_scope"), "role")
    op.drop_column("role", "scope")
