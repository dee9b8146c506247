"""Answers: what people say with a button in an email, on a page of ours. A fact only when they press the button there."""

from sqlalchemy import text

from crm.audit import service as audit
from crm.consent import queries as consent
from crm.contacts.models import Contact
from crm.core import clock
from crm.core.db import db
from crm.core.events import publish
from crm.messages.events import AnswerGiven
from crm.messages.models import Message
from crm.messages.rules import Answer

_RECORD = text("""
    insert into message_answer (message_id, answer, at) values (:message, :answer, :now)
    on conflict (message_id, answer) do nothing returning true
""")


def reader(message_id: int) -> Contact | None:
    """Return the person an email went to, or the one they were merged into; None if erased or unknown."""
    message = db.session.get(Message, message_id)
    people = consent.merge_chain(message.contact_id) if message is not None else []
    contact = db.session.get(Contact, people[-1]) if people else None
    return None if contact is None or contact.erased_at is not None else contact


def record(*, message_id: int, contact_id: int, answer: Answer) -> bool:
    """Record an answer to an email; a repetition changes nothing. Returns whether it is new."""
    given = {"message": message_id, "answer": answer.value, "now": clock.now()}
    if not db.session.scalar(_RECORD, given):
        return False
    message = db.session.get_one(Message, message_id)
    audit.record(
        "answer.given",
        object_type="message",
        object_id=message_id,
        detail={"answer": answer.value, "contact_ids": [contact_id]},
    )
    publish(
        AnswerGiven(
            message_id=message_id, contact_id=contact_id, enrolment_id=message.enrolment_id, answer=answer
        )
    )
    return True
