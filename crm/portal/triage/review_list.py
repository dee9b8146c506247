"""The review list: referrals that wait for a decision, urgent ones first, then new ones, the oldest first."""

from collections.abc import Sequence

from sqlalchemy import Select, func, select, text

from crm.core import clock
from crm.core.db import db
from crm.desk.models import CallClaim
from crm.leads import index_scan
from crm.leads.models import TO_REVIEW, Lead

LOOKED_AT = 100
ORDER = (
    Lead.urgent.desc(),
    Lead.stage.desc(),
    Lead.created_at,
    Lead.id,
)  # as the index; "received" > "in_review"
WAITS = text(TO_REVIEW)  # literally, so that PostgreSQL knows that the partial index fits


def load_waiting(*, me: int, limit: int = LOOKED_AT) -> Sequence[Lead]:
    """Return the first referrals that `me` can decide on; those that another staff member has are left out."""
    theirs = select(CallClaim.lead_id).where(CallClaim.until > clock.now(), CallClaim.user_id != me)
    ids = _waiting(limit + LOOKED_AT).subquery()
    free = select(ids.c.id).where(ids.c.id.not_in(theirs))
    return index_scan.load_leads(free, *ORDER)[:limit]


def count_waiting() -> int:
    """Return how many referrals wait, up to LOOKED_AT."""
    rows = _waiting(LOOKED_AT).subquery()
    return db.session.scalar(select(func.count()).select_from(rows)) or 0


def _waiting(limit: int) -> Select[int]:
    return select(Lead.id).where(WAITS).order_by(*ORDER).limit(limit)
