"""Erasing a person: nothing that tells who they were is left in any table; what proves how they were treated is."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select, text

import crm.models
from crm.consent import queries as consents
from crm.consent import service as consent
from crm.consent.models import ConsentRecord, Suppression
from crm.contacts import queries as people
from crm.contacts import service as contacts
from crm.contacts.addresses import address_index
from crm.core import clock as time
from crm.core import crypto
from crm.core.db import db, transaction
from crm.core.errors import Conflict, Invalid, NotFound
from crm.desk.bulk import service as bulk
from crm.desk.models import BulkItem, BulkRun
from crm.duplicates import service as duplicates
from crm.leads import call_log, service
from crm.leads.models import Lead
from crm.messages import service as messages
from crm.portal import service as portal
from crm.portal.service import UploadedFile
from crm.privacy import retention, rules
from crm.privacy import service as privacy
from crm.privacy.rules import Facts
from crm.referrers.models import PortalPerson
from crm.sequences.models import Enrolment
from crm.staff.models import KeptReply
from crm.tracking.models import ProviderEvent, Receipt
from jobs import privacy as jobs
from tests.desk.test_console_work import new_lead
from tests.intake.test_service import ANA, refer
from tests.support import factories as support_factories
from tests.support.browser_client import member, signed_in

CANARY = "Zyxquil"
PDF = b"%PDF-1.4\n" + b"0" * 100 + b"\n%%EOF\n"


@pytest.fixture
def canary(edge, clock, redis):
    """A person with rows in every table that can have one."""
    support_factories.shipped()
    who = replace(
        ANA,
        first_name=CANARY,
        last_name=f"{CANARY}ova",
        email=f"{CANARY}@example.com".lower(),
        phone="+12135559999",
    )
    lead = service.get(
        refer(
            who,
            health={"reason": f"{CANARY} hurts"},
            guardian={"name": f"{CANARY} senior"},
            external_id=f"{CANARY}-7",
            contact_person=f"{CANARY} at the desk",
        ).lead_id
    )
    service.add_note(lead_id=lead.id, text=f"{CANARY} likes mornings")
    call_log.log_call(lead_id=lead.id, channel="phone", outcome="no_answer", note=f"{CANARY} was out")
    service.add_task(
        lead_id=lead.id, kind="other", title=f"Call {CANARY}", due_at=time.now() + timedelta(days=1)
    )
    contacts.add_tag(contact_id=lead.contact_id, tag=CANARY)
    portal.write_message(lead=lead, text=f"About {CANARY}", from_clinic=True)
    portal.add_files(lead=lead, files=[UploadedFile(name=f"{CANARY}.pdf", content=PDF)])
    support_factories.opted_in(lead.contact)
    message_id = messages.send_transactional(
        "answer-please-call",
        contact_id=lead.contact_id,
        language="en",
        params={"facts": {"reference": CANARY}},
    )
    db.session.add(
        ProviderEvent(
            event_id="e1", message_id=message_id, kind="bounced", at=time.now(), received_at=time.now(),
            detail=f"550 <{CANARY}@example.com> unknown",
        )
    )  # fmt: skip
    asked = new_lead(7, first_name=CANARY, email=f"{CANARY}.two@example.com".lower())
    asked.message, asked.first_touch = f"{CANARY} wrote this", {"utm_campaign": CANARY}
    db.session.add(
        PortalPerson(
            practice_id=lead.referral.practice_id, contact_id=lead.contact_id, name=CANARY, state="closed",
            email=f"{CANARY}@practice.example".lower(), created_at=time.now(),
        )
    )  # fmt: skip
    db.session.flush()
    someone = db.session.scalar(select(PortalPerson).where(PortalPerson.contact_id == lead.contact_id))
    portal.save_draft(person=someone, answers={"first_name": CANARY})
    db.session.flush()
    duplicates.merge_contacts(kept_id=lead.contact_id, gone_id=asked.contact_id)
    service.move_stage(lead_id=lead.id, version=lead.version, to="duplicate")
    db.session.flush()
    db.session.expire_all()
    return lead


def everything() -> str:
    """All that stands in all tables, what is encrypted in clear."""
    found = []
    for table in crm.models.contacts.Contact.metadata.sorted_tables:
        for row in db.session.execute(text(f'select * from "{table.name}"')):
            for name, value in row._mapping.items():
                shown = str(value)
                if isinstance(value, bytes | memoryview):
                    try:
                        shown = crypto.decrypt(bytes(value)).decode("utf-8", "replace")
                    except Exception:
                        shown = bytes(value).decode("utf-8", "replace")
                found.append(f"{table.name}.{name}: {shown}")
    return "\n".join(found)


def test_nothing_is_left_of_a_person_anywhere(canary):
    before = {line.split(":")[0] for line in everything().splitlines() if CANARY.lower() in line.lower()}
    assert before >= {
        "contact.first_name", "contact.email", "activity.text", "lead_call.note", "task.title", "contact_tag.tag",
        "referral.health", "referral.guardian", "referral.external_id", "referral.contact_person", "lead.message",
        "portal_message.text", "referral_attachment.name", "message.params", "provider_event.detail",
        "lead.first_touch", "portal_person.name", "portal_person.email", "referral_draft.answers",
    }  # fmt: skip
    done = privacy.erase(contact_id=canary.contact_id, reason="asked", despite_care=True)
    db.session.flush()
    assert (len(done.records), done.leads) == (2, 2)
    left = [line for line in everything().splitlines() if CANARY.lower() in line.lower()]
    # the address waits, encrypted, for the mail provider to be asked to erase it too
    assert [line for line in left if not line.startswith("provider_erasure.address")] == []


def test_what_stays(canary, clock):
    lines = len(people.timeline(contact_id=canary.contact_id, limit=200).rows)
    evidence = db.session.scalars(select(ConsentRecord.id)).all()
    email = canary.contact.email
    privacy.erase(contact_id=canary.contact_id, reason="asked", despite_care=True)
    db.session.flush()
    assert len(people.timeline(contact_id=canary.contact_id, limit=200).rows) >= lines
    assert set(evidence) < set(db.session.scalars(select(ConsentRecord.id)))
    stopped = db.session.scalars(
        select(Suppression.address_index).where(Suppression.lifted_at.is_(None))
    ).all()
    assert address_index(email) in [bytes(index) for index in stopped]
    assert (
        consents.refusal(contact_id=canary.contact_id, topic=None, transactional=True, now=time.now())
        == "erased"
    )
    assert {one.state for one in db.session.scalars(select(Enrolment))} == {"exited"}
    again = support_factories.contact(email)  # a person who comes back with this address must consent again
    assert (
        consents.refusal(contact_id=again.id, topic="prospect_edu", transactional=False, now=time.now())
        == "opted_out"
    )
    clock.shift(timedelta(days=2))
    consent.confirm(confirmation_id=support_factories.asked(again))
    assert (
        consents.refusal(contact_id=again.id, topic="prospect_edu", transactional=False, now=time.now())
        is None
    )


def test_once_is_enough_and_whom_it_does_not_find(canary):
    privacy.erase(contact_id=canary.contact_id, reason="asked", despite_care=True)
    with pytest.raises(Conflict):
        privacy.erase(contact_id=canary.contact_id, reason="asked", despite_care=True)
    with pytest.raises(NotFound):
        privacy.erase(contact_id=0, reason="asked")
    with pytest.raises(Invalid):
        privacy.erase(contact_id=canary.contact_id, reason="because")


@pytest.mark.parametrize(
    ("facts", "despite_care", "says"),
    [
        (Facts(), False, None),
        (Facts(kinds=["contact_request"], stages=["contacted"]), False, None),
        (Facts(kinds=["contact_request"], stages=["patient"]), False, "referred or cared for"),
        (Facts(kinds=["referral"], stages=["closed"]), False, "referred or cared for"),
        (Facts(kinds=["referral"], stages=["closed"]), True, None),
        (Facts(kinds=["referral"], stages=["received"], open_referral=True), True, "is open"),
        (Facts(has_account=True), True, "Close their account first"),
    ],
)
def test_who_is_not_erased(facts, despite_care, says):
    found = rules.refused(facts, despite_care=despite_care)
    assert (found is None) if says is None else says in found


def test_on_the_page_the_reference_is_typed_first(client, database, clock):
    lead = new_lead(1)
    admin = signed_in(database, "admin")
    address = f"/console/erase/{lead.reference}"
    assert f'href="{address}"' in admin.get(f"/console/leads/{lead.reference}").text
    assert lead.contact.name in admin.get(address).text
    assert admin.post(address, {"reason": "asked", "typed": "yes"}).status_code == 422
    assert lead.contact.erased_at is None
    assert admin.post(address, {"reason": "", "typed": lead.reference}).status_code == 422
    assert admin.post(address, {"reason": "asked", "typed": lead.reference.lower()}).status_code == 302
    assert (lead.contact.name, lead.contact.email, lead.stage) == ("Erased", None, "lost")
    assert admin.get(f"/console/leads/{lead.reference}").status_code == 200
    assert "already erased" in admin.get(address).text
    assert admin.post(address, {"reason": "asked", "typed": lead.reference}).status_code == 409


def test_an_open_referral_stands_in_the_way(client, database, clock):
    with transaction():
        lead = service.get(refer().lead_id)
    admin = signed_in(database, "admin")
    assert "is open" in admin.get(f"/console/erase/{lead.reference}").text
    answer = admin.post(f"/console/erase/{lead.reference}", {"reason": "asked", "typed": lead.reference})
    assert answer.status_code == 409


def test_by_the_command(database, redis, clock):
    runner = database.test_cli_runner()
    lead = new_lead(1)
    command = ["contacts", "erase", lead.reference.lower(), "--reason", "asked"]
    assert runner.invoke(args=command, input="n\n").exit_code == 1
    assert lead.contact.erased_at is None
    done = runner.invoke(args=[*command, "--yes"])
    assert (done.exit_code, done.output) == (0, "Erased: 1 records, 1 leads.\n")
    assert "already erased" in runner.invoke(args=[*command, "--yes"]).output
    assert (
        "no lead"
        in runner.invoke(args=["contacts", "erase", "C-222222", "--reason", "asked", "--yes"]).output
    )
    assert runner.invoke(args=["contacts", "purge"]).exit_code == 0


def test_what_is_over_its_time_goes_and_what_is_not_stays(database, redis, clock, monkeypatch):
    monkeypatch.setattr(retention, "SLICE", 2)
    now = time.now()
    with transaction():
        for number in range(5):
            old = now - timedelta(days=31 + number)
            db.session.add(Receipt(received_at=old, body=b"[]", applied_at=old))
            db.session.add(
                ProviderEvent(
                    event_id=f"e{number}",
                    kind="bounced",
                    at=old,
                    received_at=now - timedelta(days=91),
                    detail="550",
                )
            )
        db.session.add(Receipt(received_at=now, body=b"[]", applied_at=now))
        db.session.add(
            Receipt(received_at=now - timedelta(days=99), body=b"[]")
        )  # never applied: staff must look
        db.session.add(
            ProviderEvent(
                event_id="new", kind="bounced", at=now, received_at=now - timedelta(days=89), detail="550"
            )
        )
        for key, age in (("old", 25), ("new", 23)):
            at = now - timedelta(hours=age)
            db.session.add(KeptReply(caller="key:1", key=key, request_hash=b"x", at=at))
    jobs.purge()
    assert len(db.session.scalars(select(Receipt.id)).all()) == 2
    kept = dict(db.session.execute(select(ProviderEvent.event_id, ProviderEvent.detail)).all())
    assert kept == {f"e{number}": None for number in range(5)} | {"new": "550"}
    assert db.session.scalars(select(KeptReply.key)).all() == ["new"]


def test_people_known_from_nothing_but_spam_are_erased_after_a_month(database, redis, clock):
    spam, mixed, lately = new_lead(1), new_lead(2), new_lead(3)
    also = new_lead(4)
    with transaction():
        also.contact_id = mixed.contact_id
        for lead in (spam, mixed):
            service.move_stage(lead_id=lead.id, version=lead.version, to="spam")
    clock.shift(timedelta(days=20))
    with transaction():
        service.move_stage(lead_id=lately.id, version=lately.version, to="spam")
    clock.shift(timedelta(days=11))
    jobs.purge()
    db.session.expire_all()
    erased = {
        lead.reference for lead in db.session.scalars(select(Lead)) if lead.contact.erased_at is not None
    }
    assert erased == {spam.reference}
    jobs.purge()  # and again changes nothing


def test_old_acts_on_many_are_forgotten(database, redis, clock):
    me, lead = member("front_desk"), new_lead(1)
    with transaction():
        bulk.plan_run(act="spam", form={}, lead_ids=[lead.id], user_id=me.id)
    clock.shift(timedelta(days=29))
    jobs.purge()
    assert len(db.session.scalars(select(BulkItem.lead_id)).all()) == 1
    clock.shift(timedelta(days=2))
    jobs.purge()
    assert (
        db.session.scalars(select(BulkItem.lead_id)).all()
        == db.session.scalars(select(BulkRun.id)).all()
        == []
    )
