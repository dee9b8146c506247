"""Reading leads."""

from sqlalchemy import or_, select

from crm.db import db
from crm.errors import NotFound
from crm.leads.models import Lead, Referral, StageMove


def sent_by(*, reference: str, actor: str, practice_id: int | None) -> Lead:
    """Return the lead with this reference if `actor` sent it or `practice_id` referred it. Raises NotFound."""
    by_actor = (
        select(StageMove.id)
        .where(StageMove.lead_id == Lead.id, StageMove.was.is_(None), StageMove.actor == actor)
        .exists()
    )
    by_practice = (
        select(Referral.lead_id)
        .where(Referral.lead_id == Lead.id, Referral.practice_id == practice_id)
        .exists()
    )
    allowed = by_actor if practice_id is None else or_(by_actor, by_practice)
    lead = db.session.scalar(select(Lead).where(Lead.reference == reference.upper(), allowed))
    if lead is None:
        raise NotFound("There is no lead with this reference that this key sent.")
    return lead
