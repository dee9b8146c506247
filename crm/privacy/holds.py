"""Legal holds: people whose records may not be deleted."""

from collections.abc import Collection, Sequence

from sqlalchemy import select

from crm.audit import service as audit
from crm.core import clock
from crm.core.db import db
from crm.core.errors import Conflict, Invalid, NotFound
from crm.privacy.models import LegalHold


def of(records: Collection[int]) -> LegalHold | None:
    """Return the hold on a person, given the ids of their records; None if there is none."""
    held = select(LegalHold).where(LegalHold.contact_id.in_(records), LegalHold.lifted_at.is_(None))
    return db.session.scalars(held.limit(1)).first()


def every() -> Sequence[LegalHold]:
    """Return all holds that apply, oldest first."""
    return db.session.scalars(
        select(LegalHold).where(LegalHold.lifted_at.is_(None)).order_by(LegalHold.id)
    ).all()


def place(*, contact_id: int, records: Collection[int], reason: str) -> LegalHold:
    """Forbid to delete anything of a person. Raises Invalid without a reason, Conflict if a hold applies already."""
    if not 3 <= len(reason.strip()) <= 500:
        raise Invalid({"hold_reason": ["Say why, in 3 to 500 characters, such as the number of the case."]})
    if of(records) is not None:
        raise Conflict("A legal hold already applies to this person.")
    hold = LegalHold(
        contact_id=contact_id, reason=reason.strip(), placed_at=clock.now(), placed_by=audit.current().actor
    )
    db.session.add(hold)
    db.session.flush()
    audit.record("legal_hold.place", object_type="contact", object_id=contact_id, detail={"hold": hold.id})
    return hold


def lift(hold_id: int) -> None:
    """End a hold. Raises NotFound, Conflict if it was lifted before."""
    hold = db.session.get(LegalHold, hold_id, with_for_update=True)
    if hold is None:
        raise NotFound("Legal hold not found.")
    if hold.lifted_at is not None:
        raise Conflict("This hold was already lifted.")
    hold.lifted_at, hold.lifted_by = clock.now(), audit.current().actor
    audit.record(
        "legal_hold.lift", object_type="contact", object_id=hold.contact_id, detail={"hold": hold.id}
    )
