"""documents of leads and contacts, and the fax inbox"""

import sqlalchemy as sa
from alembic import op

revision = "0060"
down_revision = "0059"
branch_labels = None
depends_on = None

INBOX = "lead_id is null and contact_id is null and removed_at is null"
MOVED = (
    "old.lead_id is distinct from new.lead_id or old.contact_id is distinct from new.contact_id "
    "or old.removed_at is distinct from new.removed_at"
)
ACTIVE = "coalesce(current_setting('crm.act', true), '') <> ''"


def upgrade():
    op.create_table(
        "document",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("lead_id", sa.BigInteger()),
        sa.Column("contact_id", sa.BigInteger()),
        sa.Column("name", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("fax_key", sa.LargeBinary()),
        sa.Column("scan", sa.Text(), nullable=False, server_default="none"),
        sa.Column("scanned_at", sa.DateTime(timezone=True)),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint("num_nonnulls(lead_id, contact_id) <= 1", name=op.f("ck_document_owner")),
        sa.CheckConstraint("source in ('staff','fax')", name=op.f("ck_document_source")),
        sa.CheckConstraint("scan in ('none','clean','infected')", name=op.f("ck_document_scan")),
        sa.ForeignKeyConstraint(["lead_id"], ["lead.id"], name=op.f("fk_document_lead_id_lead")),
        sa.ForeignKeyConstraint(["contact_id"], ["contact.id"], name=op.f("fk_document_contact_id_contact")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_document")),
    )
    for name, columns, where in (
        ("lead", ["lead_id", "id"], "lead_id is not null"),
        ("contact", ["contact_id", "id"], "contact_id is not null"),
        ("inbox", ["id"], INBOX),
        ("unscanned", ["id"], "scan = 'none' and removed_at is null"),
        ("removed", ["removed_at"], "removed_at is not null"),
    ):
        op.create_index(f"ix_document_{name}", "document", columns, postgresql_where=sa.text(where))
    op.create_index(
        "uq_document_fax", "document", ["fax_key"], unique=True, postgresql_where=sa.text("fax_key is not null")
    )
    op.create_table(
        "document_content",
        sa.Column("document_id", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["document_id"],
            ["document.id"],
            name=op.f("fk_document_content_document_id_document"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("document_id", name=op.f("pk_document_content")),
    )
    op.execute("alter table document_content alter column content set storage external")
    op.execute(
        f"create trigger note_act after update on document for each row when (({MOVED}) and {ACTIVE}) "
        "execute function note_act_change('id')"
    )


def downgrade():
    op.drop_table("document_content")
    op.drop_table("document")
