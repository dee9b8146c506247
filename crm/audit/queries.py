"""Queries of the audit log."""

from datetime import datetime

from sqlalchemy import select

from crm.audit.models import AuditEntry
from crm.core.paging import Page, keyset


def entries(
    *,
    actor: str | None = None,
    action: str | None = None,
    object_type: str | None = None,
    object_id: int | None = None,
    since: datetime | None = None,
    before: datetime | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[AuditEntry]:
    """Return entries, newest first. `action` is a whole action, or all of one kind with a dot at the end ("lead.")."""
    found = select(AuditEntry)
    if actor:
        found = found.where(AuditEntry.actor == actor)
    if action:
        whole = not action.endswith(".")
        found = found.where(
            AuditEntry.action == action if whole else AuditEntry.action.startswith(action, autoescape=True)
        )
    if object_type:
        found = found.where(AuditEntry.object_type == object_type)
    if object_id is not None:
        found = found.where(AuditEntry.object_id == object_id)
    if since:
        found = found.where(AuditEntry.at >= since)
    if before:
        found = found.where(AuditEntry.at < before)
    return keyset(found, by=(AuditEntry.id,), cursor=cursor, limit=limit, kinds=(int,))
