"""roll-ups of reports"""

import sqlalchemy as sa
from alembic import op

revision = "0045"
down_revision = "0044"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade():
    op.create_table(
        "report_lead",
        sa.Column("lead_id", sa.BigInteger, sa.ForeignKey("lead.id", ondelete="CASCADE", name="fk_report_lead_lead_id_lead"), nullable=False),
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("hour", sa.SmallInteger, nullable=False),
        sa.Column("weekday", sa.SmallInteger, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("campaign", sa.Text, nullable=False),
        sa.Column("practice_id", sa.BigInteger),
        sa.Column("owner_id", sa.BigInteger),
        sa.Column("language", sa.Text, nullable=False),
        sa.Column("state", sa.Text),
        sa.Column("step", sa.SmallInteger, nullable=False),
        sa.Column("stage", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("closed", sa.Boolean, nullable=False),
        sa.Column("stage_at", MOMENT, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("minutes_to_touch", sa.Integer),
        sa.Column("late", sa.Boolean, nullable=False),
        sa.Column("hours_to_booked", sa.Integer),
        sa.Column("hours_to_attended", sa.Integer),
        sa.PrimaryKeyConstraint("lead_id", name="pk_report_lead"),
    )
    op.create_index("ix_report_lead_day", "report_lead", ["day", "lead_id"])
    op.create_table(
        "report_email",
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("sequence_id", "step", "campaign_id", "item_id")),
        sa.Column("language", sa.Text, nullable=False),
        *(
            sa.Column(name, sa.BigInteger, nullable=False)
            for name in ("sent", "delivered", "bounced", "refused", "complained", "opted_out", "left_out")
        ),
        sa.PrimaryKeyConstraint(
            "day", "kind", "sequence_id", "step", "campaign_id", "item_id", "language", name="pk_report_email"
        ),
    )
    op.create_table(
        "report_consent",
        sa.Column("day", sa.Date, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("action", "wording", "source", "language")),
        sa.Column("people", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("day", "action", "wording", "source", "language", name="pk_report_consent"),
    )
    op.create_table(
        "report_day",
        sa.Column("report", sa.Text, nullable=False),
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("counted_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("report", "day", name="pk_report_day"),
    )
    op.create_index(
        "ix_consent_record_stopped_by",
        "consent_record",
        ["message_id"],
        postgresql_where=sa.text("action = 'withdrawn' and message_id is not null"),
    )
    op.create_index("ix_consent_record_at", "consent_record", ["at"], postgresql_using="brin")


def downgrade():
    op.drop_index("ix_consent_record_at", "consent_record")
    op.drop_index("ix_consent_record_stopped_by", "consent_record")
    for table in ("report_day", "report_consent", "report_email", "report_lead"):
        op.drop_table(table)
