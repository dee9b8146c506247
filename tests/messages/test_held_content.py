"""Mail that waits because its text is not what was approved, and goes once it is approved again."""

from dataclasses import replace

import pytest
from sqlalchemy import select, text

from crm.content import approval, service
from crm.content.editor import form_codec
from crm.content.editor import service as editor
from crm.content.models import ContentItem, ContentVersion
from crm.core.db import db, transaction
from crm.messages.models import Batch, Message
from crm.sequences.models import Enrolment
from tests.messages.test_engine import deliver_all, enrolled, plan, states
from tests.support import factories as support_factories

WRITER, DOCTOR, LAWYER = "staff:1", "staff:2", "staff:3"


def approve(version_id: int) -> None:
    approval.submit(version_id, actor=WRITER)
    approval.approve(version_id, actor=DOCTOR, roles=["clinician"], kind="clinical")
    approval.approve(version_id, actor=LAWYER, roles=["marketer"], kind="compliance")


def newest(key: str) -> ContentVersion:
    item_id = db.session.scalars(select(ContentItem.id).where(ContentItem.key == key)).one()
    found = editor.newest(item_id, language="en")
    assert found is not None
    return found


def change_block() -> None:
    block = editor.open_draft(newest("block/not-advice").item_id, language="en", actor=WRITER)
    parts = form_codec.split_fields(block.source)
    changed = replace(parts, body=parts.body + "\nYou may ask us anything about this.\n")
    editor.save(block.id, parts=changed, base=block.version, actor=WRITER)
    approve(block.id)


def test_a_new_block_holds_queued_mail_until_approved(outbox, app):
    enrolled()
    plan()
    with transaction():
        change_block()
    assert deliver_all(app) == ["nothing"]
    assert states() == [("held", None, None)]
    with transaction():
        approve(newest("contact-request/01-welcome").id)
    assert deliver_all(app) == ["accepted"]
    assert "You may ask us anything about this." in outbox.sent[0][0].text


def test_a_new_block_holds_enrolments_until_approved(outbox, app):
    enrolled()
    with transaction():
        change_block()
    plan()
    assert db.session.execute(select(Enrolment.state, Enrolment.reason)).all() == [
        ("held", "content_not_approved")
    ]
    with transaction():
        approve(newest("contact-request/01-welcome").id)
    assert plan() == 1
    assert deliver_all(app) == ["accepted"]


def test_held_mail_is_sent_with_the_newer_version(outbox, app):
    enrolled()
    plan()
    with transaction():
        old = newest("contact-request/01-welcome")
        db.session.execute(
            text("update content_version set state = 'retired' where id = :id"), {"id": old.id}
        )
    assert deliver_all(app) == ["nothing"]
    with transaction():
        made = editor.open_draft(old.item_id, language="en", actor=WRITER)
        approve(made.id)
    assert deliver_all(app) == ["accepted"]
    sent = select(Message.content_version_id).join(Batch, Batch.id == Message.batch_id)
    assert db.session.scalars(sent.where(Batch.kind == "sequence")).all() == [made.id]


@pytest.mark.parametrize("change", ["expires_at = :now", "hash = 'x'"])
def test_a_person_who_asks_is_never_refused_for_our_text(outbox, app, clock, change):
    """The confirmation email is queued, held, and sent when its text is approved again."""
    key = "email/confirmation"
    with transaction():
        db.session.execute(
            text(f"update content_version set {change} where id = :id"),
            {"now": support_factories.clock.now(), "id": newest(key).id},
        )
        support_factories.asked(support_factories.contact())
    assert deliver_all(app) == ["nothing"]
    db.session.expire_all()
    clock.shift(60)
    with transaction():
        approve(newest(key).id)
    assert deliver_all(app) == ["accepted"]


def test_what_can_be_sent_costs_the_check_once(outbox, monkeypatch):
    version_id = newest("contact-request/01-welcome").id
    service.sendable(version_id, now=support_factories.clock.now())
    monkeypatch.setattr("crm.content.claims_gate.blocking", lambda *_, **__: pytest.fail("checked again"))
    assert isinstance(service.sendable(version_id, now=support_factories.clock.now()), service.Sendable)
