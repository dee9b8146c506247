"""The review queue: what waits for whom, one after the other, and renewals in one pass."""

import html
import re
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select, text

from crm.audit import service as audit
from crm.content import approval, comments, diff
from crm.content.editor import form_codec
from crm.content.editor import service as editor
from crm.content.models import ContentItem, ContentVersion
from crm.content.review import service as review
from crm.core import clock as time
from crm.core.db import db, transaction
from crm.core.errors import Invalid
from crm.staff import service as staff
from tests.support import factories as support_factories
from tests.support.browser_client import BrowserClient, member, signed_in

WRITER, DOCTOR, LAWYER, ADMIN = "staff:9001", "staff:9002", "staff:9003", "staff:9004"
PLAIN = "One more plain sentence."


@pytest.fixture(autouse=True)
def _start(edge, clock):
    support_factories.shipped()


def words(answer) -> str:
    """What a person reads of a page."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", answer.text)).split())


def newest(slug: str, language: str = "en") -> ContentVersion:
    item = db.session.scalars(select(ContentItem).where(ContentItem.key == f"contact-request/{slug}")).one()
    found = editor.newest(item.id, language=language)
    assert found is not None
    return found


def submitted(slug: str, *, add: str = PLAIN, author: str = WRITER) -> ContentVersion:
    made = editor.open_draft(newest(slug).item_id, language="en", actor=author)
    parts = form_codec.split_fields(made.source)
    editor.save(
        made.id, parts=replace(parts, body=parts.body + f"\n{add}\n"), base=made.version, actor=author
    )
    return approval.submit(made.id, actor=author)


def queue(actor: str, role: str) -> list[tuple[str, tuple[str, ...]]]:
    rows = review.mine(review.queue(actor=actor, roles=[role]))
    return [(row.version.item.key.partition("/")[2], row.kinds) for row in rows]


def ends_soon(days: int = 9) -> None:
    db.session.execute(
        text("update content_version v set expires_at = :at from content_item i where i.id = v.item_id "
             "and i.key like 'contact-request/%' and v.state = 'approved'"),
        {"at": time.now() + timedelta(days=days)},
    )  # fmt: skip
    db.session.expire_all()


def test_each_person_sees_what_they_may_approve(clock):
    first = submitted("02-understanding")
    clock.shift(60)
    submitted("06-talk", author=LAWYER)
    assert queue(WRITER, "marketer") == [("06-talk", ("compliance",))]
    assert queue(DOCTOR, "clinician") == [("02-understanding", ("clinical",)), ("06-talk", ("clinical",))]
    assert queue(ADMIN, "admin")[0] == ("02-understanding", ("clinical", "compliance"))
    assert queue(ADMIN, "viewer") == []
    approval.approve(first.id, actor=ADMIN, roles=["admin"], kind="clinical")
    assert queue(ADMIN, "admin") == [("06-talk", ("clinical", "compliance"))]
    assert queue(DOCTOR, "clinician") == [("06-talk", ("clinical",))]
    assert queue(LAWYER, "marketer") == [("02-understanding", ("compliance",))]
    [row] = [row for row in review.queue(actor=DOCTOR, roles=["clinician"]) if not row.kinds]
    assert row.given == {"clinical": ADMIN}


def test_the_next_one_comes_and_then_the_first(clock):
    made = []
    for slug in ("02-understanding", "03-common-question", "06-talk"):
        made.append(submitted(slug))
        clock.shift(60)
    rows = review.mine(review.queue(actor=DOCTOR, roles=["clinician"]))
    assert [review.after(rows, one.id).version.id for one in made] == [made[1].id, made[2].id, made[0].id]
    assert review.after(rows[:1], made[0].id) is None
    assert review.after(rows, 0).version.id == made[0].id


def test_a_clinician_renews_all_in_one_pass_and_a_second_person_too():
    ends_soon()
    ids = [version.id for version in review.ending(now=time.now())]
    assert len(ids) == 12
    done = review.approve_same(ids, actor=DOCTOR, roles=["clinician"], kind="clinical", months=6)
    assert (done.approved, done.refused) == (12, [])
    assert review.ending(now=time.now()) == []
    waiting = review.mine(review.queue(actor=LAWYER, roles=["marketer"]))
    assert {row.same for row in waiting} == {True}
    again = [row.version.id for row in waiting]
    done = review.approve_same(again, actor=LAWYER, roles=["marketer"], kind="compliance", months=12)
    assert done.approved == 12
    assert newest("02-understanding").expires_at == time.now() + timedelta(days=182)


def test_one_pass_leaves_out_what_is_not_for_it():
    changed = submitted("06-talk")
    mine = submitted("02-understanding", author=DOCTOR)
    approval.approve(mine.id, actor=ADMIN, roles=["admin"], kind="clinical")
    approval.approve(mine.id, actor=LAWYER, roles=["marketer"], kind="compliance")
    ends_soon()
    done = review.approve_same(
        [changed.id, mine.id, newest("05-safety").id], actor=DOCTOR, roles=["clinician"], kind="clinical", months=12
    )  # fmt: skip
    assert done.approved == 1
    assert [why for _, why in done.refused] == [
        "It has new words. Read it on its own page.",
        "You wrote this version, so another person has to approve it.",
    ]
    assert newest("02-understanding").id == mine.id  # its renewal was not begun either
    with pytest.raises(Invalid):
        review.approve_same([], actor=DOCTOR, roles=["clinician"], kind="clinical", months=12)


def test_a_reviewer_sees_change_source_comment_and_what_is_next(database):
    with transaction():
        made = submitted("02-understanding", add="CDC says: 24.3% in 2023 (CDC, 2024).")
        other = submitted("06-talk")
        comments.add_comment(made.id, actor=WRITER, body="Is this the newest figure?")
    doctor = signed_in(database, "clinician")
    shown = words(doctor.get("/console/content/review"))
    assert "Wait for you 2" in shown
    assert "2 waiting for your review" in shown
    page = words(doctor.get(f"/console/content/versions/{made.id}"))
    assert "Show every sentence" in page
    assert "Source: Lucas JW" in words(doctor.get(f"/console/content/versions/{made.id}?show=all"))
    assert page.index("Is this the newest figure?") < page.index("Approve (clinical)")
    assert f"Next: {other.name}" in page
    answer = doctor.post(
        f"/console/content/versions/{other.id}/approve", {"kind": "clinical", "then": "next"}
    )
    assert doctor.get(answer.location).location == f"/console/content/versions/{made.id}"
    assert doctor.post(f"/console/content/versions/{other.id}/test").status_code == 302
    answer = doctor.post(f"/console/content/versions/{made.id}/changes", {"reason": "Newer?", "then": "next"})
    assert doctor.get(answer.location).location == "/console/content/review"
    assert "Nothing waits for you" in words(doctor.get("/console/content/review"))


def test_renewals_by_form(database):
    with transaction():
        ends_soon()
    doctor = signed_in(database, "clinician")
    doctor.get("/console/content/review")
    ids = [newest("02-understanding").id, newest("06-talk").id]
    doctor.post("/console/content/review/same", {"version": ids, "kind": "clinical", "months": "3"})
    assert "Approved 2 emails." in words(doctor.get("/console/content/review"))


def test_both_languages_side_by_side(database):
    marketer = signed_in(database, "marketer")
    page = words(marketer.get(f"/console/content/review/languages/{newest('02-understanding', 'es').id}"))
    assert "English, version 1" in page
    assert "Subject Something to read this week Subject Algo para leer" in page
    blocks = newest("02-understanding")
    assert marketer.get("/console/content/review/languages/999999").status_code == 404
    db.session.execute(
        text("update content_version set state = 'retired' where item_id = :id and language = 'es'"),
        {"id": blocks.item_id},
    )
    db.session.commit()
    assert marketer.get(f"/console/content/review/languages/{blocks.id}").status_code == 404


def test_paragraphs_stand_beside_their_like():
    def text_of(body: str) -> form_codec.Parts:
        return form_codec.Parts(kind="email", language="en", body=body, subject="S")

    first = text_of("One\nline.\n\n[[block: a]]\n\n- x\n- y\n\n## Last")
    second = text_of("Uno.\n\nDos.\n\n[[block: a]]\n\n- x\n- y\n\n## Fin")
    assert diff.side_by_side(first, second) == [
        ("subject", "S", "S"),
        ("body", "One line.", "Uno."),
        ("body", "", "Dos."),
        ("body", "[[block: a]]", "[[block: a]]"),
        ("body", "- x\n- y", "- x\n- y"),
        ("body", "## Last", "## Fin"),
    ]


@pytest.mark.parametrize(
    "address",
    [
        "content/versions/999999/approve",
        "content/review/same",
        "content/questions/versions/999999",
        "content/exceptions/999999/sign",
        "sequences/999999/draft/publish",
    ],
)
def test_a_session_that_an_administrator_began_signs_nothing(database, address):
    person = member("admin")
    with transaction(), audit.acting("staff:99"):
        token = staff.sign_in_link(user=person)
    visitor = BrowserClient(database)
    visitor.get(f"/sign-in/{token}")
    visitor.post(f"/sign-in/{token}")
    visitor.get("/console/account")
    refused = visitor.post(f"/console/{address}")
    assert refused.status_code == 403
    assert "link that another person requested" in words(refused)
