"""What a practice may see: its own referrals, and of each the least that is needed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, or_, select

from crm.contacts.models import Contact
from crm.core.db import db
from crm.core.paging import Page, decode, encode
from crm.leads.models import Lead, Referral, StageMove
from crm.referrers.models import Clinician

ROWS = 25


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Which referrals: of a stage, or of open or closed ones; with this reference or number of the practice's own."""

    stage: str = ""
    q: str = ""


def sent_referrals(*, practice_id: int, wanted: Filters, cursor: str | None, initials: bool) -> Page[Any]:
    """Return referrals of a practice, newest first: reference, stage, times, the practice's number, initials if asked."""
    columns: list[Any] = [
        Lead.id, Lead.reference, Lead.stage, Lead.stage_at, Lead.created_at, Referral.external_id, Referral.urgency,
    ]  # fmt: skip
    query = select(*columns).join(Referral, Referral.lead_id == Lead.id)
    if initials:
        name = func.concat(func.left(Contact.first_name, 1), func.left(Contact.last_name, 1))
        query = query.join(Contact, Contact.id == Lead.contact_id).add_columns(name.label("initials"))
    query = query.where(Referral.practice_id == practice_id)
    if wanted.stage == "open":
        query = query.where(Lead.closed_at.is_(None))
    elif wanted.stage:
        query = query.where(Lead.stage == wanted.stage)
    if wanted.q:
        query = query.where(or_(Lead.reference == wanted.q.upper(), Referral.external_id == wanted.q))
    if cursor:
        query = query.where(Referral.lead_id < decode(cursor, [int])[0])
    found = db.session.execute(query.order_by(Referral.lead_id.desc()).limit(ROWS + 1)).all()
    rows = found[:ROWS]
    return Page(rows=rows, next=encode(rows[-1].id) if len(found) > ROWS else None)


def moves_of(lead_id: int) -> Sequence[StageMove]:
    """Return the stages of a referral, the newest first."""
    query = select(StageMove).where(StageMove.lead_id == lead_id).order_by(StageMove.id.desc()).limit(200)
    return db.session.scalars(query).all()


def clinicians_of(practice_id: int) -> Sequence[Clinician]:
    """Return the clinicians of a practice by name."""
    query = select(Clinician).where(Clinician.practice_id == practice_id).order_by(Clinician.name)
    return db.session.scalars(query.limit(200)).all()
