"""referrers: people of practices, links to sign in with; leads: drafts, attachments and messages of the portal"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def _id():
    return sa.Column("id", sa.BigInteger(), sa.Identity(always=False), primary_key=True)


def _at(name, nullable=False):
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _to(name, target, **options):
    return sa.Column(name, sa.BigInteger(), sa.ForeignKey(target), **{"nullable": False, **options})


def _text(name, **options):
    return sa.Column(name, sa.Text(), **{"nullable": False, **options})


def _sealed(name):
    return sa.Column(name, sa.LargeBinary(), nullable=False)


def upgrade():
    op.add_column(
        "practice", sa.Column("show_initials", sa.Boolean(), server_default="false", nullable=False)
    )
    op.create_table(
        "portal_person",
        _id(),
        _to("practice_id", "practice.id", index=True),
        _to("contact_id", "contact.id"),
        _text("name"),
        _text("email"),
        _text("language", server_default="en"),
        _text("state"),
        sa.Column("serial", sa.BigInteger(), server_default="0", nullable=False),
        _at("created_at"),
        _at("approved_at", nullable=True),
        _at("last_seen_at", nullable=True),
        _at("digest_at", nullable=True),
        sa.UniqueConstraint("email"),
        sa.CheckConstraint("state in ('asked','open','closed')", name="state"),
    )
    op.create_table(
        "portal_link",
        _id(),
        _to("person_id", "portal_person.id", index=True),
        _at("made_at"),
        _at("expires_at"),
        _at("used_at", nullable=True),
    )
    op.create_table(
        "portal_submission",
        _to("lead_id", "lead.id", primary_key=True),
        _to("person_id", "portal_person.id"),
        _text("informed"),
        _sealed("informed_hash"),
        _at("at"),
    )
    op.create_table(
        "referral_draft",
        _to("person_id", "portal_person.id", primary_key=True),
        _sealed("answers"),
        _at("saved_at"),
        _at("expires_at"),
    )
    op.create_table(
        "referral_attachment",
        _id(),
        _to("lead_id", "lead.id"),
        _sealed("name"),
        _text("kind"),
        sa.Column("size", sa.BigInteger(), nullable=False),
        _sealed("content"),
        _text("actor"),
        _at("at"),
        sa.Index("ix_referral_attachment_lead", "lead_id", "id"),
    )
    op.create_table(
        "portal_message",
        _id(),
        _to("lead_id", "lead.id"),
        sa.Column("from_clinic", sa.Boolean(), nullable=False),
        _text("actor"),
        _sealed("text"),
        _at("at"),
        sa.Index("ix_portal_message_lead", "lead_id", "id"),
    )


def downgrade():
    for table in (
        "portal_message", "referral_attachment", "referral_draft", "portal_submission", "portal_link", "portal_person",
    ):  # fmt: skip
        op.drop_table(table)
    op.drop_column("practice", "show_initials")
