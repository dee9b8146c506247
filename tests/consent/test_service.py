"""Double opt-in, withdrawal, undo, preferences, merge."""

from datetime import timedelta

import pytest
import time_machine
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from crm.consent import consent_texts, queries, service
from crm.consent import ledger as evidence_ledger
from crm.consent.events import (
    AddressesSuppressed,
    ConfirmationRequested,
    ConsentGiven,
    ConsentRestored,
    ConsentWithdrawn,
)
from crm.consent.models import Confirmation, ConsentRecord, ConsentState, Suppression
from crm.consent.rules import ConfirmationKind
from crm.contacts.addresses import address_index
from crm.core import clock as time
from crm.core.db import db
from crm.core.errors import Conflict, Invalid, NotFound
from tests.conftest import NOW
from tests.consent.factories import person

EDU = "prospect_edu"


def ask(contact, *, topics=(EDU,), kind=ConfirmationKind.CONFIRMATION, key="contact-form"):
    return service.request_confirmation(
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


def test_only_the_person_can_confirm(edge, told):
    jane = person()
    question = ask(jane)
    assert why_not(jane) == "no_consent"
    assert told == [
        ConfirmationRequested(
            confirmation_id=question.id, contact_id=jane.id, kind="confirmation", language="en"
        )
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


def test_attestation_is_not_consent(edge, told):
    jane = person()
    question = ask(
        jane, topics=["referred_edu"], kind=ConfirmationKind.INVITATION, key="referral-attestation"
    )
    assert ledger(jane) == [("attested", "referred_edu", "form")]
    assert why_not(jane, "referred_edu") == "no_consent"
    assert question.wording == "invitation/1"  # what the person reads, not what their referrer signed
    service.confirm(confirmation_id=question.id)
    assert why_not(jane, "referred_edu") is None


def test_confirmation_expires(edge, clock):
    question = ask(person())
    clock.shift(timedelta(hours=72) - timedelta(seconds=1))
    assert queries.confirmation_status(question, now=time.now())[0] == "open"
    clock.shift(timedelta(seconds=1))
    with pytest.raises(Conflict):
        service.confirm(confirmation_id=question.id)
    assert db.session.scalar(select(ConsentState)) is None


def test_unknown_confirmation(edge):
    with pytest.raises(NotFound):
        service.confirm(confirmation_id=404)


def test_confirming_twice(edge, told, clock):
    jane = person()
    question = ask(jane)
    service.confirm(confirmation_id=question.id)
    service.withdraw(contact_id=jane.id, topic=EDU, source="preferences")
    clock.shift(timedelta(days=30))
    before = ledger(jane), list(told)
    assert service.confirm(confirmation_id=question.id).confirmed_at == NOW
    assert (ledger(jane), told) == before
    assert why_not(jane) == "withdrawn"


def test_confirmation_is_for_its_address(edge):
    jane = person()
    question = ask(jane)
    jane.email, jane.email_index = "new@example.org", address_index("new@example.org")
    db.session.flush()
    with pytest.raises(Conflict):
        service.confirm(confirmation_id=question.id)


def test_consent_stays_with_its_address(edge):
    jane = person()
    say_yes(jane)
    jane.email, jane.email_index = "new@example.org", address_index("new@example.org")
    db.session.flush()
    assert why_not(jane) == "other_address"
    jane.email, jane.email_index = "Jane+x@example.org", address_index("Jane+x@example.org")
    db.session.flush()
    assert why_not(jane) is None  # another spelling is the same mailbox


def test_newer_row_wins(edge):
    jane = person()
    say_yes(jane)
    service.withdraw(contact_id=jane.id, topic=EDU, source="preferences")
    granted = db.session.scalars(select(ConsentRecord.id).where(ConsentRecord.action == "granted")).one()
    evidence_ledger._update_state([granted])  # as a transaction would that began earlier and ends later
    assert why_not(jane) == "withdrawn"


def test_one_confirmation_per_person_and_day(edge, clock, told):
    jane = person()
    assert ask(jane) is not None
    assert ask(jane) is None
    clock.shift(timedelta(hours=24))
    assert ask(jane) is not None
    assert [type(event) for event in told] == [ConfirmationRequested] * 2
    assert ledger(jane) == [("requested", EDU, "form")] * 3  # that they asked is kept each time


def test_a_family_on_one_mailbox_is_asked_and_never_flooded(edge, clock):
    family = [person(address) for address in ("jane@example.org", "Jane@EXAMPLE.org", "jane+kim@example.org")]
    stranger = person("Jane+again@example.org")
    assert all(ask(one) for one in family)
    assert ask(stranger) is None
    clock.shift(timedelta(hours=24))
    assert ask(stranger) is not None


def _stopped(jane):
    jane.stop_reason, jane.stopped_at = "clinical", NOW
    db.session.flush()


def _suppressed(jane):
    service.suppress(address_index=jane.email_index, scope="all", reason="bounced", source="event")


def _no_address(jane):
    jane.email = jane.email_index = None
    db.session.flush()


@pytest.mark.parametrize("kind", [ConfirmationKind.CONFIRMATION, ConfirmationKind.INVITATION])
@pytest.mark.parametrize("what", [_stopped, _suppressed, _no_address, say_yes])
def test_no_confirmation_for(edge, what, kind, clock):
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
def test_ask_again_after_opt_out(edge, what, clock):
    jane = person()
    what(jane)
    clock.shift(timedelta(days=2))
    assert ask(jane, kind=ConfirmationKind.INVITATION, key="referral-attestation") is None
    assert ask(jane) is not None


def test_withdraw_all(edge, told):
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


def test_withdraw_all_twice(edge, told):
    jane = person()
    say_yes(jane)
    service.withdraw(contact_id=jane.id, topic=None, source="one_click")
    before = ledger(jane), list(told)
    assert not service.withdraw(contact_id=jane.id, topic=None, source="one_click")
    assert (ledger(jane), told) == before


def test_withdraw_one_topic(edge, told):
    jane = person()
    say_yes(jane, topics=[EDU, "referred_edu"])
    service.withdraw(contact_id=jane.id, topic=EDU, source="preferences")
    assert why_not(jane) == "withdrawn"
    assert why_not(jane, "referred_edu") is None
    assert db.session.scalar(select(Suppression)) is None


def test_event_names_others_at_the_address(edge, told):
    jane, john = person(), person("Jane@Example.org")
    service.withdraw(contact_id=jane.id, topic=None, source="one_click")
    assert told == [
        ConsentWithdrawn(contact_id=jane.id, topic=None, reason="opted_out"),
        AddressesSuppressed(contact_ids=(john.id,), scope="marketing", reason="opted_out"),
    ]


def test_undo_restores_exactly_the_act(edge, told, clock):
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


def test_undo_keeps_earlier_suppression(edge, clock):
    jane = person()
    say_yes(jane)
    service.suppress(address_index=jane.email_index, scope="marketing", reason="complained", source="event")
    clock.shift(60)
    service.withdraw(contact_id=jane.id, topic=None, source="one_click")
    clock.shift(60)
    service.undo_withdraw(contact_id=jane.id)
    assert why_not(jane) == "opted_out"


def test_undo_without_topics(edge, clock):
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


def test_confirming_lifts_suppression_only(edge, clock):
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


def test_confirming_never_lifts_scope_all(edge):
    jane = person()
    question = ask(jane)
    _suppressed(jane)
    service.confirm(confirmation_id=question.id)
    assert why_not(jane) == why_not(jane, transactional=True) == "suppressed"


def test_suppression_survives_erasure(edge):
    jane = person("Jane.Roe+clinic@gmail.com")
    say_yes(jane)
    service.withdraw(contact_id=jane.id, topic=None, source="one_click")
    jane.email = jane.email_index = None
    jane.erased_at = NOW
    db.session.flush()
    again = person("janeroe@googlemail.com")
    assert why_not(jane) == "erased"
    assert why_not(again) == "opted_out"


def test_old_link_suppresses_erased_address(edge):
    jane = person()
    say_yes(jane)
    jane.email = jane.email_index = None
    jane.erased_at = NOW
    db.session.flush()
    assert service.withdraw(contact_id=jane.id, topic=None, source="one_click")
    assert why_not(person()) == "opted_out"


def test_merged_record_withdraws_for_survivor(edge, told):
    old, living = person(), person("other@example.org")
    say_yes(living)
    old.merged_into_id = living.id
    db.session.flush()
    service.withdraw(contact_id=old.id, topic=None, source="one_click")
    assert why_not(living) == "opted_out"
    assert why_not(person()) == "opted_out"  # the address that the email went to


def test_withdraw_for_unknown_contact(edge, told):
    assert not service.withdraw(contact_id=404, topic=None, source="one_click")
    assert told == []


def test_suppressing_many_takes_two_statements(edge, told, statements):
    people = [person(f"p{number}@example.org") for number in range(20)]
    stops = [
        service.NewSuppression(
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


def test_suppressing_none(edge, told):
    assert service.suppress_many([]) == 0


def test_set_topics(edge, told):
    jane = person()
    changed = service.set_topics(contact_id=jane.id, topics=[EDU], language="es")
    assert changed == service.PreferenceChange(granted=frozenset({EDU}))
    changed = service.set_topics(contact_id=jane.id, topics=["referred_edu"], language="es")
    assert changed == service.PreferenceChange(
        granted=frozenset({"referred_edu"}), withdrawn=frozenset({EDU})
    )
    assert (why_not(jane), why_not(jane, "referred_edu")) == ("withdrawn", None)
    before = ledger(jane)
    assert (
        service.set_topics(contact_id=jane.id, topics=["referred_edu"], language="es")
        == service.PreferenceChange()
    )
    assert ledger(jane) == before


def test_suppressed_address_must_confirm(edge, told):
    jane = person()
    _opted_out(jane)
    changed = service.set_topics(contact_id=jane.id, topics=[EDU], language="en")
    assert changed == service.PreferenceChange(asked=frozenset({EDU}))
    assert why_not(jane) == "opted_out"
    assert isinstance(told[-1], ConfirmationRequested)


def test_unknown_topic(edge):
    with pytest.raises(Invalid, match="another look") as refused:
        service.set_topics(contact_id=person().id, topics=["cats"], language="en")
    assert refused.value.fields == {"topics": ["Topic cats not found."]}


def test_snooze(edge, clock):
    jane = person()
    say_yes(jane)
    service.snooze(contact_id=jane.id, until=NOW + timedelta(days=7))
    assert why_not(jane) == "snoozed"
    assert why_not(jane, transactional=True) is None
    clock.shift(timedelta(days=7))
    assert why_not(jane) is None


def test_snooze_ends_early(edge):
    jane = person()
    say_yes(jane)
    service.snooze(contact_id=jane.id, until=None)  # nothing to end
    service.snooze(contact_id=jane.id, until=NOW + timedelta(days=7))
    service.snooze(contact_id=jane.id, until=None)
    assert why_not(jane) is None
    assert [row for row in ledger(jane) if row[0] == "snoozed"] == [("snoozed", "*", "preferences")] * 2


@pytest.mark.parametrize("away", [timedelta(0), timedelta(days=-1), timedelta(days=367)])
def test_invalid_snooze(edge, away):
    with pytest.raises(Invalid):
        service.snooze(contact_id=person().id, until=NOW + away)


def test_language(edge):
    jane = person()
    service.set_language(contact_id=jane.id, language="es")
    assert jane.language == "es"
    with pytest.raises(Invalid):
        service.set_language(contact_id=jane.id, language="fr")


def test_erased_person_has_no_preferences(edge):
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
def test_merge_copies_newer_decision(edge, first, email, verdict):
    old, living = person(), person(email)
    say_yes(old)
    if first == "no":
        service.withdraw(contact_id=old.id, topic=EDU, source="preferences")
    old.merged_into_id = living.id
    db.session.flush()
    service.merge_consent(from_id=old.id, into_id=living.id)
    assert why_not(living) == verdict
    assert why_not(old) == "merged"
    assert not db.session.get(ConsentState, (old.id, EDU)).granted


def test_merge_keeps_newer_decision(edge, clock):
    old, living = person(), person()
    say_yes(old)
    service.set_topics(contact_id=living.id, topics=[EDU], language="en")
    service.set_topics(contact_id=living.id, topics=[], language="en")
    service.merge_consent(from_id=old.id, into_id=living.id)
    assert why_not(living) == "withdrawn"


def test_queries_for_staff(edge, clock):
    jane = person()
    say_yes(jane)
    clock.shift(60)
    service.withdraw(contact_id=jane.id, topic=None, source="one_click")
    assert [row.action for row in queries.consent_records(jane.id)] == ["withdrawn", "granted", "requested"]
    assert [(state.topic, state.granted) for state in queries.states(jane.id)] == [(EDU, False)]
    assert [(stop.scope, stop.reason) for stop in queries.suppressions_of(jane.id)] == [
        ("marketing", "opted_out")
    ]
    assert [sent.confirmed_at for sent in db.session.scalars(select(Confirmation)).all()] == [NOW]
    assert queries.topics_known(jane.id) == {EDU}
