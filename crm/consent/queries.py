"""Reading consent: the one decision as SQL, the same for any past moment, and what staff look at."""

from datetime import datetime

from sqlalchemy import text

from crm.consent.rules import Reason
from crm.db import db

# `rules.decide` for whole sets. Put REFUSAL_JOINS after a FROM that has the contact as `c`; REFUSAL_CASE is then the
# reason as text, or NULL for "may be written to". Parameters: :topic (text or NULL), :transactional (boolean), :now.
# Every join finds at most one row (by primary key, by a unique index), so rows never multiply, and a row costs three
# index look-ups however large the tables are. `cs` is the state of consent for the topic; EVIDENCE is the record that
# a message to this person stands on.
REFUSAL_JOINS = """
    left join consent_state cs on cs.contact_id = c.id and cs.topic = cast(:topic as text)
    left join suppression sup_all on sup_all.address_index = c.email_index and sup_all.scope = 'all'
        and sup_all.lifted_at is null
    left join suppression sup_marketing on sup_marketing.address_index = c.email_index
        and sup_marketing.scope = 'marketing' and sup_marketing.lifted_at is null
"""
REFUSAL_CASE = """(case
    when c.erased_at is not null then 'erased'
    when c.merged_into_id is not null then 'merged'
    when c.email is null or c.email_index is null then 'no_address'
    when c.stop_reason is not null then 'stopped'
    when sup_all.id is not null then 'suppressed'
    when cast(:transactional as boolean) then null
    when sup_marketing.id is not null then 'opted_out'
    when cs.granted is null then 'no_consent'
    when not cs.granted then 'withdrawn'
    when cs.address_index <> c.email_index then 'other_address'
    when c.snooze_until > cast(:now as timestamptz) then 'snoozed'
end)"""
EVIDENCE = "(case when cs.granted then cs.record_id end)"

_REFUSAL = text(f"select {REFUSAL_CASE} from contact c {REFUSAL_JOINS} where c.id = :contact_id")  # noqa: S608 - constants


def refusal(*, contact_id: int, topic: str | None, transactional: bool, now: datetime) -> Reason | None:
    """Return why this one person may not be written to now, or None when they may. Unknown people: ERASED."""
    given = {"contact_id": contact_id, "topic": topic, "transactional": transactional, "now": now}
    found = db.session.execute(_REFUSAL, given).first()
    if found is None:
        return Reason.ERASED
    return Reason(found[0]) if found[0] else None
