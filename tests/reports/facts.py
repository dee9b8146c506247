"""Random facts for reports: leads with the traces that years of work leave, emails with any state, consent."""

import hashlib
import random
from datetime import UTC, datetime, timedelta

from sqlalchemy import insert, text

from crm.consent.models import Confirmation, ConsentRecord
from crm.consultations.models import Consultation, ConsultationReminder
from crm.core.db import db
from crm.leads import rules as lead_rules
from crm.leads.models import Breach, Call, Lead, Referral, StageMove
from crm.messages.models import Batch, Message
from crm.messages.rules import BatchState, MessageState
from crm.referrers.models import Clinician, Practice
from tests.support import factories

FIRST = datetime(2026, 1, 1, 8, tzinfo=UTC)  # midnight in Los Angeles
MINUTES = 50 * 24 * 60


def some_time(dice: random.Random, *, since: datetime = FIRST) -> datetime:
    return since + timedelta(minutes=dice.randrange(MINUTES))


def practice() -> Clinician:
    home = Practice(name="Hillside", created_at=FIRST)
    db.session.add(home)
    db.session.flush()
    npi = f"{1 + db.session.scalar(text('select count(*) from clinician')):010d}"
    one = Clinician(practice_id=home.id, name="Dr. Park", npi=npi, created_at=FIRST)
    db.session.add(one)
    db.session.flush()
    return one


def add_leads(dice: random.Random, count: int) -> None:
    people = [
        factories.contact(None, language=dice.choice(["en", "es"]), state=dice.choice(["CA", "OR", None]))
        for _ in range(3)
    ]
    clinicians = [practice(), practice()]
    for _ in range(count):
        _add_lead(dice, dice.choice(people), dice.choice(clinicians))
    db.session.flush()


def _add_lead(dice, person, clinician):
    kind = dice.choice(lead_rules.KINDS)
    stages = list(lead_rules.STAGES[kind])
    at = some_time(dice)
    lead = Lead(
        reference=f"X-{dice.getrandbits(60)}", contact_id=person.id, kind=kind, stage=stages[0], created_at=at, stage_at=at,
        source=dice.choice(["form", "phone", "portal", "import"]), urgent=False, attempts=dice.randrange(4), demo=False,
        first_touch=dice.choice([
            None, {"utm_source": "news"}, {"utm_source": "news", "utm_campaign": "may"},
            {"practice": str(clinician.practice_id)}, {"practice": "999999"}, {"practice": "unknown"},
        ]),
    )  # fmt: skip
    db.session.add(lead)
    db.session.flush()
    undoable = []
    for _ in range(dice.randrange(7)):
        at += timedelta(minutes=dice.randrange(9_000))
        if undoable and dice.random() < 0.3:
            was = lead.stage
            lead.stage = undoable.pop()
            move = StageMove(
                lead_id=lead.id, was=was, now=lead.stage, reason="undone", actor="staff:1", at=at
            )
        else:
            undoable.append(lead.stage)
            was, lead.stage = lead.stage, dice.choice(stages)
            move = StageMove(lead_id=lead.id, was=was, now=lead.stage, actor="staff:1", at=at)
        lead.stage_at = at
        db.session.add(move)
        db.session.flush()
    if lead_rules.STAGES[kind][lead.stage].ends:
        lead.closed_at = at
    if dice.random() < 0.6:
        lead.first_human_touch_at = lead.created_at + timedelta(seconds=dice.randrange(-60, 9_000))
    for _ in range(dice.randrange(3)):
        db.session.add(
            Call(
                lead_id=lead.id,
                at=at,
                actor="staff:1",
                channel="phone",
                outcome=dice.choice(["reached", "callback", "voicemail"]),
            )
        )
    for state in dice.sample(["cancelled", "no_show", "attended", "booked"], dice.randrange(3)):
        starts = at + timedelta(days=dice.randrange(9))
        visit = Consultation(
            lead_id=lead.id,
            starts_at=starts,
            minutes=30,
            state=state,
            state_at=starts,
            created_at=at,
            actor="staff:1",
        )
        db.session.add(visit)
        db.session.flush()
        for reminder in dice.sample(["two_days", "two_hours"], dice.randrange(3)):
            db.session.add(
                ConsultationReminder(
                    consultation_id=visit.id, kind=reminder, at=at, emailed=dice.random() < 0.6
                )
            )
    if dice.random() < 0.3:
        db.session.add(
            Breach(lead_id=lead.id, stage=dice.choice(["new", "received", "contacted"]), due_at=at, at=at)
        )
    if kind == lead_rules.REFERRAL:
        sent = at if dice.random() < 0.5 else None
        db.session.add(
            Referral(
                lead_id=lead.id,
                practice_id=clinician.practice_id,
                clinician_id=clinician.id,
                sent_at=lead.created_at,
                outcome_sent_at=sent,
            )
        )


def add_emails(dice: random.Random, count: int, *, version_id: int) -> list[int]:
    """Add batches whose messages are in any state; return the ids of the messages."""
    person = factories.contact(None)
    made: list[int] = []
    for _ in range(count):
        at, state = some_time(dice), dice.choice(list(BatchState))
        sequence = dice.choice([None, 4, 5])
        campaign = None if sequence else dice.choice([None, 7])
        batch = Batch(
            kind="sequence" if sequence else "campaign" if campaign else "transactional", stream="prospect_edu",
            transport="sendgrid", content_version_id=version_id, language=dice.choice(["en", "es"]), size=3, state=state,
            lease_until=at if state == "sending" else None, created_at=at, not_before=at, state_at=at,
            sequence_id=sequence, campaign_id=campaign,
        )  # fmt: skip
        db.session.add(batch)
        db.session.flush()
        for _ in range(3):
            message = Message(
                batch_id=batch.id, contact_id=person.id, content_version_id=version_id, created_at=at,
                step=dice.randrange(3) if sequence else None, state=dice.choice([None, *MessageState]), state_at=at,
            )  # fmt: skip
            db.session.add(message)
            db.session.flush()
            made.append(message.id)
    return made


def add_consents(dice: random.Random, count: int, *, messages: list[int]) -> None:
    people = [factories.contact(None).id for _ in range(3)]
    for _ in range(count):
        at = some_time(dice)
        db.session.add(
            Confirmation(
                contact_id=dice.choice(people), address_index=hashlib.sha256(b"x").digest(), topics=["prospect_edu"],
                kind=dice.choice(["confirmation", "invitation"]), language=dice.choice(["en", "es"]),
                wording=dice.choice(["contact-form/1", "contact-form/2"]), asked_at=at, expires_at=at,
                confirmed_at=at if dice.random() < 0.5 else None,
            )
        )  # fmt: skip
        db.session.execute(
            insert(ConsentRecord).values(
                contact_id=dice.choice(people), topic=dice.choice(["prospect_edu", "referred_edu"]),
                action=dice.choice(["granted", "withdrawn"]), language="en", actor="public", at=at,
                source=dice.choice(["one_click", "preferences", "merge"]),
                message_id=dice.choice([None, *messages]) if messages else None,
            )
        )  # fmt: skip
    db.session.flush()
