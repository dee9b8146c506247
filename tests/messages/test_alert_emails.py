"""Alert emails: recipients, limits, and no personal data."""

from dataclasses import replace

import pytest
from sqlalchemy import select, text

from crm.contacts.addresses import address_index
from crm.contacts.models import STAFF_ADDRESS, Contact, Tag
from crm.core.clock import now
from crm.core.db import db, transaction
from crm.mailer import Fate, Outcome
from crm.messages import alert_emails
from crm.messages.limits import switches
from crm.staff import alerts
from crm.staff.models import Alert, User
from tests.messages.test_engine import deliver_all
from tests.support import factories
from tests.support.browser_client import BrowserClient, member


@pytest.fixture
def clinic(outbox, app):
    """A clinic whose alerts go to an address of its own, typed carelessly."""
    return replace(app.settings.clinic, staff_alert_email="Alerts@Clinic.example, ,not an address")


def tell(clinic) -> int:
    with transaction():
        return alert_emails.send_alert_digest(clinic=clinic)


def ring(key: str, level: str = "danger") -> None:
    with transaction():
        alerts.raise_alert(key=key, level=level, text="Somebody called Ana", link="/console/leads/C-1")


def test_an_urgent_alert_is_emailed_once_without_personal_data(clinic, outbox, app, clock):
    ring("a")
    ring("b", level="warning")
    assert tell(clinic) == 1
    assert deliver_all(app) == ["accepted"]
    [(envelope, [recipient])] = outbox.sent
    assert recipient.email == "alerts@clinic.example"
    assert not envelope.list_unsubscribe
    whole = f"{envelope.subject} {envelope.text} {envelope.html} {recipient.substitutions}"
    assert "1 urgent, 1 not urgent" in whole
    assert "Ana" not in whole
    assert "C-1" not in whole
    assert set(db.session.scalars(select(Alert.emailed_at))) == {now()}
    clock.shift(7 * 86_400)
    assert tell(clinic) == 0


def test_no_stop_holds_alert_emails(clinic, outbox, app, clock):
    """Staff hear of what happens while all sending is stopped; patients get nothing, and a copy sends nothing at all."""
    with transaction():
        switches.stop(by="Kim", reason="We check an email")
        factories.asked(factories.contact())  # a person waits for a confirmation
    ring("crisis:1")
    assert tell(clinic) == 1
    assert sorted(deliver_all(app)) == ["accepted", "nothing"]
    [(_, [recipient])] = outbox.sent
    assert recipient.email == "alerts@clinic.example"
    with transaction():
        db.session.execute(text("update sending_control set instance = 'elsewhere'"))
    clock.shift(86_400)
    ring("crisis:2")
    assert tell(clinic) == 1
    assert set(deliver_all(app)) == {"nothing"}


def test_a_refused_key_is_tried_again_after_a_while(clinic, outbox, app, clock):
    outbox.answers.append(Outcome(fate=Fate.UNAUTHORISED, error="401"))
    ring("a")
    tell(clinic)
    assert deliver_all(app) == ["ready"]
    assert deliver_all(app) == ["nothing"]
    clock.shift(10)
    assert deliver_all(app) == ["accepted"]


def test_many_alerts_are_one_email_per_quarter_hour(clinic, outbox, app, clock):
    told = 0
    for minute in range(60):
        ring(f"storm:{minute}")
        told += tell(clinic)
        clock.shift(60)
    assert told == 4


def test_what_is_not_urgent_is_gathered(clinic, clock):
    told = []
    for hour in range(24):
        ring(f"late:{hour}", level="warning")
        told.append(tell(clinic))
        clock.shift(3_600)
    assert sum(told) == 6
    assert told[0] == 0


def test_what_was_closed_meanwhile_is_not_told(clinic, clock):
    ring("a", level="warning")
    clock.shift(3_600)
    with transaction():
        alerts.close("a")
    assert tell(clinic) == 0


def test_administrators_who_asked_and_nobody_else(clinic, outbox, app):
    nobody = replace(clinic, staff_alert_email="")
    admin, clerk = member("admin", email="boss@clinic.example"), member("front_desk")
    ring("a")
    assert tell(nobody) == 0
    visitor = BrowserClient(app).sign_in(admin)
    assert "Get alert emails" in visitor.get("/console/account").text
    assert visitor.post("/console/account/alert-emails", {"alert_emails": "yes"}).status_code == 302
    assert "Stop alert emails" in visitor.get("/console/account").text
    with transaction():
        db.session.execute(text('update "user" set alert_emails = true where id = :id'), {"id": clerk.id})
    assert alert_emails.recipients(nobody) == ["boss@clinic.example"]
    assert tell(nobody) == 1
    assert BrowserClient(app).sign_in(clerk).post("/console/account/alert-emails").status_code in (400, 403)
    visitor.get("/console/account")
    visitor.post("/console/account/alert-emails")
    assert db.session.scalar(select(User.alert_emails).where(User.id == admin.id)) is False


def test_an_address_is_one_record_and_no_patients(clinic, outbox, clock):
    """Also when a patient has the same address: nothing of theirs is touched."""
    with transaction():
        patient = Contact(
            created_at=now(), first_name="Ana", last_name="Lopez", email="alerts@clinic.example",
            email_index=address_index("alerts@clinic.example"), time_zone="America/Los_Angeles",
        )  # fmt: skip
        db.session.add(patient)
    for key in ("a", "b"):
        ring(key)
        assert tell(clinic) == 1
        clock.shift(3_600)
    assert len(db.session.scalars(select(Tag.contact_id).where(Tag.tag == STAFF_ADDRESS)).all()) == 1


def test_without_approved_text_there_is_an_alert(clinic, clock):
    with transaction():
        db.session.execute(
            text("update content_version set state = 'retired' where item_id in "
                 "(select id from content_item where key = 'email/staff-alert')")
        )  # fmt: skip
    ring("a")
    assert tell(clinic) == 0
    assert db.session.scalar(select(Alert.id).where(Alert.key == "no-text-staff-alert"))


def test_a_seal_is_emailed_once_a_day_to_one_person(clinic, outbox, app, clock, monkeypatch):
    def send() -> bool:
        with transaction():
            return alert_emails.send_audit_seal(line, clinic=clinic)

    line = f"2026-11-29T03:00:00+00:00 48211 {64 * '9'} {64 * '5'}"
    assert not send()  # nobody is named
    monkeypatch.setattr(app, "settings", replace(app.settings, audit_seal_email="Keeper@elsewhere.example"))
    assert send()
    assert not send()
    deliver_all(app)
    [(_, [recipient])] = outbox.sent
    assert recipient.email == "keeper@elsewhere.example"
    assert set(recipient.substitutions.values()) == {
        line
    }  # as it was made, in the HTML and in the plain text
    clock.shift(86_400)
    assert send()


def test_a_seal_for_no_address_raises_an_alert(clinic, app, monkeypatch):
    monkeypatch.setattr(app, "settings", replace(app.settings, audit_seal_email="nobody"))
    with transaction():
        assert not alert_emails.send_audit_seal("a seal", clinic=clinic)
    assert "no address" in (db.session.scalars(select(Alert.text)).one())
