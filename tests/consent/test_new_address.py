"""A changed address: consent is asked anew, what was queued does not leave, the old address keeps its stops."""

import pytest
from sqlalchemy import select

from crm.audit import acts
from crm.audit import service as audit
from crm.consent import queries, suppressions
from crm.consent import service as consent
from crm.consent.models import Confirmation, ConsentRecord
from crm.consent.rules import ConfirmationStatus, Reason, SuppressionScope
from crm.contacts import editing
from crm.contacts.addresses import address_index
from crm.contacts.models import Contact
from crm.core import clock as core_clock
from crm.core.db import db
from crm.messages.models import Batch, Message
from crm.sequences.models import Enrolment
from tests.support import factories

NEW = "anita@patients.example"


@pytest.fixture(autouse=True)
def told():
    """Every reaction hears of the events: the story is theirs."""


@pytest.fixture
def ana(edge, redis):
    factories.shipped()
    return factories.contact()


def change(contact, email=NEW):
    editing.edit(contact_id=contact.id, version=contact.version, values={"email": email})


def asked(email=NEW):
    rows = select(Confirmation).where(Confirmation.address_index == address_index(email))
    return db.session.scalars(rows.order_by(Confirmation.id)).all()


def why_not(contact):
    return queries.refusal(
        contact_id=contact.id, topic="prospect_edu", transactional=False, now=core_clock.now()
    )


def waiting(contact):
    rows = (
        select(Message.id)
        .join(Batch, Batch.id == Message.batch_id)
        .where(Message.contact_id == contact.id, Message.state.is_(None), Batch.state == "ready")
    )
    return db.session.scalars(rows).all()


def test_consent_is_asked_anew_and_the_sequence_goes_on(ana):
    factories.opted_in(ana)
    before = db.session.scalars(select(Enrolment)).one()
    change(ana)
    db.session.refresh(before)
    assert (before.state, before.reason) == ("exited", "address_changed")
    assert why_not(ana) is Reason.OTHER_ADDRESS
    (made,) = asked()
    consent.confirm(confirmation_id=made.id)
    assert why_not(ana) is None
    assert [one.state for one in db.session.scalars(select(Enrolment).order_by(Enrolment.id))] == [
        "exited",
        "active",
    ]


def test_an_open_question_moves_to_the_new_address(ana):
    old = db.session.get_one(Confirmation, factories.asked(ana))
    assert len(waiting(ana)) == 1
    change(ana)
    assert queries.confirmation_status(old, now=core_clock.now())[0] is ConfirmationStatus.VOID
    (made,) = asked()
    (queued,) = waiting(ana)  # the email with the void link does not leave
    assert db.session.get_one(Message, queued).params == {"links": {"confirm_url": made.id}}


def test_other_spelling_of_a_mailbox_is_no_new_address(ana):
    factories.opted_in(ana)
    change(ana, "ana+news@patients.example")
    assert why_not(ana) is None


def test_nobody_is_asked_who_was_not_before(ana):
    change(ana)
    assert asked() == []


def suppress(email, reason, scope=SuppressionScope.ALL):
    suppressions.suppress(address_index=address_index(email), scope=scope, reason=reason, source="provider")


@pytest.mark.parametrize(("reason", "questions"), [("bounced", 1), ("soft_bounces", 1), ("complained", 0)])
def test_a_stop_is_no_bounce(ana, reason, questions):
    factories.asked(ana)
    suppress("ana@patients.example", reason)
    change(ana)
    assert len(asked()) == questions


def test_who_opted_out_is_not_asked(ana):
    factories.opted_in(ana)
    consent.withdraw(contact_id=ana.id, topic=None, source="one_click")
    change(ana)
    assert (asked(), why_not(ana)) == ([], Reason.WITHDRAWN)


def test_a_mailbox_that_opted_out_is_not_asked(ana):
    factories.opted_in(ana)
    suppress(NEW, "opted_out", SuppressionScope.MARKETING)
    change(ana)
    assert (asked(), why_not(ana)) == ([], Reason.OPTED_OUT)


def test_stops_stay_with_the_old_address(ana):
    suppress("ana@patients.example", "bounced")
    change(ana)
    other = factories.contact("ana@patients.example", first_name="Eva")
    assert (why_not(ana), why_not(other)) == (Reason.NO_CONSENT, Reason.SUPPRESSED)


def test_evidence_names_staff(ana):
    factories.opted_in(ana)
    change(ana)
    newest = db.session.scalars(select(ConsentRecord).order_by(ConsentRecord.id.desc())).first()
    assert (newest.action, newest.source, bytes(newest.address_index)) == (
        "requested",
        "staff",
        address_index(NEW),
    )


def test_undo_restores_consent_and_the_series(ana):
    factories.opted_in(ana)
    with audit.acting("staff:1"):
        with acts.begin("edit_contact") as act:
            change(ana)
        editing.undo(act.id, contact_id=ana.id)
    ana = db.session.get_one(Contact, ana.id)
    assert why_not(ana) is None
    assert db.session.scalars(select(Enrolment)).one().state == "active"
    assert waiting(ana) == []  # neither question is of use: one was answered, the other is void
