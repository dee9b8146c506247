"""Mentions in notes."""

from sqlalchemy import select

from crm.core.db import db
from crm.leads import mentions, service
from crm.leads.models import Task
from tests.leads.test_service import lead, move, referral, user  # noqa: F401 - fixtures


def test_mention_adds_a_task(lead):  # noqa: F811
    sam, jo = (
        user(name="Sam Jones", email="sj@clinic.example"),
        user(name="Zoë Díaz", email="zoe@clinic.example"),
    )
    service.add_note(lead_id=lead.id, text="@sam please call. @zoe.diaz knows her. Mail sam@example.com")
    tasks = db.session.scalars(select(Task).where(Task.kind == "mention").order_by(Task.owner_id)).all()
    assert [task.owner_id for task in tasks] == sorted([sam.id, jo.id])


def test_shared_name_mentions_no_one(edge, clock):
    people = [user(name="Sam Jones", email="sj@c.example"), user(name="Sam Smith", email="ss@c.example")]
    assert mentions.mentioned_people("@sam", people) == []
    assert mentions.mentioned_people("@SS.", people) == [people[1]]
    assert mentions.mentioned_people("write to x@sam.example, @nobody", people) == []
