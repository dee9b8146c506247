"""Files of people going out."""

import csv
import io
import zipfile

import pytest
from sqlalchemy import select

from crm.audit.models import AuditEntry
from crm.core import tokens
from crm.core.db import db, transaction
from crm.core.errors import Invalid, NotFound
from crm.core.tokens import Purpose
from crm.exports import service as exports
from crm.exports.models import Export
from crm.intake import service as intake
from crm.intake.service import ContactRequest
from jobs import interop as jobs
from tests.support import factories as support_factories
from tests.support.browser_client import member, signed_in

FINE = {"kind": "contacts", "form": "csv", "purpose": "Letters to our patients", "clinical": False}


@pytest.fixture
def admin(client, database):
    return member("admin", email="boss@clinic.example")


def ask(user, **changed):
    with transaction():
        given = {**FINE, "may_read_clinical": True, **changed}
        export_id = exports.request_export(**given, user_id=user.id).id
    jobs.export(export_id)
    return db.session.get(Export, export_id)


def table(export):
    text = b"".join(exports.content(export)).decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_contacts_without_anything_clinical(admin):
    support_factories.contact(first_name="=cmd()", phone="+12135550142", birth_date="1980-01-02")
    (row,) = table(ask(admin))
    assert (row["First name"], row["Phone"], row["Email"]) == (
        "'=cmd()",
        "'+12135550142",
        "ana@patients.example",
    )
    assert "Date of birth" not in row


def test_leads_with_what_was_asked_for(admin):
    with transaction():
        person = exporting_person()
        intake.open_contact_request(request=ContactRequest(person=person, source="form", message="@SUM(A1)"))
    (row,) = table(ask(admin, kind="leads", clinical=True))
    assert (row["Message"], row["Stage"], row["Last name"]) == ("'@SUM(A1)", "new", "Ruiz")


def exporting_person():
    from crm.contacts.rules import Person

    return Person(first_name="Ana", last_name="Ruiz", email="ana@example.test", time_zone="UTC")


def test_excel_holds_text_alone(admin):
    support_factories.contact(first_name="=1+1", last_name="http://x.example")
    export = ask(admin, form="xlsx")
    with zipfile.ZipFile(io.BytesIO(b"".join(exports.content(export)))) as book:
        sheet = book.read("xl/worksheets/sheet1.xml").decode()
    assert "'=1+1" in sheet
    assert "<f>" not in sheet
    assert "hyperlink" not in sheet


def test_a_file_comes_piece_by_piece(client, database, monkeypatch):
    monkeypatch.setattr(exports, "PART", 1000)
    for number in range(50):
        support_factories.contact(f"p{number}@patients.example")
    visitor = signed_in(database, "admin")
    visitor.get("/console/export")
    visitor.post("/console/export", {**FINE, "clinical": ""})
    export = db.session.scalars(select(Export)).one()
    jobs.export(export.id)
    answer = visitor.get(f"/console/export/{tokens.sign(Purpose.DOWNLOAD, export.id)}")
    assert answer.is_streamed
    assert len(list(exports.content(export))) == 2
    assert answer.text.count("@patients.example") == export.rows == 50


def test_a_failed_export_is_shown(client, database, monkeypatch):
    visitor = signed_in(database, "admin")
    visitor.get("/console/export")
    visitor.post("/console/export", {**FINE, "clinical": ""})
    export = db.session.scalars(select(Export)).one()
    monkeypatch.setattr(exports, "_rows", lambda _kind: iter([object()]))
    with pytest.raises(AttributeError):
        jobs.export(export.id)
    assert "failed; export again" in visitor.get("/console/export").text


def test_what_nobody_makes_is_asked_for_again(admin, queued_jobs, clock, redis):
    with transaction():
        export_id = exports.request_export(**FINE, may_read_clinical=True, user_id=admin.id).id
    redis.flushdb()
    clock.shift(31 * 60)
    jobs.look_after()
    assert ("interop.export", export_id) in queued_jobs()


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"purpose": "why"}, "purpose"),
        ({"form": "pdf"}, "form"),
        ({"kind": "staff"}, "kind"),
        ({"clinical": True, "may_read_clinical": False}, "clinical"),
    ],
)
def test_what_is_refused(admin, changed, field):
    with pytest.raises(Invalid) as refused:
        ask(admin, **changed)
    assert list(refused.value.fields) == [field]


def test_a_file_is_for_one_person_and_for_a_day(admin, clock):
    export = ask(admin)
    other = member("admin", email="other@clinic.example")
    with pytest.raises(NotFound):
        exports.get_own(export_id=export.id, user_id=other.id)
    clock.shift(24 * 3600)
    with pytest.raises(NotFound):
        exports.get_own(export_id=export.id, user_id=admin.id)
    jobs.look_after()
    assert list(exports.content(export)) == []


def test_the_log_knows_what_for_and_how_many(client, database):
    support_factories.contact()
    visitor = signed_in(database, "admin")
    visitor.get("/console/export")
    assert visitor.post("/console/export", {"kind": "contacts", "form": "csv"}).status_code == 422
    assert visitor.post("/console/export", {**FINE, "clinical": ""}).status_code == 302
    export = db.session.scalars(select(Export)).one()
    jobs.export(export.id)
    page = visitor.get("/console/export").text
    address = next(part.split('"')[0] for part in page.split('href="') if part.startswith("/console/export/"))
    assert "ana@patients.example" in visitor.get(address).text
    entries = db.session.scalars(select(AuditEntry).where(AuditEntry.action.startswith("export."))).all()
    assert [entry.action for entry in entries] == ["export.ask", "export.made", "export.download"]
    assert {entry.purpose for entry in entries} == {FINE["purpose"]}
    assert entries[1].detail["rows"] == entries[2].detail["rows"] == 1
