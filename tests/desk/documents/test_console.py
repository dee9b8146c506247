"""Document pages: upload, the sandboxed viewer, the fax that becomes a referral or joins one, removal and undo."""

import io
import re

import pytest
from sqlalchemy import select

from crm.core import file_types
from crm.core.db import db, transaction
from crm.leads.documents import service
from crm.leads.documents.models import Document
from crm.leads.models import Lead
from crm.staff import service as staff
from tests.desk.test_console_work import new_lead
from tests.portal.test_portal import PDF, PNG, ZIP
from tests.support.browser_client import signed_in

PAGE = "/console/documents"


@pytest.fixture
def desk(client, database, clock):
    visitor = signed_in(database, "front_desk")
    visitor.get("/console/account")
    return visitor


def upload(desk, address, name="scan.pdf", content=PDF):
    return desk.post(address, {"file": (io.BytesIO(content), name)}, content_type="multipart/form-data")


def fax():
    with transaction():
        service.take_fax(name="fax.pdf", content=PDF)
    return db.session.scalars(select(Document)).one()


def test_upload_and_viewer(desk):
    lead = new_lead(1)
    assert upload(desk, f"{PAGE}/leads/{lead.reference}").status_code == 302
    assert upload(desk, f"{PAGE}/contacts/{lead.contact_id}", "photo.png", PNG).status_code == 302
    shown = desk.get(f"/console/leads/{lead.reference}").text
    assert shown.index("photo.png") < shown.index("scan.pdf")
    assert "Not scanned" in shown
    assert "scan.pdf" in desk.get(f"/console/contacts/{lead.contact_id}").text
    row = service.documents_of(lead)[-1]
    assert f"{PAGE}/{row.id}/content" in desk.get(f"{PAGE}/{row.id}").text
    answer = desk.get(f"{PAGE}/{row.id}/content")
    assert answer.data == PDF
    assert answer.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"
    assert (
        desk.get(f"{PAGE}/{row.id}/content?download").headers["Content-Disposition"].startswith("attachment")
    )


@pytest.mark.parametrize("content", [ZIP, b"", PDF + b"x" * 1_000 + b"%%EOF"])
def test_upload_refuses(desk, content, monkeypatch):
    monkeypatch.setattr(file_types, "MOST_BYTES", 1_000)
    assert upload(desk, f"{PAGE}/leads/{new_lead(1).reference}", content=content).status_code == 422


def test_remove_and_undo(desk):
    lead = new_lead(1)
    upload(desk, f"{PAGE}/leads/{lead.reference}")
    (row,) = service.documents_of(lead)
    page = desk.get(desk.post(f"{PAGE}/{row.id}/remove").location).text
    assert service.documents_of(lead) == []
    undo = re.search(r'action="([^"]+/undo/\d+[^"]*)"', page)[1]
    desk.post(undo)
    assert len(service.documents_of(lead)) == 1


def test_fax_joins_a_lead(desk):
    row, lead = fax(), new_lead(1)
    assert "fax.pdf" in desk.get(PAGE).text
    assert desk.post(f"{PAGE}/{row.id}/attach", {"reference": "nothing"}).status_code == 422
    desk.post(f"{PAGE}/{row.id}/attach", {"reference": lead.reference.lower()})
    assert [one.id for one in service.documents_of(lead)] == [row.id]


def test_fax_becomes_a_referral(desk):
    row = fax()
    page = desk.get(f"/console/new?what=referral&fax={row.id}").text
    assert f'name="fax" value="{row.id}"' in page
    given = {
        "what": "referral", "source": "fax", "first_name": "Bo", "last_name": "New", "phone": "213 555 0101",
        "birth_date": "5/17/1970", "reason": "Back pain", "referrer": "Dr. Ada", "clinician": "new",
        "clinician_name": "Dr. Ada North", "npi": "1234567893", "practice": "North Clinic", "fax": str(row.id),
    }  # fmt: skip
    answer = desk.post("/console/new", given)
    assert answer.status_code == 302, re.sub(r"<[^>]+>", " ", answer.text)
    lead = db.session.scalars(select(Lead)).one()
    assert [one.id for one in service.documents_of(lead)] == [row.id]


def test_file_out_of_scope_is_not_found(desk, database):
    lead = new_lead(1)
    upload(desk, f"{PAGE}/leads/{lead.reference}")
    (row,) = service.documents_of(lead)
    with transaction():
        staff.set_scope(role="clinician", scope="own")
    other = signed_in(database, "clinician")
    address = f"{PAGE}/{row.id}"
    db.session.expunge_all()  # each request has a session of its own
    assert other.get(address).status_code == 404
    assert other.get(f"{address}/content").status_code == 404
