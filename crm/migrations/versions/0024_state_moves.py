"""states move only as the tables of allowed moves say: batches, messages, campaigns"""

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

BATCH = {
    "ready": "sending held failed cancelled",
    "held": "ready cancelled",
    "sending": "accepted ready failed uncertain",
    "uncertain": "accepted ready failed",
    "failed": "ready cancelled",
}
# Only for an attempt that gives its number back: the claim found that there is no call to make.
BATCH_WITHOUT_CALL = {"sending": "held cancelled"}
CAMPAIGN = {
    "draft": "scheduled cancelled",
    "scheduled": "freezing cancelled",
    "freezing": "sending paused cancelled",
    "sending": "paused finished cancelled",
    "paused": "freezing sending cancelled",
}
EVENTS = "processed deferred delivered blocked dropped bounced unsubscribed complained".split()
MESSAGE = {
    "": " ".join(["skipped", "failed", *EVENTS]),  # the batch spoke for it
    "skipped": " ".join(EVENTS),
    "failed": " ".join(EVENTS),
    "blocked_policy": " ".join(EVENTS),
} | {state: " ".join(EVENTS[rank + 1 :]) for rank, state in enumerate(EVENTS[:-1])}


def _moves(table):
    pairs = (f"'{old}>{new}'" for old, targets in table.items() for new in targets.split())
    return f"array[{', '.join(pairs)}]"


MOVE = "(coalesce(old.state, '') || '>' || coalesce(new.state, ''))"


def _guard(table, allowed, exception="false"):
    # The whole check is in the condition, so an allowed move does not call the function; and `after`, because a trigger
    # before an update locks each row once more.
    op.execute(f"""
        create trigger {table}_moves after update of state on {table} for each row
        when (old.state is distinct from new.state and {MOVE} <> all ({allowed}) and not ({exception}))
        execute function refuse_move()
    """)


def upgrade():
    op.execute("""
        create function refuse_move() returns trigger language plpgsql as $$
        begin
            raise exception '% % cannot move from % to %', tg_table_name, old.id, old.state, new.state
                using errcode = 'check_violation';
        end $$
    """)
    without_call = f"new.attempts < old.attempts and {MOVE} = any ({_moves(BATCH_WITHOUT_CALL)})"
    _guard("batch", _moves(BATCH), exception=without_call)
    _guard("message", _moves(MESSAGE))
    _guard("campaign", _moves(CAMPAIGN))


def downgrade():
    for table in ("batch", "message", "campaign"):
        op.execute(f"drop trigger {table}_moves on {table}")
    op.execute("drop function refuse_move()")
