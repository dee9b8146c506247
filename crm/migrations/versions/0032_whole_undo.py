"""undo of merges: what it changes is kept, each act has its own last moment, and evidence says that a merge was undone

An undo may give a skipped email back to its batch while that waits. The state of a topic comes from decisions about that topic only; evidence about all topics ("*") has no state of its own.
"""

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

ACTIONS = "'attested','requested','granted','withdrawn','merged','snoozed'"
EVENTS = "processed deferred delivered blocked dropped bounced unsubscribed complained".split()
MESSAGE_MOVES = [
    *(f">{state}" for state in ("skipped", "failed", *EVENTS)),
    *(f"{old}>{state}" for old in ("skipped", "failed", "blocked_policy") for state in EVENTS),
    *(f"{old}>{new}" for rank, old in enumerate(EVENTS) for new in EVENTS[rank + 1 :]),
]
UNDONE = "old.state = 'skipped' and new.state is null and coalesce(current_setting('crm.undo', true), '') <> ''"
ACTIVE = "coalesce(current_setting('crm.act', true), '') <> ''"


def _guard_message(exception):
    op.execute("drop trigger message_moves on message")
    allowed = ", ".join(f"'{move}'" for move in MESSAGE_MOVES)
    op.execute(f"""
        create trigger message_moves after update of state on message for each row
        when (old.state is distinct from new.state
            and (coalesce(old.state, '') || '>' || coalesce(new.state, '')) <> all (array[{allowed}])
            and not ({exception}))
        execute function refuse_move()
    """)


def upgrade():
    _guard_message(UNDONE)
    op.add_column(
        "staff_act",
        sa.Column(
            "undo_until",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default=sa.text("now() + interval '1 hour'"),
        ),
    )
    op.execute("update staff_act set undo_until = at + interval '1 hour'")
    op.create_index("ix_staff_act_undo_until", "staff_act", ["undo_until"])
    op.drop_index("ix_staff_act_at", "staff_act")
    op.add_column("contact_merge", sa.Column("act_id", sa.BigInteger()))
    op.alter_column("contact_merge", "moved", nullable=True)
    op.drop_constraint(op.f("ck_consent_record_action"), "consent_record")
    op.create_check_constraint(
        op.f("ck_consent_record_action"), "consent_record", f"action in ({ACTIONS},'unmerged')"
    )
    op.execute("delete from consent_state where topic = '*'")
    op.execute(
        f"create trigger note_act after insert or update or delete on consent_state for each row when ({ACTIVE}) "
        "execute function note_act_change('contact_id,topic')"
    )
    op.execute(
        "create trigger note_act after update on activity for each row "
        f"when (old.contact_id <> new.contact_id and {ACTIVE}) execute function note_act_change('id')"
    )


def downgrade():
    _guard_message("false")
    for table in ("activity", "consent_state"):
        op.execute(f"drop trigger note_act on {table}")
    op.drop_constraint(op.f("ck_consent_record_action"), "consent_record")
    op.create_check_constraint(op.f("ck_consent_record_action"), "consent_record", f"action in ({ACTIONS})")
    op.alter_column("contact_merge", "moved", nullable=False)
    op.drop_column("contact_merge", "act_id")
    op.create_index("ix_staff_act_at", "staff_act", ["at"])
    op.drop_index("ix_staff_act_undo_until", "staff_act")
    op.drop_column("staff_act", "undo_until")
