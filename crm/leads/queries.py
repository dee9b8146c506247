"""Lead queries."""

import re
from collections.abc import Sequence

from sqlalchemy import CompoundSelect, or_, select

from crm.contacts import queries as people
from crm.core.db import db
from crm.core.errors import NotFound
from crm.leads import rules
from crm.leads.models import Lead, Referral, StageMove


def lead_sent_by(*, reference: str, actor: str, practice_id: int | None) -> Lead:
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
        raise NotFound("Lead not found, or not sent with this key.")
    return lead


_REFERENCE = re.compile(rf"[CR]-?[{rules.ALPHABET}]{{6}}")


def matching_people(text: str, *, limit: int) -> Sequence[int] | CompoundSelect[int]:
    """Return the ids of people who match a lead's reference, a name, an address or a number, or a select of them."""
    found = _by_reference(text)
    if found is not None:
        return [found.contact_id]
    ids = people.matching_ids(text, limit=limit)
    return [] if ids is None else ids


def _by_reference(text: str) -> Lead | None:
    typed = text.strip().upper()
    if not _REFERENCE.fullmatch(typed):
        return None
    reference = typed if "-" in typed else f"{typed[0]}-{typed[1:]}"
    return db.session.scalar(select(Lead).where(Lead.reference == reference))
