"""The referrers' portal: what a practice may do and see, what it may not, and what never leaves by email."""

import io
import re
from datetime import date, timedelta

import pytest
import time_machine
from flask_babel import refresh
from sqlalchemy import select

from crm.audit.models import AuditEntry
from crm.consent.models import Confirmation, ConsentRecord
from crm.core import clock, file_types
from crm.core.db import Base, db, transaction
from crm.core.errors import Conflict, Invalid, NotFound
from crm.core.tokens import Purpose, sign
from crm.leads import rules, service
from crm.leads.models import Lead, Referral
from crm.messages.models import Message
from crm.portal import digest as portal_digest
from crm.portal import referral_form
from crm.portal import service as portal_service
from crm.portal import texts as portal_texts
from crm.portal.models import Attachment, Draft, PortalMessage
from crm.portal.service import UploadedFile
from crm.portal.uploads import service as uploads
from crm.referrers import accounts, poster
from crm.referrers import service as referrers
from crm.referrers.models import Clinician, PortalLink, PortalPerson
from crm.referrers.service import Sender
from crm.web import access_guard
from tests.support import factories as support_factories
from tests.support.browser_client import BrowserClient, signed_in

PDF = b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\ntrailer\n%%EOF\n"
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + b"\x00" * 20 + b"\xff\xd9"
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + b"\x00" * 20 + b"IEND\xaeB`\x82"
ZIP = b"PK\x03\x04" + b"\x00" * 100

GOOD = {
    "first_name": "Quillon", "last_name": "Zzyzx", "birth_date": "5/17/1970", "phone": "213 555 0142",
    "reason": "Vexatious canarialgia", "informed": "yes",
}  # fmt: skip
CANARIES = ("Quillon", "Zzyzx", "1970", "canarialgia", "555 0142", "12135550142")
ZONE = "America/Los_Angeles"
UPLOAD = b"First name,Last name,DOB,Phone,Reason\nAna,Ruiz,5/17/1970,213 555 0142,Back pain\n"


@pytest.fixture
def mail(database):
    with transaction():
        support_factories.shipped()


def practice_person(email="nurse@north.example", npi="1234567893", practice="North Clinic", **values):
    """A portal user of a practice with one clinician."""
    with transaction():
        clinician = referrers.find_or_create(
            sender=Sender(clinician="Dr. Ada North", npi=npi, practice=practice)
        )
        return accounts.invite(
            practice_id=clinician.practice_id, name="Nina Nurse", email=email, zone=ZONE, **values
        )


def token_of(person):
    with transaction():
        return sign(Purpose.PORTAL_SIGN_IN, accounts.make_link(person))


def enter(app, person):
    refresh()
    visitor = BrowserClient(app)
    token = token_of(person)
    assert visitor.get(f"/refer/in/{token}").status_code == 200
    assert visitor.post(f"/refer/in/{token}").status_code == 303
    assert visitor.get("/refer/").status_code == 200
    return visitor


@pytest.fixture
def nurse(database, mail, redis):
    return practice_person()


@pytest.fixture
def portal(database, nurse):
    return enter(database, nurse)


def refer(visitor, **changes):
    person = db.session.scalars(select(PortalPerson).order_by(PortalPerson.id)).first()
    clinician = changes.pop("clinician", None)
    if clinician is None:
        clinician = db.session.scalar(
            select(Clinician.id).where(Clinician.practice_id == person.practice_id).limit(1)
        )
    visitor.get("/refer/new")
    return visitor.post("/refer/new", {**GOOD, "clinician": str(clinician), **changes})


def sent(answer):
    assert answer.status_code == 303, answer.text
    return re.search(r"/refer/r/(R-\w+)", answer.location)[1]


# rules


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("scan.pdf", PDF, None),
        ("SCAN.PDF", PDF, None),
        ("photo.jpg", JPEG, None),
        ("photo.jpeg", JPEG, None),
        ("image.png", PNG, None),
        ("scan.pdf", b"MZ\x90\x00" + b"\x00" * 100, "kind"),
        ("scan.pdf", ZIP, "kind"),
        ("scan.pdf", b"%PDF-1.7 and no end", "kind"),
        ("scan.pdf", b"<html><script>", "kind"),
        ("scan.exe", PDF, "name"),
        ("scan.png", JPEG, "name"),
        ("pdf", PDF, None),
        ("scan.pdf", b"", "empty"),
        ("scan.pdf", PDF + b"\x00" * file_types.MOST_BYTES, "big"),
    ],
)
def test_a_file_is_what_its_bytes_say(name, content, code):
    assert file_types.file_problem(name=name, content=content) == code


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd.pdf", "passwd.pdf"),
        ("C:\\scans\\a.pdf", "a.pdf"),
        ("fdp.\u202egnp.pdf", "fdp.gnp.pdf"),
        ("a\x00b\n.pdf", "ab.pdf"),
        ("x" * 300 + ".pdf", "x" * 90 + ".pdf"),
        ("", "file"),
    ],
)
def test_names_of_files_are_made_harmless(name, shown):
    assert file_types.safe_name(name) == shown


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({}, {}),
        ({"first_name": ""}, {}),
        ({"first_name": ".", "last_name": "n/a"}, {"first_name": "required", "last_name": "required"}),
        ({"first_name": "x" * 300}, {"first_name": "name_long"}),
        ({"last_name": "a\u202eb"}, {}),
        ({"last_name": "a\u0007b"}, {"last_name": "text_control"}),
        ({"phone": "12"}, {"phone": "phone"}),
        ({"birth_date": "1970-05-17"}, {}),
        ({"birth_date": "31/12/1970"}, {"birth_date": "birth_date"}),
        ({"birth_date": "1/1/2999"}, {"birth_date": "birth_date"}),
        ({"birth_date": "1/1/2015"}, {"guardian_name": "guardian"}),
        ({"birth_date": "1/1/2015", "guardian_name": "Pat Zzyzx"}, {}),
        ({"reason": "a\x00b"}, {"reason": "text_control"}),
        ({"reason": "x" * 2001}, {"reason": "text_long"}),
        ({"urgency": "now"}, {}),
        ({"informed": ""}, {"informed": "informed"}),
        ({"agreed": "yes"}, {"email": "agreed_without_email"}),
        ({"agreed": "yes", "email": "q@patients.example"}, {}),
        ({"clinician": ""}, {"clinician": "required"}),
        ({"clinician": "99"}, {"clinician": "choice"}),
        ({"clinician": "new"}, {"clinician_name": "required", "npi": "required"}),
        ({"clinician": "new", "clinician_name": "B", "npi": "1234567890"}, {"npi": "npi"}),
        ({"clinician": "new", "clinician_name": "B", "npi": "1558598797"}, {}),
    ],
)
def test_the_form_names_what_is_wrong(changes, wrong):
    answers = referral_form.typed_answers({**GOOD, "clinician": "7", **changes})
    read = referral_form.read_form(answers, clinicians={"7": ("A", "1234567893")}, today=date(2026, 3, 3))
    assert {name: problem.code for name, problem in read.wrong.items()} == wrong


def test_the_form_leaves_out_what_it_cannot_read():
    wrong = {"state": "Califrnia", "guardian_phone": "12", "email": "ana", "diagnoses": "g90511, CRPS; G89.4"}
    answers = referral_form.typed_answers({**GOOD, "clinician": "7", **wrong})
    read = referral_form.read_form(answers, clinicians={"7": ("A", "1234567893")}, today=date(2026, 3, 3))
    assert (read.wrong, read.clean["state"], read.clean["guardian_phone"]) == ({}, None, None)
    assert read.clean["diagnoses"] == ["G90.511", "G89.4"]
    assert [one.listed for one in read.left_out] == [
        "Email “ana”", "State “Califrnia”", "Guardian phone “12”", "Diagnosis “CRPS”"
    ]  # fmt: skip


def test_every_stage_and_reason_has_words():
    reasons = set().union(*(stage.reasons for stage in rules.REFERRAL_STAGES.values()))
    assert set(portal_texts.STAGES) == set(rules.REFERRAL_STAGES)
    assert reasons <= set(portal_texts.REASONS)


# accounts


def test_an_account_is_asked_for_and_approved(edge, mail, redis):
    sender = Sender(clinician="Dr. B", npi="1558598797", practice="South")
    person = accounts.ask_to_join(
        sender=sender, name="Bo", email="bo@south.example", zone=ZONE, language="es"
    )
    assert person.state == "asked"
    assert accounts.waiting() == [person]
    accounts.ask_link("bo@south.example")
    assert db.session.scalar(select(PortalLink)) is None  # not before staff said yes
    accounts.approve(person.id)
    assert (person.state, person.practice.approved_at is not None) == ("open", True)
    with pytest.raises(Conflict):
        accounts.approve(person.id)
    assert (
        accounts.ask_to_join(sender=sender, name="Bo", email="bo@south.example", zone=ZONE, language="es")
        is None
    )


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"name": " "}, "name"), ({"email": "x"}, "email"), ({"language": "fr"}, "language")],
)
def test_an_invitation_names_what_is_wrong(edge, mail, redis, changes, field):
    clinician = referrers.find_or_create(sender=Sender(clinician="A", npi="1234567893", practice="P"))
    values = {"name": "N", "email": "n@p.example", **changes}
    with pytest.raises(Invalid) as refused:
        accounts.invite(practice_id=clinician.practice_id, zone=ZONE, **values)
    assert set(refused.value.fields) == {field}


def test_a_link_works_once_and_not_for_long(database, nurse):
    with time_machine.travel("2026-03-03T17:00:00Z", tick=False) as time:
        token = token_of(nurse)
        time.shift(15 * 60 + 1)
        with pytest.raises(NotFound):
            accounts.LINKS.owner_of(token)
    token = token_of(nurse)
    visitor = BrowserClient(database)
    for _ in range(3):
        assert visitor.get(f"/refer/in/{token}").status_code == 200  # looking does not use it up
    assert visitor.post(f"/refer/in/{token}").status_code == 303
    assert BrowserClient(database).get(f"/refer/in/{token}").status_code == 404


def test_a_link_of_the_portal_opens_no_staff_account(database, nurse):
    token = token_of(nurse)
    assert BrowserClient(database).get(f"/sign-in/{token}").status_code == 404


def test_known_and_unknown_addresses_get_the_same_answer(database, nurse, queued_jobs):
    def answer(email):
        visitor = BrowserClient(database)
        visitor.get("/refer/sign-in")
        got = visitor.post("/refer/sign-in", {"email": email})
        return got.status_code, got.location, got.text

    before = len(queued_jobs())
    assert answer("nina.else@elsewhere.example") == answer("nurse@north.example")
    assert len(queued_jobs()) == before + 1


def test_asking_for_links_is_limited(database, nurse):
    for _ in range(8):
        visitor = BrowserClient(database)
        visitor.get("/refer/sign-in")
        visitor.post("/refer/sign-in", {"email": "nurse@north.example"})
    links = db.session.scalars(select(PortalLink).where(PortalLink.person_id == nurse.id)).all()
    assert len(links) == 1 + 5  # the invitation, and five in an hour


@pytest.mark.parametrize("after", [timedelta(minutes=16), timedelta(hours=13)])
def test_sessions_end(database, nurse, after):
    with time_machine.travel("2026-03-03T17:00:00Z", tick=False) as time:
        portal = enter(database, nurse)
        time.shift(after)
        assert portal.get("/refer/").location == "/refer/sign-in"


def test_closing_an_account_ends_its_sessions(database, nurse, portal):
    with transaction():
        accounts.close(nurse.id)
    assert portal.get("/refer/").location == "/refer/sign-in"


def test_signing_out_ends_copies_of_the_cookie(database, nurse, portal):
    other = enter(database, nurse)
    assert portal.post("/refer/sign-out").status_code == 303
    assert other.get("/refer/").location == "/refer/sign-in"


# who sees what


def portal_addresses(app, reference, upload_id=9_999_999):
    """Every address of the portal, about this referral and this file."""
    found = []
    for rule in app.url_map.iter_rules():
        if access_guard.kind_of(app, rule.endpoint) == "referrer":
            address = rule.rule.replace("<reference>", reference)
            address = re.sub(r"<int:\w+>", "9999999", address.replace("<int:upload_id>", str(upload_id)))
            found += [(method, address) for method in sorted(rule.methods - {"HEAD", "OPTIONS"})]
    return found


def ask(visitor, method, address):
    return visitor.get(address) if method == "GET" else visitor.post(address)


def test_a_practice_reaches_only_what_it_sent(database, nurse, portal):
    reference = sent(refer(portal))
    stranger = practice_person("other@south.example", "1558598797", "South Clinic")
    theirs = enter(database, stranger)
    about_one = [pair for pair in portal_addresses(database, reference) if reference in pair[1]]
    assert len(about_one) >= 4
    for method, address in about_one:
        missing = (404,) if "9999999" in address else ()
        assert ask(portal, method, address).status_code in (200, 303, 422, *missing), address
        refused = ask(theirs, method, address)
        none = ask(theirs, method, address.replace(reference, "R-222222"))
        assert refused.status_code == none.status_code == 404, address
        assert refused.text.replace(address, "") == none.text.replace(
            address.replace(reference, "R-222222"), ""
        )
    assert reference not in theirs.get("/refer/").text
    assert f"/refer/r/{reference}" not in theirs.get(f"/refer/?q={reference}").text
    assert reference in portal.get(f"/refer/?q={reference.lower()}").text


def test_a_practice_reaches_only_its_own_files(database, nurse, portal):
    with transaction():
        upload_id = uploads.upload(person=nurse, name="a.csv", content=UPLOAD).id
    theirs = enter(database, practice_person("other@south.example", "1558598797", "South Clinic"))
    none = 9_999_999
    pairs = [
        pair
        for pair in portal_addresses(database, "R-222222", upload_id)
        if f"/upload/{upload_id}" in pair[1]
    ]
    assert len(pairs) >= 5
    for method, address in pairs:
        missing = address.replace(f"/upload/{upload_id}", f"/upload/{none}")
        refused, unknown = ask(theirs, method, address), ask(theirs, method, missing)
        assert refused.status_code == unknown.status_code == 404, address
        assert refused.text.replace(address, "") == unknown.text.replace(missing, "")
    pairs.sort(key=lambda pair: pair[1].endswith("/discard"))  # the one after which there is no file
    for method, address in pairs:
        assert ask(portal, method, address).status_code in (200, 303, 409, 422), address


def test_nobody_and_staff_get_no_portal_and_the_portal_no_console(database, nurse, portal):
    nobody, staff = BrowserClient(database), signed_in(database, "admin")
    nobody.get("/refer/sign-in")
    staff.get("/console/account")
    for method, address in portal_addresses(database, "R-222222"):
        assert ask(nobody, method, address).location == "/refer/sign-in", address
        assert ask(staff, method, address).location == "/refer/sign-in", address
    portal.get("/refer/new")
    for rule in database.url_map.iter_rules():
        if rule.rule.startswith("/console") and "GET" in rule.methods and "<" not in rule.rule:
            assert portal.get(rule.rule).location.startswith("/login"), rule.rule


def test_every_look_is_in_the_log(portal):
    reference = sent(refer(portal))
    lead = service.by_reference(reference)
    portal.get(f"/refer/r/{reference}")
    portal.get(f"/refer/r/{reference}/print")
    seen = db.session.execute(
        select(AuditEntry.action, AuditEntry.actor).where(
            AuditEntry.object_id == lead.id, AuditEntry.object_type == "lead"
        )
    ).all()
    who = f"referrer:{db.session.scalar(select(PortalPerson.id))}"
    assert {("referral.view", who), ("referral.print", who), ("lead.open", who)} <= set(map(tuple, seen))


# sending


def test_a_referral_is_taken_in_once(database, nurse, portal):
    reference = sent(refer(portal))
    assert sent(refer(portal)) == reference
    lead = db.session.scalars(select(Lead)).one()
    referral = db.session.scalars(select(Referral)).one()
    assert (lead.kind, lead.stage, lead.source) == ("referral", "received", "portal")
    assert referral.patient_informed
    assert not referral.patient_agreed_to_email
    assert db.session.scalar(select(Confirmation)) is None
    page = portal.get(f"/refer/r/{reference}").text
    assert "Received" in page


def test_agreeing_to_email_asks_and_signs_up_nobody(portal):
    sent(refer(portal, email="q@patients.example", agreed="yes"))
    assert db.session.scalars(select(Confirmation)).one().kind == "invitation"
    said = db.session.scalars(select(ConsentRecord.action)).all()
    assert said == ["attested"]


def test_errors_are_shown_and_nothing_typed_is_lost(portal):
    answer = refer(portal, phone="12", reason="Something <long> & odd")
    assert answer.status_code == 422
    assert 'href="#f-phone"' in answer.text
    assert "Something &lt;long&gt; &amp; odd" in answer.text
    assert "Quillon" in answer.text
    assert db.session.scalar(select(Lead.id)) is None


def test_an_npi_of_another_practice_is_refused(database, nurse, portal):
    practice_person("other@south.example", "1558598797", "South Clinic")
    answer = refer(portal, clinician="new", clinician_name="Dr. B", npi="1558598797")
    assert answer.status_code == 409
    assert db.session.scalar(select(Lead.id)) is None


def test_a_draft_is_kept_for_one_person_encrypted_and_goes_away(database, nurse, portal):
    refer(portal, act="save")
    assert "Zzyzx" in portal.get("/refer/new").text
    assert (
        b"Zzyzx"
        not in db.session.connection().exec_driver_sql("select answers from referral_draft").scalar_one()
    )
    colleague = practice_person("second@north.example")
    assert "Zzyzx" not in enter(database, colleague).get("/refer/new").text
    with transaction(), clock.pretend(clock.now() + timedelta(days=8)):
        assert portal_service.get_draft(nurse) is None
        portal_service.delete_expired_drafts()
    assert db.session.scalar(select(Draft)) is None


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([(b"MZ\x90\x00", "setup.pdf")], "is not a PDF"),
        ([(ZIP, "bomb.pdf")], "is not a PDF"),
        ([(PDF, "scan.exe")], "does not fit"),
        ([(PDF.replace(b"\n", b"\n" * 500), "big.pdf")], "larger than 10 MB"),
        ([(PDF, f"{number}.pdf") for number in range(6)], "at most 5 files"),
    ],
)
def test_files_that_are_not_taken(portal, monkeypatch, files, words):
    monkeypatch.setattr(file_types, "MOST_BYTES", 1000)
    given = [(io.BytesIO(content), name) for content, name in files]
    answer = refer(portal, files=given)
    assert answer.status_code == 422
    assert words in answer.text
    assert db.session.scalar(select(Lead.id)) is None
    assert db.session.scalar(select(Attachment.id)) is None


def test_files_are_kept_encrypted_and_opened_by_staff_alone(database, portal):
    reference = sent(refer(portal, files=[(io.BytesIO(PDF), "scan.pdf"), (io.BytesIO(PNG), "photo.png")]))
    row = db.session.scalars(select(Attachment).order_by(Attachment.id)).first()
    assert PDF not in row.content
    address = f"/console/referrers/referrals/{reference}/files/{row.id}"
    staff = signed_in(database, "front_desk")
    answer = staff.get(address)
    assert (answer.data, answer.headers["Content-Disposition"]) == (PDF, "attachment; filename=scan.pdf")
    assert signed_in(database, "marketer").get(address).status_code == 403
    assert staff.get(f"/console/referrers/referrals/{reference}/files/999").status_code == 404
    assert db.session.scalar(select(AuditEntry.id).where(AuditEntry.action == "attachment.view")) is not None


def test_a_practice_opens_its_own_files_alone(database, portal):
    own = sent(refer(portal, files=[(io.BytesIO(PDF), "scan.pdf")]))
    theirs = enter(database, practice_person("other@south.example", "1558598797", "South Clinic"))
    other = sent(refer(portal, first_name="Ben", birth_date="1/2/1980", phone="213 555 0188"))
    row = db.session.scalars(select(Attachment)).one()
    address = f"/refer/r/{own}/files/{row.id}"
    assert f'href="{address}"' in portal.get(f"/refer/r/{own}").text
    answer = portal.get(address)
    assert (answer.status_code, answer.data, answer.content_type) == (200, PDF, "application/pdf")
    assert answer.headers["Content-Disposition"] == "attachment; filename=scan.pdf"
    assert answer.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "no-store" in answer.headers["Cache-Control"]
    looked = select(AuditEntry.actor).where(AuditEntry.action == "attachment.view")
    assert [actor.partition(":")[0] for actor in db.session.scalars(looked)] == ["referrer"]
    assert portal.get(address.replace(own, other)).status_code == 404
    assert theirs.get(address).status_code == 404
    assert BrowserClient(database).get(address).status_code == 302


def test_more_files_than_five_in_all_are_refused(edge, nurse):
    lead = submitted(nurse, [UploadedFile(name="a.pdf", content=PDF)] * 4)
    with pytest.raises(Invalid):
        portal_service.add_files(lead=lead, files=[UploadedFile(name="a.pdf", content=PDF)] * 2)


def submitted(nurse, files=()):
    clinician = db.session.scalar(select(Clinician).where(Clinician.practice_id == nurse.practice_id))
    read = referral_form.read_form(
        referral_form.typed_answers({**GOOD, "clinician": "1"}),
        clinicians={"1": (clinician.name, clinician.npi)},
        today=date(2026, 3, 3),
    )
    return portal_service.submit(person=nurse, clean=read.clean, language="en", zone=ZONE, files=files)


# back to the practice


def emails_to(person):
    return db.session.scalars(
        select(Message).where(Message.contact_id == person.contact_id).order_by(Message.id)
    ).all()


def test_messages_go_both_ways_and_emails_say_only_that_there_is_one(database, nurse, portal):
    reference = sent(refer(portal))
    before = len(emails_to(nurse))
    portal.get(f"/refer/r/{reference}")
    assert portal.post(f"/refer/r/{reference}/messages", {"text": " "}).status_code == 422
    assert portal.post(f"/refer/r/{reference}/messages", {"text": "Zzyzx\nwill call"}).status_code == 303
    desk = signed_in(database, "front_desk")
    address = f"/console/referrers/referrals/{reference}"
    assert "will call" in desk.get(address).text
    assert desk.post(f"{address}/messages", {"text": "Thank you, Quillon is booked"}).status_code == 302
    assert "Quillon is booked" in portal.get(f"/refer/r/{reference}").text
    mails = emails_to(nurse)[before:]
    assert [mail.params for mail in mails] == [{}]
    stored = db.session.connection().exec_driver_sql("select text from portal_message").scalars().all()
    assert all(b"Quillon" not in text for text in stored)
    assert len(db.session.scalars(select(PortalMessage)).all()) == 2


def test_a_practice_gets_a_daily_digest_of_changes(database, nurse, portal):
    reference = sent(refer(portal))
    with transaction():
        assert portal_digest.publish_changes() == 0  # what they sent themselves is no news
    lead = service.by_reference(reference)
    with transaction(), clock.pretend(clock.now() + timedelta(hours=25)):
        service.move_stage(lead_id=lead.id, version=lead.version, to="accepted")
    with transaction(), clock.pretend(clock.now() + timedelta(hours=26)):
        assert portal_digest.publish_changes() == 1
        assert portal_digest.publish_changes() == 0
    said = emails_to(nurse)[-1].params["facts"]["reference"]
    assert said == f"1 of your referrals changed: {reference} Accepted"


def test_no_email_to_a_practice_knows_anything_about_a_patient(database, nurse, portal):
    reference = sent(refer(portal, email="q@patients.example", agreed="yes", external_id="North-17"))
    lead = service.by_reference(reference)
    with transaction():
        portal_service.write_message(lead=lead, text="About Quillon Zzyzx", from_clinic=True)
    with transaction(), clock.pretend(clock.now() + timedelta(hours=25)):
        service.move_stage(lead_id=lead.id, version=lead.version, to="accepted")
        portal_digest.publish_changes()
    mails = emails_to(nurse)
    assert len(mails) >= 4  # two links, the acknowledgement, the message, the digest
    for mail in mails:
        assert not [canary for canary in (*CANARIES, "North-17") if canary in str(mail.params)]
    assert any(reference in str(mail.params) for mail in mails)


def test_initials_are_off_by_default(database, nurse, portal):
    sent(refer(portal))
    assert "QZ" not in portal.get("/refer/").text
    desk = signed_in(database, "front_desk")
    desk.get(f"/console/referrers/{nurse.practice_id}")
    assert desk.post(f"/console/referrers/{nurse.practice_id}/initials", {"show": "yes"}).status_code == 302
    page = portal.get("/refer/").text
    assert "QZ" in page
    assert "Zzyzx" not in page


def test_the_list_is_paged_and_filtered(database, nurse, portal, statements):
    with transaction():
        for number in range(30):
            first = submitted_again(nurse, number)
    page = portal.get("/refer/")
    assert page.text.count("/refer/r/R-") == 25
    older = re.search(r'href="([^"]+cursor=[^"]+)"', page.text)[1].replace("&amp;", "&")
    assert portal.get(older).text.count("/refer/r/R-") == 5
    assert portal.get("/refer/?stage=received").text.count("/refer/r/R-") == 25
    assert "No matches" in portal.get("/refer/?stage=accepted").text
    assert portal.get(f"/refer/?q={first.reference}").text.count("/refer/r/R-") == 1
    assert portal.get("/refer/?stage=xyz").status_code == 422
    assert portal.get("/refer/?cursor=xyz").status_code == 422


def submitted_again(nurse, number):
    clinician = db.session.scalar(select(Clinician).where(Clinician.practice_id == nurse.practice_id))
    answers = {
        **GOOD,
        "clinician": "1",
        "last_name": "Zzyzx" + "abcdefghijklmnopqrstuvwxyzABCD"[number],
        "birth_date": f"1/{number % 28 + 1}/1970",
        "phone": f"213 555 01{number:02}",
    }
    read = referral_form.read_form(
        referral_form.typed_answers(answers),
        clinicians={"1": (clinician.name, clinician.npi)},
        today=date(2026, 3, 3),
    )
    return portal_service.submit(person=nurse, clean=read.clean, language="en", zone=ZONE)


def test_pages_speak_spanish(database, nurse):
    person = practice_person("rosa@north.example", language="es")
    visitor = enter(database, person)
    assert (
        "Refiera a un paciente" in visitor.get("/refer/").text
        or "Referir a un paciente" in visitor.get("/refer/").text
    )
    assert "El paciente sabe" in visitor.get("/refer/new").text


# staff


def test_staff_invite_approve_and_close(database, nurse):
    desk = signed_in(database, "front_desk")
    assert "North Clinic" in desk.get("/console/referrers/?q=north").text
    home = f"/console/referrers/{nurse.practice_id}"
    assert "Nina Nurse" in desk.get(home).text
    assert (
        desk.post(
            f"{home}/people", {"name": "Max", "email": "max@north.example", "language": "en"}
        ).status_code
        == 302
    )
    again = desk.post(f"{home}/people", {"name": "Max", "email": "max@north.example", "language": "en"})
    assert again.status_code == 422
    assert "already has an account" in again.text
    assert desk.post(f"/console/referrers/people/{nurse.id}/close").status_code == 302
    assert db.session.get(PortalPerson, nurse.id).state == "closed"
    assert desk.get("/console/referrers/99999").status_code == 404


REWARDS = re.compile(
    r"reward|gift|bonus|commission|kickback|incentive|recompensa|regalo|\bfee\b", re.IGNORECASE
)


def test_nothing_has_a_place_for_rewards(database):
    """No payment for referrals, in money or in kind: 42 USC 1320a-7b(b)."""
    columns = [
        f"{table.name}.{column.name}"
        for table in Base.metadata.sorted_tables
        for column in table.columns
        if REWARDS.search(f"{table.name}.{column.name}")
    ]
    fields = [name for name in referral_form.FIELDS if REWARDS.search(name)]
    names = [
        name
        for name in database.jinja_env.list_templates()
        if name.startswith(("portal/", "console/referrers/"))
    ]
    assert len(names) > 8
    pages = [
        name
        for name in names
        if REWARDS.search(database.jinja_env.loader.get_source(database.jinja_env, name)[0])
    ]
    assert (columns, fields, pages) == ([], [], [])


# the poster


def test_the_poster_leads_to_the_form_and_credits_the_practice(database, nurse, portal):
    code = portal.get("/refer/poster.svg")
    assert (code.mimetype, code.data[:4]) == ("image/svg+xml", b"<svg")
    assert b"style" not in code.data
    assert "/refer/poster.svg" in portal.get("/refer/poster").text
    home = f"/console/referrers/{nurse.practice_id}/poster"
    desk = signed_in(database, "front_desk")
    assert f"{home}.svg" in desk.get(home).text
    assert desk.get(f"{home}.svg").data == code.data
    token = poster.address(nurse.practice_id, public_url="").partition("from=")[2]
    assert f'name="practice" value="{token}"' in BrowserClient(database).get(f"/contact?from={token}").text
    assert 'name="practice"' not in BrowserClient(database).get("/contact?from=7").text


@pytest.mark.parametrize("token", [None, "", "7", "x" * 44])
def test_credit_cannot_be_made_up(database, token):
    assert poster.practice_of(token) is None
    assert poster.practice_of(poster.address(7, public_url="").partition("from=")[2]) == "7"


def test_needs_you_first(portal):
    reference, other = sent(refer(portal)), sent(refer(portal, first_name="Other", phone="213 555 0177"))
    assert "Needs you" not in portal.get("/refer/").text
    with transaction():
        lead = service.by_reference(reference)
        service.move_stage(
            lead_id=lead.id, version=lead.version, to="info_requested", reason="missing_records"
        )
    page = portal.get("/refer/").text
    first = page.split("Needs you")[1].split("All referrals")[0]
    assert reference in first
    assert other not in first
    assert "Needs you" not in portal.get("/refer/?stage=open").text


def test_withdraw(portal):
    reference = sent(refer(portal))
    address = f"/refer/r/{reference}"
    portal.get(address)
    assert portal.post(f"{address}/withdraw", {"why": " "}).status_code == 422
    assert portal.post(f"{address}/withdraw", {"why": "Sent for the wrong patient"}).status_code == 303
    lead = service.by_reference(reference)
    assert lead.stage == "entered_in_error"
    assert db.session.scalars(select(PortalMessage.text)).all() == ["Sent for the wrong patient"]
    page = portal.get(address).text
    assert "This referral was withdrawn." in page
    assert "Why do you withdraw it?" not in page
    assert portal.post(f"{address}/withdraw", {"why": "Again"}).status_code == 422


def test_no_withdrawal_once_an_appointment_is_made(portal):
    reference = sent(refer(portal))
    with transaction():
        service.by_reference(reference).stage = "scheduled"
    address = f"/refer/r/{reference}"
    assert "Withdraw this referral" not in portal.get(address).text
    assert "can no longer be withdrawn" in portal.post(f"{address}/withdraw", {"why": "Late"}).text
