"""Approval of content on a real database: write, submit, approve, invalidate, expire."""

from dataclasses import replace

import pytest
from sqlalchemy import func, select, text

from crm.content import approval, comments, rules, seed, service
from crm.content.claims import Finding, Severity
from crm.content.editor import form_codec
from crm.content.editor import service as editor
from crm.content.models import Autosave, ContentItem, ContentVersion
from crm.content.render import library
from crm.core import clock as time
from crm.core.db import db
from crm.core.errors import Conflict, Invalid, NotAllowed
from crm.sequences import service as sequences
from crm.staff.models import Alert
from tests.support import factories as support_factories

KEY = "contact-request/02-understanding"
WRITER, DOCTOR, LAWYER = "staff:1", "staff:2", "staff:3"
STOPS = Finding(
    id="cure-claim", rule="", severity=Severity.BLOCK, sentence="", words="", start=0, end=0, why="", suggestion=""
)  # fmt: skip
DAY = 86_400


@pytest.fixture(autouse=True)
def _start(edge, clock):
    support_factories.shipped()


def shipped(key: str = KEY, language: str = "en") -> ContentVersion:
    item = db.session.scalars(select(ContentItem).where(ContentItem.key == key)).one()
    found = editor.newest(item.id, language=language)
    assert found is not None
    return found


def draft(add: str = "One more plain sentence.", key: str = KEY, language: str = "en") -> ContentVersion:
    made = editor.open_draft(shipped(key, language).item_id, language=language, actor=WRITER)
    if add:
        write(made, add)
    return made


def write(version: ContentVersion, add: str, *, actor: str = WRITER) -> editor.Saved:
    parts = form_codec.split_fields(version.source)
    return editor.save(
        version.id, parts=replace(parts, body=parts.body + f"\n{add}\n"), base=version.version, actor=actor
    )


def approve(version: ContentVersion, *, months: int = 12) -> bool:
    approval.approve(version.id, actor=DOCTOR, roles=["clinician"], kind="clinical", months=months)
    return approval.approve(version.id, actor=LAWYER, roles=["marketer"], kind="compliance", months=months)


def approved(add: str = "One more plain sentence.", **values) -> ContentVersion:
    made = draft(add, **values)
    approval.submit(made.id, actor=WRITER)
    assert approve(made)
    return made


def used(key: str = KEY, language: str = "en") -> int | None:
    return service.newest_approved([key], now=time.now()).get((key, language))


def standing(version: ContentVersion) -> str:
    db.session.expire_all()
    return approval.status_of(version, now=time.now())


def test_a_change_goes_out_after_two_other_people_said_yes():
    before = shipped()
    made = draft()
    assert used() == before.id
    approval.submit(made.id, actor=WRITER)
    assert not approval.approve(made.id, actor=DOCTOR, roles=["clinician"], kind="clinical")
    assert used() == before.id
    assert approval.approve(made.id, actor=LAWYER, roles=["marketer"], kind="compliance")
    assert used() == made.id
    assert standing(before) == "superseded"
    assert isinstance(service.sendable(made.id, now=time.now()), service.Sendable)
    assert made.expires_at == time.now() + rules.LONGEST


def test_the_shorter_of_two_approvals_counts():
    made = draft()
    approval.submit(made.id, actor=WRITER)
    approval.approve(made.id, actor=DOCTOR, roles=["clinician"], kind="clinical", months=3)
    approval.approve(made.id, actor=LAWYER, roles=["marketer"], kind="compliance", months=12)
    assert (made.expires_at - time.now()).days == 91


def test_a_person_who_changed_a_word_is_an_author():
    made = draft()
    write(made, "The doctor adds a sentence.", actor=DOCTOR)
    approval.submit(made.id, actor=WRITER)
    with pytest.raises(NotAllowed, match="You wrote"):
        approval.approve(made.id, actor=DOCTOR, roles=["clinician"], kind="clinical")


def test_one_reviewer_is_enough_where_the_clinic_says_so(app, monkeypatch):
    monkeypatch.setattr(app.services, "settings", replace(app.settings, reviewers=1))
    made = draft()
    approval.submit(made.id, actor=WRITER)
    with pytest.raises(NotAllowed):
        approval.approve(made.id, actor=WRITER, roles=["admin"], kind="clinical")
    assert approval.approve(made.id, actor=DOCTOR, roles=["clinician"], kind="clinical")


def test_a_blocked_text_cannot_be_submitted():
    made = draft("Ketamine is completely safe and cures chronic pain.")
    with pytest.raises(Invalid, match="another look") as refused:
        approval.submit(made.id, actor=WRITER)
    assert "must be fixed" in str(refused.value.fields)
    assert made.state == "draft"


def test_an_email_that_mailboxes_would_cut_off_is_refused():
    made = draft(
        "\n\n".join(f"This is plain sentence number {number} of very many." for number in range(1_000))
    )
    with pytest.raises(Invalid) as refused:
        approval.submit(made.id, actor=WRITER)
    assert "102 KB" in str(refused.value.fields)


def test_what_the_check_blocks_by_now_cannot_be_approved_or_sent(monkeypatch):
    made = draft()
    approval.submit(made.id, actor=WRITER)
    monkeypatch.setattr("crm.content.claims_gate.blocking", lambda *_, **__: [STOPS])
    with pytest.raises(NotAllowed, match="found problems"):
        approval.approve(made.id, actor=DOCTOR, roles=["clinician"], kind="clinical")
    monkeypatch.setattr("crm.content.claims_gate.blocking_by_rules", lambda *_, **__: [STOPS])
    service._rendered.cache_clear()
    old = select(ContentVersion.id).where(
        ContentVersion.item_id == made.item_id, ContentVersion.state == "approved"
    )
    found = service.sendable(db.session.scalars(old.limit(1)).one(), now=time.now())
    service._rendered.cache_clear()
    assert found == service.NotSendable("content_refused: cure-claim")


def test_changes_asked_for_give_it_back_and_void_what_was_given():
    made = draft()
    approval.submit(made.id, actor=WRITER)
    approval.approve(made.id, actor=DOCTOR, roles=["clinician"], kind="clinical")
    with pytest.raises(Invalid):
        comments.request_changes(made.id, actor=LAWYER, roles=["marketer"], reason="  ")
    comments.request_changes(
        made.id, actor=LAWYER, roles=["marketer"], reason="The second sentence is too long."
    )
    assert made.state == "draft"
    write(made, "Shorter now.")
    approval.submit(made.id, actor=WRITER)
    assert approval.approvals_of(made) == {}
    assert [one.kind for one in comments.comments_of(made.id)] == ["changes"]


def test_resubmitted_text_needs_both_approvals_again(clock):
    made = draft()
    approval.submit(made.id, actor=WRITER)
    approval.approve(made.id, actor=DOCTOR, roles=["clinician"], kind="clinical")
    approval.withdraw(made.id, actor=WRITER)
    clock.shift(60)
    approval.submit(made.id, actor=WRITER)
    assert approval.approvals_of(made) == {}
    assert approve(made)


@pytest.mark.parametrize("role", ["front_desk", "viewer"])
def test_only_reviewers_ask_for_changes(role):
    made = draft()
    approval.submit(made.id, actor=WRITER)
    with pytest.raises(NotAllowed):
        comments.request_changes(made.id, actor=DOCTOR, roles=[role], reason="No.")


def test_a_stranger_cannot_withdraw_it():
    made = draft()
    approval.submit(made.id, actor=WRITER)
    with pytest.raises(Conflict):
        approval.withdraw(made.id, actor=DOCTOR)


@pytest.mark.parametrize("state", ["in_review", "retired"])
def test_only_some_states_can_be_submitted(state):
    made = draft()
    approval.submit(made.id, actor=WRITER)
    if state == "retired":
        approval.retire(made.id)
    with pytest.raises(Conflict):
        approval.submit(made.id, actor=WRITER)


def test_an_approved_version_is_not_submitted_again():
    with pytest.raises(Conflict):
        approval.submit(shipped().id, actor=WRITER)


def test_a_block_is_in_the_emails_that_insert_it():
    names = {one.item.key for one in approval.emails_using(shipped("block/not-advice"))}
    assert KEY in names
    assert "referring-provider/01-how-to-refer" not in names
    assert "email/confirmation" not in names


def test_a_new_layout_voids_everything(monkeypatch):
    assert used() is not None
    frame = service.layout() + "<!-- -->"
    monkeypatch.setattr(service, "layout", lambda: frame)
    assert used() is None
    assert standing(shipped()) == "void"


def test_a_changed_byte_voids_it_for_the_planner_too():
    version = shipped()
    db.session.execute(text("alter table content_version disable trigger content_version_fixed"))
    db.session.execute(
        text("update content_version set source = source || ' ' where id = :id"), {"id": version.id}
    )
    assert used() is None


def test_an_older_version_never_steps_in():
    made = approved()
    db.session.execute(
        text("update content_version set expires_at = :then where id = :id"),
        {"then": time.now(), "id": made.id},
    )
    assert used() is None


def test_staff_are_reminded_at_30_and_7_days_and_at_the_end_once_each(clock):
    only = shipped()
    db.session.execute(
        text("update content_version set state = 'retired' where id <> :id and subject <> ''"),
        {"id": only.id},
    )
    seen = []
    for days in (334, 1, 1, 22, 1, 6, 1, 30):
        clock.shift(days * DAY)
        approval.run_maintenance()
        levels = db.session.execute(
            select(Alert.level, Alert.text).where(
                Alert.key.like("content-expiry:%"), Alert.closed_at.is_(None)
            )
        ).all()
        seen.append(levels[0][1].rpartition(") ")[2] if levels else None)
    assert seen[0] is None
    assert seen[1:3] == ["ends within 30 days."] * 2
    assert seen[3:5] == ["ends within 7 days."] * 2
    assert seen[5:] == ["has ended; emails with it wait."] * 3
    assert db.session.scalar(select(func.count()).where(Alert.key.like("content-expiry:%"))) == 3
    assert standing(only) == "expired"
    assert isinstance(service.sendable(only.id, now=time.now()), service.NotSendable)
    approval.submit(only.id, actor=WRITER)
    assert approve(only)
    assert used() == only.id
    clock.shift(340 * DAY)
    assert approval.run_maintenance()["reminded"] == 1


def test_renewing_in_time_changes_no_word_and_leaves_no_gap(clock):
    old = shipped()
    clock.shift(340 * DAY)
    assert standing(old) == "expiring"
    new = editor.renew(old.id, actor=WRITER)
    assert (new.state, new.source, new.author) == ("in_review", old.source, "shipped")
    assert used() == old.id
    approve(new)
    assert used() == new.id


def test_a_replaced_version_is_retired_when_no_batch_waits():
    before = shipped()
    approved()
    assert approval.run_maintenance()["retired"] == 1
    db.session.expire_all()
    assert before.state == "retired"


def test_two_who_edit_lose_nothing():
    made = draft("")
    mine = form_codec.split_fields(made.source)
    base = made.version
    assert write(made, "Hers.", actor=LAWYER).theirs is None
    saved = editor.save(made.id, parts=replace(mine, body=mine.body + "\nMine.\n"), base=base, actor=WRITER)
    assert "Hers." in saved.theirs
    assert saved.by == LAWYER
    assert "Mine." not in made.source


def test_saving_the_same_twice_is_one_save():
    made = draft()
    number = made.version
    parts = form_codec.split_fields(made.source)
    assert editor.save(made.id, parts=parts, base=1, actor=WRITER).version == number


def test_history_restores_first_and_last_text_of_each_sitting(clock):
    made = draft("")
    first = made.source
    for text_ in ("One.", "Two.", "Three."):
        write(made, text_)
        clock.shift(10)
    assert db.session.scalar(select(func.count()).where(Autosave.version_id == made.id)) == 2
    clock.shift(600)
    write(made, "Later.")
    rows = editor.history(made.id)
    assert [("Three." in row.source, "Later." in row.source) for row in rows] == [
        (True, True), (True, False), (False, False),
    ]  # fmt: skip
    editor.restore(made.id, autosave_id=rows[-1].id, actor=WRITER)
    assert made.source == first
    assert "Later." in editor.history(made.id)[1].source


def test_approved_words_are_never_saved_over():
    made = approved()
    with pytest.raises(Conflict):
        write(made, "Sneaked in.")


def test_a_draft_is_there_once_per_language():
    made = draft()
    assert editor.open_draft(made.item_id, language="en", actor=LAWYER).id == made.id
    other = editor.translate(made.id, language="es", actor=WRITER)
    assert form_codec.split_fields(other.source).language == "es"
    assert editor.translate(made.id, language="es", actor=LAWYER).id == other.id
    with pytest.raises(Invalid):
        editor.translate(made.id, language="en", actor=WRITER)


def test_a_form_cannot_change_what_a_text_is():
    made = draft("")
    parts = form_codec.split_fields(made.source)
    forged = replace(parts, stream="transactional", language="es", body=parts.body + "\nMore.\n")
    editor.save(made.id, parts=forged, base=made.version, actor=WRITER)
    kept = form_codec.split_fields(made.source)
    assert (kept.stream, kept.language) == ("prospect_edu", "en")


def test_loading_again_leaves_the_clinics_own_words_alone():
    made = approved()
    assert seed.load_shipped(reviewers=("A", "B")).added == 0
    assert used() == made.id


def test_a_sequence_does_not_go_live_without_a_whole_language():
    db.session.execute(text("update sequence set state = 'draft'"))
    sequence_id = db.session.scalar(text("select id from sequence where key = 'contact-request'"))
    db.session.execute(
        text("update content_version set state = 'retired' where id = :id"), {"id": shipped().id}
    )
    sequences.go_live(sequence_id)  # Spanish is whole; English waits, and staff know
    said = db.session.scalar(select(Alert.text).where(Alert.key == f"untranslated:{sequence_id}:en"))
    assert said is not None
    db.session.execute(text("update sequence set state = 'draft'"))
    db.session.execute(
        text("update content_version set state = 'retired' where id = :id"), {"id": shipped(language="es").id}
    )
    with pytest.raises(Conflict, match="No language"):
        sequences.go_live(sequence_id)


@pytest.mark.parametrize("path", sorted(library.TEMPLATES.glob("content/*/*.md")), ids=lambda path: path.stem)
def test_the_form_gives_back_every_file_to_the_byte(path):
    file = path.read_text("utf-8")
    parts = form_codec.split_fields(file)
    assert form_codec.build_source(parts) == file
    assert form_codec.build_source(replace(parts, body=parts.body + "x"), before=file) == file + "x\n"


def open_alerts() -> set[str]:
    keys = db.session.scalars(select(Alert.key).where(Alert.closed_at.is_(None)))
    return {key.partition(":")[0] for key in keys} & {"review", "comment", "changes"}


def test_the_next_person_gets_an_alert():
    made = draft()
    comments.add_comment(made.id, actor=WRITER, body="To myself.")
    assert open_alerts() == set()
    approval.submit(made.id, actor=WRITER)
    assert open_alerts() == {"review"}
    asked = [
        comments.add_comment(made.id, actor=DOCTOR, body=why, sentence="One.")
        for why in ("Why?", "Since when?")
    ]
    assert open_alerts() == {"review", "comment"}
    comments.resolve(asked[0], actor=DOCTOR)
    assert open_alerts() == {"review", "comment"}
    for comment in comments.comments_of(made.id):
        comments.resolve(comment.id, actor=DOCTOR)
    assert open_alerts() == {"review"}
    comments.request_changes(made.id, actor=DOCTOR, roles=["clinician"], reason="Name the source.")
    assert open_alerts() == {"changes"}
    approval.submit(made.id, actor=WRITER)
    assert open_alerts() == {"review"}
    assert approve(made)
    assert open_alerts() == set()
