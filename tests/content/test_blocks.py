"""Shared blocks: what mail goes out with while a block changes, and one approval for every email that holds it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, text

from crm.content import approval, comments, service
from crm.content.blocks import service as blocks
from crm.content.blocks.shelf import BlockVersion, Shelf, fit
from crm.content.editor import form_codec
from crm.content.editor import service as editor
from crm.content.models import ContentItem, ContentVersion
from crm.core import clock as time
from crm.core.db import db
from crm.staff.models import Alert
from tests.support import factories as support_factories

WRITER, DOCTOR, LAWYER = "staff:9001", "staff:9002", "staff:9003"
KEY = "contact-request/02-understanding"
NOW = datetime(2026, 3, 3, 17, tzinfo=UTC)
WORDS = "You may ask us anything about this."


@pytest.fixture(autouse=True)
def _start(edge, clock):
    support_factories.shipped()
    clock.shift(60)


def newest(key: str = KEY, language: str = "en") -> ContentVersion:
    item = db.session.scalars(select(ContentItem).where(ContentItem.key == key)).one()
    found = editor.newest(item.id, language=language)
    assert found is not None
    return found


def written(key: str, *, add: str = WORDS, author: str = WRITER, safety: bool = False) -> ContentVersion:
    made = editor.open_draft(newest(key).item_id, language="en", actor=author)
    parts = form_codec.split_fields(made.source)
    changed = replace(parts, body=parts.body + f"\n{add}\n")
    editor.save(made.id, parts=changed, base=made.version, actor=author, safety=safety)
    return made


def submitted(key: str = "block/not-advice", **values) -> ContentVersion:
    return approval.submit(written(key, **values).id, actor=WRITER)


def approve(version: ContentVersion) -> None:
    approval.approve(version.id, actor=DOCTOR, roles=["clinician"], kind="clinical")
    approval.approve(version.id, actor=LAWYER, roles=["marketer"], kind="compliance")


def sent(key: str = KEY) -> str:
    """The text that would leave now, or why none does."""
    item = newest(key)
    found = service.sendable(item.id, now=time.now())
    planned = (key, "en") in service.newest_approved([key], now=time.now())
    assert planned is isinstance(found, service.Sendable)
    return found.reason if isinstance(found, service.NotSendable) else " ".join(found.rendered.text.split())


def standing(key: str = KEY) -> str:
    return approval.status_of(newest(key), now=time.now())


def test_one_approval_of_a_block_approves_every_email_that_holds_it(clock):
    block = submitted()
    holders = blocks.holders(block)
    assert len(holders) >= 6
    assert WORDS not in sent()
    clock.shift(60)
    before = newest().expires_at
    approve(block)
    for holder in holders:
        email = db.session.get_one(ContentVersion, holder.email.id)
        assert set(approval.approvals_of(email)) == {"clinical", "compliance"}
        assert WORDS in sent(email.item.key)
    assert newest().expires_at == before  # the approval of a block makes no email's longer
    assert (standing(), standing("referring-provider/01-how-to-refer")) == ("approved", "approved")
    assert db.session.scalar(select(Alert.id).where(Alert.key == f"voided:{block.id}")) is None


def test_mail_waits_for_a_safety_change_from_its_submission_on(clock):
    made = written("block/not-advice", safety=True)
    assert WORDS not in sent()
    approval.submit(made.id, actor=WRITER)
    assert sent() == "content_changed"
    assert standing() == "void"
    assert db.session.scalar(select(Alert.level).where(Alert.key == f"safety:{made.id}")) == "danger"
    comments.request_changes(made.id, actor=DOCTOR, roles=["clinician"], reason="One word more.")
    assert sent() == "content_changed"  # sent back, and still a matter of safety
    approval.submit(made.id, actor=WRITER)
    clock.shift(60)
    approve(made)
    assert WORDS in sent()


def test_a_withdrawn_safety_change_holds_nothing():
    made = submitted(safety=True)
    approval.withdraw(made.id, actor=WRITER)
    assert WORDS not in sent()
    assert standing() == "approved"


@pytest.mark.parametrize("safety", [False, True])
def test_an_email_that_a_reviewer_wrote_is_left_to_another_person(clock, safety):
    email = written(KEY, add="One more plain sentence.", author=DOCTOR)
    approval.submit(email.id, actor=DOCTOR)
    approval.approve(email.id, actor="staff:9005", roles=["clinician"], kind="clinical")
    approval.approve(email.id, actor=LAWYER, roles=["marketer"], kind="compliance")
    clock.shift(60)
    block = submitted(safety=safety)
    assert {one.left_out for one in blocks.holders(block, reviewers=[DOCTOR])} == {None, blocks.WROTE}
    approve(block)
    assert standing() == ("void" if safety else "outdated")
    assert (sent() == "content_changed") is safety
    assert WORDS not in sent()
    assert db.session.scalar(select(Alert.id).where(Alert.key == f"voided:{block.id}")) is not None
    [change] = blocks.changes_in(newest(), since=newest())
    assert [row.sentence for row in change.rows] == [WORDS]
    again = editor.submit_again(email.id, actor=WRITER)
    assert (again.id == email.id) is safety
    approval.approve(again.id, actor="staff:9005", roles=["clinician"], kind="clinical")
    approval.approve(again.id, actor=LAWYER, roles=["marketer"], kind="compliance")
    assert WORDS in sent()


def test_what_was_void_or_ended_before_stays_so(clock):
    block = submitted()
    for column, key in (
        ("hash = 'x'", KEY),
        ("expires_at = now() - interval '9 years'", "contact-request/06-talk"),
    ):
        db.session.execute(
            text(f"update content_version set {column} where id = :id"), {"id": newest(key).id}
        )
    db.session.expire_all()
    clock.shift(60)
    assert {one.left_out for one in blocks.holders(block)} == {None, blocks.VOID, blocks.ENDED}
    approve(block)
    assert (sent(), sent("contact-request/06-talk")) == ("content_changed", "content_expired")


def test_a_block_out_of_use_stops_its_emails():
    approval.retire(newest("block/not-advice").id)
    assert sent() == "content_changed"


def one(name: str, number: int, at: int | None, *, safety: bool = False) -> BlockVersion:
    then = NOW + timedelta(hours=at) if at is not None else None
    return BlockVersion(name, number, f"{name}{number}", then, safety, then is None)


@pytest.mark.parametrize(
    ("versions", "approved", "found"),
    [
        ([one("a", 1, 0)], "a1", ("a1", False)),
        ([one("a", 1, 0), one("a", 2, 5)], "a1", ("a1", True)),
        ([one("a", 1, 0), one("a", 2, 5)], "a2", ("a2", False)),
        ([one("a", 1, 0), one("a", 2, 5, safety=True)], "a1", None),
        ([one("a", 1, 0), one("a", 2, 5, safety=True), one("a", 3, 6)], "a1", None),
        ([one("a", 1, 0), one("a", 2, None, safety=True)], "a1", None),
        ([one("a", 1, 0), one("b", 1, 0), one("b", 2, None, safety=True)], "a1", ("a1", False)),
        ([one("a", 1, 0), one("a", 2, 5)], "other", None),
        ([], "a1", None),
    ],
)
def test_the_blocks_that_an_email_is_sent_with(versions, approved, found):
    got = fit(
        Shelf(tuple(versions)),
        names=["a"],
        approved_at=NOW + timedelta(hours=1),
        hash=approved.encode(),
        digest=lambda blocks: blocks.get("a", "").encode(),
    )
    assert (None if got is None else (got.blocks["a"], got.is_older)) == found
