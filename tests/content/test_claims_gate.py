"""Content that differs from its approved version by one byte is not sent, wherever the byte changed."""

import pytest
from sqlalchemy import select, text

from crm.content import approval, service
from crm.content.models import ContentItem, ContentVersion
from crm.core import clock as time
from crm.core.db import db, transaction
from crm.messages.engine.deliver import deliver
from crm.messages.models import Batch
from crm.sequences.models import Enrolment
from crm.staff.models import Alert
from tests.messages.test_engine import enrolled, plan

FIRST = "contact-request/01-welcome"
DOCTOR, LAWYER = "staff:2", "staff:3"
YEAR = 366 * 86_400


def touch(key: str) -> None:
    """Change one byte behind everybody's back."""
    with transaction():
        db.session.execute(text("alter table content_version disable trigger content_version_fixed"))
        db.session.execute(
            text("""
                update content_version v set source = v.source || ' ' from content_item i
                where i.id = v.item_id and i.key = :key and v.language = 'en'
            """),
            {"key": key},
        )
        db.session.execute(text("alter table content_version enable trigger content_version_fixed"))


def retire(key: str) -> None:
    with transaction():
        approval.retire(version(key).id)


def version(key: str = FIRST) -> ContentVersion:
    db.session.expire_all()
    return db.session.scalars(
        select(ContentVersion)
        .join(ContentItem)
        .where(ContentItem.key == key, ContentVersion.language == "en", ContentVersion.state != "retired")
    ).one()


def widen(patch: pytest.MonkeyPatch) -> None:
    frame = service.layout() + " "
    patch.setattr(service, "layout", lambda: frame)


BREAKS = {
    "a byte of the text": lambda clock, patch: touch(FIRST),
    "a byte of a block": lambda clock, patch: touch("block/emergency"),
    "a byte of the footer": lambda clock, patch: touch("block/footer"),
    "a byte of the layout": lambda clock, patch: widen(patch),
    "a block that is gone": lambda clock, patch: retire("block/not-advice"),
}
HOW = pytest.mark.parametrize("how", BREAKS)


def leave(app, batch_id: int) -> str:
    return deliver(batch_id, settings=app.settings)


@HOW
def test_an_email_that_waits_in_the_queue_is_held_and_staff_know(outbox, app, clock, monkeypatch, how):
    enrolled()
    plan()
    [batch_id] = db.session.scalars(select(Batch.id).where(Batch.kind == "sequence")).all()
    BREAKS[how](clock, monkeypatch)
    assert leave(app, batch_id) == "nothing"
    assert outbox.sent == []
    batch = db.session.execute(select(Batch.state, Batch.error).where(Batch.id == batch_id)).one()
    assert batch.state == "held"
    assert batch.error in ("content_changed", "content_broken: blocks")
    alert = db.session.scalars(select(Alert).where(Alert.key == f"content:{version().id}")).one()
    assert alert.level == "warning"
    assert alert.link == f"/console/content/versions/{version().id}"


@HOW
def test_nobody_takes_the_next_step_with_it(outbox, clock, monkeypatch, how):
    enrolled()
    BREAKS[how](clock, monkeypatch)
    plan()
    assert db.session.execute(select(Enrolment.state, Enrolment.reason)).all() == [
        ("held", "content_not_approved")
    ]
    assert db.session.scalar(select(Batch.id).where(Batch.kind == "sequence")) is None
    assert db.session.scalar(select(Alert.level).where(Alert.key == "content-missing")) == "warning"


@pytest.mark.parametrize("key", [FIRST, "block/emergency"])
def test_approved_again_it_leaves_as_it_reads_now(outbox, app, key):
    enrolled()
    plan()
    [batch_id] = db.session.scalars(select(Batch.id).where(Batch.kind == "sequence")).all()
    touch(key)
    leave(app, batch_id)
    with transaction():
        approval.submit(version().id, actor="staff:1")
        approval.approve(version().id, actor=DOCTOR, roles=["clinician"], kind="clinical")
        approval.approve(version().id, actor=LAWYER, roles=["marketer"], kind="compliance")
    assert leave(app, batch_id) == "accepted"
    assert len(outbox.sent) == 1


def test_an_approval_that_ended_holds_what_is_queued_and_what_comes(outbox, app, clock):
    enrolled()
    plan()
    [batch_id] = db.session.scalars(select(Batch.id).where(Batch.kind == "sequence")).all()
    clock.shift(YEAR)
    with transaction():
        db.session.execute(
            text("update batch set too_late_at = :then"), {"then": time.now().replace(year=2099)}
        )
    assert leave(app, batch_id) == "nothing"
    assert db.session.scalar(select(Batch.error).where(Batch.id == batch_id)) == "content_expired"
    assert outbox.sent == []
