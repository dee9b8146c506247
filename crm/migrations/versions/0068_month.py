"""notifications of the numbers of a month"""

from alembic import op

revision = "0068"
down_revision = "0067"
branch_labels = None
depends_on = None

KINDS = "'assigned','mentioned','reply','review','breach'"
TABLES = ("notification", "notification_choice")


def upgrade():
    for table in TABLES:
        _kinds(table, f"{KINDS},'month'")


def downgrade():
    for table in TABLES:
        op.execute(f"delete from {table} where kind = 'month'")
        _kinds(table, KINDS)


def _kinds(table, kinds):
    name = f"ck_{table}_kind"
    op.drop_constraint(op.f(name), table)
    op.create_check_constraint(op.f(name), table, f"kind in ({kinds})")
