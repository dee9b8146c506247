"""Retention periods of the clinic: who and what is deleted when, and what never is."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select

from crm.audit.models import AuditEntry
from crm.consent.models import ConsentRecord
from crm.contacts.models import Contact
from crm.core import clock as core_clock
from crm.core.db import db, transaction
from crm.core.errors import Conflict, Invalid
from crm.leads import service as leads
from crm.leads.models import Lead, StageMove
from crm.messages import service as messages
from crm.messages.models import Message
from crm.portal import service as portal
from crm.portal.models import Attachment, PortalMessage
from crm.portal.service import UploadedFile
from crm.privacy import holds, periods, rules, service
from jobs import privacy as jobs
from tests.desk.test_console_work import new_lead
from tests.intake.test_service import refer
from tests.support import factories
from tests.support.browser_client import signed_in

PDF = b"%PDF-1.4\n" + b"0" * 100 + b"\n%%EOF\n"
NONE = dict.fromkeys(rules.PERIODS)


def keep(**days: int) -> None:
    with transaction():
        periods.set_all({**NONE, **days}, seen=10_000)


def erased() -> set[int]:
    db.session.expire_all()
    return set(db.session.scalars(select(Contact.id).where(Contact.erased_at.is_not(None))))


def at_stage(number: int, stage: str, **values) -> Lead:
    lead = new_lead(number)
    with transaction():
        lead.stage, lead.due_at = stage, None
        if stage in ("lost", "not_a_fit", "spam"):
            lead.closed_at, lead.reason = lead.created_at, "other"
        for name, value in values.items():
            setattr(lead, name, value)
    return lead


@pytest.fixture
def people(database, redis, clock):
    """People of every kind, a hundred days old."""
    with transaction():
        factories.shipped()
    found = {
        "unconfirmed": at_stage(1, "unconfirmed").contact_id,
        "reached": at_stage(2, "unconfirmed", first_human_touch_at=core_clock.now()).contact_id,
        "lost": at_stage(3, "lost").contact_id,
        "open": at_stage(4, "contacted").contact_id,
        "patient": at_stage(5, "patient").contact_id,
        "subscribed": at_stage(6, "lost").contact_id,
        "held": at_stage(7, "lost").contact_id,
    }
    seen_then_lost = at_stage(8, "lost")
    with transaction():
        db.session.add(
            StageMove(
                lead_id=seen_then_lost.id, was="consult_scheduled", now="consult_done", actor="staff:1",
                at=seen_then_lost.created_at,
            )
        )  # fmt: skip
        found["cared for"] = seen_then_lost.contact_id
        found["referred"] = leads.get(refer().lead_id).contact_id
        found["imported"] = factories.contact("list@patients.example").id
        found["imported and subscribed"] = (listed := factories.contact("yes@patients.example")).id
        factories.opted_in(listed)
        factories.opted_in(db.session.get_one(Contact, found["subscribed"]))
        holds.place(contact_id=found["held"], records=[found["held"]], reason="Case 7")
    clock.shift(timedelta(days=100))
    return found


@pytest.mark.parametrize(
    ("kind", "whom"), [("unconfirmed", "unconfirmed"), ("closed", "lost"), ("no_lead", "imported")]
)
def test_whom_each_period_erases(people, kind, whom, monkeypatch):
    monkeypatch.setattr(periods, "PEOPLE_SLICE", 1)
    records = db.session.scalar(select(func.count(ConsentRecord.id)))
    keep(**{kind: 101})
    jobs.retain()
    assert erased() == set()
    keep(**{kind: 99})
    assert periods.due(periods.current()) == {kind: 1}
    jobs.retain()
    assert erased() == {people[whom]}
    assert db.session.scalar(select(func.count(ConsentRecord.id))) >= records
    entry = db.session.scalars(select(AuditEntry).where(AuditEntry.action == "retention.delete")).one()
    assert entry.detail == {"kind": kind, "days": 99, "number": 1}
    jobs.retain()  # and again changes nothing
    assert erased() == {people[whom]}


def test_a_hold_keeps_a_person_until_it_is_lifted(people):
    held = people["held"]
    with pytest.raises(Conflict, match="legal hold"):
        service.erase(contact_id=held, reason="asked")
    with pytest.raises(Conflict, match="already"):
        holds.place(contact_id=held, records=[held], reason="Case 8")
    with transaction():
        holds.lift(holds.every()[0].id)
    keep(closed=99)
    jobs.retain()
    assert erased() == {held, people["lost"]}


def test_messages_and_files_of_closed_referrals_go(database, redis, clock):
    with transaction():
        factories.shipped()
        lead = leads.get(refer().lead_id)
        portal.write_message(lead=lead, text="About the patient", from_clinic=True)
        portal.add_files(lead=lead, files=[UploadedFile(name="scan.pdf", content=PDF)])
        facts = {"facts": {"reference": lead.reference}}
        sent = messages.send_transactional(
            "answer-please-call", contact_id=lead.contact_id, language="en", params=facts
        )
    keep(messages=365, files=365)
    clock.shift(timedelta(days=400))
    assert periods.due(periods.current()) == {"messages": 1, "files": 0}  # the referral is open
    with transaction():
        lead.stage, lead.closed_at = "duplicate", lead.created_at
    assert periods.due(periods.current()) == {"messages": 2, "files": 1}
    jobs.retain()
    db.session.expire_all()
    assert db.session.get_one(Message, sent).params == {}
    assert (
        db.session.scalars(select(PortalMessage.id)).all()
        == db.session.scalars(select(Attachment.id)).all()
        == []
    )


@pytest.mark.parametrize(
    ("kind", "typed", "days"),
    [("closed", "", None), ("closed", " 730 ", 730), ("closed", "89", False), ("closed", "x", False),
     ("messages", "90", False), ("files", "99999999", False)],
)  # fmt: skip
def test_periods_as_people_type_them(kind, typed, days):
    if days is False:
        with pytest.raises(ValueError, match="Enter"):
            rules.read_days(kind, typed)
    else:
        assert rules.read_days(kind, typed) == days


def test_what_was_not_shown_is_not_deleted(people):
    with pytest.raises(Conflict):
        periods.set_all({**NONE, "closed": 99}, seen=0)
    with pytest.raises(Invalid):
        periods.set_all({"closed": 1}, seen=0)
    assert periods.current() == {}


def test_on_the_page_the_numbers_come_first(people, database):
    admin = signed_in(database, "admin")
    page = admin.get("/console/retention")
    assert "Case 7" in page.text
    assert admin.get("/console/retention?check=1&closed=3").status_code == 422
    checked = admin.get("/console/retention?check=1&closed=99").text
    assert "1 record is deleted within a day" in checked
    assert admin.post("/console/retention", {"closed": "99"}).status_code == 409
    assert admin.post("/console/retention", {"closed": "99", "seen": "1"}).status_code == 302
    assert periods.current() == {"closed": 99}
    lead = db.session.scalars(select(Lead).where(Lead.contact_id == people["open"])).one()
    hold = {"reference": lead.reference.lower(), "hold_reason": "Case 9"}
    assert admin.post("/console/retention/holds", hold).status_code == 302
    assert admin.post("/console/retention/holds", hold).status_code == 409
    assert admin.post("/console/retention/holds", hold | {"hold_reason": ""}).status_code == 422
    assert admin.post(f"/console/retention/holds/{holds.every()[0].id}/lift").status_code == 302
