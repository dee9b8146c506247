"""A patient's words: printed with a written authorization that holds, exactly as signed for, or not at all."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from crm.content import approval, claims_gate, service
from crm.content.editor import form_codec
from crm.content.editor import service as drafting
from crm.content.models import Approval, Authorization, ContentItem, ContentVersion
from crm.content.render.library import load_library
from crm.content.render.source import ContentError, parse
from crm.content.testimonials import rules as testimonials_rules
from crm.content.testimonials import service as authorizations
from crm.core import clock as time
from crm.core.db import db, transaction
from crm.core.errors import Conflict, Invalid, NotAllowed
from crm.messages.engine.deliver import deliver
from crm.messages.models import Batch
from crm.staff.models import Alert
from tests.messages.test_engine import enrolled, plan
from tests.support import factories as support_factories
from tests.support.browser_client import BrowserClient, signed_in

WORDS = "The team told me what they did, and I felt listened to."
KEY = "contact-request/02-understanding"
WRITER, DOCTOR, LAWYER = "staff:1", "staff:2", "staff:3"
DAY = 86_400
NOW = datetime(2026, 3, 3, 17, 0, tzinfo=UTC)
PAPER = testimonials_rules.AuthorizationTerms(
    language="en", words=WORDS, signed_on=date(2026, 3, 1), ends_on=date(2026, 12, 31), revoked=False
)
EMAIL = """---
subject: "Something to read"
preheader: "Two minutes."
purpose: "Show how a quote stands."
stream: prospect_edu
language: en
testimonial: T-7
claims: []
blocks: []
cta: preferences_url
---

Hello {{ first_name }},

> “The team told me what they did,
> and I felt *listened* to.”

[[button: Set your preferences | preferences_url]]
"""


@pytest.mark.parametrize(
    ("paper", "said"),
    [
        (PAPER, None),
        (None, "no written authorization T-7"),
        (replace(PAPER, revoked=True), "revoked"),
        (replace(PAPER, ends_on=date(2026, 3, 2)), "has ended"),
        (replace(PAPER, ends_on=date(2026, 3, 3)), None),  # the last day counts
        (replace(PAPER, language="es"), "another language"),
        (replace(PAPER, words="The team cured me."), "not exactly"),
        (replace(PAPER, words=f"{WORDS} They were on time."), "not exactly"),
    ],
    ids=["holds", "none", "taken back", "ended", "last day", "language", "other words", "half of it"],
)
def test_what_a_paper_lets_us_print(paper, said) -> None:
    why = testimonials_rules.refusal(parse(EMAIL), paper, now=NOW)
    assert (why is None) if said is None else said in why


@pytest.mark.parametrize("named", ["7", "T-0", "T-", "t-7", "T-7 ; drop"])
def test_an_authorization_is_named_in_one_way(named: str) -> None:
    with pytest.raises(ContentError) as refused:
        parse(EMAIL.replace("T-7", f'"{named}"'))
    assert refused.value.field == "testimonial"


def test_service_emails_quote_nobody() -> None:
    service_email = EMAIL.replace("prospect_edu", "transactional").replace(
        "language:", 'why: "You asked."\nlanguage:'
    )
    with pytest.raises(ContentError, match="educational"):
        parse(service_email.replace("preferences_url", "contact_url"))


def _found(email: str) -> dict[str, str]:
    blocks = load_library().blocks["en"]
    return {
        one.id: one.severity.value
        for one in claims_gate.findings(email, blocks=blocks, host="clinic.example")
    }


STORY = "After my second visit I finally slept through the night again."


def test_a_story_needs_a_quote_under_an_authorization() -> None:
    quoted = EMAIL.replace("and I felt *listened* to.", STORY)
    beside = EMAIL.replace("[[button", f"{STORY}\n\n[[button")
    bare = quoted.replace("testimonial: T-7\n", "")
    assert _found(quoted)["testimonial"] in ("WARN", "ASK")
    assert _found(beside)["testimonial"] == "BLOCK"
    assert _found(bare)["testimonial"] == "BLOCK"


def test_a_quote_without_an_authorization_asks_whose_words_they_are() -> None:
    assert _found(EMAIL.replace("testimonial: T-7\n", ""))["testimonial"] == "WARN"
    assert "testimonial" not in _found(EMAIL.replace("testimonial: T-7\n", "").replace("> ", ""))


def test_a_quote_needs_the_generally_expected_result_beside_it() -> None:
    assert _found(EMAIL)["evidence-missing"] == "REQUIRE"
    assert "evidence-missing" not in _found(EMAIL.replace("[[button", "[[block: evidence]]\n\n[[button"))


def test_a_quote_does_not_excuse_what_it_says_about_a_treatment() -> None:
    assert (
        _found(EMAIL.replace("and I felt *listened* to.", "Ketamine cured my pain for good."))["cure"]
        == "BLOCK"
    )


# in the database


@pytest.fixture
def loaded(edge, clock) -> None:
    support_factories.shipped()


def paper(**changed) -> Authorization:
    today = time.today()
    values = {
        "person": "Ana Lopez",
        "kept_at": "Cabinet 2",
        "language": "en",
        "words": WORDS,
        "signed_on": today,
        "ends_on": today + timedelta(days=100),
        "stated": list(testimonials_rules.STATEMENTS),
        "actor": DOCTOR,
    }
    return authorizations.record(**(values | changed))


def quoting(reference: str, *, words: str = WORDS) -> ContentVersion:
    item = db.session.scalars(select(ContentItem).where(ContentItem.key == KEY)).one()
    made = drafting.open_draft(item.id, language="en", actor=WRITER)
    parts = form_codec.split_fields(made.source)
    quote = f"\n> “{words}”\n\n[[block: evidence]]\n\n[[block: off-label]]\n\n[[block: risk-short]]\n"
    drafting.save(
        made.id,
        parts=replace(parts, testimonial=reference, body=parts.body + quote),
        base=made.version,
        actor=WRITER,
    )
    return made


def approve(version: ContentVersion) -> bool:
    approval.approve(version.id, actor=DOCTOR, roles=["clinician"], kind="clinical")
    return approval.approve(version.id, actor=LAWYER, roles=["marketer"], kind="compliance")


def printed(**values) -> tuple[Authorization, ContentVersion]:
    signed = paper(**values)
    made = quoting(signed.reference)
    approval.submit(made.id, actor=WRITER)
    assert approve(made)
    return signed, made


def used() -> int | None:
    return service.newest_approved([KEY], now=time.now()).get((KEY, "en"))


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"person": " "}, "person"),
        ({"kept_at": ""}, "kept_at"),
        ({"words": ""}, "words"),
        ({"language": "fr"}, "language"),
        ({"signed_on": None}, "signed_on"),
        ({"signed_on": date(2030, 1, 1)}, "signed_on"),
        ({"ends_on": None}, "ends_on"),
        ({"ends_on": date(2026, 1, 1)}, "ends_on"),
        ({"ends_on": date(2040, 1, 1)}, "ends_on"),
        *[
            ({"stated": [one for one in testimonials_rules.STATEMENTS if one != key]}, "stated")
            for key in testimonials_rules.STATEMENTS
        ],
    ],
)
def test_a_paper_without_all_of_it_is_no_authorization(loaded, changed, field):
    with pytest.raises(Invalid) as refused:
        paper(**changed)
    assert set(refused.value.fields) == {field}


def test_with_a_paper_that_holds_it_goes_the_usual_way(loaded):
    _, made = printed()
    assert used() == made.id
    assert isinstance(service.sendable(made.id, now=time.now()), service.Sendable)


@pytest.mark.parametrize("reference", ["T-999999", ""])
def test_without_one_it_cannot_be_submitted(loaded, reference):
    made = quoting(reference, words=STORY)
    with pytest.raises(Invalid):
        approval.submit(made.id, actor=WRITER)


def test_revoked_during_review_it_cannot_be_approved(loaded):
    signed = paper()
    made = quoting(signed.reference)
    approval.submit(made.id, actor=WRITER)
    authorizations.revoke(signed.id, actor=DOCTOR)
    with pytest.raises(NotAllowed, match="revoked"):
        approval.approve(made.id, actor=DOCTOR, roles=["clinician"], kind="clinical")
    assert db.session.scalar(select(Approval.id).where(Approval.version_id == made.id)) is None


def test_revoking_stops_the_email_and_alerts_staff(loaded):
    signed, made = printed()
    assert [one.id for one in authorizations.revoke(signed.id, actor=DOCTOR)] == [made.id]
    assert used() is None
    assert approval.status_of(made, now=time.now()) == "void"
    assert service.sendable(made.id, now=time.now()) == service.NotSendable("content_not_authorized")
    assert db.session.scalar(select(Alert.level).where(Alert.key == f"authorization:{signed.id}")) == "danger"
    with pytest.raises(Invalid) as refused:
        approval.submit(made.id, actor=WRITER)  # the same words do not come back
    assert "revoked" in refused.value.fields["testimonial"][0]
    with pytest.raises(Conflict):
        authorizations.revoke(signed.id, actor=DOCTOR)


def test_the_approval_ends_with_the_paper(loaded, clock):
    signed, made = printed()
    assert made.expires_at == testimonials_rules.ends_at(
        authorizations.terms_by_reference([signed.reference])[signed.reference]
    )
    clock.shift(94 * DAY)
    assert approval.run_maintenance()["reminded"] >= 1
    clock.shift(8 * DAY)
    assert used() is None
    assert not authorizations.is_valid(signed, now=time.now())


@pytest.mark.parametrize("column", ["words = 'x'", "ends_on = '2040-01-01'", "stated = '{}'"])
def test_what_was_signed_cannot_be_changed(loaded, column):
    paper()
    with pytest.raises(DBAPIError), db.session.begin_nested():
        db.session.execute(text(f"update content_authorization set {column}"))


def test_a_queued_email_waits_after_revocation(outbox, app):
    """The person is in the sequence already, and the email planned: it is looked up again at the claim."""
    with transaction():
        signed, made = printed()
        first = db.session.scalars(
            select(ContentItem).where(ContentItem.key == "contact-request/01-welcome")
        ).one()
        db.session.execute(text("update content_item set key = 'x' where id = :id"), {"id": first.id})
        db.session.execute(
            text("update content_item set key = :key where id = :id"), {"key": first.key, "id": made.item_id}
        )
    enrolled()
    plan()
    batch_id = db.session.scalar(select(Batch.id).where(Batch.content_version_id == made.id))
    with transaction():
        authorizations.revoke(signed.id, actor=DOCTOR)
    assert deliver(batch_id, settings=app.settings) == "nothing"
    assert outbox.sent == []
    assert db.session.execute(select(Batch.state, Batch.error).where(Batch.id == batch_id)).one() == (
        "held",
        "content_not_authorized",
    )
    with transaction():
        plain = drafting.open_draft(made.item_id, language="en", actor=WRITER)
        parts = form_codec.split_fields(plain.source)
        body = parts.body.replace(f"> “{WORDS}”", "")
        drafting.save(
            plain.id, parts=replace(parts, testimonial="", body=body), base=plain.version, actor=WRITER
        )
        approval.submit(plain.id, actor=WRITER)
        assert approve(plain)
    assert deliver(batch_id, settings=app.settings) == "accepted"
    [(envelope, _)] = outbox.sent
    assert "listened to" not in envelope.text


# in the console


def typed(**changed) -> dict[str, object]:
    today = time.today()
    return {
        "person": "Ana Lopez",
        "kept_at": "Cabinet 2",
        "language": "en",
        "words": WORDS,
        "signed_on": today.isoformat(),
        "ends_on": (today + timedelta(days=100)).isoformat(),
        "stated": list(testimonials_rules.STATEMENTS),
        **changed,
    }


def test_record_and_revoke_an_authorization(client, database):
    clinician = signed_in(database, "clinician")
    clinician.get("/console/content/authorizations")
    wrong = clinician.post("/console/content/authorizations", typed(stated=["use"]))
    assert wrong.status_code == 422
    assert "Not ticked so far: 6" in wrong.text
    assert "Cabinet 2" in wrong.text
    answer = clinician.post("/console/content/authorizations", typed())
    page = clinician.get(answer.location).text
    assert "Ana Lopez" in page
    assert WORDS in page
    clinician.post(f"{answer.location}/revoke")
    assert "Revoked" in clinician.get("/console/content/authorizations").text


def test_who_writes_sees_the_words_and_not_the_name(client, database):
    with transaction():
        support_factories.shipped()
        signed = paper()
        made = quoting(signed.reference)
    marketer: BrowserClient = signed_in(database, "marketer")
    page = marketer.get(f"/console/content/authorizations/{signed.id}").text
    assert WORDS in page
    assert "Ana Lopez" not in page
    assert "Cabinet 2" not in page
    assert marketer.post(f"/console/content/authorizations/{signed.id}/revoke").status_code == 403
    editor = marketer.get(f"/console/content/drafts/{made.id}").text
    assert f'<option value="{signed.reference}" selected>' in editor
    with transaction():
        approval.submit(made.id, actor=WRITER)
        authorizations.revoke(signed.id, actor=DOCTOR)
    assert "revoked the authorization" in marketer.get(f"/console/content/versions/{made.id}").text
