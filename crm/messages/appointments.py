"""Appointment emails: each says when a lead's consultation is, or that there is none. It leaves only while that holds.

Features below this one store the consultations, so their table is read here by name.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import text

from crm.core import clock
from crm.core.db import db

OUT_OF_DATE_REASON = "out_of_date"
OUT_OF_DATE = """
    (m.params is not null and m.params ? 'appointment' and cast(m.params->'appointment'->>'at' as timestamptz) is distinct from (
        select max(a.starts_at) from consultation a
        where a.lead_id = cast(m.params->'appointment'->>'lead_id' as bigint) and a.state = 'booked'
            and a.starts_at > cast(:now as timestamptz)))
"""
_OF_LEAD = "m.contact_id = :contact and cast(m.params->'appointment'->>'lead_id' as bigint) = :lead"
_SKIP = f"""
    update message m set state = 'skipped', reason = :reason, state_at = :now
    from batch b
    where b.id = m.batch_id and b.state in ('ready', 'held', 'failed') and m.state is null and {_OF_LEAD}
"""
_SKIP_EARLIER = text(f"{_SKIP} and m.id < :before")
_SKIP_OUT_OF_DATE = text(f"{_SKIP} and {OUT_OF_DATE}")
_SAID = text(f"""
    select coalesce(m.state, b.state) as state, not {OUT_OF_DATE} as holds
    from message m join batch b on b.id = m.batch_id where {_OF_LEAD} order by m.id desc
""")
_WAITS = frozenset({"ready", "held"})
_LEFT_OUT = frozenset({"skipped", "cancelled"})
_NOT_SENT = _LEFT_OUT | {"failed", "blocked_policy"}


def params(*, lead_id: int, starts_at: datetime, is_booked: bool) -> Mapping[str, Any]:
    """Return the params of an appointment email: the time it shows, and what must hold when it leaves."""
    shown = starts_at.isoformat()
    return {
        "moments": {"appointment_time": shown},
        "appointment": {"lead_id": lead_id, "at": shown if is_booked else None},
    }


def skip_earlier(*, message_id: int, lead_id: int, contact_id: int) -> None:
    """Skip the appointment emails of a lead that wait since before this one."""
    db.session.execute(_SKIP_EARLIER, _given(lead_id, contact_id) | {"before": message_id})


def skip_out_of_date(*, lead_id: int, contact_id: int, is_booked: bool) -> bool:
    """Skip the waiting appointment emails of a lead that do not hold any more; return whether another one must say
    what holds, because the last one that left says something else, or because none is left to say it.
    """
    given = _given(lead_id, contact_id)
    db.session.execute(_SKIP_OUT_OF_DATE, given)
    rows = db.session.execute(_SAID, given).all()
    if any(row.state in _WAITS for row in rows):
        return False
    left = [row for row in rows if row.state not in _NOT_SENT]
    if left:
        return not left[0].holds
    return is_booked and any(row.holds and row.state in _LEFT_OUT for row in rows)


def _given(lead_id: int, contact_id: int) -> dict[str, Any]:
    return {"lead": lead_id, "contact": contact_id, "now": clock.now(), "reason": OUT_OF_DATE_REASON}
