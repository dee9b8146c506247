"""Files of contacts and leads for a person, a purpose and a day. Health facts only where asked for by who may read them."""

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import count
from tempfile import TemporaryFile
from typing import IO, Any

import xlsxwriter
from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert

from crm.audit import service as audit
from crm.contacts.models import Contact
from crm.core import clock, crypto
from crm.core.db import db, transaction
from crm.core.errors import Invalid, NotFound
from crm.core.queue import enqueue
from crm.imports.models import Export, ExportPart
from crm.imports.rules import CONTACTS, LEADS, safe_cell
from crm.leads.models import Lead

LIFE = timedelta(hours=24)
LATE = timedelta(minutes=30)
MOST_ROWS = 1_048_575  # what a sheet of Excel holds below its header
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
    ("Came by", lambda one: one.source),
    ("Came in", lambda one: one.created_at.strftime("%Y-%m-%d %H:%M")),
)
_CLINICAL: Mapping[str, Sequence[Column]] = {
    CONTACTS: (("Date of birth", lambda one: one.birth_date),),
    LEADS: (("Date of birth", lambda one: one.contact.birth_date), ("Message", lambda one: one.message)),
}


def ask(
    *, kind: str, form: str, purpose: str, clinical: bool, may_read_clinical: bool, user_id: int
) -> Export:
    """Ask for a file. Raises Invalid: a purpose is needed, and health facts only go to those who may read them."""
    purpose, wrong = " ".join(purpose.split()), {}
    if kind not in (CONTACTS, LEADS):
        wrong["kind"] = ["Choose what the file is to hold."]
    if form not in FORMS:
        wrong["form"] = ["Choose CSV or Excel."]
    if not 10 <= len(purpose) <= 300 or not purpose.isprintable():
        wrong["purpose"] = ["Say in 10 to 300 characters what the file is for."]
    if clinical and not may_read_clinical:
        wrong["clinical"] = ["Your role does not open dates of birth and messages."]
    if wrong:
        raise Invalid(wrong)
    now = clock.now()
    export = Export(
        user_id=user_id, kind=kind, form=form, clinical=clinical, purpose=purpose, state="asked",
        created_at=now, expires_at=now + LIFE,
    )  # fmt: skip
    db.session.add(export)
    db.session.flush()
    detail = {"kind": kind, "form": form, "clinical": clinical}
    audit.record("export.ask", object_type="export", object_id=export.id, purpose=purpose, detail=detail)
    enqueue("interop.export", export.id)
    return export


def make(export_id: int) -> None:
    """Write the file of an export that was asked for; made twice it is the same file."""
    export = db.session.get(Export, export_id, with_for_update=True)
    if export is None or export.state != "asked":
        return
    with TemporaryFile() as file:
        export.rows = _WRITERS[export.form](file, _columns(export), _rows(export.kind))
        file.seek(0)
        for number, part in enumerate(iter(lambda: file.read(PART), b"")):
            row = {"export_id": export_id, "number": number, "content": crypto.encrypt(part)}
            db.session.execute(insert(ExportPart), [row])
    export.state = "ready"
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
        there = (Contact.merged_into_id.is_(None), Contact.erased_at.is_(None))
        wanted = select(Contact).where(*there).order_by(Contact.id)
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
    book, written = xlsxwriter.Workbook(file, plain), 0
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


def give_up(export_id: int) -> None:
    """Say that a file could not be made, so that nobody waits for it."""
    export = db.session.get(Export, export_id, with_for_update=True)
    if export is not None and export.state == "asked":
        export.state = "failed"
        audit.record("export.failed", object_type="export", object_id=export_id, purpose=export.purpose)


def own(*, export_id: int, user_id: int) -> Export:
    """Return a file of this person whose time is not over. Raises NotFound."""
    export = db.session.get(Export, export_id)
    if export is None or export.user_id != user_id or export.expires_at <= clock.now():
        raise NotFound("This file is gone, or it was made for somebody else. Ask for a new one.")
    return export


def content(export: Export) -> Iterator[bytes]:
    """Return the file in pieces, and note that it was fetched. Raises NotFound while it is being made.

    One piece is in memory at a time; each is read in a transaction of its own, as the answer outlives the request's.
    """
    if export.state != "ready":
        raise NotFound("This file is still being made.")
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


def newest(*, user_id: int) -> Sequence[Export]:
    """Return somebody's files that can still be fetched, newest first."""
    mine = select(Export).where(Export.user_id == user_id, Export.expires_at > clock.now())
    return db.session.scalars(mine.order_by(Export.id.desc()).limit(20)).all()


def overdue() -> Sequence[int]:
    """Return the files that were asked for half an hour ago and are not there: whoever made them has died."""
    late = (Export.state == "asked", Export.created_at < clock.now() - LATE, Export.expires_at > clock.now())
    return db.session.scalars(select(Export.id).where(*late)).all()


def forget_old() -> None:
    """Drop the content of files whose time is over; that they were made stays known."""
    old = select(Export.id).where(Export.expires_at <= clock.now())
    db.session.execute(delete(ExportPart).where(ExportPart.export_id.in_(old)))
