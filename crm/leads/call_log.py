"""Call log: attempts to reach a person, their outcomes, and the stage moves that follow."""

from datetime import datetime, timedelta

from crm.audit import service as audit
from crm.contacts import service as contacts
from crm.core import clock, current
from crm.core.db import db
from crm.core.errors import Conflict, Invalid
from crm.leads import crisis, service, sla, stage_work
from crm.leads.contact_attempts import CHANNELS, OUTCOMES, REACHED
from crm.leads.models import Call, Lead

NOTE_LIMIT = 2000  # characters
TRY_AGAIN_WITHIN = timedelta(days=1)  # open days after an attempt without contact
STAGE_WHEN_REACHED = {  # the stage of a lead after the first contact
    "new": "contacted", "unconfirmed": "contacted", "confirmed": "contacted", "accepted": "contacting",
}  # fmt: skip


def log_call(
    *,
    lead_id: int,
    channel: str,
    outcome: str,
    note: str = "",
    call_again_at: datetime | None = None,
) -> Call:
    """Log one attempt of the current actor. `note` is stored encrypted; `call_again_at` adds a task.

    Contact moves a new lead on; an attempt without contact extends its deadline to one more open day.
    Raises Invalid for unknown codes, a long note or a past time, and Conflict for a closed lead.
    """
    lead = service.get(lead_id)
    now = clock.now()
    note = service.typed_text("note", note, limit=NOTE_LIMIT)
    _check(channel=channel, outcome=outcome, call_again_at=call_again_at, now=now)
    if lead.closed_at is not None:
        raise Conflict("This lead is closed. Reopen it first.")
    actor = audit.current().actor
    call = Call(lead_id=lead.id, at=now, actor=actor, channel=channel, outcome=outcome, note=note or None)
    db.session.add(call)
    lead.attempts, lead.last_attempt_at = lead.attempts + 1, now
    if lead.first_human_touch_at is None and actor.startswith("staff:"):
        lead.first_human_touch_at = now
    contacts.record_touch(lead.contact_id)
    detail = {"channel": channel, "outcome": outcome, "attempt": lead.attempts}
    contacts.record_activity(
        contact_id=lead.contact_id, lead_id=lead.id, kind="called", text=note or None, detail=detail
    )
    crisis.alert_if_crisis(note, lead_id=lead.id, reference=lead.reference)
    audit.record("lead.call", object_type="lead", object_id=lead.id, detail=detail)
    settled = stage_work.CALLS | {"tell"} if outcome in REACHED else {stage_work.CALLBACK}
    stage_work.close_tasks(lead.id, kinds=settled)
    _advance(lead, outcome=outcome, now=now)
    if call_again_at is not None:
        service.add_task(
            lead_id=lead.id,
            kind=stage_work.CALLBACK,
            title="Call again",
            due_at=call_again_at,
            owner_id=lead.owner_id,
        )
    return call


def _check(*, channel: str, outcome: str, call_again_at: datetime | None, now: datetime) -> None:
    wrong = {}
    if channel not in CHANNELS:
        wrong["channel"] = ["Choose a type."]
    if outcome not in OUTCOMES:
        wrong["outcome"] = ["Choose an outcome."]
    if call_again_at is not None and not now < call_again_at < now + timedelta(days=366):
        wrong["call_again_at"] = ["Choose a time within the next year."]
    if wrong:
        raise Invalid(wrong)


def _advance(lead: Lead, *, outcome: str, now: datetime) -> None:
    to = STAGE_WHEN_REACHED.get(lead.stage) if outcome in REACHED else None
    if to is not None:
        service.flush()  # the attempt changes the version that the move needs
        service.move_stage(lead_id=lead.id, version=lead.version, to=to)
        return
    sla.resolve_late_alert(lead.id)
    if lead.due_at is not None:
        lead.due_at = max(lead.due_at, current.calendar().after(now, TRY_AGAIN_WITHIN))
    service.flush()
