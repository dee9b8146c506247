"""The demo clinic can be made: a short past of it, lived through by the real verbs."""

from sqlalchemy import func, select, text

from crm.consultations.models import Consultation
from crm.core import clock
from crm.core.db import db, transaction
from crm.dev import demo
from crm.leads.models import Lead
from crm.messages import transports
from crm.messages.limits import switches
from crm.messages.models import Message
from crm.staff import service as staff
from tests.support import factories as support_factories


def test_a_month_of_the_demo_clinic(database, redis, monkeypatch):
    monkeypatch.setattr(demo, "DAYS", 16)
    monkeypatch.setattr(demo, "LEADS", 40)
    with transaction():
        support_factories.shipped()
        switches.attest_phi(transport="sendgrid", wording="test", by="test")
        for role in ("front_desk", "clinician"):
            staff.create(email=demo._address(role), name=role, roles=[role], demo=True)
    demo._live_through()
    transports.use({})
    assert db.session.scalar(select(func.count()).select_from(Lead)) >= 35
    assert db.session.scalar(select(func.count()).select_from(Message)) > 40
    assert db.session.scalar(select(func.count(Lead.stage.distinct()))) >= 5
    states = set(db.session.scalars(select(Consultation.state)))
    assert {"booked", "attended"} <= states
    booked = select(func.max(Consultation.starts_at)).where(Consultation.state == "booked")
    assert db.session.scalar(booked) > clock.now()  # the calendar of the first day is not empty


def test_a_reset_keeps_what_the_migrations_wrote(database, redis):
    with transaction():
        support_factories.contact()
    demo._empty()
    kept = ("alembic_version", "sending_control", "time_zone")
    assert [bool(db.session.scalar(text(f"select count(*) from {name}"))) for name in kept] == [True] * 3
    with transaction():
        support_factories.contact()  # its time zone is known
