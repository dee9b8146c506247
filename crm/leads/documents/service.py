"""Documents: add to a lead or contact, read, attach a fax, remove; encrypted at rest, each reading in the audit log."""

import hashlib
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import delete, or_, select, text
from sqlalchemy.dialects.postgresql import insert

from crm.audit import service as audit
from crm.contacts import service as contacts
from crm.contacts.models import Contact
from crm.core import clock, crypto, file_types
from crm.core.db import db
from crm.core.errors import Conflict, Invalid, NotFound
from crm.leads import service as leads
from crm.leads.documents.models import INBOX, Document, DocumentContent, Scan
from crm.leads.models import Lead

MOST = 50  # of one lead or contact
SHOWN = 100
KEPT_REMOVED = timedelta(days=30)
PROBLEMS = {
    "empty": "The file is empty.",
    "big": "The file is larger than 10 MB.",
    "kind": "The file is not a PDF, JPEG or PNG file.",
    "name": "The name does not fit what is in the file. Give it the right ending.",
}


def add(*, name: str, content: bytes, lead_id: int | None = None, contact_id: int | None = None) -> Document:
    """Keep a file of staff with a lead or a contact. Raises Invalid, NotFound."""
    if (code := file_types.file_problem(name=name, content=content)) is not None:
        raise Invalid({"file": [PROBLEMS[code]]})
    person_id = leads.get(lead_id).contact_id if lead_id is not None else contacts.get(contact_id or 0).id
    kept = _of(Document.lead_id == lead_id if lead_id is not None else Document.contact_id == contact_id)
    if len(kept) >= MOST:
        raise Invalid({"file": [f"At most {MOST} files can be kept here. Remove one first."]})
    row = _new(name=name, content=content, source="staff")
    row.lead_id, row.contact_id = lead_id, contact_id
    db.session.add(row)
    db.session.flush()
    db.session.add(DocumentContent(document_id=row.id, content=crypto.encrypt(content)))
    _record("added", row, person_id)
    return row


def _new(*, name: str, content: bytes, source: str) -> Document:
    return Document(
        name=file_types.safe_name(name),
        kind=file_types.kind_of(content) or "",
        size=len(content),
        source=source,
        actor=audit.current().actor,
        at=clock.now(),
    )


def take_fax(*, name: str, content: bytes) -> bool:
    """Put a fax into the inbox; return False if it was taken in before. Raises Invalid."""
    if (code := file_types.file_problem(name=name, content=content)) is not None:
        raise Invalid({"file": [PROBLEMS[code]]})
    row = _new(name=name, content=content, source="fax")
    columns = ("name", "kind", "size", "source", "actor", "at")
    values = {column: getattr(row, column) for column in columns}
    key = crypto.blind_index("fax", f"{name}:{hashlib.sha256(content).hexdigest()}")
    made = insert(Document).values(fax_key=key, **values).on_conflict_do_nothing().returning(Document.id)
    document_id = db.session.scalar(made)
    if document_id is None:
        return False
    db.session.add(DocumentContent(document_id=document_id, content=crypto.encrypt(content)))
    audit.record("document.fax", object_type="document", object_id=document_id)
    return True


def documents_of(lead: Lead) -> Sequence[Document]:
    """Return the files of a lead and those of its person, newest first."""
    return _of(or_(Document.lead_id == lead.id, Document.contact_id == lead.contact_id))


def documents_of_contact(contact_id: int) -> Sequence[Document]:
    """Return the files of a person and those of their leads, newest first."""
    theirs = select(Lead.id).where(Lead.contact_id == contact_id)
    return _of(or_(Document.contact_id == contact_id, Document.lead_id.in_(theirs)))


def _of(which: object) -> Sequence[Document]:
    rows = select(Document).where(which, Document.removed_at.is_(None))  # type: ignore[arg-type]
    return db.session.scalars(rows.order_by(Document.id.desc()).limit(SHOWN)).all()


def inbox() -> Sequence[Document]:
    """Return the faxes that wait, the oldest first."""
    rows = select(Document).where(text(INBOX)).order_by(Document.id).limit(SHOWN)
    return db.session.scalars(rows).all()


def get(document_id: int) -> Document:
    """Return a document. Raises NotFound, also for one of a lead or person that the reader does not see."""
    row = db.session.get(Document, document_id)
    if row is None or row.removed_at is not None:
        raise NotFound("File not found.")
    person_of(row)
    return row


def person_of(row: Document) -> Contact | None:
    """Return whose document it is; None for a fax that waits. Raises NotFound for one that the reader does not see."""
    if row.lead_id is not None:
        return leads.get(row.lead_id).contact
    return contacts.get(row.contact_id) if row.contact_id is not None else None


def read(document_id: int) -> tuple[Document, bytes]:
    """Return a document and what is in it; the reading is recorded.

    Raises NotFound, and Conflict for one in which the scanner found a virus.
    """
    row = get(document_id)
    if row.scan is Scan.INFECTED:
        raise Conflict("The virus scanner found something in this file, so it is not opened.")
    audit.record("document.view", object_type="document", object_id=row.id, purpose="care")
    return row, crypto.decrypt(db.session.get_one(DocumentContent, row.id).content)


def attach(*, document_id: int, lead_id: int) -> Document:
    """Attach a fax of the inbox to a lead. Raises NotFound, and Conflict if it is attached already."""
    row = db.session.get(Document, document_id, with_for_update=True, populate_existing=True)
    if row is None or row.removed_at is not None:
        raise NotFound("File not found.")
    if row.lead_id is not None or row.contact_id is not None:
        raise Conflict("This fax was attached in the meantime.")
    row.lead_id = leads.get(lead_id).id
    _record("attached", row, leads.get(lead_id).contact_id)
    return row


def remove(document_id: int) -> Document:
    """Remove a document; it is deleted after 30 days. Raises NotFound."""
    row = get(document_id)
    person = person_of(row)
    row.removed_at = clock.now()
    _record("removed", row, person.id if person else None)
    return row


def _record(what: str, row: Document, contact_id: int | None) -> None:
    db.session.flush()
    detail = {"document_id": row.id}
    if contact_id is not None:
        contacts.record_activity(
            contact_id=contact_id, lead_id=row.lead_id, kind=f"document_{what}", detail=detail
        )
    audit.record(
        f"document.{what}", object_type="document", object_id=row.id, detail={"lead_id": row.lead_id}
    )


def delete_removed() -> None:
    """Delete documents that were removed long ago."""
    old = Document.removed_at < clock.now() - KEPT_REMOVED
    db.session.execute(delete(Document).where(old).execution_options(synchronize_session=False))
