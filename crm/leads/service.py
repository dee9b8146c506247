"""Lead work: stage moves, owner, notes, tasks and the outcome sent to the referrer."""

from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.orm.exc import StaleDataError

from crm.audit import acts
from crm.audit import service as audit
from crm.consent import queries as consent
from crm.contacts import service as contacts
from crm.contacts.events import TouchUndone
from crm.contacts.rules import InvalidValue, clean_text
from crm.core import clock, current, events
from crm.core.db import db
from crm.core.errors import Conflict, Invalid, NotFound
from crm.leads import contact_attempts, crisis, mentions, queries, rules, sla, stage_work
from crm.leads.events import StageMoved
from crm.leads.models import Lead, StageMove, Task
from crm.leads.tasks import rules as task_rules
from crm.staff import alerts
from crm.staff import service as staff
from crm.staff.models import User
from crm.staff.notifications import service as notifications
from crm.staff.notifications.models import NotificationKind

NOTE_LIMIT = 4000  # characters
TITLE_LIMIT = 120  # characters of a task
REASON_LIMIT = 200  # characters
CHANGED = "This lead was changed in the meantime. Review it and try again."


def get(lead_id: int) -> Lead:
    """Return a lead. Raises NotFound."""
    lead = db.session.get(Lead, lead_id)
    if lead is None:
        raise NotFound("Lead not found.")
    return lead


def by_reference(reference: str) -> Lead:
    """Return the lead with this reference, typed in any case. Raises NotFound."""
    lead = db.session.scalar(select(Lead).where(Lead.reference == reference.strip().upper()))
    if lead is None:
        raise NotFound("Lead not found.")
    return lead


def move_stage(*, lead_id: int, version: int, to: str, reason: str | None = None) -> Lead:
    """Move a lead that is still at `version` to another stage.

    Raises Conflict if the lead was changed in the meantime or the move is not allowed.
    """
    lead = _at_version(lead_id, version)
    sent = lead.referral is not None and lead.referral.outcome_sent_at is not None
    why_not = rules.move_refusal(kind=lead.kind, was=lead.stage, to=to, reason=reason, outcome_sent=sent)
    if why_not is not None:
        raise Conflict(why_not)
    contact_attempts.check_giving_up(lead, to=to, reason=reason)
    _move(lead, to=to, reason=reason)
    flush()
    return lead


def _at_version(lead_id: int, version: int) -> Lead:
    """Return the current lead, locked. A concurrent request waits here and then sees the new version."""
    flush()
    try:
        lead = db.session.get(Lead, lead_id, with_for_update={"of": Lead}, populate_existing=True)
    except StaleDataError as error:  # this session read an earlier version
        raise Conflict(CHANGED) from error
    if lead is None:
        raise NotFound("Lead not found.")
    if lead.version != version:
        raise Conflict(CHANGED)
    return lead


def flush() -> None:
    """Flush the session. Raises Conflict if a lead was changed in the meantime."""
    try:
        db.session.flush()
    except StaleDataError as error:
        raise Conflict(CHANGED) from error


def _move(lead: Lead, *, to: str, reason: str | None) -> None:
    now, was, actor = clock.now(), lead.stage, audit.current().actor
    # asked first: a query would save the lead half changed
    suspended = stage_work.is_suspended(lead.contact)
    returns = rules.STAGES[lead.kind][was].ends and to == former_stage(lead)
    if was not in rules.UNTOUCHED or to not in rules.UNTOUCHED:
        sla.resolve_late_alert(lead.id)
    lead.stage, lead.reason, lead.stage_at = to, reason, now
    _set_deadline(lead, was=was, now=now, suspended=suspended)
    lead.closed_at = now if rules.STAGES[lead.kind][to].ends else None
    if actor.startswith("staff:") and to in rules.HUMAN_TOUCH_STAGES and lead.first_human_touch_at is None:
        lead.first_human_touch_at = now
    stage_work.follow_stage(lead, to=to, suspended=suspended, returns=returns)
    if lead.referral is not None and to in rules.REOPENED:
        lead.referral.outcome_sent_at = lead.referral.outcome_what = lead.referral.outcome_how = None
    db.session.add(StageMove(lead_id=lead.id, was=was, now=to, reason=reason, actor=actor, at=now))
    detail = {"was": was, "now": to, "reason": reason}
    contacts.record_activity(contact_id=lead.contact_id, lead_id=lead.id, kind="stage_moved", detail=detail)
    audit.record("lead.move", object_type="lead", object_id=lead.id, detail=detail)
    events.publish(StageMoved(lead_id=lead.id, contact_id=lead.contact_id, kind=lead.kind, was=was, now=to))


def make_urgent(*, lead_id: int) -> Lead:
    """Make a referral urgent whose practice says so now: its deadline and its call come sooner."""
    lead = get(lead_id)
    if lead.urgent or lead.referral is None or lead.closed_at is not None:
        return lead
    lead.urgent, lead.referral.urgency = True, "urgent"
    due = rules.due_at(
        kind=lead.kind, stage=lead.stage, since=clock.now(), calendar=current.calendar(), urgent=True
    )
    if lead.due_at is not None and due is not None:
        lead.due_at = min(lead.due_at, due)
    stage_work.hurry_call(lead)
    contacts.record_activity(contact_id=lead.contact_id, lead_id=lead.id, kind="became_urgent")
    audit.record("lead.urgent", object_type="lead", object_id=lead.id)
    flush()
    return lead


def restore_from_spam(*, lead_id: int, version: int) -> Lead:
    """Move a lead that is still at `version` from spam back to the stage it had. Raises Conflict.

    A person who agreed to emails meanwhile is confirmed.
    """
    lead = get(lead_id)
    if lead.stage != rules.SPAM:
        raise Conflict("This lead is not in spam.")
    to = former_stage(lead)
    if to == "unconfirmed" and any(state.granted for state in consent.states(lead.contact_id)):
        to = "confirmed"
    return move_stage(lead_id=lead_id, version=version, to=to)


def reopen(*, lead_id: int, version: int, reason: str) -> Lead:
    """Move a lead that is still at `version` from a final stage back to the stage it had.

    Raises Invalid without a reason, and Conflict for other stages or if the lead was changed in the meantime.
    """
    reason = typed_text("reason", reason, limit=REASON_LIMIT, lines=False)
    if not reason:
        raise Invalid({"reason": ["Enter why this lead is reopened."]})
    lead = _at_version(lead_id, version)
    if lead.stage not in rules.DEAD_ENDS:
        raise Conflict("This lead can be moved to another stage without reopening it.")
    contacts.record_activity(contact_id=lead.contact_id, lead_id=lead.id, kind="reopened", text=reason)
    audit.record("lead.reopen", object_type="lead", object_id=lead.id, detail={"was": lead.stage})
    _move(lead, to=former_stage(lead), reason=None)
    flush()
    return lead


def former_stage(lead: Lead) -> str:
    """Return the stage that a closed lead had before; the first one if that is not known."""
    ends = {stage for stage, one in rules.STAGES[lead.kind].items() if one.ends}
    rows = select(StageMove.was).where(
        StageMove.lead_id == lead.id, StageMove.was.is_not(None), StageMove.was.not_in(ends)
    )
    was = db.session.scalar(rows.order_by(StageMove.id.desc()).limit(1))
    return was or rules.first_stage(lead.kind)


def undo_act(act_id: int, *, lead_id: int) -> str:
    """Undo an act on a lead; return its kind. Raises NotFound, and Conflict if something changed since."""
    lead = get(lead_id)
    was, touched_at = lead.stage, lead.contact.touched_at
    undone = acts.undo(act_id, lead_id=lead_id)
    lead = get(lead_id)
    if lead.contact.touched_at != touched_at:
        events.publish(TouchUndone(contact_id=lead.contact_id))
    now, actor = clock.now(), audit.current().actor
    if lead.stage != was:
        db.session.add(
            StageMove(lead_id=lead.id, was=was, now=lead.stage, reason="undone", actor=actor, at=now)
        )
        detail = {"was": was, "now": lead.stage, "reason": "undone"}
        kind = "stage_moved"
    else:
        kind, detail = "act_undone", {"what": undone.kind}
    contacts.record_activity(contact_id=lead.contact_id, lead_id=lead.id, kind=kind, detail=detail)
    flush()
    return undone.kind


def _set_deadline(lead: Lead, *, was: str, now: datetime, suspended: bool) -> None:
    left = timedelta(seconds=lead.clock_left) if lead.clock_left is not None else None
    after = rules.deadline_after(
        kind=lead.kind,
        was=was,
        to=lead.stage,
        now=now,
        deadline=rules.Deadline(due_at=lead.due_at, left=left),
        calendar=current.calendar(),
        urgent=lead.urgent,
    )
    lead.due_at = None if suspended else after.due_at
    lead.clock_left = int(after.left.total_seconds()) if after.left is not None else None


def confirm_contact_requests(*, contact_id: int) -> None:
    """Move this person's unconfirmed contact requests to `confirmed`."""
    waiting = select(Lead).where(
        Lead.contact_id == contact_id,
        Lead.kind == rules.CONTACT_REQUEST,
        Lead.stage.in_(("new", "unconfirmed")),
    )
    for lead in db.session.scalars(waiting.with_for_update(of=Lead)).all():
        _move(lead, to="confirmed", reason=None)
    flush()


def record_outcome_sent(*, lead_id: int, what: str, how: str) -> Lead:
    """Record which outcome of a referral was sent to the referrer, and how; closing requires it.

    Raises Invalid for unknown codes, and Conflict at a stage that has no outcome yet.
    """
    lead = get(lead_id)
    if lead.referral is None:
        raise Conflict("Only a referral has an outcome to send.")
    wrong = {}
    if what not in rules.OUTCOMES_SENT:
        wrong["what"] = ["Choose what was sent."]
    if how not in rules.SENT_BY:
        wrong["how"] = ["Choose how it was sent."]
    if wrong:
        raise Invalid(wrong)
    if lead.stage not in rules.HAS_OUTCOME:
        raise Conflict(f"A referral that is “{rules.label(lead.stage)}” has no outcome yet.")
    if lead.referral.outcome_sent_at is None:
        lead.referral.outcome_sent_at = clock.now()
        lead.referral.outcome_what, lead.referral.outcome_how = what, how
        detail = {"what": what, "how": how}
        contacts.record_activity(
            contact_id=lead.contact_id, lead_id=lead.id, kind="outcome_sent", detail=detail
        )
        audit.record("referral.outcome_sent", object_type="lead", object_id=lead.id, detail=detail)
    return lead


def assign(*, lead_id: int, version: int, owner_id: int | None) -> Lead:
    """Assign a lead to a staff member, or (None) unassign it."""
    lead = _at_version(lead_id, version)
    if owner_id is not None:
        owner = db.session.get(User, owner_id)
        if owner is None or not staff.may_work_leads(owner):
            raise Invalid({"owner_id": ["Choose a staff member who may work leads."]})
    if lead.owner_id != owner_id:
        lead.owner_id = owner_id
        detail = {"owner_id": owner_id}
        contacts.record_activity(contact_id=lead.contact_id, lead_id=lead.id, kind="assigned", detail=detail)
        audit.record("lead.assign", object_type="lead", object_id=lead.id, detail=detail)
        notifications.about_lead(owner_id, kind=NotificationKind.ASSIGNED, reference=lead.reference)
        flush()
        db.session.refresh(lead, ["owner"])
    return lead


def typed_text(field: str, text: str, *, limit: int, lines: bool = True) -> str:
    """Return text that staff typed, cleaned. Raises Invalid with what is wrong with it, and where."""
    try:
        return clean_text(text, limit=limit, lines=lines)
    except InvalidValue as error:
        raise Invalid({field: [str(error)]}) from error


def add_note(*, lead_id: int, text: str) -> None:
    """Add a note of up to 4,000 characters to a lead's timeline; it is stored encrypted."""
    lead = get(lead_id)
    text = typed_text("text", text, limit=NOTE_LIMIT)
    if not text:
        raise Invalid({"text": [f"Write a note of up to {NOTE_LIMIT:,} characters."]})
    contacts.record_activity(contact_id=lead.contact_id, lead_id=lead.id, kind="note", text=text)
    mentions.notify_mentioned(lead, text)
    crisis.alert_if_crisis(text, lead_id=lead.id, reference=lead.reference)
    audit.record("lead.note", object_type="lead", object_id=lead.id)


def add_task(
    *,
    lead_id: int,
    kind: str,
    title: str,
    due_at: datetime,
    owner_id: int | None = None,
    priority: str = "normal",
    repeats: str | None = None,
) -> Task:
    """Add a task with a due time. The title shows in lists, so it must hold no health facts. A time outside
    opening hours becomes the next opening. While the work on the person is suspended, the task opens when it resumes.

    Raises Invalid, and NotFound for an unknown lead.
    """
    lead = get(lead_id)
    due = current.calendar().next_open(due_at)
    title = typed_text("title", title, limit=TITLE_LIMIT, lines=False)
    wrong = {} if title else {"title": ["Enter a title of up to 120 characters."]}
    if priority not in task_rules.PRIORITIES:
        wrong["priority"] = ["Choose a priority."]
    if repeats is not None and repeats not in task_rules.REPEATS:
        wrong["repeats"] = ["Choose how often it repeats."]
    if wrong:
        raise Invalid(wrong)
    task = Task(
        lead_id=lead_id, kind=kind, title=title, owner_id=owner_id, due_at=due, created_at=clock.now(),
        priority=priority, repeats=repeats,
    )  # fmt: skip
    stage_work.add_task(task, lead.contact)
    detail = {"task_id": task.id, "kind": kind}
    contacts.record_activity(contact_id=lead.contact_id, lead_id=lead_id, kind="task_opened", detail=detail)
    audit.record("task.open", object_type="lead", object_id=lead_id, detail=detail)
    if kind == "other":  # staff added it
        notifications.notify_of_task(owner_id, task_id=task.id, reference=lead.reference)
    crisis.alert_if_crisis(title, lead_id=lead.id, reference=lead.reference)
    return task


def open_phone_task(*, contact_id: int) -> None:
    """Add a task to call a person who cannot be emailed, unless one is open."""
    newest = select(Lead).where(Lead.contact_id == contact_id, Lead.closed_at.is_(None))
    lead = db.session.scalar(newest.order_by(Lead.id.desc()).limit(1))
    if lead is None or stage_work.is_suspended(lead.contact):
        return
    waiting = select(Task.id).where(Task.lead_id == lead.id, Task.kind == "tell", Task.done_at.is_(None))
    if db.session.scalar(waiting.limit(1)) is None:
        due = current.calendar().add_days(clock.now(), 1)
        title = "Call the person: no email was sent to them"
        add_task(lead_id=lead.id, kind="tell", title=title, due_at=due, owner_id=lead.owner_id)


ASKED_FOR_CALL = "Call the person: they asked for a call in an email"


def request_call(*, contact_id: int) -> None:
    """Add a task to call a person who asked for it, unless one is open. Without an open lead, raise an alert."""
    newest = select(Lead).where(Lead.contact_id == contact_id, Lead.closed_at.is_(None))
    lead = db.session.scalar(newest.order_by(Lead.id.desc()).limit(1))
    if lead is None:
        alerts.raise_alert(
            key=f"asked-for-call:{contact_id}",
            level="warning",
            text="A person without an open lead asked for a call in an email.",
            link=f"/console/contacts/{contact_id}",
        )
        return
    same = select(Task.id).where(
        Task.lead_id == lead.id, Task.title == ASKED_FOR_CALL, Task.done_at.is_(None)
    )
    if db.session.scalar(same.limit(1)) is None:
        due = current.calendar().after(clock.now(), stage_work.CALL_WITHIN)
        task = Task(
            lead_id=lead.id,
            kind="call",
            title=ASKED_FOR_CALL,
            owner_id=lead.owner_id,
            due_at=due,
            created_at=clock.now(),
        )
        stage_work.add_task(task, lead.contact)


def of_task(task_id: int) -> Lead:
    """Return the lead of a task. Raises NotFound."""
    lead = db.session.scalar(select(Lead).join(Task, Task.lead_id == Lead.id).where(Task.id == task_id))
    if lead is None:
        raise NotFound("Task not found.")
    return lead


def finish_task(*, task_id: int) -> None:
    """Mark a task as done; one that repeats opens its next. Raises NotFound, and Conflict if it already is."""
    now, actor = clock.now(), audit.current().actor
    done = (
        update(Task)
        .where(Task.id == task_id, Task.done_at.is_(None))
        .values(done_at=now, done_by=actor)
        .returning(Task.lead_id, Task.kind)
    )
    row = db.session.execute(done).first()
    if row is None:
        if db.session.get(Task, task_id) is None:
            raise NotFound("Task not found.")
        raise Conflict("This task is already done.")
    lead = get(row.lead_id)
    detail = {"task_id": task_id, "kind": row.kind}
    if actor.startswith("staff:") and row.kind in stage_work.CALLS and lead.first_human_touch_at is None:
        lead.first_human_touch_at = now
    if row.kind == queries.CRISIS:
        alerts.close_key(f"{queries.CRISIS_KEY}{lead.id}")
    contacts.record_activity(contact_id=lead.contact_id, lead_id=lead.id, kind="task_done", detail=detail)
    audit.record("task.done", object_type="lead", object_id=lead.id, detail=detail)
    _repeat(db.session.get_one(Task, task_id, populate_existing=True), lead)


def _repeat(task: Task, lead: Lead) -> None:
    if task.repeats is None or lead.closed_at is not None:
        return
    zone = current.calendar().zone
    due = task_rules.next_due(task.due_at, repeats=task.repeats, now=clock.now(), zone=zone)
    add_task(
        lead_id=lead.id, kind=task.kind, title=task.title, due_at=due, owner_id=task.owner_id,
        priority=task.priority, repeats=task.repeats,
    )  # fmt: skip
