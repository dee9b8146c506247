"""A copy of what is held about one person: sections of records, for a page and for JSON.

The short copy is for people who prove who they are by their mailbox. The full one is for staff who answer a request for
access after they checked who asks (45 CFR 164.524).
"""

import io
import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import Executable, Text, func, or_, select, type_coerce

from crm.consent import queries as consents
from crm.consent.models import ConsentRecord, Suppression
from crm.consultations.models import Consultation
from crm.contacts.models import Activity, Contact, ContactChange, ContactPhone, Tag
from crm.content.models import ContentVersion
from crm.core.db import db
from crm.leads.documents.models import Document
from crm.leads.models import Call, Lead, Referral, Task
from crm.messages.models import Batch, Message
from crm.portal.models import Attachment, PortalMessage
from crm.privacy import service

Record = Mapping[str, Any]
Copy = Mapping[str, Sequence[Record]]


def short(contact_id: int) -> Copy:
    """Return what a person may see who proved only that they read the mailbox."""
    records = service.records_of(contact_id)
    return {
        "person": _people(
            records, "first_name", "last_name", "preferred_name", "email", "phone", "language", "state"
        ),
        "phones": _rows(
            select(ContactPhone.number, ContactPhone.kind).where(ContactPhone.contact_id.in_(records))
        ),
        "requests": [
            {
                "reference": lead.reference,
                "received": lead.created_at,
                "open": lead.closed_at is None,
                "message": lead.message if lead.kind == "contact_request" else None,
            }
            for lead in _leads(records)
        ],
        **_shared(records),
    }


def full(contact_id: int) -> Copy:
    """Return all that is held about a person."""
    records = service.records_of(contact_id)
    leads = [lead.id for lead in _leads(records)]
    health = (Referral.health, Referral.guardian, Referral.contact_person, Referral.external_id)
    return {
        "person": _people(
            records, "first_name", "last_name", "preferred_name", "email", "phone", "birth_date", "chart_number",
            "guardian", "language", "time_zone", "state", "created_at", "snooze_until", "stop_reason", "stopped_at",
        ),
        "phones": _rows(
            select(ContactPhone.number, ContactPhone.kind).where(ContactPhone.contact_id.in_(records))
        ),
        "tags": _rows(select(Tag.tag, Tag.added_at).where(Tag.contact_id.in_(records))),
        "changes": _rows(
            select(ContactChange.at, ContactChange.field, ContactChange.before, ContactChange.after)
            .where(ContactChange.contact_id.in_(records)).order_by(ContactChange.id)
        ),
        "requests": _rows(
            select(
                Lead.reference, Lead.kind, Lead.stage, Lead.reason, Lead.source, Lead.heard_from, Lead.message,
                Lead.created_at.label("received"), Lead.closed_at,
            ).where(Lead.id.in_(leads)).order_by(Lead.id)
        ),
        "referrals": _rows(
            select(Lead.reference, Referral.urgency, Referral.service, Referral.sent_at, Referral.outcome_sent_at, *health)
            .join(Lead, Lead.id == Referral.lead_id).where(Referral.lead_id.in_(leads)).order_by(Lead.id)
        ),
        "calls": _rows(
            select(Call.at, Call.channel, Call.outcome, Call.note).where(Call.lead_id.in_(leads)).order_by(Call.id)
        ),
        "tasks": _rows(select(Task.title, Task.due_at, Task.done_at).where(Task.lead_id.in_(leads)).order_by(Task.id)),
        "timeline": _rows(
            select(Activity.at, Activity.kind, Activity.text).where(Activity.contact_id.in_(records)).order_by(Activity.at)
        ),
        "practice_messages": _rows(
            select(PortalMessage.at, PortalMessage.from_clinic, PortalMessage.text)
            .where(PortalMessage.lead_id.in_(leads)).order_by(PortalMessage.id)
        ),
        "files": [
            *_rows(select(Attachment.name, Attachment.size, Attachment.at).where(Attachment.lead_id.in_(leads))),
            *_rows(
                select(Document.name, Document.size, Document.at).where(
                    or_(Document.lead_id.in_(leads), Document.contact_id.in_(records)), Document.removed_at.is_(None)
                )
            ),
        ],
        **_shared(records),
    }  # fmt: skip


def _shared(records: Sequence[int]) -> dict[str, Sequence[Record]]:
    leads = [lead.id for lead in _leads(records)]
    return {
        "appointments": _rows(
            select(Consultation.starts_at, Consultation.minutes, Consultation.state)
            .where(Consultation.lead_id.in_(leads)).order_by(Consultation.starts_at)
        ),
        "consent": _rows(
            select(ConsentRecord.at, ConsentRecord.topic, ConsentRecord.action, ConsentRecord.wording, ConsentRecord.source)
            .where(ConsentRecord.contact_id.in_(records)).order_by(ConsentRecord.id)
        ),
        "blocks": _rows(
            select(Suppression.at, Suppression.scope, Suppression.reason, Suppression.lifted_at)
            .where(Suppression.address_index.in_(consents.address_indexes(records))).order_by(Suppression.id)
        ),
        "emails": _rows(
            select(
                Message.created_at.label("at"), ContentVersion.subject,
                func.coalesce(type_coerce(Message.state, Text), type_coerce(Batch.state, Text)).label("state"),
            )
            .join(Batch, Batch.id == Message.batch_id)
            .join(ContentVersion, ContentVersion.id == Message.content_version_id)
            .where(Message.contact_id.in_(records)).order_by(Message.id)
        ),
    }  # fmt: skip


def _leads(records: Iterable[int]) -> Sequence[Lead]:
    return db.session.scalars(select(Lead).where(Lead.contact_id.in_(list(records))).order_by(Lead.id)).all()


def _people(records: Sequence[int], *fields: str) -> list[Record]:
    rows = db.session.scalars(select(Contact).where(Contact.id.in_(records)).order_by(Contact.id))
    return [{field: getattr(row, field) for field in fields} for row in rows]


def _rows(wanted: Executable) -> list[Record]:
    return [dict(row._mapping) for row in db.session.execute(wanted)]


def as_json(copy: Copy) -> str:
    """Return a copy as JSON; times in ISO 8601, UTC."""
    return json.dumps(copy, ensure_ascii=False, indent=2, default=_plain)


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime | date) else str(value)


def as_zip(copy: Copy, *, page: str) -> bytes:
    """Return a ZIP file with a copy as a page and as JSON."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("copy.html", page)
        packed.writestr("copy.json", as_json(copy))
    return file.getvalue()
