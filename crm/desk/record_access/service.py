"""Emergency access: a role without clinical rights opens one record for an hour, with a reason, an alert and a notice.

45 CFR 164.312(a)(2)(ii) asks for a way to get at what is needed in an emergency.
"""

from collections.abc import Mapping
from datetime import timedelta

from sqlalchemy import select

from crm.audit import service as audit
from crm.core import clock
from crm.core.db import db
from crm.core.errors import Invalid
from crm.desk.models import EmergencyAccess
from crm.leads.models import Lead
from crm.staff import alerts
from crm.staff.models import User
from crm.staff.sign_in import notices

LASTS = timedelta(hours=1)
SHORTEST, LONGEST = 10, 500  # characters of the explanation
REASONS: Mapping[str, str] = {
    "medical": "Medical emergency",
    "safety": "Safety of this person or another",
    "nobody": "Nobody with access can be reached",
}


def open_record(*, user: User, lead: Lead, reason: str, text: str) -> None:
    """Open the clinical details of one person to one member of staff, for an hour. Raises Invalid."""
    wrong = {}
    if reason not in REASONS:
        wrong["reason"] = ["Choose a reason."]
    if not SHORTEST <= len(text.strip()) <= LONGEST:
        wrong["text"] = [f"Explain in {SHORTEST} to {LONGEST} characters."]
    if wrong:
        raise Invalid(wrong)
    now = clock.now()
    row = EmergencyAccess(
        user_id=user.id,
        contact_id=lead.contact_id,
        reason=reason,
        text=text.strip(),
        opened_at=now,
        ends_at=now + LASTS,
    )
    db.session.add(row)
    db.session.flush()
    audit.record(
        "contact.emergency",
        object_type="contact",
        object_id=lead.contact_id,
        purpose=reason,
        detail={"id": row.id},
    )
    alerts.raise_alert(
        key=f"emergency:{row.id}",
        level="danger",
        text=f"{user.name} opened the clinical details of {lead.reference} as an emergency. Check the reason.",
        link=f"/console/records/{lead.reference}/viewers",
    )
    notices.tell_owner(user.id, "emergency")


def is_open(*, user_id: int, contact_id: int) -> bool:
    """Tell whether this member of staff has opened this person's record as an emergency within the last hour."""
    mine = select(EmergencyAccess.id).where(
        EmergencyAccess.user_id == user_id,
        EmergencyAccess.contact_id == contact_id,
        EmergencyAccess.ends_at > clock.now(),
    )
    return db.session.scalar(mine.limit(1)) is not None


def openings(contact_id: int) -> list[EmergencyAccess]:
    """Return who opened a person's record as an emergency, the latest first."""
    query = select(EmergencyAccess).where(EmergencyAccess.contact_id == contact_id)
    return list(db.session.scalars(query.order_by(EmergencyAccess.id.desc()).limit(50)))
