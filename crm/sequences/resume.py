"""Ending a wait early: after an opt-out or a contact was undone, and when a fact happens that people wait for."""

from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import select, text, update

from crm.audit import service as audit
from crm.contacts.models import Contact
from crm.core import clock
from crm.core.db import bigint_array, db
from crm.core.queue import enqueue
from crm.core.time_zones import zone_info
from crm.sequences import plan_graph
from crm.sequences.models import EmailSequence, Enrolment, SequenceVersion
from crm.sequences.rules import EnrolmentState, SequenceState


def resume_enrolment(*, contact_id: int, topic: str, record_id: int, since: datetime) -> int:
    """Revive the enrolments that an opt-out ended at `since` or later, at the step they had reached; return how many.

    An email that was queued when they opted out is not sent; the next one is.
    """
    ended = db.session.execute(
        select(Enrolment, EmailSequence.state, SequenceVersion.plan, Contact.time_zone)
        .join(EmailSequence, EmailSequence.id == Enrolment.sequence_id)
        .join(SequenceVersion, SequenceVersion.id == Enrolment.version_id)
        .join(Contact, Contact.id == Enrolment.contact_id)
        .where(
            Enrolment.contact_id == contact_id,
            EmailSequence.topic == topic,
            EmailSequence.state.in_((SequenceState.LIVE, SequenceState.PAUSED)),
            Enrolment.state == EnrolmentState.EXITED,
            Enrolment.reason == "opted_out",
            Enrolment.left_at >= since,
        )
        .with_for_update(of=Enrolment)
    ).all()
    for enrolment, sequence_state, plan, zone in ended:
        _revive(
            enrolment,
            plan_graph.readable_plan(plan),
            zone_info(zone),
            paused=sequence_state is SequenceState.PAUSED,
        )
        enrolment.consent_record_id = record_id
        audit.record("enrolment.returned", object_type="enrolment", object_id=enrolment.id)
    return len(ended)


def end_wait_after_touch(*, contact_id: int) -> None:
    """Make the enrolments of a person due that wait because staff were in touch with them."""
    waiting = update(Enrolment).where(
        Enrolment.contact_id == contact_id,
        Enrolment.state == EnrolmentState.ACTIVE,
        Enrolment.reason == "human_touch",
    )
    db.session.execute(waiting.values(due_at=clock.now(), reason=None))


# Only who waits: the planner asks what they wait for, and lets them wait on if it was something else. In a paused
# sequence they are asked when it is resumed. Who misses a wake-up is asked when their longest time is over.
_WAKE = """
    update enrolment e set reason = null, due_at = case when e.state = 'active' then cast(:now as timestamptz) end,
        paused_left = case when e.state = 'paused' then 0 end
    where {people} and e.reason = 'waits_for' and e.state in ('active', 'paused')
"""
_WAKE_PERSON = text(_WAKE.format(people="e.contact_id = :contact"))
_WAKE_DELIVERED = text(
    _WAKE.format(
        people="e.id in (select m.enrolment_id from message m where m.id = any(cast(:messages as bigint[])))"
    )
)


def wake_person(contact_id: int) -> None:
    """Make a person due, in each sequence in which they wait for a fact: one has happened."""
    db.session.execute(_WAKE_PERSON, {"contact": contact_id, "now": clock.now()})


def wake_delivered(message_ids: Sequence[int]) -> None:
    """Make people due who wait for a fact and whose email was delivered."""
    db.session.execute(_WAKE_DELIVERED, {"messages": bigint_array(message_ids), "now": clock.now()})


def _revive(enrolment: Enrolment, plan: plan_graph.Plan | None, zone: ZoneInfo, *, paused: bool) -> None:
    now = clock.now()
    node = plan.node(enrolment.step) if plan else None
    due = (
        max(now, plan_graph.due_after(enrolment.anchor_at, node, plan.window, zone)) if plan and node else now
    )
    enrolment.reason = enrolment.left_at = None
    if paused:
        enrolment.state, enrolment.paused_left = EnrolmentState.PAUSED, int((due - now).total_seconds())
        return
    enrolment.state, enrolment.due_at = EnrolmentState.ACTIVE, due
    if due <= now:
        enqueue("sequences.plan", key=f"{enrolment.id}-{int(now.timestamp())}")
