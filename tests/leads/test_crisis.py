"""Crisis alerts from every text about a lead, and which leads wait for an owner."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from crm.audit import acts
from crm.audit import service as audit
from crm.audit.models import StaffAct
from crm.contacts import service as contacts
from crm.contacts.rules import Person
from crm.core import clock
from crm.core.db import db, transaction
from crm.desk import worklists
from crm.imports import service as imports
from crm.intake import by_hand
from crm.intake.by_hand import Entry
from crm.leads import call_log, crisis, queries, service
from crm.leads.models import Lead, Task
from crm.leads.tasks import service as tasks
from crm.portal import service as portal_service
from crm.staff import alerts
from crm.staff.models import Alert
from jobs import interop as jobs
from tests.intake.test_bad_input import HEAD, doors  # noqa: F401 - a fixture
from tests.portal.test_portal import enter, refer
from tests.portal.test_uploads import sent_off
from tests.support import factories as support_factories
from tests.support.browser_client import signed_in
from tests.web.test_api import PATIENT, post, referral

WORDS = "I want to kill myself"


CRISES = (WORDS, "Ya no quiero vivir, me quiero matar", "I took a whole bottle of pills")
FALSE_ALARMS = (
    "I am not suicidal", "The pain is killing me", "A killer headache", "Denies suicidal ideation",
    "No tengo ideas suicidas", "Me muero de dolor",
)  # fmt: skip


def open_alerts():
    return db.session.scalars(select(Alert).where(Alert.key.like("crisis:%"))).all()


def raised():
    """How many alerts about a crisis there are, of a lead or of a row of a file."""
    keys = db.session.scalars(select(Alert.key)).all()
    return sum(key.startswith(("crisis:", "import-crisis:")) for key in keys)


class Writers:
    """One call per way in, each time about another person."""

    def __init__(self, ways):
        self.doors, self.number = ways, 0

    def _next(self):
        self.number += 1
        return f"p{self.number}@example.test"

    def form(self, text):
        self.doors.form("Ana", email=self._next(), message=text)

    def api(self, text):
        self.doors.api("Ana", email=self._next(), message=text)

    def referral(self, text):
        body = referral(patient=PATIENT | {"email": self._next()}, external_id=None, reason={"text": text})
        assert post(self.doors.client, self.doors.key, body, "referrals").status_code == 201

    def referral_sent_again(self, text):
        """The same number of the practice, with another text."""
        for reason in ("Back pain", text):
            body = referral(
                external_id=f"x{self.number}", patient=PATIENT | {"email": f"r{self.number}@x.test"}
            )
            body["reason"] = {"text": reason}
            assert post(self.doors.client, self.doors.key, body, "referrals").status_code in (200, 201)
        self.number += 1

    def portal(self, text):
        if not self.number:
            self.visitor = enter(self.doors.app, self.doors.nurse)
        assert refer(self.visitor, email=self._next(), reason=text).status_code == 303

    def upload(self, text):
        if not self.number:
            self.visitor = enter(self.doors.app, self.doors.nurse)
        head = "First name,Last name,DOB,Phone,Email,Reason\n"
        sent_off(self.visitor, f'{head}Ana,R{self.number},5/17/1970,213 555 0142,{self._next()},"{text}"\n')

    def by_hand(self, text):
        person = Person(
            first_name="Ana", last_name="Ruiz", email=self._next(), time_zone="America/Los_Angeles"
        )
        with transaction():
            by_hand.open_lead(Entry(person=person, source="phone"), message=text, heard_from=None)

    def import_of_leads(self, text):
        self._imported(f'Ana,Ruiz,{self._next()},,,"{text}"')

    def import_of_contacts(self, text):
        self._imported(f'Ana,Ruiz,{self._next()},,,"{text}"', kind="contacts")

    def refused_row(self, text):
        self._imported(f'Ana,Ruiz,,,,"{text}"')

    def repeated_row(self, text):
        email = self._next()
        self._imported(f'Ana,Ruiz,{email},,,Hi\nAna,Ruiz,{email},,,"{text}"', kind="contacts")

    def cell_left_out(self, text):
        """A message that is too long to be stored."""
        self._imported(f'Ana,Ruiz,{self._next()},,,"{"x " * 6000}. {text}"')

    def _imported(self, lines, kind="leads"):
        self.doors.imported((HEAD + lines + "\n").encode(), kind=kind)

    def _about_a_referral(self):
        self.doors.referral("Ana", last_name=f"R{self.number}", email=self._next())
        return db.session.scalars(select(Lead).order_by(Lead.id.desc())).first()

    def note(self, text):
        lead = self._about_a_referral()
        with transaction():
            service.add_note(lead_id=lead.id, text=text)

    def call(self, text):
        lead = self._about_a_referral()
        with transaction():
            call_log.log_call(lead_id=lead.id, channel="phone", outcome="voicemail", note=text)

    def title_of_a_task(self, text):
        lead = self._about_a_referral()
        with transaction():
            service.add_task(lead_id=lead.id, kind="other", title=text, due_at=clock.now())

    def edited_title_of_a_task(self, text):
        lead = self._about_a_referral()
        with transaction():
            due = clock.now() + timedelta(days=1)
            task = service.add_task(lead_id=lead.id, kind="other", title="Write", due_at=due)
            tasks.edit(
                task_id=task.id, form=tasks.TaskForm(title=text, due_at=task.due_at), version=task.version
            )

    def tag(self, text):
        lead = self._about_a_referral()
        with transaction():
            contacts.add_tag(contact_id=lead.contact_id, tag=text.replace(",", ""))

    def message_of_the_practice(self, text):
        lead = self._about_a_referral()
        with transaction():
            portal_service.write_message(lead=lead, text=text, from_clinic=False)

    def message_of_the_clinic(self, text):
        lead = self._about_a_referral()
        with transaction():
            portal_service.write_message(lead=lead, text=text, from_clinic=True)


@pytest.mark.parametrize("way", [name for name in vars(Writers) if not name.startswith("_")])
def test_every_way_in_is_watched(doors, way):  # noqa: F811
    write = getattr(Writers(doors), way)
    for text in FALSE_ALARMS:
        write(text)
    assert raised() == 0
    for number, text in enumerate(CRISES, start=1):
        write(text)
        assert raised() == number, text
    alert = db.session.scalars(select(Alert).where(Alert.level == "danger")).first()
    assert alert is not None
    assert "Ruiz" not in alert.text


def test_portal_shows_whom_to_call(doors):  # noqa: F811
    visitor = enter(doors.app, doors.nurse)
    sent = refer(visitor, reason="Suicidal ideation, wants to die")
    assert "call or text 988" in visitor.get(sent.location).text
    assert len(open_alerts()) == 1
    lead = db.session.scalars(select(Lead)).one()
    page = f"/refer/r/{lead.reference}"
    assert "call or text 988" not in visitor.get(page).text
    sent = visitor.post(f"{page}/messages", {"text": "He says he wants to end his life."})
    assert "call or text 988" in visitor.get(sent.location).text


def test_leads_in_crisis(doors):  # noqa: F811
    doors.api("Ana", message=WORDS)
    lead = db.session.scalars(select(Lead)).one()
    assert list(queries.leads_in_crisis()) == [lead]
    with transaction():
        db.session.execute(update(Alert).values(owner_id=doors.desk))
    assert list(queries.leads_in_crisis()) == []
    with transaction():
        db.session.execute(update(Alert).values(owner_id=None))
        alerts.close(f"crisis:{lead.id}")
    assert list(queries.leads_in_crisis()) == []


def test_new_text_raises_a_taken_crisis_anew(doors):  # noqa: F811
    doors.api("Ana", message=WORDS)
    lead = db.session.scalars(select(Lead)).one()
    with transaction():
        crisis.assign(lead.contact_id, owner_id=doors.desk)
        alerts.mark_sent()
        service.add_note(lead_id=lead.id, text="Called, no answer")
    assert list(queries.leads_in_crisis()) == []
    with transaction():
        service.add_note(lead_id=lead.id, text="He says he will kill himself tonight")
    assert list(queries.leads_in_crisis()) == [lead]
    assert (len(open_alerts()), work_on(lead)[0], alerts.unsent().urgent) == (1, ["crisis"], 1)


def test_undo_of_an_import_closes_its_crises(doors):  # noqa: F811
    run = doors.imported((HEAD + f"New,One,new@x.test,,,{WORDS}\n").encode())
    assert len(queries.open_crises()) == 1
    with transaction():
        imports.request_undo(run_id=run.id)
    jobs.work(run.id)
    assert (queries.open_crises(), db.session.scalars(select(Lead)).all()) == ({}, [])


@pytest.mark.parametrize("name", worklists.LISTS)
def test_every_list_begins_with_a_crisis(doors, name):  # noqa: F811
    for person in ("Ana", "Boris", "Cleo"):
        doors.api(person, email=f"{person}@example.test", message=WORDS if person == "Boris" else "Hi")
    page = worklists.load_list(name, me=doors.desk)
    assert page.rows[0].contact.first_name == "Boris"
    assert len({lead.id for lead in page.rows}) == len(page.rows)


def work_on(lead):
    """What is open for a lead: kinds of tasks, and its deadline."""
    rows = select(Task.kind).where(Task.lead_id == lead.id, Task.done_at.is_(None)).order_by(Task.id)
    return list(db.session.scalars(rows)), lead.due_at


@pytest.fixture
def crisis_of_referral(doors):  # noqa: F811
    doors.referral("Ana")
    lead = db.session.scalars(select(Lead)).one()
    before = work_on(lead)
    with transaction():
        service.add_note(lead_id=lead.id, text=WORDS)
    return lead, before


def test_crisis_suspends_other_work(crisis_of_referral, doors):  # noqa: F811
    lead, before = crisis_of_referral
    assert before[0] == ["call"]
    assert before[1] is not None
    assert work_on(lead) == (["crisis"], None)
    with transaction():
        service.move_stage(lead_id=lead.id, version=lead.version, to="in_review")
        assert work_on(lead) == (["crisis"], None)
        crisis.assign(lead.contact_id, owner_id=doors.desk)
    assert work_on(lead) == (["crisis"], None)
    with transaction():
        crisis.close(lead.contact_id)
    tasks, due = work_on(lead)
    assert (tasks, due is not None, open_alerts()[0].closed_at is not None) == (["call"], True, True)


def test_task_of_a_crisis_closes_it(crisis_of_referral):
    lead, before = crisis_of_referral
    task_id = db.session.scalar(select(Task.id).where(Task.kind == "crisis"))
    with transaction(), audit.acting("staff:7"), acts.begin("task", lead_id=lead.id) as act:
        service.finish_task(task_id=task_id)
    assert work_on(lead) == before
    with transaction(), audit.acting("staff:7"):
        service.undo_act(act.id, lead_id=lead.id)
    assert work_on(lead) == (["crisis"], None)
    assert list(queries.leads_in_crisis()) == [lead]


def test_stop_outlasts_a_crisis(crisis_of_referral):
    lead, before = crisis_of_referral
    with transaction():
        contacts.set_clinical_stop(contact_id=lead.contact_id, reason="in_crisis")
        crisis.close(lead.contact_id)
    assert work_on(lead) == ([], None)
    with transaction():
        contacts.lift_clinical_stop(contact_id=lead.contact_id)
    assert work_on(lead) == before


def test_a_tag_of_a_person_without_a_lead_alerts(database):
    with transaction():
        who = support_factories.contact()
        contacts.add_tag(contact_id=who.id, tag="wants to die")
    [alert] = db.session.scalars(select(Alert))
    assert (alert.key, alert.link) == (f"contact-crisis:{who.id}", f"/console/contacts/{who.id}")


PLACES = ["", "?kind=referral", "/inbox", "/board", "/tasks?who=all", "/search?q=example", "/work?list=mine"]


@pytest.fixture
def desk_user(doors):  # noqa: F811
    for person in ("Ana", "Boris", "Cleo"):
        doors.api(person, email=f"{person}@example.test", message=WORDS if person == "Boris" else "Hi")
    with transaction():
        for lead in db.session.scalars(select(Lead)):
            service.add_task(lead_id=lead.id, kind="other", title="Write", due_at=clock.now())
    return signed_in(doors.app, "clinician")


@pytest.mark.parametrize("place", PLACES)
def test_every_page_begins_with_a_crisis(desk_user, place):
    page = desk_user.get(f"/console/leads{place}".replace("q=example", "q=Ruiz")).text
    found = [page.find(f">{name}") for name in ("Ana", "Boris", "Cleo")]
    assert found[1] > 0
    assert all(place < 0 or place > found[1] for place in (found[0], found[2]))
    assert "Crisis" in page


def test_no_call_to_a_person_in_crisis(desk_user):
    boris = next(one for one in db.session.scalars(select(Lead)) if one.contact.first_name == "Boris")
    with transaction():
        boris.contact.phone = "+12135550199"
    page = desk_user.get(f"/console/leads/{boris.reference}").text
    assert "tel:+12135550199" not in page
    assert "may speak of a crisis" in page
    assert "tel:+12135550199" not in desk_user.get("/console/leads/work").text
    desk_user.post(f"/console/leads/{boris.reference}/crisis/assign")
    assert queries.open_crises() == {boris.id: True}
    last = db.session.scalar(select(func.max(StaffAct.id)))
    desk_user.post(f"/console/leads/{boris.reference}/undo/{last}")
    assert queries.open_crises() == {boris.id: False}
    desk_user.post(f"/console/leads/{boris.reference}/crisis/close")
    assert queries.open_crises() == {}
    assert "tel:+12135550199" in desk_user.get(f"/console/leads/{boris.reference}").text
