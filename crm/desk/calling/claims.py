"""Claims: the lead that a staff member is calling or reviewing now is given to no one else, until the claim ends."""

from collections.abc import Collection
from datetime import timedelta

from sqlalchemy import ColumnElement, TextClause, delete, or_, select
from sqlalchemy.dialects.postgresql import insert

from crm.audit import service as audit
from crm.core import clock
from crm.core.db import db
from crm.desk.calling import call_list
from crm.desk.calling.call_list import CallPlace
from crm.desk.models import CallClaim, Work
from crm.leads.models import Lead

CLAIM_FOR = timedelta(minutes=15)
LOOKED_AT = 100  # leads of the list, of which those that others are calling or that were skipped are passed


def claim_of(user_id: int, *, work: Work = Work.CALL) -> CallClaim | None:
    """Return the claim of a staff member for this work that has not ended."""
    rows = select(CallClaim).where(
        CallClaim.user_id == user_id, CallClaim.work == work, CallClaim.until > clock.now()
    )
    return db.session.scalar(rows)


def claim_next(*, user_id: int, skipped: Collection[int] = ()) -> CallPlace | None:
    """Claim the first lead of the calling list that no one else is calling; an earlier claim of the user ends.

    A lead that another transaction is claiming at this moment is passed, not waited for.
    """
    release(user_id)
    for place in call_list.load_calls(me=user_id, limit=LOOKED_AT).rows:
        if place.lead.id not in skipped and claim(place.lead.id, user_id=user_id):
            audit.record("call.claim", object_type="lead", object_id=place.lead.id)
            return place
    return None


def claim(
    lead_id: int,
    *,
    user_id: int,
    work: Work = Work.CALL,
    still: Collection[ColumnElement[bool] | TextClause] = (),
) -> bool:
    """Claim an open lead for a staff member.

    Return False if another one has it or is taking it at this moment, or the lead is not `still` what it was.
    """
    free = select(Lead.id).where(Lead.id == lead_id, Lead.closed_at.is_(None), *still)
    if db.session.scalar(free.with_for_update(skip_locked=True, of=Lead)) is None:
        return False
    now = clock.now()
    values = {"user_id": user_id, "work": work, "claimed_at": now, "until": now + CLAIM_FOR}
    row = insert(CallClaim).values(lead_id=lead_id, **values)
    ended = or_(CallClaim.until <= now, CallClaim.user_id == user_id)
    made = row.on_conflict_do_update(index_elements=["lead_id"], set_=values, where=ended)
    return db.session.scalar(made.returning(CallClaim.lead_id)) is not None


def release(user_id: int) -> None:
    """End the claim of a staff member."""
    db.session.execute(delete(CallClaim).where(CallClaim.user_id == user_id))
