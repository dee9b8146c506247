"""Documents: kept encrypted, found with the lead and the person, scanned by clamd, taken from the fax folder once."""

import os
import socket
import struct
from threading import Thread

import pytest
from sqlalchemy import func, select

from crm.audit.models import AuditEntry
from crm.core import clock, crypto
from crm.core.db import db, transaction
from crm.core.errors import Conflict, Invalid, NotFound
from crm.duplicates import service as duplicates
from crm.leads.documents import clamd, fax_inbox, scanning, service
from crm.leads.documents.models import Document, DocumentContent, Scan
from crm.privacy import person_copy
from crm.privacy import service as privacy
from crm.staff.models import Alert
from tests.desk.test_console_work import new_lead
from tests.portal.test_portal import PDF, PNG, ZIP

EICAR = b"%PDF-1.7 virus %%EOF\n"


@pytest.fixture
def lead(database, clock):
    return new_lead(1)


def add(**of):
    with transaction():
        return service.add(name="scan.pdf", content=PDF, **of)


def test_kept_encrypted_and_each_reading_is_recorded(lead):
    row = add(lead_id=lead.id)
    stored = db.session.get_one(DocumentContent, row.id).content
    assert PDF not in stored
    assert crypto.decrypt(stored) == PDF
    assert service.read(row.id)[1] == PDF
    db.session.flush()
    seen = select(AuditEntry.object_id).where(AuditEntry.action == "document.view")
    assert db.session.scalars(seen).all() == [row.id]
    assert row.scan is Scan.NONE


@pytest.mark.parametrize(
    ("name", "content"), [("a.pdf", b""), ("a.pdf", ZIP), ("a.png", PDF), ("a.pdf", PDF + b"x" * 10_500_000)]
)
def test_refused_files(lead, name, content):
    with pytest.raises(Invalid):
        service.add(name=name, content=content, lead_id=lead.id)


def test_of_lead_and_person(lead):
    other = new_lead(2)
    rows = [add(lead_id=lead.id), add(contact_id=lead.contact_id)]
    add(lead_id=other.id)
    wanted = [row.id for row in rows[::-1]]
    assert [row.id for row in service.documents_of(lead)] == wanted
    assert [row.id for row in service.documents_of_contact(lead.contact_id)] == wanted


def test_files_go_with_a_merge_and_come_back(lead):
    other = new_lead(2)
    row = add(contact_id=other.contact_id)
    with transaction():
        merge = duplicates.merge_contacts(kept_id=lead.contact_id, gone_id=other.contact_id)
    assert [one.id for one in service.documents_of(lead)] == [row.id]
    with transaction():
        duplicates.undo_merge(merge.id)
    assert service.documents_of(lead) == []


def test_files_go_with_an_erasure(lead):
    """Those of the person and those of a lead, contents included; before it, the person's copy lists them."""
    rows = [add(lead_id=lead.id), add(contact_id=lead.contact_id)]
    names = [one["name"] for one in person_copy.full(lead.contact_id)["files"]]
    assert names == [row.name for row in rows]
    with transaction():
        privacy.erase(contact_id=lead.contact_id, reason="asked", despite_care=True)
    assert db.session.scalar(select(func.count()).select_from(Document)) == 0
    assert db.session.scalar(select(func.count()).select_from(DocumentContent)) == 0


def test_removed_goes_after_a_month(lead, clock):
    row = add(lead_id=lead.id)
    with transaction():
        service.remove(row.id)
    with pytest.raises(NotFound):
        service.get(row.id)
    for days, left in ((29, 1), (2, 0)):
        clock.shift(days * 86_400)
        with transaction():
            service.delete_removed()
        assert db.session.scalar(select(func.count()).select_from(DocumentContent)) == left


@pytest.fixture
def scanner():
    """A clamd that finds a virus in what holds the word; its address."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                link, _ = server.accept()
            except OSError:
                return
            with link, link.makefile("rb") as sent:
                assert sent.read(10) == b"zINSTREAM\0"
                held = b""
                while size := struct.unpack("!I", sent.read(4))[0]:
                    held += sent.read(size)
                link.sendall(b"stream: Eicar FOUND\0" if b"virus" in held else b"stream: OK\0")

    Thread(target=serve, daemon=True).start()
    yield f"127.0.0.1:{server.getsockname()[1]}"
    server.close()


def test_scan(lead, scanner):
    clean = add(lead_id=lead.id)
    with transaction():
        bad = service.add(name="bad.pdf", content=EICAR, lead_id=lead.id)
        assert scanning.scan_waiting(address="") == 0
        assert scanning.scan_waiting(address=scanner) == 2
    assert (clean.scan, bad.scan) == (Scan.CLEAN, Scan.INFECTED)
    with pytest.raises(Conflict):
        service.read(bad.id)
    assert db.session.scalars(select(Alert.key)).all() == [f"infected:{bad.id}"]


def test_scan_of_many_chunks(scanner):
    assert clamd.is_infected(b"x" * 200_000 + b"virus", address=scanner)


def test_scanner_that_does_not_answer(lead):
    add(lead_id=lead.id)
    with transaction():
        assert scanning.scan_waiting(address="127.0.0.1:1") == 0
    assert db.session.scalars(select(Alert.key)).all() == ["no-scanner"]


def put(folder, name, content, age=60):
    path = folder / name
    path.write_bytes(content)
    changed = clock.now().timestamp() - age
    os.utime(path, (changed, changed))
    return path


@pytest.fixture
def folder(database, clock, tmp_path):
    return tmp_path


def test_fax_folder(folder):
    path = put(folder, "fax1.pdf", PDF)
    put(folder, "fax2.png", PNG, age=30)
    assert fax_inbox.collect(folder) == 2
    assert list(folder.iterdir()) == []
    assert [row.name for row in service.inbox()] == ["fax1.pdf", "fax2.png"]
    put(folder, "fax1.pdf", PDF)  # as after a crash between the commit and the deletion
    assert fax_inbox.collect(folder) == 0
    assert len(service.inbox()) == 2
    assert not path.exists()


def test_fax_folder_refuses_and_waits(folder):
    put(folder, "page.zip", ZIP)
    assert fax_inbox.collect(folder) == 0
    assert (folder / "refused" / "page.zip").exists()
    assert fax_inbox.collect(None) == 0
    put(folder, "fax.pdf", PDF, age=5)
    assert fax_inbox.collect(folder) == 0
    assert fax_inbox.collect(folder / "missing") == 0
    assert set(db.session.scalars(select(Alert.key))) == {"fax-refused", "no-fax-folder"}


def test_attach_once(folder, clock):
    put(folder, "fax1.pdf", PDF)
    fax_inbox.collect(folder)
    (fax,), lead = service.inbox(), new_lead(1)
    with transaction():
        service.attach(document_id=fax.id, lead_id=lead.id)
    assert service.inbox() == []
    assert [row.id for row in service.documents_of(lead)] == [fax.id]
    with pytest.raises(Conflict):
        service.attach(document_id=fax.id, lead_id=lead.id)
    assert db.session.scalar(select(func.count()).select_from(Document)) == 1
