"""The slow, honest count of reports: one fact at a time, in plain Python, from nothing but the facts."""

from collections import Counter
from zoneinfo import ZoneInfo

from sqlalchemy import select

from crm.consent.models import Confirmation, ConsentRecord
from crm.consultations.models import Consultation, ConsultationReminder
from crm.contacts.models import Contact
from crm.content.models import ContentVersion
from crm.core import clock
from crm.core.db import db
from crm.leads.models import Breach, Call, Lead, Referral, StageMove
from crm.messages.models import Batch, Message
from crm.referrers.models import Practice
from crm.reports import rollup, rules

LA = ZoneInfo("America/Los_Angeles")


def of(model, lead):
    return db.session.scalars(select(model).where(model.lead_id == lead.id).order_by(model.id)).all()


def visited(lead):
    """(stage, time of arrival) of each stage that was reached and not undone; an undo cancels the newest move."""
    arrivals = []
    for move in of(StageMove, lead):
        if move.reason == "undone":
            arrivals.pop()
        else:
            arrivals.append((move.now, move.at))
    return [*arrivals, (lead.stage, lead.stage_at)]


def first_arrivals(lead):
    """The first time of each visited stage: an undone visit of the same stage counts for when, not for whether."""
    stages = {stage for stage, _ in visited(lead)}
    times = [(move.now, move.at) for move in of(StageMove, lead) if move.reason != "undone"] + [
        (lead.stage, lead.stage_at)
    ]
    return {stage: min(at for name, at in times if name == stage) for stage in stages}


def whole(delta, unit):
    return max(0, int(delta.total_seconds() // unit))


def lead_row(lead):
    kind, steps, seats = lead.kind, rules.STEP_OF_STAGE[lead.kind], of(Consultation, lead)
    arrivals = {stage: at for stage, at in first_arrivals(lead).items() if stage in steps}
    referral = db.session.get(Referral, lead.id)
    attended = [seat.starts_at for seat in seats if seat.state == "attended"]
    step = max([0, *(steps[stage] for stage in arrivals)])
    if kind == "contact_request" and any(call.outcome in ("reached", "callback") for call in of(Call, lead)):
        step = max(step, 1)
    if seats:
        step = max(step, rules.BOOKED[kind])
    if attended:
        step = max(step, rules.ATTENDED[kind])
    if kind == "referral" and step == 3 and referral.outcome_sent_at:
        step = 4
    booked = [at for stage, at in arrivals.items() if steps[stage] >= rules.BOOKED[kind]] + [
        seat.created_at for seat in seats
    ]
    seen = [at for stage, at in arrivals.items() if steps[stage] >= rules.ATTENDED[kind]] + attended
    local, person = lead.created_at.astimezone(LA), db.session.get(Contact, lead.contact_id)
    touch, first_touch = lead.first_human_touch_at, lead.first_touch or {}
    return {
        "lead_id": lead.id, "day": local.date(), "hour": local.hour, "weekday": local.isoweekday(), "kind": kind,
        "source": lead.source, "campaign": " / ".join(value for key, value in first_touch.items() if key.startswith("utm")),
        "practice_id": referral.practice_id if referral else poster(lead), "owner_id": lead.owner_id, "language": person.language,
        "state": person.state, "step": step, "stage": lead.stage, "reason": lead.reason, "closed": lead.closed_at is not None,
        "stage_at": lead.stage_at, "attempts": lead.attempts,
        "minutes_to_touch": whole(touch - lead.created_at, 60) if touch else None,
        "late": any(breach.stage in rules.WAITS_FOR_US for breach in of(Breach, lead)),
        "hours_to_booked": whole(min(booked) - lead.created_at, 3600) if booked else None,
        "hours_to_attended": whole(min(seen) - lead.created_at, 3600) if seen else None,
    }  # fmt: skip


def poster(lead):
    """Return the practice whose poster brought the person, if there is such a practice."""
    number = (lead.first_touch or {}).get("practice", "")
    found = db.session.get(Practice, int(number)) if number.isdecimal() else None
    return found.id if found else None


def leads():
    rows = db.session.scalars(select(Lead)).all()
    return [lead_row(lead) for lead in rows if lead.stage not in rules.LEFT_OUT]


def emails():
    stopped = set(
        db.session.scalars(select(ConsentRecord.message_id).where(ConsentRecord.action == "withdrawn"))
    )
    counts: dict[tuple, Counter] = {}
    for message in db.session.scalars(select(Message)):
        batch = db.session.get(Batch, message.batch_id)
        item = db.session.get(ContentVersion, message.content_version_id).item_id
        key = (
            batch.created_at.astimezone(LA).date(),
            str(batch.kind),
            batch.sequence_id or 0,
            message.step or 0,
            batch.campaign_id or 0,
            item,
            batch.language,
        )
        state = str(message.state or batch.state)
        counts.setdefault(key, Counter()).update(
            sent=state in rollup.SENT,
            delivered=state in ("delivered", "unsubscribed", "complained"),
            bounced=state == "bounced",
            refused=state in ("blocked", "dropped"),
            complained=state == "complained",
            opted_out=state == "unsubscribed" or message.id in stopped,
            left_out=state in ("skipped", "failed", "blocked_policy", "cancelled"),
        )
    names = ("day", "kind", "sequence_id", "step", "campaign_id", "item_id", "language")
    return [
        dict(zip(names, key, strict=True)) | {name: int(number) for name, number in count.items()}
        for key, count in counts.items()
    ]


def consultations():
    reminded = {
        one.consultation_id for one in db.session.scalars(select(ConsultationReminder)) if one.emailed
    }
    counts = Counter()
    held = (
        one
        for one in db.session.scalars(select(Consultation))
        if one.starts_at.astimezone(LA).date() <= clock.today()
    )
    for one in held:
        key = (
            one.starts_at.astimezone(LA).date(),
            one.lead.kind,
            one.clinician_id or 0,
            str(one.state),
            one.id in reminded,
        )
        counts[key] += 1
    names = ("day", "kind", "clinician_id", "state", "reminded")
    return [dict(zip(names, key, strict=True)) | {"consultations": count} for key, count in counts.items()]


def consents():
    people: dict[tuple, list] = {}
    for one in db.session.scalars(select(Confirmation)):
        for action in ("asked", "confirmed") if one.confirmed_at else ("asked",):
            key = (one.asked_at.astimezone(LA).date(), action, one.wording, str(one.kind), one.language)
            people.setdefault(key, []).append(one.id)
    for record in db.session.scalars(select(ConsentRecord)):
        if record.action == "withdrawn" and record.source not in ("merge", "unmerge"):
            key = (record.at.astimezone(LA).date(), "withdrawn", "", record.source, record.language)
            people.setdefault(key, []).append(f"person {record.contact_id}")
    names = ("day", "action", "wording", "source", "language")
    return [dict(zip(names, key, strict=True)) | {"people": len(set(of))} for key, of in people.items()]
