"""Once a day: which referrals of a practice moved, told to its people with reference numbers and states only."""

from datetime import timedelta

from sqlalchemy import select

from crm.core import clock, events
from crm.core.db import db
from crm.leads.models import Lead, Referral, StageMove
from crm.portal.events import ReferralsChanged
from crm.referrers.models import PortalPerson, PortalState

EVERY = timedelta(hours=24)
MOST = 500  # people told in one run; the next run tells the others


def publish_changes() -> int:
    """Publish the changes of the last day for each portal user who is due; return how many got one.

    Moves that the practice itself made by sending the referral are no news.
    """
    now, told = clock.now(), 0
    due = db.session.scalars(
        select(PortalPerson)
        .where(
            PortalPerson.state == PortalState.OPEN,
            (PortalPerson.digest_at.is_(None)) | (PortalPerson.digest_at <= now - EVERY),
        )
        .order_by(PortalPerson.digest_at.nulls_first(), PortalPerson.id)
        .limit(MOST)
        .with_for_update(skip_locked=True, of=PortalPerson)
    ).all()
    for person in due:
        since = person.digest_at or person.created_at
        person.digest_at = now
        changes = _moved(person.practice_id, since)
        if changes:
            events.publish(
                ReferralsChanged(contact_id=person.contact_id, language=person.language, changes=changes)
            )
            told += 1
    return told


def _moved(practice_id: int, since: object) -> tuple[tuple[str, str], ...]:
    rows = db.session.execute(
        select(Lead.reference, Lead.stage, Lead.id)
        .join(Referral, Referral.lead_id == Lead.id)
        .where(
            Referral.practice_id == practice_id,
            Lead.stage_at > since,
            Lead.id.in_(
                select(StageMove.lead_id).where(StageMove.lead_id == Lead.id, StageMove.was.is_not(None))
            ),
        )
        .order_by(Lead.id.desc())
        .limit(200)
    ).all()
    return tuple((row.reference, row.stage) for row in rows)
