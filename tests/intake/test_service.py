"""Intake: contact, lead and evidence in one transaction."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from threading import Barrier

import pytest
from sqlalchemy import func, make_url, select, text

from crm.app import create_app
from crm.audit.models import AuditEntry
from crm.consent import consent_texts
from crm.consent.models import Confirmation, ConsentRecord
from crm.contacts.models import Activity, Contact
from crm.contacts.rules import Person
from crm.content.models import ContentItem, ContentVersion
from crm.core import clock as time
from crm.core import current
from crm.core.db import db, transaction
from crm.core.errors import Conflict, Invalid
from crm.imports import matching
from crm.imports.rules import Row
from crm.intake import service as intake
from crm.intake.service import ContactRequest, NewReferral
from crm.leads import queries, rules, service
from crm.leads.models import Lead, Referral, StageMove, Task
from crm.messages.models import Message
from crm.referrers.models import Clinician, Practice
from crm.referrers.service import Sender
from crm.staff.keys import api_keys
from crm.staff.models import Alert
from tests.support import factories as support_factories
from tests.support.servers import copy_database, drop_database
from tests.support.stack import wait_until

ANA = Person(
    first_name="Ana",
    last_name="Ruiz",
    email="ana.ruiz@example.com",
    phone="+12135550142",
    language="es",
    time_zone="America/Los_Angeles",
    state="CA",
)
TICKED = consent_texts.current("contact-form", "es")
SENDER = Sender(
    clinician="Dr. Lee Park", npi="1234567893", practice="Hillside Family Medicine", phone="+12135550100"
)


def ask_us(person=ANA, message="Please call me.", wording=None, source="form", **more):
    return intake.open_contact_request(
        request=ContactRequest(person=person, source=source, message=message, wording=wording, **more)
    )


def refer(person=ANA, **changes):
    given = {
        "person": replace(person, birth_date=date(1970, 5, 17)),
        "sender": SENDER,
        "source": "api",
        "sent_at": datetime(2026, 3, 2, tzinfo=UTC),
        "health": {"reason": "CRPS"},
    }
    return intake.open_referral(referral=NewReferral(**given | changes))


def rows(model):
    return db.session.scalar(select(func.count()).select_from(model))


@pytest.fixture
def mail(edge):
    """The shipped emails, approved: a person who checks the box gets one."""
    support_factories.shipped()


def test_contact_request_rows(mail, clock):
    opened = ask_us(wording=TICKED)
    db.session.flush()
    lead = db.session.get(Lead, opened.lead_id)
    assert (lead.reference, lead.stage, lead.message) == (opened.reference, "unconfirmed", "Please call me.")
    assert lead.due_at == rules.due_at(
        kind="contact_request", stage="unconfirmed", since=lead.created_at, calendar=current.calendar()
    )
    assert lead.contact.phone == "+12135550142"
    assert [move.now for move in db.session.scalars(select(StageMove))] == ["unconfirmed"]
    assert [a.kind for a in db.session.scalars(select(Activity))][:1] == ["lead_opened"]
    assert "lead.open" in db.session.scalars(select(AuditEntry.action)).all()
    assert db.session.scalars(select(ConsentRecord.action)).all() == ["requested"]
    assert db.session.scalars(select(Confirmation.kind)).all() == ["confirmation"]


def test_message_is_encrypted(edge):
    ask_us(message="a private word")
    dump = "".join(
        db.session.scalar(text(f"select string_agg(to_jsonb(t)::text, '') from {table} t")) or ""
        for table in ("lead", "activity", "audit_entry")
    )
    assert "private" not in dump
    assert b"private".hex() not in dump


def test_no_consent_no_confirmation(edge):
    assert ask_us().stage == "new"
    assert rows(ConsentRecord) == 0


def test_same_request_within_a_day(edge, clock):
    first = ask_us()
    again = ask_us()
    assert (again.reference, again.is_new, first.is_new) == (first.reference, False, True)
    assert ask_us(message="Something else").reference != first.reference
    clock.shift(24 * 3600)
    assert ask_us().is_new
    assert rows(Contact) == 1


def test_closed_request_opens_a_new_lead(edge):
    first = ask_us()
    db.session.get(Lead, first.lead_id).closed_at = datetime(2026, 3, 3, tzinfo=UTC)
    assert ask_us().reference != first.reference


def test_consent_on_second_request(mail):
    ask_us()
    ask_us(wording=TICKED)
    ask_us(wording=TICKED)
    assert (rows(Lead), rows(Confirmation)) == (1, 1)
    assert rows(ConsentRecord) == 2


def test_differences_are_recorded(edge):
    ask_us()
    again = ask_us(replace(ANA, last_name="Ruiz Soto"), message="More")
    (line,) = db.session.scalars(select(Activity).where(Activity.kind == "told_otherwise"))
    assert (line.lead_id, line.text, line.detail) == (
        again.lead_id,
        "last name: Ruiz Soto",
        {"fields": ["last_name"]},
    )
    assert db.session.scalar(select(Contact.last_name)) == "Ruiz"


def test_what_a_practice_says_differently_of_itself_is_noted(edge):
    refer()
    again = refer(
        replace(ANA, first_name="Bo", email=None, phone="+12135550177"),
        sender=replace(SENDER, phone="+12135550999", fax="+12135550101"),
    )
    [line] = db.session.scalars(select(Activity).where(Activity.kind == "practice_told_otherwise"))
    assert (line.lead_id, line.text) == (
        again.lead_id,
        "phone: +12135550999",
    )  # the fax was not known: filled in
    assert db.session.scalars(select(Practice.phone)).one() == SENDER.phone


def test_no_confirmation_to_another_address(mail):
    refer()
    refer(
        replace(ANA, email="new@example.com"),
        attestation=consent_texts.current("referral-attestation", "es"),
        health={"x": 1},
    )
    assert (rows(Lead), rows(Contact), rows(Confirmation)) == (2, 1, 0)


def test_referral_rows(edge):
    opened = refer(guardian={"name": "Kim"}, urgency="urgent", contact_person="Pat")
    kept = db.session.get(Referral, opened.lead_id)
    assert (kept.lead.stage, kept.urgency, kept.contact_person) == ("received", "urgent", "Pat")
    assert (kept.health, kept.guardian) == ('{"reason":"CRPS"}', '{"name":"Kim"}')
    assert (kept.practice.name, kept.clinician.npi) == ("Hillside Family Medicine", "1234567893")
    assert [(task.kind, task.lead_id) for task in db.session.scalars(select(Task))] == [
        ("call", opened.lead_id)
    ]


def test_second_referral(edge):
    first = refer(external_id="a")
    second = refer(external_id="b", health={"reason": "other"})
    assert first.contact_id == second.contact_id
    assert (rows(Practice), rows(Clinician), rows(Lead)) == (1, 1, 2)


def test_same_referral(edge, clock):
    assert refer().reference == refer().reference
    assert refer(external_id="x").is_new is False  # the same words within the day
    clock.shift(25 * 3600)
    first = refer(external_id="y", health={"reason": "new"})
    clock.shift(25 * 3600)
    assert refer(external_id="y", health={"reason": "newer"}).reference == first.reference


def test_external_id_of_another_patient(edge):
    refer(external_id="a")
    with pytest.raises(Conflict):
        refer(
            Person(first_name="Max", last_name="Wu", time_zone="UTC", phone="+12135550111"), external_id="a"
        )


def test_invalid_npi(edge):
    with pytest.raises(Invalid):
        refer(sender=replace(SENDER, npi="1234567890"))


def test_found_by_reference(edge):
    opened = ask_us()
    for typed in (opened.reference, opened.reference.lower(), opened.reference.replace("-", "")):
        assert queries.matching_people(typed, limit=20) == [opened.contact_id]
    assert db.session.scalars(queries.matching_people("ruiz", limit=20)).all() == [opened.contact_id]
    assert db.session.scalars(queries.matching_people("C-222222", limit=20)).all() == []


def test_statement_count(mail, statements):
    ask_us(replace(ANA, email="warm@example.com", phone=None))
    db.session.flush()
    with statements() as first:
        ask_us()
        db.session.flush()
    # lock, look, person, lead with its history, audit, whose turn; wrote lately, acknowledgement
    assert len(first.texts) <= 8, first.texts
    for number in range(20):
        ask_us(message=str(number))
    db.session.flush()
    with statements() as later:
        ask_us(message="once more")
        db.session.flush()
    # the same, the known person read, open crises; no acknowledgement
    assert len(later.texts) <= 9, later.texts


# --- at once, on a database of their own: what is rolled back cannot race


@pytest.fixture
def own(settings, servers, redis):
    """An app on a database of its own, where tests may commit."""
    here = make_url(settings.database_url)
    name = f"{here.database}_races"
    copy_database(settings, servers[0], name)
    app = create_app(
        replace(settings, database_url=here.set(database=name).render_as_string(hide_password=False))
    )
    app.services.redis = redis
    yield app
    with app.app_context():
        db.engine.dispose()
    drop_database(servers[0], name)


@pytest.fixture
def posts(own):
    """Post many times at once, each on a connection of its own."""
    app = own
    with app.app_context(), transaction():
        support_factories.shipped()
        _, key = api_keys.create(name="races", scopes=api_keys.SCOPES)

    def post(bodies, path="contact-requests", **headers):
        def one(body):
            return app.test_client().post(
                f"/api/v1/{path}", json=body, headers={"Authorization": f"Bearer {key}"} | headers
            )

        with ThreadPoolExecutor(len(bodies)) as pool:
            return list(pool.map(one, bodies))

    return post


BODY = {
    "first_name": "Ana",
    "last_name": "Ruiz",
    "email": "ana.ruiz@example.com",
    "message": "Please call me.",
    "educational_email": True,
    "wording": "contact-form/1",
}


def counts():
    return rows(Contact), rows(Lead), rows(Confirmation)


def test_equal_concurrent_posts(own, posts):
    answers = posts([BODY] * 20)
    assert sorted(answer.status_code for answer in answers) == [200] * 19 + [201]
    assert len({answer.json["reference"] for answer in answers}) == 1
    with own.app_context():
        assert counts() == (1, 1, 1)


def test_equal_posts_with_one_key(own, posts):
    answers = posts([BODY] * 20, **{"Idempotency-Key": "k-1"})
    assert {(answer.status_code, answer.data) for answer in answers} == {(201, answers[0].data)}
    with own.app_context():
        assert counts() == (1, 1, 1)


def test_concurrent_posts_for_one_address(own, posts):
    answers = posts([BODY | {"message": f"Message {number}"} for number in range(10)])
    assert [answer.status_code for answer in answers] == [201] * 10
    with own.app_context():
        assert counts() == (1, 10, 1)


def test_concurrent_import_and_form(own, posts):
    who = Person(first_name="Ana", last_name="Ruiz", email=BODY["email"], time_zone="UTC")

    def take_in(_number):
        with own.app_context(), transaction():
            row = Row(line=2, person=who, message=None)
            return matching.import_rows([row], kind="contacts", seen={}, write=True, run_id=1).contact_ids

    with ThreadPoolExecutor(9) as pool:
        answers = pool.submit(posts, [BODY] * 4)
        made = list(pool.map(take_in, range(8)))
    assert {answer.status_code for answer in answers.result()} <= {200, 201}
    assert sum(map(len, made)) <= 1
    with own.app_context():
        assert counts() == (1, 1, 1)


def test_equal_concurrent_referrals(own, posts):
    body = {
        "referrer": {
            "name": "Lee Park",
            "npi": "1234567893",
            "practice": "Hillside",
            "phone": "+12135550100",
        },
        "patient": {
            "first_name": "Jo",
            "last_name": "Field",
            "birth_date": "1970-05-17",
            "phone": "+12135550177",
        },
        "reason": {"text": "CRPS"},
        "patient_informed": True,
        "external_id": "ext-1",
    }
    answers = posts([body] * 20, path="referrals")
    assert sorted(answer.status_code for answer in answers) == [200] * 19 + [201]
    with own.app_context():
        assert (rows(Contact), rows(Lead), rows(Referral), rows(Practice), rows(Clinician)) == (1, 1, 1, 1, 1)


def test_concurrent_moves(own):
    with own.app_context(), transaction():
        lead_id = ask_us().lead_id
    both = Barrier(2)

    def move(to):
        with own.app_context():
            try:
                with transaction():
                    version = service.get(lead_id).version
                    both.wait(timeout=10)  # each has read the lead as it is
                    service.move_stage(lead_id=lead_id, version=version, to=to)
            except Conflict as error:
                return error.message
            return None

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(move, ["contacted", "spam"]))
    assert sorted(answers, key=str) == sorted([None, service.CHANGED], key=str)
    with own.app_context():
        [won] = [move.now for move in db.session.scalars(select(StageMove)) if move.was]
        assert (service.get(lead_id).stage, won) == (won, ["contacted", "spam"][answers.index(None)])


def test_an_intake_waits_while_staff_edit_the_record(own):
    with own.app_context(), transaction():
        first = ask_us(replace(ANA, phone=None))

    def once_more():
        with own.app_context(), transaction():
            return ask_us(message="Here is my number.").contact_id

    def waits() -> bool:
        return db.session.scalar(text("select exists (select 1 from pg_locks where not granted)"))

    with ThreadPoolExecutor(1) as pool:
        with own.app_context(), transaction():
            db.session.get_one(Contact, first.contact_id).last_name = "Ruiz Vega"
            db.session.flush()
            later = pool.submit(once_more)
            wait_until(waits, seconds=10, what="the intake to wait")
        assert later.result() == first.contact_id
    with own.app_context():
        contact = db.session.get_one(Contact, first.contact_id)
        assert (contact.last_name, contact.phone) == ("Ruiz Vega", ANA.phone)


def test_crisis_message_raises_alert(edge, clock):
    def send(message: str, email: str) -> intake.IntakeResult:
        who = Person(first_name="Ana", last_name="Ruiz", email=email, time_zone="UTC")
        request = ContactRequest(person=who, source="form", message=message)
        return intake.open_contact_request(request=request)

    send("My back hurts", "other@example.com")
    opened = send("I want to die", "ana@example.com")
    [alert] = db.session.scalars(select(Alert)).all()
    assert (alert.level, alert.key) == ("danger", f"crisis:{opened.lead_id}")
    assert opened.reference in alert.text
    assert "die" not in alert.text


def test_our_own_address_is_no_address(edge, clock):
    ours = current.settings().clinic.from_email
    who = Person(first_name="Ana", last_name="Ruiz", email=ours, phone="+12135550142", time_zone="UTC")
    wording = consent_texts.current("contact-form", "en")
    opened = intake.open_contact_request(request=ContactRequest(person=who, source="api", wording=wording))
    contact = db.session.get(Contact, opened.contact_id)
    assert (contact.email, contact.phone, opened.stage) == (None, "+12135550142", "new")
    assert db.session.scalars(select(Confirmation)).all() == []


def test_referral_sent_again_as_urgent(mail, clock):
    first = refer(external_id="R-1")
    clock.shift(3_600)
    again = refer(external_id="R-1", urgency="urgent")
    lead = db.session.get_one(Lead, first.lead_id)
    assert (again.lead_id, lead.urgent, lead.referral.urgency) == (first.lead_id, True, "urgent")
    assert lead.due_at == time.now() + timedelta(hours=2)
    task = db.session.scalars(select(Task).where(Task.lead_id == lead.id)).one()
    assert (task.title, task.due_at) == (
        "Urgent: Call the patient about the referral",
        time.now() + timedelta(hours=1),
    )
    refer(external_id="R-1", urgency="urgent")
    assert lead.due_at == time.now() + timedelta(hours=2)


def acknowledged():
    """The addresses of acknowledgements, oldest first."""
    rows = (
        select(Contact.email)
        .join(Message, Message.contact_id == Contact.id)
        .join(ContentVersion, ContentVersion.id == Message.content_version_id)
        .join(ContentItem, ContentItem.id == ContentVersion.item_id)
        .where(ContentItem.key.contains("acknowledgement-patient"))
    )
    return list(db.session.scalars(rows.order_by(Message.id)))


@pytest.mark.parametrize(
    "changes",
    [
        {"wording": TICKED},  # they get the question for their consent
        {"source": "import"},
        {"is_spam": True},
        {"message": "I want to kill myself"},  # it says that there is nothing to do
        {"person": replace(ANA, email=None, phone="+12135550142")},
    ],
)
def test_no_acknowledgement(mail, clock, changes):
    ask_us(**changes)
    assert acknowledged() == []


def test_message_is_acknowledged_once_a_day(mail, clock):
    ask_us()
    ask_us(message="Another one")
    ask_us(message="A third", person=replace(ANA, first_name="Bo"))  # another person with this address
    assert acknowledged() == [ANA.email]
    clock.shift(90_000)
    ask_us(message="The next day")
    assert acknowledged() == [ANA.email, ANA.email]
