"""Queries: who viewed the record of a person, for the person who asks."""

from sqlalchemy import and_, or_, select

from crm.audit.models import AuditEntry
from crm.core.paging import Page, keyset
from crm.desk.record_access.viewer_texts import ACTIONS
from crm.leads.models import Lead


def viewers(contact_id: int, *, cursor: str | None = None, limit: int = 200) -> Page[AuditEntry]:
    """Return the entries of the audit log that say who viewed a person's records, newest first."""
    leads = select(Lead.id).where(Lead.contact_id == contact_id)
    found = select(AuditEntry).where(
        or_(
            and_(AuditEntry.object_type == "contact", AuditEntry.object_id == contact_id),
            and_(AuditEntry.object_type == "lead", AuditEntry.object_id.in_(leads)),
        ),
        AuditEntry.action.in_(ACTIONS),
    )
    return keyset(found, by=(AuditEntry.id,), cursor=cursor, limit=limit, kinds=(int,))
