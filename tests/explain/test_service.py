"""Why a person got, or did not get, an email: from any email, a broadcast, or a step of a sequence."""

from datetime import timedelta

import pytest
from sqlalchemy import select, text

from crm.audit.models import AuditEntry
from crm.campaigns import service as campaigns
from crm.consent import service as consent
from crm.contacts import service as contacts
from crm.contacts.models import Tag
from crm.core.db import db, transaction
from crm.core.errors import NotFound
from crm.explain import service as explain
from crm.mailer import Fate, Outcome
from crm.messages.models import Message
from crm.sequences import service as sequences
from crm.sequences.models import EmailSequence
from crm.tracking import service as tracking
from tests.campaigns.conftest import ITEM, audience, deliver, freeze, launched
from tests.campaigns.test_api import key
from tests.messages.test_engine import deliver_all, enrolled, plan
from tests.support import factories as support_factories
from tests.support.browser_client import signed_in


def parts(answer: explain.Answer) -> list[str]:
    return [fact.part for fact in answer.facts]


def said(answer: explain.Answer) -> str:
    return "\n".join(f"{fact.text} | {fact.why} | {fact.quote}" for fact in answer.facts)


def newest() -> int:
    return db.session.scalar(select(Message.id).order_by(Message.id.desc()).limit(1))


def ask(function, *ids) -> explain.Answer:
    with transaction():
        return function(*ids)


def test_an_email_tells_its_whole_story(outbox, app, clock):
    enrolled()
    clock.shift(60)
    plan()
    deliver_all(app)
    clock.shift(60)
    at = int(support_factories.clock.now().timestamp())
    event = f'[{{"sg_event_id":"e1","event":"delivered","timestamp":{at},"pp_msg":"{newest()}"}}]'
    with transaction():
        tracking.apply(tracking.store_only(event.encode()))
    answer = ask(explain.of_message, newest())
    assert (answer.got, answer.short, answer.reason, answer.step) == ("yes", "Delivered.", None, 1)
    story = said(answer)
    for fact in (
        "The person asked for emails",
        "The person opted in | through the link in the confirmation email",
        "Yes, please email me educational information",
        "Approved (clinical)",
        "Approved (compliance)",
        "Started “",
        "When it was queued: allowed | consent was valid",
        "Attempt 1: handed to SendGrid",
        "Right before it was sent: allowed",
        "Accepted by the mail provider",
        "Delivered",
    ):
        assert fact in story, fact
    assert answer.facts == sorted(answer.facts, key=lambda fact: fact.at)
    assert "ana@" not in repr(answer)
    seen = db.session.scalars(select(AuditEntry).where(AuditEntry.action == "why.view")).one()
    assert (seen.object_type, seen.object_id) == ("message", answer.message_id)


def test_an_opt_out_in_between(outbox, app, clock):
    who = enrolled()
    plan()
    clock.shift(60)
    with transaction():
        consent.withdraw(contact_id=who, topic=None, source="one_click")
    clock.shift(60)
    deliver_all(app)
    answer = ask(explain.of_message, newest())
    assert (answer.got, answer.because) == ("no", "opted out of everything")
    story = said(answer)
    assert "When it was queued: allowed" in story
    assert "The person opted out | through one-click unsubscribe" in story
    assert "Right before sending: excluded | opted out of everything" in story


@pytest.mark.parametrize(
    ("outcome", "got", "because"),
    [
        (Outcome(fate=Fate.UNKNOWN, error="no answer"), "in_doubt", "no answer"),
        (Outcome(fate=Fate.REFUSED, error="400 bad"), "no", "400 bad"),
        (Outcome(fate=Fate.TRY_AGAIN, error="503"), "waiting", "503"),
    ],
)
def test_failed_or_unconfirmed(outbox, app, outcome, got, because):
    enrolled()
    plan()
    outbox.answers.append(outcome)
    deliver_all(app)
    answer = ask(explain.of_message, newest())
    assert (answer.got, answer.because) == (got, because)


def test_mail_they_asked_for_needs_no_yes(outbox, app):
    with transaction():
        support_factories.asked(support_factories.contact())
    deliver_all(app)
    answer = ask(explain.of_message, newest())
    assert answer.got == "yes"
    assert "no consent is needed" in said(answer)


def tagged(contact_id: int, tag: str) -> None:
    with transaction():
        db.session.add(Tag(contact_id=contact_id, tag=tag, added_at=support_factories.clock.now()))


def test_who_is_not_in_a_broadcast_and_why(outbox, app, clock):
    got, without_tag, excluded, stopped, spanish = audience(5)
    for who in (got, excluded, stopped, spanish):
        tagged(who, "news")
    tagged(excluded, "away")
    with transaction():
        contacts.set_clinical_stop(contact_id=stopped, reason="in_crisis")
        db.session.execute(text("update contact set language = 'fr' where id = :id"), {"id": spanish})
        never = support_factories.contact(email="never@patients.example").id
        late = support_factories.contact(email="late@patients.example").id
    tagged(late, "news")
    clock.shift(60)
    campaign_id = launched(tags=["news"], exclude_tags=["away"])
    clock.shift(60)
    with transaction():
        support_factories.opted_in(db.session.get(support_factories.Contact, late))
        newcomer = support_factories.contact(email="new@patients.example").id
    freeze(campaign_id)
    assert ask(explain.of_campaign, campaign_id, got).got == "waiting"
    deliver(app)
    answers = {
        who: ask(explain.of_campaign, campaign_id, who)
        for who in (got, without_tag, excluded, stopped, spanish, never, late, newcomer)
    }
    assert [answer.reason for answer in answers.values()] == [
        None, "no_tag", "excluded", "stopped", "no_translation", "no_consent", "said_yes_later", "came_later",
    ]  # fmt: skip
    assert [answer.got for answer in answers.values()] == ["yes"] + ["no"] * 7
    assert "in_crisis" not in repr(answers[stopped])
    assert "At the launch: not allowed | no consent to this topic" in said(answers[never])


def test_before_the_launch_and_for_the_rest(outbox, app):
    who, other = audience(2)
    with transaction():
        draft = campaigns.create(name="News", item=ITEM)
    assert ask(explain.of_campaign, draft, who).reason == "not_launched"
    with transaction():
        campaigns.launch(draft)
    freeze(draft)
    deliver(app)
    with transaction():
        db.session.execute(text("update message set state = 'failed' where contact_id = :id"), {"id": other})
        db.session.execute(text("update campaign set state = 'finished'"))
    with transaction():
        rest = campaigns.resend(draft)
        campaigns.launch(rest)
    freeze(rest)
    assert ask(explain.of_campaign, rest, who).reason == "had_first"
    assert ask(explain.of_campaign, rest, other).got == "waiting"


def test_a_step_that_was_not_sent(outbox, app, clock):
    who = enrolled()
    plan()
    deliver_all(app)
    first, second, beyond = (ask(explain.of_step, "contact-request", step, who) for step in (1, 2, 99))
    assert (first.got, first.message_id) == ("yes", newest())
    assert (second.got, second.reason) == ("waiting", "not_due")
    assert second.at > support_factories.clock.now()
    assert beyond.reason == "not_in_version"
    with transaction():
        sequences.pause(
            db.session.scalar(select(EmailSequence.id).where(EmailSequence.key == "contact-request"))
        )
    assert ask(explain.of_step, "contact-request", 2, who).reason == "sequence_paused"
    with transaction():
        sequences.exit_people(contact_ids=[who], reason="booked")
    clock.shift(timedelta(days=2))
    answer = ask(explain.of_step, "contact-request", 2, who)
    assert (answer.got, answer.because) == ("no", "an appointment was booked")
    with transaction():
        stranger = support_factories.contact(email="ben@patients.example").id
    assert ask(explain.of_step, "contact-request", 1, stranger).reason == "no_consent"


def test_unknown_ids_are_not_found(outbox):
    for function, ids in (
        (explain.of_message, (1,)),
        (explain.of_campaign, (1, 1)),
        (explain.of_step, ("nothing", 1, 1)),
    ):
        with pytest.raises(NotFound), transaction():
            function(*ids)


def test_statements_do_not_grow_with_the_ledger(outbox, app, statements):
    totals = []
    for number in (1, 30):
        audience(number, prefix=f"r{number}")
        campaign_id = launched()
        freeze(campaign_id)
        deliver(app)
        with statements() as counted:
            ask(explain.of_message, newest())
        totals.append(counted.total)
    assert totals[0] == totals[1]


def test_the_page_and_the_links_to_it(outbox, client, app):
    who = enrolled()
    plan()
    deliver_all(app)
    number = newest()
    visitor = signed_in(app, "front_desk")
    page = visitor.get(f"/console/why/messages/{number}")
    assert page.status_code == 200
    assert "Why they got it" in page.text
    assert "Yes, please email me" in page.text
    assert visitor.get(f"/console/why/sequences/contact-request/emails/2/people/{who}").status_code == 200
    batch_id = db.session.scalar(select(Message.batch_id).where(Message.id == number))
    assert f"/console/why/messages/{number}" in visitor.get(f"/console/mail/{batch_id}").text
    assert visitor.get("/console/why/messages/999999").status_code == 404


def test_the_api_has_no_names_or_addresses(outbox, client, app):
    who = enrolled()
    plan()
    deliver_all(app)
    headers = key("messages:read")
    answer = client.get(f"/api/v1/messages/{newest()}/why", headers=headers).json
    assert (answer["got"], answer["contact_id"]) == ("yes", who)
    assert {"consent", "content", "decision", "batch", "attempt"} <= {
        fact["part"] for fact in answer["facts"]
    }
    assert "Ana" not in str(answer)
    assert "@" not in str(answer)
    campaign_id = launched()
    for path in (
        f"campaigns/{campaign_id}/people/{who}/why",
        f"sequences/contact-request/emails/2/people/{who}/why",
    ):
        assert client.get(f"/api/v1/{path}", headers=headers).status_code == 200
    assert client.get(f"/api/v1/messages/{newest()}/why", headers=key("campaigns:write")).status_code == 403
