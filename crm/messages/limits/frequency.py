"""The frequency cap: which emails of the last days count against it. One rule for claim, planner and preflight.

An email counts from when it was sent, or as of now while it waits to be sent; one that never was sent does not count.
"""

from crm.messages.rules import LONGEST_WAIT

NEVER_SENT = "('skipped', 'failed', 'cancelled', 'blocked_policy')"  # states of a message, or of its batch


def may_have_reached(message: str, batch: str) -> str:
    """Return the SQL for "this email was sent, may have been, or will be", by the aliases of both rows."""
    return f"coalesce({message}.state, {batch}.state) not in {NEVER_SENT}"


# Rows of `message r` and their batch `rb` that count for one person; parameters :now and :week (now less seven days).
SENT_AT = """
    (case when rb.state in ('ready', 'held', 'sending') then cast(:now as timestamptz)
        else greatest(r.created_at, rb.state_at) end)
"""


def recent(contact: str) -> str:
    """Return the FROM and WHERE of the emails of the last seven days to a person, given as an SQL expression.

    `created_at` bounds what is read: no educational email waits longer than LONGEST_WAIT before it is too late.
    """
    return f"""
        from message r join batch rb on rb.id = r.batch_id
        where r.contact_id = {contact}
            and r.created_at > cast(:week as timestamptz) - interval '{LONGEST_WAIT.total_seconds():.0f} seconds'
            and (r.enrolment_id is not null or r.campaign_id is not null)
            and {may_have_reached("r", "rb")} and {SENT_AT} > cast(:week as timestamptz)
    """


def is_capped(contact: str, *, but: str = "") -> str:
    """Return the SQL for "the cap of :cap emails in seven days is reached", `but` leaving messages out."""
    return f"((select count(*) from (select 1 {recent(contact)} {but} limit cast(:cap as int)) counted) >= cast(:cap as int))"
