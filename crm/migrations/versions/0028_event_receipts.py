"""events: what was not understood stands on the receipt, failures are counted, refusals count by address"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("webhook_receipt", sa.Column("sealed", sa.Boolean(), nullable=False, server_default="false"))
    op.add_column("webhook_receipt", sa.Column("failures", sa.SmallInteger(), nullable=False, server_default="0"))
    op.add_column("webhook_receipt", sa.Column("unclear", postgresql.JSONB(), nullable=True))
    op.create_index(
        "ix_webhook_receipt_unclear",
        "webhook_receipt",
        ["received_at"],
        postgresql_where=sa.text("unclear is not null"),
    )
    op.add_column("provider_event", sa.Column("address_index", sa.LargeBinary(), nullable=True))
    op.create_index(
        "ix_provider_event_blocked",
        "provider_event",
        ["address_index", "at"],
        postgresql_where=sa.text("kind = 'blocked'"),
    )
    # Refusals so far count for the address that the person has now; none was ever changed before this.
    op.execute("""
        update provider_event e set address_index = c.email_index
        from message m join contact c on c.id = m.contact_id
        where e.message_id = m.id and e.kind = 'blocked' and e.received_at > now() - interval '30 days'
    """)
    # A drop was stored as the event that had once put the address on the provider's list. Circuit breakers count a week.
    op.execute("""
        update provider_event set kind = 'dropped'
        where kind in ('bounced','complained') and received_at > now() - interval '8 days'
            and lower(detail) in ('bounced address','spam reporting address')
    """)


def downgrade():
    op.drop_index("ix_provider_event_blocked", table_name="provider_event")
    op.drop_column("provider_event", "address_index")
    op.drop_index("ix_webhook_receipt_unclear", table_name="webhook_receipt")
    for column in ("unclear", "failures", "sealed"):
        op.drop_column("webhook_receipt", column)
