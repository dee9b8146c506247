"""The demo clinic can be made: a short past of it, lived through by the real verbs."""

from sqlalchemy import func, select

from crm import demo
from crm.db import db, transaction
from crm.leads.models import Lead
from crm.messages import control, doors
from crm.messages.models import Message
from crm.staff import service as staff
from tests import makers


def test_a_month_of_the_demo_clinic(database, redis, monkeypatch):
    monkeypatch.setattr(demo, "DAYS", 30)
    monkeypatch.setattr(demo, "LEADS", 40)
    with transaction():
        makers.shipped()
        control.attest_phi(transport="sendgrid", wording="test", by="test")
        staff.create(email="frontdesk@demo.example", name="Fran", roles=["front_desk"], demo=True)
    demo._live_through()
    doors.use({})
    assert db.session.scalar(select(func.count()).select_from(Lead)) >= 35
    assert db.session.scalar(select(func.count()).select_from(Message)) > 40
    assert db.session.scalar(select(func.count(Lead.stage.distinct()))) >= 5
