"""lists of open leads: indexes that hold all that leads are chosen by"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

OPEN, DUE = sa.text("closed_at is null"), sa.text("due_at is not null and closed_at is null")
HELD = ["kind", "stage", "source", "owner_id"]


def _make(name, *columns, include=None, where=OPEN):
    op.create_index(f"ix_lead_{name}", "lead", columns, postgresql_include=include, postgresql_where=where)


def upgrade():
    for name in ("open_newest", "due"):
        op.drop_index(f"ix_lead_{name}", "lead")
    _make("open_newest", "created_at", "id", include=HELD)
    _make("due", "due_at", "id", include=[*HELD, "contact_id", "last_attempt_at"], where=DUE)
    _make("owner_open", "owner_id", "stage_at", "id")


def downgrade():
    for name in ("open_newest", "due", "owner_open"):
        op.drop_index(f"ix_lead_{name}", "lead")
    _make("open_newest", "created_at", "id")
    _make("due", "due_at", "id", where=DUE)
