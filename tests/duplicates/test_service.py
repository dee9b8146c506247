"""Duplicates: merge and undo; the strictest email decision applies."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select

from crm.consent import queries as consents
from crm.consent import service as consent
from crm.consent.replay import verdict_at
from crm.contacts import queries as people
from crm.contacts import service as contacts
from crm.contacts.models import Activity, Contact, Tag
from crm.contacts.rules import Person
from crm.core import clock as time
from crm.core.db import db
from crm.core.errors import Conflict, Invalid, NotFound
from crm.desk import search
from crm.duplicates import service as duplicates
from crm.duplicates import split
from crm.intake import service as intake
from crm.intake.service import ContactRequest
from crm.leads import crisis, service
from crm.leads.models import Lead, Task
from crm.messages import service as messages
from crm.sequences.models import Enrolment
from tests.desk.test_console_work import desk, new_lead  # noqa: F401 - fixture
from tests.support import factories as support_factories

EDU = "prospect_edu"


def person(email: str | None, **values) -> Contact:
    who = Person(**{"first_name": "Ana", "last_name": "Ruiz", "email": email, "time_zone": "UTC", **values})
    opened = intake.open_contact_request(
        request=ContactRequest(person=who, source="form", message=str(email))
    )
    return db.session.get_one(Contact, opened.contact_id)


@pytest.fixture
def two(edge, clock):
    return person("ana@example.com", phone="+12135550142"), person("ana.work@example.com")


def leads_of(contact) -> int:
    return len(db.session.scalars(select(Lead.id).where(Lead.contact_id == contact.id)).all())


def granted(contact) -> bool:
    return any(state.granted for state in consents.states(contact.id))


def test_candidates(two):
    kept, other = two
    assert duplicates.candidates(kept) == []
    other.phone_index = kept.phone_index
    db.session.flush()
    [found] = duplicates.candidates(kept)
    assert (found.contact.id, found.alike) == (other.id, ("phone",))
    duplicates.merge_contacts(kept_id=kept.id, gone_id=other.id)
    assert duplicates.candidates(kept) == duplicates.candidates(other) == []


def test_merge_and_undo(two):
    kept, gone = two
    [lead] = db.session.scalars(select(Lead).where(Lead.contact_id == gone.id))
    service.add_note(lead_id=lead.id, text="Prefers mornings")
    contacts.add_tag(contact_id=gone.id, tag="vip")
    of_gone = select(Activity.id).where(Activity.contact_id == gone.id).order_by(Activity.id)
    before = db.session.scalars(of_gone).all()
    made = duplicates.merge_contacts(kept_id=kept.id, gone_id=gone.id)
    assert (leads_of(kept), leads_of(gone), gone.merged_into_id) == (2, 0, kept.id)
    assert db.session.get(Tag, (kept.id, "vip")) is not None
    assert db.session.scalars(select(Activity).where(Activity.contact_id == gone.id)).all() == []
    assert duplicates.merges_into(kept.id) == [made]
    duplicates.undo_merge(made.id)
    assert (leads_of(kept), leads_of(gone), gone.merged_into_id) == (1, 1, None)
    assert db.session.scalars(of_gone).all() == before
    assert db.session.get(Tag, (kept.id, "vip")) is None
    assert duplicates.merges_into(kept.id) == []
    with pytest.raises(Conflict):
        duplicates.undo_merge(made.id)


def test_opt_out_of_either_record(two, clock):
    kept, gone = two
    support_factories.opted_in(kept)
    support_factories.opted_in(gone)
    consent.withdraw(contact_id=gone.id, topic=EDU, source="preferences")
    clock.shift(60)
    consent.set_topics(contact_id=kept.id, topics=[EDU], language="en")  # the newer decision
    made = duplicates.merge_contacts(kept_id=kept.id, gone_id=gone.id)
    assert not granted(kept)
    duplicates.undo_merge(made.id)
    assert granted(kept)
    assert not granted(gone)


def test_consent_of_one_record(two):
    kept, gone = two
    support_factories.opted_in(kept)
    duplicates.merge_contacts(kept_id=kept.id, gone_id=gone.id)
    assert granted(kept)


def test_consent_of_other_mailbox_is_not_copied(two, redis):
    support_factories.shipped()
    kept, gone = two
    support_factories.opted_in(gone)
    duplicates.merge_contacts(kept_id=kept.id, gone_id=gone.id)
    assert not granted(kept)
    enrolment = db.session.scalars(select(Enrolment)).one()
    assert (enrolment.state, enrolment.reason) == ("exited", "merged")


def test_clinical_stop_is_copied(two):
    kept, gone = two
    contacts.set_clinical_stop(contact_id=gone.id, reason="clinician")
    duplicates.merge_contacts(kept_id=kept.id, gone_id=gone.id)
    assert kept.stopped_at is not None


@pytest.mark.parametrize(
    "typed", ["Bianca", "Rossi", "bianca@example.com", "bianca@", "+12135550177", "0177"]
)
def test_merged_away_values_find_the_record(two, typed):
    kept, _ = two
    gone = person("bianca@example.com", first_name="Bianca", last_name="Rossi", phone="+12135550177")
    duplicates.merge_contacts(kept_id=kept.id, gone_id=gone.id)
    found = search.find_leads(search.LeadFilter(q=typed)).rows
    assert {lead.contact_id for lead in found} == {kept.id}


def test_merged_away_address_joins_the_record(two):
    kept, gone = two
    third = person("third@example.com")
    duplicates.merge_contacts(kept_id=kept.id, gone_id=gone.id)
    duplicates.merge_contacts(kept_id=third.id, gone_id=kept.id)
    assert person("ana.work@example.com", first_name="ANA").id == third.id
    assert db.session.scalar(select(func.count()).select_from(Contact)) == 3


def test_invalid_merges(two):
    kept, gone = two
    with pytest.raises(Invalid):
        duplicates.merge_contacts(kept_id=kept.id, gone_id=kept.id)
    with pytest.raises(NotFound):
        duplicates.merge_contacts(kept_id=kept.id, gone_id=0)
    with pytest.raises(NotFound):
        duplicates.undo_merge(0)
    first = duplicates.merge_contacts(kept_id=kept.id, gone_id=gone.id)
    third = person("third@example.com")
    with pytest.raises(Conflict):
        duplicates.merge_contacts(kept_id=third.id, gone_id=gone.id)
    duplicates.merge_contacts(kept_id=third.id, gone_id=kept.id)
    with pytest.raises(Conflict, match="Undo that merge first"):
        duplicates.undo_merge(first.id)


def test_ended_enrolments_move(two, redis):
    support_factories.shipped()
    kept, gone = two
    support_factories.opted_in(gone)
    enrolment = db.session.scalars(select(Enrolment)).one()
    made = duplicates.merge_contacts(kept_id=kept.id, gone_id=gone.id)
    db.session.refresh(enrolment)
    assert (enrolment.state, enrolment.contact_id) == ("exited", kept.id)
    duplicates.undo_merge(made.id)
    db.session.refresh(enrolment)
    assert (enrolment.state, enrolment.contact_id) == ("active", gone.id)


def test_merge_undo_merge_loses_no_consent(two, redis, clock):
    support_factories.shipped()
    kept, gone = two
    gone.email, gone.email_index = kept.email, kept.email_index
    support_factories.opted_in(kept)
    clock.shift(90_000)  # an address is asked once a day
    support_factories.opted_in(gone)
    before = {
        one.id: [(state.topic, state.granted) for state in consents.states(one.id)] for one in (kept, gone)
    }
    for _ in range(2):
        clock.shift(60)
        made = duplicates.merge_contacts(kept_id=kept.id, gone_id=gone.id)
        assert granted(kept)
        clock.shift(60)
        duplicates.undo_merge(made.id)
        for one in (kept, gone):
            assert [(state.topic, state.granted) for state in consents.states(one.id)] == before[one.id]
            assert verdict_at(one.id, EDU, time.now()).reason is None
    duplicates.merge_contacts(kept_id=kept.id, gone_id=gone.id)
    assert granted(kept)
    active = select(Enrolment.contact_id).where(Enrolment.state == "active")
    assert db.session.scalars(active).all() == [kept.id]


def test_consent_copied_by_a_merge_ends_with_it(two, clock):
    kept, gone = two
    gone.email, gone.email_index = kept.email, kept.email_index
    support_factories.opted_in(gone)
    made = duplicates.merge_contacts(kept_id=kept.id, gone_id=gone.id)
    assert granted(kept)
    duplicates.undo_merge(made.id)
    assert (consents.states(kept.id), granted(gone)) == ([], True)
    clock.shift(60)
    assert verdict_at(kept.id, EDU, time.now()).reason == "no_consent"


def test_opt_out_after_a_merge_stands(two, clock):
    kept, gone = two
    gone.email, gone.email_index = kept.email, kept.email_index
    support_factories.opted_in(kept)
    made = duplicates.merge_contacts(kept_id=kept.id, gone_id=gone.id)
    clock.shift(60)
    consent.withdraw(contact_id=kept.id, topic=EDU, source="preferences")
    duplicates.undo_merge(made.id)
    assert not granted(kept)
    assert gone.merged_into_id is None


def at_work(*people) -> set[int]:
    """Those of these people who have a lead with a running clock, or an open task but that of a crisis."""
    rows = db.session.scalars(select(Lead).where(Lead.contact_id.in_([one.id for one in people]))).all()
    tasks = select(Task.lead_id).where(Task.done_at.is_(None), Task.kind != "crisis")
    busy = set(db.session.scalars(tasks).all())
    return {one.contact_id for one in rows if one.due_at is not None or one.id in busy}


def stop(contact, why):
    [lead] = db.session.scalars(select(Lead).where(Lead.contact_id == contact.id))
    if why == "stop":
        contacts.set_clinical_stop(contact_id=contact.id, reason="clinician")
    else:
        crisis.alert_if_crisis("I want to kill myself", lead_id=lead.id, reference=lead.reference)


@pytest.mark.parametrize("why", ["stop", "crisis"])
@pytest.mark.parametrize("place", [0, 1], ids=["kept", "gone"])
def test_work_on_a_merged_person_is_suspended(two, why, place):
    kept, gone = two
    stop(two[place], why)
    before = at_work(*two)
    made = duplicates.merge_contacts(kept_id=kept.id, gone_id=gone.id)
    assert (before, at_work(*two)) == ({two[1 - place].id}, set())
    duplicates.undo_merge(made.id)
    assert at_work(*two) == before


def test_a_crisis_since_a_merge_goes_back_with_its_lead(two):
    kept, gone = two
    [lead] = db.session.scalars(select(Lead).where(Lead.contact_id == gone.id))
    made = duplicates.merge_contacts(kept_id=kept.id, gone_id=gone.id)
    crisis.alert_if_crisis("I want to kill myself", lead_id=lead.id, reference=lead.reference)
    duplicates.undo_merge(made.id)
    assert at_work(*two) == {kept.id}


@pytest.mark.parametrize(
    ("why", "place", "works"), [("stop", 0, ()), ("crisis", 0, (1,)), ("crisis", 1, (0,))]
)
def test_work_after_a_split(two, why, place, works):
    """`place`: whose lead it is about."""
    kept, gone = two
    [lead] = db.session.scalars(select(Lead).where(Lead.contact_id == gone.id))
    of_kept = db.session.scalars(select(Lead).where(Lead.contact_id == kept.id)).one()
    duplicates.merge_contacts(kept_id=kept.id, gone_id=gone.id)
    if why == "stop":
        contacts.set_clinical_stop(contact_id=kept.id, reason="clinician")
    else:
        about = (of_kept, lead)[place]
        crisis.alert_if_crisis("I want to kill myself", lead_id=about.id, reference=about.reference)
    bo = Person(first_name="Bo", last_name="Ruiz", time_zone="UTC")
    db.session.flush()
    second = split.split_contact(
        contact_id=kept.id, version=kept.version, person=bo, whose={}, lead_ids=[lead.id]
    )
    assert at_work(kept, second) == {(kept, second)[one].id for one in works}


OPT_OUTS = {
    "topic": lambda who: consent.withdraw(contact_id=who.id, topic=EDU, source="unsubscribe_page"),
    "all": lambda who: consent.withdraw(contact_id=who.id, topic=None, source="one_click"),
    "preferences": lambda who: consent.set_topics(contact_id=who.id, topics=[], language="en"),
    "snooze": lambda who: consent.snooze(contact_id=who.id, until=time.now() + timedelta(days=40)),
}


@pytest.mark.parametrize("before", ["kept agreed", "kept did not"])
@pytest.mark.parametrize("no", OPT_OUTS)
def test_a_no_by_the_link_of_a_merged_record_outlives_the_undo(two, clock, redis, no, before):
    support_factories.shipped()
    kept, gone = two
    support_factories.opted_in(gone)
    if before == "kept agreed":
        support_factories.opted_in(kept)
    made = duplicates.merge_contacts(kept_id=kept.id, gone_id=gone.id)
    clock.shift(60)
    OPT_OUTS[no](gone)
    clock.shift(60)
    duplicates.undo_merge(made.id)
    assert verdict_at(gone.id, EDU, time.now()).reason is not None
    active = select(Enrolment).where(Enrolment.contact_id == gone.id, Enrolment.state == "active")
    assert no == "snooze" or db.session.scalars(active).all() == []


@pytest.mark.parametrize(("then", "after"), [("no", False), ("yes", True), ("undo", True)])
def test_the_newest_decision_since_a_merge_counts(two, clock, then, after):
    kept, gone = two
    support_factories.opted_in(kept)
    support_factories.opted_in(gone)
    made = duplicates.merge_contacts(kept_id=kept.id, gone_id=gone.id)
    clock.shift(60)
    consent.withdraw(contact_id=kept.id, topic=EDU, source="preferences")
    clock.shift(60)
    if then == "yes":
        consent.set_topics(contact_id=kept.id, topics=[EDU], language="en")
    if then == "undo":
        consent.undo_withdraw(contact_id=kept.id)
    duplicates.undo_merge(made.id)
    assert (granted(kept), granted(gone)) == (after, after)


def test_undoing_an_opt_out_of_a_merged_record_holds_after_the_undo(two, clock):
    kept, gone = two
    support_factories.opted_in(gone)
    made = duplicates.merge_contacts(kept_id=kept.id, gone_id=gone.id)
    clock.shift(60)
    consent.withdraw(contact_id=gone.id, topic=EDU, source="preferences")
    consent.undo_withdraw(contact_id=gone.id)
    duplicates.undo_merge(made.id)
    assert granted(gone)


def test_merge_can_be_undone_for_30_days(two, clock):
    kept, gone = two
    made = duplicates.merge_contacts(kept_id=kept.id, gone_id=gone.id)
    clock.shift(31 * 86_400)
    assert duplicates.merges_into(kept.id) == []
    with pytest.raises(Conflict, match="too much time"):
        duplicates.undo_merge(made.id)


def test_timeline_has_emails_of_both(two, redis):
    support_factories.shipped()
    kept, gone = two
    messages.send_transactional("answer-please-call", contact_id=gone.id, language="en")

    def mail(contact) -> int:
        return sum(line.source == "mail" for line in people.timeline(contact_id=contact.id).rows)

    assert (mail(kept), mail(gone)) == (0, 1)
    made = duplicates.merge_contacts(kept_id=kept.id, gone_id=gone.id)
    assert mail(kept) == 1
    duplicates.undo_merge(made.id)
    assert (mail(kept), mail(gone)) == (0, 1)


def test_lead_page(desk):  # noqa: F811
    one = new_lead(1)
    other = new_lead(2, first_name="Ben", phone="+12135550001")
    assert one.contact_id != other.contact_id
    address = f"/console/leads/{one.reference}"
    page = desk.get(address).text
    assert "Possible duplicates" in page
    assert "N2" in page
    answer = desk.post(f"{address}/merge", {"gone": str(other.contact_id)})
    assert answer.status_code == 302
    assert other.contact_id == one.contact_id
    page = desk.get(address).text
    assert "/unmerge/" in page
    [made] = duplicates.merges_into(one.contact_id)
    assert desk.post(f"{address}/unmerge/{made.id}").status_code == 302
    assert other.contact_id != one.contact_id
    assert desk.post(f"{address}/merge", {"gone": "x"}).status_code == 422
    assert desk.post(f"/console/leads/{other.reference}/unmerge/{made.id}").status_code == 404
