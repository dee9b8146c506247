"""sending: pace per mailbox provider, breakers that a person resets, lists compared with the provider's, alerts by email"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("sending_control", sa.Column("domain_caps", postgresql.JSONB(), nullable=True))
    op.create_table(
        "breaker_reset",
        sa.Column("scope", sa.Text(), primary_key=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
    )
    # Bounces and complaints are a handful among millions of events, and the breakers look at them every minute.
    op.create_index(
        "ix_provider_event_grave",
        "provider_event",
        ["received_at", "message_id"],
        postgresql_where=sa.text("kind in ('bounced','complained')"),
    )
    op.create_table(
        "reconciliation",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), primary_key=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("seen", postgresql.JSONB(), nullable=True),
        sa.Column("added", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("pushed", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("lifted", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("error", sa.Text(), nullable=True),
    )
    op.add_column(
        "user", sa.Column("alert_emails", sa.Boolean(), nullable=False, server_default=sa.text("false"))
    )


def downgrade():
    op.drop_column("user", "alert_emails")
    op.drop_table("reconciliation")
    op.drop_index("ix_provider_event_grave", table_name="provider_event")
    op.drop_table("breaker_reset")
    op.drop_column("sending_control", "domain_caps")
