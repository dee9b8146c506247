"""lists and searches that stay as quick with a million people: indexes that hold the order they are shown in"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

LAST, FIRST = sa.text('lower(last_name) collate "C"'), sa.text('lower(first_name) collate "C"')
OLD = {"last_name_lower": "lower(last_name)", "first_name_lower": "lower(first_name)", "email_pattern": "email"}


def upgrade():
    for name in OLD:
        op.drop_index(f"ix_contact_{name}", "contact")
    op.create_index("ix_contact_last_first", "contact", [LAST, FIRST, "id"])
    op.create_index("ix_contact_first_last", "contact", [FIRST, LAST, "id"])
    op.create_index("ix_contact_email_c", "contact", [sa.text('email collate "C"')])
    op.create_index("ix_lead_kind_newest", "lead", ["kind", "created_at", "id"])
    op.create_index("ix_lead_source_newest", "lead", ["source", "created_at", "id"])
    op.create_index(
        "ix_lead_open_newest", "lead", ["created_at", "id"], postgresql_where=sa.text("closed_at is null")
    )


def downgrade():
    for name in ("open", "source", "kind"):
        op.drop_index(f"ix_lead_{name}_newest", "lead")
    for name in ("email_c", "first_last", "last_first"):
        op.drop_index(f"ix_contact_{name}", "contact")
    for name, column in OLD.items():
        op.create_index(f"ix_contact_{name}", "contact", [sa.text(f"{column} text_pattern_ops")])
