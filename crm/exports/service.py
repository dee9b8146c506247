"""Exports of contacts and leads as CSV or Excel, each for one staff member and a stated purpose, kept for a day.

Health facts are included only on request, and only for roles that may read them.
"""

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import count
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO, Any, assert_never

import xlsxwriter
from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert

from crm.audit import service as audit
from crm.contacts import queries as people
from crm.contacts.models import Contact
from crm.core import clock, crypto
from crm.core.csv_files import safe_cell
from crm.core.db import db, transaction
from crm.core.errors import Invalid, NotFound
from crm.core.queue import enqueue
from crm.exports.models import Export, ExportPart, ExportState
from crm.imports.rules import CONTACTS, LEADS
from crm.leads.models import Lead

LIFE = timedelta(hours=24)
LATE = timedelta(minutes=30)
MOST_ROWS = 1_048_575  # the most rows of an Excel sheet, below its header
PART = 1024 * 1024  # bytes
FORMS = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
Column = tuple[str, Callable[[Any], Any]]

_PERSON: Sequence[Column] = (
    ("First name", lambda one: one.first_name),
    ("Last name", lambda one: one.last_name),
    ("Email", lambda one: one.email),
    ("Phone", lambda one: one.phone),
    ("Language", lambda one: one.language),
    ("State", lambda one: one.state),
)
_LEAD: Sequence[Column] = (
    ("Reference", lambda one: one.reference),
    ("Kind", lambda one: one.kind),
    ("Stage", lambda one: one.stage),
    ("Source", lambda one: one.source),
    ("Received", lambda one: one.created_at.strftime("%Y-%m-%d %H:%M")),
)
_CLINICAL: Mapping[str, Sequence[Column]] = {
    CONTACTS: (("Date of birth", lambda one: one.birth_date),),
    LEADS: (("Date of birth", lambda one: one.contact.birth_date), ("Message", lambda one: one.message)),
}


def request_export(
    *, kind: str, form: str, purpose: str, clinical: bool, may_read_clinical: bool, user_id: int
) -> Export:
    """Queue an export.

    Raises Invalid for a missing purpose, or health facts that the role may not read.
    """
    purpose, wrong = " ".join(purpose.split()), {}
    if kind not in (CONTACTS, LEADS):
        wrong["kind"] = ["Choose what to export."]
    if form not in FORMS:
        wrong["form"] = ["Choose CSV or Excel."]
    if not 10 <= len(purpose) <= 300 or not purpose.isprintable():
        wrong["purpose"] = ["Enter the purpose in 10 to 300 characters."]
    if clinical and not may_read_clinical:
        wrong["clinical"] = ["Your role cannot read dates of birth and messages."]
    if wrong:
        raise Invalid(wrong)
    now = clock.now()
    export = Export(
        user_id=user_id, kind=kind, form=form, clinical=clinical, purpose=purpose, state=ExportState.ASKED,
        created_at=now, expires_at=now + LIFE,
    )  # fmt: skip
    db.session.add(export)
    db.session.flush()
    detail = {"kind": kind, "form": form, "clinical": clinical}
    audit.record("export.ask", object_type="export", object_id=export.id, purpose=purpose, detail=detail)
    enqueue("interop.export", export.id)
    return export


def write_export(export_id: int) -> None:
    """Write the file of a requested export; do nothing when it is already written."""
    export = db.session.get(Export, export_id, with_for_update=True)
    if export is None or export.state != ExportState.ASKED:
        return
    with TemporaryFile() as file:
        export.rows = _WRITERS[export.form](file, _columns(export), _rows(export.kind))
        file.seek(0)
        for number, part in enumerate(iter(lambda: file.read(PART), b"")):
            row = {"export_id": export_id, "number": number, "content": crypto.encrypt(part)}
            db.session.execute(insert(ExportPart), [row])
    export.state = ExportState.READY
    audit.record(
        "export.made", object_type="export", object_id=export_id, purpose=export.purpose,
        detail={"rows": export.rows, "kind": export.kind, "clinical": export.clinical},
    )  # fmt: skip


def _columns(export: Export) -> Sequence[Column]:
    person: Sequence[Column] = _PERSON
    if export.kind == LEADS:
        person = [(name, _of_contact(read)) for name, read in _PERSON]
    own = _LEAD if export.kind == LEADS else ()
    return (*own, *person, *(_CLINICAL[export.kind] if export.clinical else ()))


def _of_contact(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda lead: read(lead.contact)


def _rows(kind: str) -> Iterator[Any]:
    if kind == LEADS:
        wanted: Any = select(Lead).order_by(Lead.id)
    else:
        wanted = select(Contact).where(*people.present()).order_by(Contact.id)
    for row in db.session.scalars(wanted.limit(MOST_ROWS), execution_options={"yield_per": 1000}):
        yield row
        db.session.expunge(row)


def _cells(columns: Sequence[Column], row: Any) -> list[str]:
    return [safe_cell(str(value)) if (value := read(row)) is not None else "" for _, read in columns]


def _csv(file: IO[bytes], columns: Sequence[Column], rows: Iterator[Any]) -> int:
    text, written = io.TextIOWrapper(file, encoding="utf-8-sig", newline=""), 0
    writer = csv.writer(text)
    writer.writerow([name for name, _ in columns])
    for row in rows:
        writer.writerow(_cells(columns, row))
        written += 1
    text.detach()
    return written


def _xlsx(file: IO[bytes], columns: Sequence[Column], rows: Iterator[Any]) -> int:
    plain = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    with TemporaryDirectory() as folder:  # the rows pass through files, which stay where writing fails
        book, written = xlsxwriter.Workbook(file, plain | {"tmpdir": folder}), 0
        sheet = book.add_worksheet("People")
        for column, (name, _) in enumerate(columns):
            sheet.write_string(0, column, name)
        for written, row in enumerate(rows, 1):
            for column, cell in enumerate(_cells(columns, row)):
                sheet.write_string(written, column, cell)
        book.close()
    return written


_WRITERS: Mapping[str, Callable[[IO[bytes], Sequence[Column], Iterator[Any]], int]] = {
    "csv": _csv,
    "xlsx": _xlsx,
}


def mark_failed(export_id: int) -> None:
    """Mark a requested export as failed."""
    export = db.session.get(Export, export_id, with_for_update=True)
    if export is not None and export.state == ExportState.ASKED:
        export.state = ExportState.FAILED
        audit.record("export.failed", object_type="export", object_id=export_id, purpose=export.purpose)


def get_own(*, export_id: int, user_id: int) -> Export:
    """Return an unexpired export of this staff member. Raises NotFound."""
    export = db.session.get(Export, export_id)
    if export is None or export.user_id != user_id or export.expires_at <= clock.now():
        raise NotFound(
            "File not found. It has expired, or it belongs to another staff member. Export the data again."
        )
    return export


def content(export: Export) -> Iterator[bytes]:
    """Return the file in pieces, and record the download. Raises NotFound while it is being written.

    One piece is in memory at a time. Each is read in its own transaction, because the response outlives that of the request.
    """
    match export.state:
        case ExportState.READY:
            pass
        case ExportState.ASKED:
            raise NotFound("This file is still being written. Try again in a minute.")
        case ExportState.FAILED:
            raise NotFound("This file could not be written. Export the data again.")
        case _:
            assert_never(export.state)
    audit.record(
        "export.download", object_type="export", object_id=export.id, purpose=export.purpose,
        detail={"rows": export.rows},
    )  # fmt: skip
    return _pieces(export.id)


def _pieces(export_id: int) -> Iterator[bytes]:
    for number in count():
        with transaction():
            part = db.session.scalar(select(ExportPart.content).filter_by(export_id=export_id, number=number))
        if part is None:
            return
        yield crypto.decrypt(part)


def latest(*, user_id: int) -> Sequence[Export]:
    """Return the unexpired exports of a staff member, newest first."""
    mine = select(Export).where(Export.user_id == user_id, Export.expires_at > clock.now())
    return db.session.scalars(mine.order_by(Export.id.desc()).limit(20)).all()


def overdue() -> Sequence[int]:
    """Return exports still not written after half an hour, because a worker died."""
    late = (
        Export.state == ExportState.ASKED,
        Export.created_at < clock.now() - LATE,
        Export.expires_at > clock.now(),
    )
    return db.session.scalars(select(Export.id).where(*late)).all()


def delete_expired() -> None:
    """Delete the content of expired exports; the row stays as a record."""
    old = select(Export.id).where(Export.expires_at <= clock.now())
    db.session.execute(delete(ExportPart).where(ExportPart.export_id.in_(old)))
