"""Asking, saying yes, saying no, taking it back."""

from datetime import timedelta

import pytest
import time_machine
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from crm.consent import consent_texts, queries, service
from crm.consent import ledger as evidence_ledger
from crm.consent.events import (
    AddressesSuppressed,
    ConfirmationAsked,
    ConsentGiven,
    ConsentRestored,
    ConsentWithdrawn,
)
from crm.consent.models import ConsentRecord, ConsentState, Suppression
from crm.contacts.addresses import address_index
from crm.core import clock as time
from crm.core.db import db
from crm.core.errors import Conflict, Invalid, NotFound
from tests.conftest import NOW
from tests.consent.factories import person

EDU = "prospect_edu"


def ask(contact, *, topics=(EDU,), kind=service.CONFIRMATION, key="contact-form"):
    return service.send_confirmation(
        contact=contact,
        topics=topics,
        kind=kind,
        wording=consent_texts.current(key, "en"),
        language="en",
        source="form",
    )


def say_yes(contact, *, topics=(EDU,)):
    question = ask(contact, topics=topics)
    return service.confirm(confirmation_id=question.id)


def why_not(contact, topic=EDU, *, transactional=False):
    return queries.refusal(contact_id=contact.id, topic=topic, transactional=transactional, now=time.now())


def ledger(contact):
    rows = db.session.scalars(
        select(ConsentRecord).where(ConsentRecord.contact_id == contact.id).order_by(ConsentRecord.id)
    )
    return [(row.action, row.topic, row.source) for row in rows]


def test_only_the_persons_own_yes_counts(edge, told):
    jane = person()
    question = ask(jane)
    assert why_not(jane) == "no_consent"
    assert told == [
        ConfirmationAsked(confirmation_id=question.id, contact_id=jane.id, kind="confirmation", language="en")
    ]
    service.confirm(confirmation_id=question.id)
    assert why_not(jane) is None
    granted = db.session.scalars(select(ConsentRecord).where(ConsentRecord.action == "granted")).one()
    assert told[1:] == [ConsentGiven(contact_id=jane.id, topic=EDU, record_id=granted.id)]
    assert granted.wording == "contact-form/1"
    assert granted.wording_hash == consent_texts.current("contact-form", "en").hash
    assert granted.covers_collecting
    assert not granted.covers_sharing
    assert ledger(jane) == [("requested", EDU, "form"), ("granted", EDU, "confirm_link")]


@pytest.mark.parametrize(
    "change", ["update consent_record set action = 'granted'", "delete from consent_record"]
)
def test_evidence_is_never_changed(edge, change):
    ask(person())
    with pytest.raises(IntegrityError, match="never changed"), db.session.begin_nested():
        db.session.execute(text(change))


def test_a_referrers_word_is_not_a_yes(edge, told):
    jane = person()
    question = ask(jane, topics=["referred_edu"], kind=service.INVITATION, key="referral-attestation")
    assert ledger(jane) == [("attested", "referred_edu", "form")]
    assert why_not(jane, "referred_edu") == "no_consent"
    assert question.wording == "invitation/1"  # what the person reads, not what their referrer signed
    service.confirm(confirmation_id=question.id)
    assert why_not(jane, "referred_edu") is None


def test_the_question_dies_after_72_hours(edge, clock):
    question = ask(person())
    clock.shift(timedelta(hours=72) - timedelta(seconds=1))
    assert queries.standing(question, now=time.now())[0] == "open"
    clock.shift(timedelta(seconds=1))
    with pytest.raises(Conflict):
        service.confirm(confirmation_id=question.id)
    assert db.session.scalar(select(ConsentState)) is None


def test_no_such_question(edge):
    with pytest.raises(NotFound):
        service.confirm(confirmation_id=404)


def test_a_yes_counts_once(edge, told, clock):
    jane = person()
    question = ask(jane)
    service.confirm(confirmation_id=question.id)
    service.withdraw(contact_id=jane.id, topic=EDU, source="preferences")
    clock.shift(timedelta(days=30))
    before = ledger(jane), list(told)
    assert service.confirm(confirmation_id=question.id).confirmed_at == NOW
    assert (ledger(jane), told) == before
    assert why_not(jane) == "withdrawn"


def test_a_yes_is_for_the_address_that_was_asked(edge):
    jane = person()
    question = ask(jane)
    jane.email, jane.email_index = "new@example.org", address_index("new@example.org")
    db.session.flush()
    with pytest.raises(Conflict):
        service.confirm(confirmation_id=question.id)


def test_a_yes_does_not_move_to_another_address(edge):
    jane = person()
    say_yes(jane)
    jane.email, jane.email_index = "new@example.org", address_index("new@example.org")
    db.session.flush()
    assert why_not(jane) == "other_address"
    jane.email, jane.email_index = "Jane+x@example.org", address_index("Jane+x@example.org")
    db.session.flush()
    assert why_not(jane) is None  # another spelling is the same mailbox


def test_the_newer_row_wins_whoever_comes_last(edge):
    jane = person()
    say_yes(jane)
    service.withdraw(contact_id=jane.id, topic=EDU, source="preferences")
    granted = db.session.scalars(select(ConsentRecord.id).where(ConsentRecord.action == "granted")).one()
    evidence_ledger._settle([granted])  # as a transaction would that began earlier and ends later
    assert why_not(jane) == "withdrawn"


def test_one_question_per_address_and_day(edge, clock, told):
    jane = person()
    assert ask(jane) is not None
    assert ask(jane) is None
    assert ask(person("Jane+again@EXAMPLE.org")) is None  # the same mailbox, another record
    clock.shift(timedelta(hours=24))
    assert ask(jane) is not None
    assert [type(event) for event in told] == [ConfirmationAsked] * 2
    assert ledger(jane) == [("requested", EDU, "form")] * 3  # that they asked is kept each time


def _stopped(jane):
    jane.stop_reason, jane.stopped_at = "clinical", NOW
    db.session.flush()


def _suppressed(jane):
    service.suppress(address_index=jane.email_index, scope="all", reason="bounced", source="event")


def _no_address(jane):
    jane.email = jane.email_index = None
    db.session.flush()


@pytest.mark.parametrize("kind", [service.CONFIRMATION, service.INVITATION])
@pytest.mark.parametrize("what", [_stopped, _suppressed, _no_address, say_yes])
def test_nobody_is_asked_who(edge, what, kind, clock):
    jane = person()
    what(jane)
    clock.shift(timedelta(days=2))
    assert ask(jane, kind=kind) is None


def _opted_out(jane):
    service.withdraw(contact_id=jane.id, topic=None, source="one_click")


def _said_no_to_this(jane):
    say_yes(jane)
    service.withdraw(contact_id=jane.id, topic=EDU, source="preferences")


def _snoozed(jane):
    service.snooze(contact_id=jane.id, until=NOW + timedelta(days=9))


@pytest.mark.parametrize("what", [_opted_out, _said_no_to_this, _snoozed])
def test_a_no_is_asked_about_again_only_when_the_person_comes_back(edge, what, clock):
    jane = person()
    what(jane)
    clock.shift(timedelta(days=2))
    assert ask(jane, kind=service.INVITATION, key="referral-attestation") is None
    assert ask(jane) is not None


def test_stop_all(edge, told):
    jane = person()
    say_yes(jane, topics=[EDU, "referred_edu"])
    told.clear()
    assert service.withdraw(contact_id=jane.id, topic=None, source="one_click", message_id=7)
    assert why_not(jane) == why_not(jane, "provider_nurture") == "opted_out"
    assert why_not(jane, transactional=True) is None
    assert ledger(jane)[-2:] == [("withdrawn", EDU, "one_click"), ("withdrawn", "referred_edu", "one_click")]
    newest = db.session.scalars(select(ConsentRecord).order_by(ConsentRecord.id.desc())).first()
    assert (newest.message_id, newest.wording) == (7, "contact-form/1")
    assert told == [ConsentWithdrawn(contact_id=jane.id, topic=None, reason="opted_out")]


def test_stop_all_again_changes_nothing(edge, told):
    jane = person()
    say_yes(jane)
    service.withdraw(contact_id=jane.id, topic=None, source="one_click")
    before = ledger(jane), list(told)
    assert not service.withdraw(contact_id=jane.id, topic=None, source="one_click")
    assert (ledger(jane), told) == before


def test_leaving_one_topic_keeps_the_others(edge, told):
    jane = person()
    say_yes(jane, topics=[EDU, "referred_edu"])
    service.withdraw(contact_id=jane.id, topic=EDU, source="preferences")
    assert why_not(jane) == "withdrawn"
    assert why_not(jane, "referred_edu") is None
    assert db.session.scalar(select(Suppression)) is None


def test_others_at_a_stopped_address_are_told_of(edge, told):
    jane, john = person(), person("Jane@Example.org")
    service.withdraw(contact_id=jane.id, topic=None, source="one_click")
    assert told == [
        ConsentWithdrawn(contact_id=jane.id, topic=None, reason="opted_out"),
        AddressesSuppressed(contact_ids=(john.id,), scope="marketing", reason="opted_out"),
    ]


def test_undo_gives_back_exactly_what_the_act_took(edge, told, clock):
    jane = person()
    say_yes(jane, topics=[EDU, "referred_edu"])
    clock.shift(60)
    service.withdraw(contact_id=jane.id, topic=EDU, source="preferences")
    clock.shift(60)
    service.withdraw(contact_id=jane.id, topic=None, source="one_click")
    act = time.now()
    clock.shift(60)
    told.clear()
    assert service.undo_withdraw(contact_id=jane.id)
    assert why_not(jane) == "withdrawn"  # was off before
    assert why_not(jane, "referred_edu") is None
    state = db.session.get(ConsentState, (jane.id, "referred_edu"))
    record = db.session.get(ConsentRecord, state.record_id)
    assert (record.action, record.source, record.wording) == ("granted", "undo", "contact-form/1")
    assert told == [
        ConsentRestored(contact_id=jane.id, topic="referred_edu", record_id=record.id, withdrawn_at=act)
    ]


def test_undo_while_the_clock_runs(edge):
    with time_machine.travel(NOW, tick=True):
        jane = person()
        say_yes(jane)
        service.withdraw(contact_id=jane.id, topic=None, source="one_click")
        service.undo_withdraw(contact_id=jane.id)
        assert why_not(jane) is None


def test_undo_leaves_a_stop_that_stood_before(edge, clock):
    jane = person()
    say_yes(jane)
    service.suppress(address_index=jane.email_index, scope="marketing", reason="complained", source="event")
    clock.shift(60)
    service.withdraw(contact_id=jane.id, topic=None, source="one_click")
    clock.shift(60)
    service.undo_withdraw(contact_id=jane.id)
    assert why_not(jane) == "opted_out"


def test_undo_of_a_stop_that_had_no_topics(edge, clock):
    jane = person()
    service.withdraw(contact_id=jane.id, topic=None, source="unsubscribe_page")
    clock.shift(60)
    assert service.undo_withdraw(contact_id=jane.id)
    assert why_not(jane) == "no_consent"


@pytest.mark.parametrize(
    ("source", "later"), [("one_click", timedelta(hours=1, seconds=1)), ("staff", timedelta(minutes=1))]
)
def test_nothing_to_undo(edge, clock, source, later):
    jane = person()
    say_yes(jane)
    service.withdraw(contact_id=jane.id, topic=None, source=source)
    clock.shift(later)
    assert not service.undo_withdraw(contact_id=jane.id)
    assert why_not(jane) == "opted_out"


def test_an_explicit_yes_lifts_a_stop_and_wakes_nothing_else(edge, clock):
    jane, john = person(), person("jane@EXAMPLE.org")
    say_yes(jane, topics=[EDU, "referred_edu"])
    clock.shift(timedelta(days=2))
    say_yes(john)
    service.suppress(address_index=jane.email_index, scope="marketing", reason="complained", source="event")
    clock.shift(timedelta(days=2))
    say_yes(jane)
    assert why_not(jane) is None
    assert why_not(jane, "referred_edu") == why_not(john) == "withdrawn"
    stop = db.session.scalars(select(Suppression)).one()
    assert (stop.lifted_at, stop.lifted_by) == (time.now(), "confirm_link")


def test_no_yes_lifts_a_dead_address(edge):
    jane = person()
    question = ask(jane)
    _suppressed(jane)
    service.confirm(confirmation_id=question.id)
    assert why_not(jane) == why_not(jane, transactional=True) == "suppressed"


def test_a_stop_outlives_erasure_and_another_spelling(edge):
    jane = person("Jane.Roe+clinic@gmail.com")
    say_yes(jane)
    service.withdraw(contact_id=jane.id, topic=None, source="one_click")
    jane.email = jane.email_index = None
    jane.erased_at = NOW
    db.session.flush()
    again = person("janeroe@googlemail.com")
    assert why_not(jane) == "erased"
    assert why_not(again) == "opted_out"


def test_a_link_in_an_old_email_stops_the_address_of_the_erased(edge):
    jane = person()
    say_yes(jane)
    jane.email = jane.email_index = None
    jane.erased_at = NOW
    db.session.flush()
    assert service.withdraw(contact_id=jane.id, topic=None, source="one_click")
    assert why_not(person()) == "opted_out"


def test_a_stop_of_the_merged_stops_the_living(edge, told):
    old, living = person(), person("other@example.org")
    say_yes(living)
    old.merged_into_id = living.id
    db.session.flush()
    service.withdraw(contact_id=old.id, topic=None, source="one_click")
    assert why_not(living) == "opted_out"
    assert why_not(person()) == "opted_out"  # the address that the email went to


def test_nobody_to_withdraw_for(edge, told):
    assert not service.withdraw(contact_id=404, topic=None, source="one_click")
    assert told == []


def test_a_thousand_stops_are_two_statements(edge, told, statements):
    people = [person(f"p{number}@example.org") for number in range(20)]
    stops = [
        service.Stop(
            address_index=address_index(f"p{number}@example.org"),
            scope="all",
            reason="bounced",
            source="event",
        )
        for number in range(1000)
    ]
    with statements() as seen:
        assert service.suppress_many(stops + stops) == 1000
        assert service.suppress_many(stops) == 0
    assert len(seen) == 3
    ids = tuple(contact.id for contact in people)
    assert told == [AddressesSuppressed(contact_ids=ids, scope="all", reason="bounced")]


def test_no_stops(edge, told):
    assert service.suppress_many([]) == 0


def test_topics_of_ones_own(edge, told):
    jane = person()
    changed = service.set_topics(contact_id=jane.id, topics=[EDU], language="es")
    assert changed == service.Changed(granted=frozenset({EDU}))
    changed = service.set_topics(contact_id=jane.id, topics=["referred_edu"], language="es")
    assert changed == service.Changed(granted=frozenset({"referred_edu"}), withdrawn=frozenset({EDU}))
    assert (why_not(jane), why_not(jane, "referred_edu")) == ("withdrawn", None)
    before = ledger(jane)
    assert service.set_topics(contact_id=jane.id, topics=["referred_edu"], language="es") == service.Changed()
    assert ledger(jane) == before


def test_a_stopped_address_is_asked_by_email_first(edge, told):
    jane = person()
    _opted_out(jane)
    changed = service.set_topics(contact_id=jane.id, topics=[EDU], language="en")
    assert changed == service.Changed(asked=frozenset({EDU}))
    assert why_not(jane) == "opted_out"
    assert isinstance(told[-1], ConfirmationAsked)


def test_an_unknown_topic(edge):
    with pytest.raises(Invalid, match="another look") as refused:
        service.set_topics(contact_id=person().id, topics=["cats"], language="en")
    assert refused.value.fields == {"topics": ["There is no topic called cats."]}


def test_pause(edge, clock):
    jane = person()
    say_yes(jane)
    service.snooze(contact_id=jane.id, until=NOW + timedelta(days=7))
    assert why_not(jane) == "snoozed"
    assert why_not(jane, transactional=True) is None
    clock.shift(timedelta(days=7))
    assert why_not(jane) is None


def test_a_pause_can_end_early(edge):
    jane = person()
    say_yes(jane)
    service.snooze(contact_id=jane.id, until=None)  # nothing to end
    service.snooze(contact_id=jane.id, until=NOW + timedelta(days=7))
    service.snooze(contact_id=jane.id, until=None)
    assert why_not(jane) is None
    assert [row for row in ledger(jane) if row[0] == "snoozed"] == [("snoozed", "*", "preferences")] * 2


@pytest.mark.parametrize("away", [timedelta(0), timedelta(days=-1), timedelta(days=367)])
def test_odd_pauses(edge, away):
    with pytest.raises(Invalid):
        service.snooze(contact_id=person().id, until=NOW + away)


def test_language(edge):
    jane = person()
    service.set_language(contact_id=jane.id, language="es")
    assert jane.language == "es"
    with pytest.raises(Invalid):
        service.set_language(contact_id=jane.id, language="fr")


def test_the_erased_have_no_preferences(edge):
    jane = person(erased_at=NOW)
    with pytest.raises(NotFound):
        service.set_topics(contact_id=jane.id, topics=[], language="en")


@pytest.mark.parametrize(
    ("first", "email", "verdict"),
    [
        ("yes", "jane@example.org", None),
        ("yes", "other@example.org", "no_consent"),
        ("no", "other@example.org", "withdrawn"),
    ],
)
def test_merging_brings_the_newer_word_over(edge, first, email, verdict):
    old, living = person(), person(email)
    say_yes(old)
    if first == "no":
        service.withdraw(contact_id=old.id, topic=EDU, source="preferences")
    old.merged_into_id = living.id
    db.session.flush()
    service.merge(from_id=old.id, into_id=living.id)
    assert why_not(living) == verdict
    assert why_not(old) == "merged"
    assert not db.session.get(ConsentState, (old.id, EDU)).granted


def test_merging_keeps_the_newer_word(edge, clock):
    old, living = person(), person()
    say_yes(old)
    service.set_topics(contact_id=living.id, topics=[EDU], language="en")
    service.set_topics(contact_id=living.id, topics=[], language="en")
    service.merge(from_id=old.id, into_id=living.id)
    assert why_not(living) == "withdrawn"


def test_what_staff_see(edge, clock):
    jane = person()
    say_yes(jane)
    clock.shift(60)
    service.withdraw(contact_id=jane.id, topic=None, source="one_click")
    assert [row.action for row in queries.evidence(jane.id)] == ["withdrawn", "granted", "requested"]
    assert [(state.topic, state.granted) for state in queries.states(jane.id)] == [(EDU, False)]
    assert [(stop.scope, stop.reason) for stop in queries.stops(jane.id)] == [("marketing", "opted_out")]
    assert [stop.reason for stop in queries.all_stops().rows] == ["opted_out"]
    assert [question.confirmed_at for question in queries.questions(jane.id)] == [NOW]
    assert queries.topics_known(jane.id) == {EDU}
