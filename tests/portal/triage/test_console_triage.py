"""Referral triage: order, one referral for one person, a decision by one key, undo."""

import re

import pytest
from sqlalchemy import select

from crm.core.db import db, transaction
from crm.desk.calling import claims
from crm.desk.models import Work
from crm.leads import service as leads
from crm.leads.models import Lead
from crm.portal.models import PortalMessage
from crm.portal.triage import review_list, service
from tests.intake.test_service import refer
from tests.support.browser_client import BrowserClient, member, signed_in
from tests.support.query_plans import plans_of

PAGE = "/console/leads/triage"


def new_referral(**values) -> Lead:
    with transaction():
        return leads.get(refer(health={"reason": f"Pain {values}"}, **values).lead_id)


def move(lead, to, reason=None):
    with transaction():
        leads.move_stage(lead_id=lead.id, version=lead.version, to=to, reason=reason)


@pytest.fixture
def doctor(client, database, clock) -> BrowserClient:
    return signed_in(database, "clinician")


def mine():
    user = db.session.scalar(db.text("select id from \"user\" where email = 'clinician@clinic.example'"))
    claim = claims.claim_of(user, work=Work.REVIEW)
    return claim and claim.lead_id


def decide(doctor, lead, decision, **more):
    given = {"version": lead.version, "decision": decision, **more}
    return doctor.post(f"{PAGE}/{lead.reference}", given)


def current(lead_id) -> Lead:
    return db.session.get_one(Lead, lead_id, populate_existing=True)


def test_order(database, clock):
    """Urgent ones, new ones, those in review; the oldest first. What is decided or asked is not in it."""
    begun, first, asked, taken = (new_referral(external_id=str(n)) for n in range(4))
    clock.shift(60)
    second, urgent = new_referral(external_id="5"), new_referral(external_id="6", urgency="urgent")
    move(begun, "in_review")
    move(asked, "info_requested", "other")
    move(taken, "accepted")
    wanted = [urgent.id, first.id, second.id, begun.id]
    assert [lead.id for lead in review_list.load_waiting(me=0)] == wanted
    assert review_list.count_waiting() == 4


def test_one_after_the_other(doctor):
    one, two, three = (new_referral(external_id=str(n)) for n in range(3))
    start = doctor.get(PAGE).text
    assert start.index(one.reference) < start.index(three.reference)
    doctor.post(f"{PAGE}/start")
    page = doctor.get(PAGE).text
    assert "Pain " in page  # all that came with it
    assert 'data-key="a"' in page
    assert decide(doctor, one, "accepted").location == PAGE
    assert mine() == two.id
    assert "1 decision made" in doctor.get(PAGE).text
    decide(doctor, two, "info_requested:missing_records", message="Please send the MRI.")
    doctor.get(PAGE)
    assert db.session.scalars(select(PortalMessage.text)).all() == ["Please send the MRI."]
    decide(doctor, three, "declined:safety")
    assert [(current(one.id).stage, current(two.id).stage, current(three.id).reason)] == [
        ("accepted", "info_requested", "safety")
    ]
    page = doctor.get(PAGE).text
    assert "No other referral waits" in page
    undo = re.search(r'action="([^"]+/undo/\d+[^"]*)"', page)[1].replace("&amp;", "&")
    assert doctor.post(undo).location == PAGE
    assert current(three.id).stage == "received"


def test_two_people_get_two(database, clock):
    one, two = (new_referral(external_id=str(n)) for n in range(2))
    me, other = member("clinician"), member("front_desk")
    with transaction():
        assert service.claim_next(user_id=me.id).id == one.id
        assert service.claim_next(user_id=other.id).id == two.id
    assert [lead.id for lead in review_list.load_waiting(me=me.id)] == [one.id]
    clock.shift(15 * 60)
    assert len(review_list.load_waiting(me=me.id)) == 2


def test_referral_of_another_is_not_decided(doctor):
    lead, other = new_referral(), member("front_desk")
    doctor.post(f"{PAGE}/start")
    doctor.get(PAGE)
    with transaction():
        claims.release(claims.claim_of(_me(), work=Work.REVIEW).user_id)
        service.claim_next(user_id=other.id)
    assert decide(doctor, lead, "accepted").status_code == 409
    assert current(lead.id).stage == "received"


def _me():
    return db.session.scalar(db.text("select id from \"user\" where email = 'clinician@clinic.example'"))


@pytest.mark.parametrize(
    ("decision", "more", "status"),
    [
        ("", {}, 422), ("closed", {}, 422), ("declined", {}, 409), ("accepted", {"version": 99}, 409),
        ("accepted", {"message": "x" * 2001}, 422),
    ],
)  # fmt: skip
def test_refuses(doctor, decision, more, status):
    lead = new_referral()
    doctor.post(f"{PAGE}/start")
    doctor.get(PAGE)
    assert decide(doctor, lead, decision, **more).status_code == status
    assert current(lead.id).stage == "received"
    assert db.session.scalars(select(PortalMessage)).all() == []


def test_skip_and_stop(doctor):
    one, two = (new_referral(external_id=str(n)) for n in range(2))
    doctor.post(f"{PAGE}/start")
    doctor.get(PAGE)
    doctor.post(f"{PAGE}/next")
    assert mine() == two.id
    doctor.post(f"{PAGE}/start")
    assert mine() == one.id
    assert "0 decisions made" in doctor.get(doctor.post(f"{PAGE}/stop").location).text
    assert mine() is None


def test_reads_its_index(database, clock):
    plans = plans_of(lambda: (review_list.load_waiting(me=0), review_list.count_waiting()))
    assert all("ix_lead_review" in plan and "Seq Scan on lead" not in plan for _, plan in plans)
