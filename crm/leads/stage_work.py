"""Stage work: the tasks and consultations that a stage opens and closes, and how a clinical stop suspends the work on a person.

One table, so that a list, a task and a clock never disagree about what is still to be done.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum

from sqlalchemy import or_, select, update

from crm.audit import service as audit
from crm.contacts.models import Contact
from crm.core import clock, current
from crm.core.db import db
from crm.leads import queries, rules
from crm.leads.models import Lead, Task
from crm.leads.rules import CONTACT_REQUEST, REFERRAL
from crm.staff import alerts

CALL_WITHIN, URGENT_CALL_WITHIN = timedelta(days=1), timedelta(hours=1)  # open days; opening time
CALL_PATIENT = "Call the patient about the referral"
CALL_AGAIN_TO_BOOK = "Call the patient to book another time"
URGENT_PREFIX = "Urgent: "
CALLBACK = "callback"  # the kind of a call that was promised for a time
CALLS = frozenset({"call", CALLBACK})
VISITS = frozenset({"result"})  # tasks about a consultation, which ends with its lead and does not come back
STOPPED = "stop"  # who closed a task: a clinical stop or a crisis, which brings it back at its end
ENDED = "end"  # who closed a task: a stage that ended its lead; it comes back when the lead is open again


class Visit(StrEnum):
    """What becomes of a booked consultation when its lead enters a stage."""

    KEPT = "kept"
    ATTENDED = "attended"
    NO_SHOW = "no_show"
    CANCELLED = "cancelled"
    REFUSED = "refused"  # the stage is only for leads without one


@dataclass(frozen=True, kw_only=True)
class StageWork:
    """What a lead's entry into a stage does to its tasks and its booked consultation.

    `closes`: kinds of tasks that are settled by this stage. `opens`: the title of a new call task.
    """

    closes: frozenset[str] = frozenset()
    opens: str | None = None
    visit: Visit = Visit.CANCELLED


_REACHED = StageWork(closes=CALLS | {"tell"})
_BOOKED = StageWork(closes=CALLS, visit=Visit.KEPT)
_VISITED = StageWork(closes=CALLS | {"tell", "result"}, visit=Visit.ATTENDED)
_CLOSED = StageWork(closes=CALLS | {"tell", "result"})
_WAITING = StageWork()
_CANCELLED = StageWork(closes=CALLS | {"result"}, opens=CALL_AGAIN_TO_BOOK)
_MISSED = replace(_CANCELLED, visit=Visit.NO_SHOW)
_ANOTHER_TIME = replace(_CANCELLED, visit=Visit.REFUSED)

STAGE_WORK: Mapping[str, Mapping[str, StageWork]] = {
    CONTACT_REQUEST: {
        "new": _WAITING,
        "unconfirmed": _WAITING,
        "confirmed": _WAITING,
        "contacted": _REACHED,
        "qualified": StageWork(closes=CALLS | {"result"}),
        "consult_scheduled": _BOOKED,
        "consult_done": _VISITED,
        "patient": _CLOSED,
        "not_a_fit": _CLOSED,
        "lost": _CLOSED,
        "spam": _CLOSED,
    },
    REFERRAL: {
        "received": StageWork(opens=CALL_PATIENT),
        "in_review": _WAITING,
        "info_requested": _WAITING,
        "accepted": _WAITING,
        "contacting": _WAITING,
        "scheduled": _BOOKED,
        "no_show": _MISSED,
        "cancelled": _CANCELLED,
        "rescheduled": _ANOTHER_TIME,
        "seen": _VISITED,
        "report_sent": _CLOSED,
        "declined": _CLOSED,
        "unable_to_reach": _CLOSED,
        "patient_declined": _CLOSED,
        "closed": _CLOSED,
        "duplicate": _CLOSED,
        "entered_in_error": _CLOSED,
    },
}


def follow_stage(lead: Lead, *, to: str, suspended: bool, returns: bool) -> None:
    """Close the tasks that entry into a stage settles, and open those it asks for unless work is suspended.

    What an ending stage closed comes back when the lead enters another one, which may settle it; not if the lead
    `returns` to the stage that it had.
    """
    work = STAGE_WORK[lead.kind][to]
    ends = work is _CLOSED
    if not ends and not returns:
        _bring_back(lead.id, suspended=suspended)
    close_tasks(lead.id, kinds=work.closes - VISITS, by=ENDED if ends else None)
    close_tasks(lead.id, kinds=work.closes & VISITS)
    if returns:
        _bring_back(lead.id, suspended=suspended)
    if work.opens is not None and not suspended and not _is_open(lead.id, title=work.opens):
        open_call_task(lead_id=lead.id, title=work.opens, urgent=lead.urgent, owner_id=lead.owner_id)


def _bring_back(lead_id: int, *, suspended: bool) -> None:
    done = {"done_at": clock.now(), "done_by": STOPPED} if suspended else {"done_at": None, "done_by": None}
    rows = update(Task).where(Task.lead_id == lead_id, Task.done_by == ENDED)
    db.session.execute(rows.values(done).execution_options(synchronize_session="fetch"))


def _is_open(lead_id: int, *, title: str) -> bool:
    titles = (title, URGENT_PREFIX + title)
    rows = select(Task.id).where(Task.lead_id == lead_id, Task.title.in_(titles), Task.done_at.is_(None))
    return db.session.scalar(rows.limit(1)) is not None


def open_call_task(*, lead_id: int, title: str, urgent: bool, owner_id: int | None = None) -> None:
    """Add a task to call the patient, due within opening hours; an urgent one is due sooner."""
    now = clock.now()
    due = current.calendar().after(now, URGENT_CALL_WITHIN if urgent else CALL_WITHIN)
    title = URGENT_PREFIX + title if urgent else title
    db.session.add(
        Task(lead_id=lead_id, kind="call", title=title, owner_id=owner_id, due_at=due, created_at=now)
    )


def add_task(task: Task, contact: Contact) -> None:
    """Store a new task. While the work on the person is suspended it is suspended as well, and opens when work resumes."""
    if is_suspended(contact):
        task.done_at, task.done_by = task.created_at, STOPPED
    db.session.add(task)
    db.session.flush()


def hurry_call(lead: Lead) -> None:
    """Make the open call tasks of a lead urgent."""
    due = current.calendar().after(clock.now(), URGENT_CALL_WITHIN)
    rows = select(Task).where(Task.lead_id == lead.id, Task.kind == "call", Task.done_at.is_(None))
    for task in db.session.scalars(rows).all():
        task.due_at = min(task.due_at, due)
        task.title = URGENT_PREFIX + task.title.removeprefix(URGENT_PREFIX)


def close_tasks(lead_id: int, *, kinds: Collection[str], by: str | None = None) -> None:
    """Mark the tasks of these kinds that are open or suspended as done by what made them needless (None: the actor)."""
    if not kinds:
        return
    rows = update(Task).where(
        Task.lead_id == lead_id,
        Task.kind.in_(sorted(kinds)),
        or_(Task.done_at.is_(None), Task.done_by == STOPPED),
    )
    done = rows.values(done_at=clock.now(), done_by=by or audit.current().actor)
    db.session.execute(done.execution_options(synchronize_session="fetch"))


def is_suspended(contact: Contact) -> bool:
    """Return whether the work on a person is suspended: by a clinical stop or a crisis."""
    return contact.stopped_at is not None or contact.id in queries.people_in_crisis()


def suspend(contact_id: int) -> None:
    """Suspend the work on a person who was stopped or is in crisis: no task but that of the crisis, no running clock,
    no overdue alert.
    """
    now, calendar = clock.now(), current.calendar()
    for lead in _open_leads(contact_id):
        if lead.due_at is not None:
            lead.clock_left = int(calendar.between(now, lead.due_at).total_seconds())
            lead.due_at = None
        alerts.close(late_alert_key(lead.id))
        rows = update(Task).where(
            Task.lead_id == lead.id, Task.kind != queries.CRISIS, Task.done_at.is_(None)
        )
        stopped = rows.values(done_at=now, done_by=STOPPED)
        db.session.execute(stopped.execution_options(synchronize_session="fetch"))
    db.session.flush()


def resume(contact_id: int) -> None:
    """Resume the work on a person, unless another stop or crisis holds: the suspended tasks, and clocks with at least
    an hour left.
    """
    if is_suspended(db.session.get_one(Contact, contact_id)):
        return
    now, calendar = clock.now(), current.calendar()
    for lead in _open_leads(contact_id):
        if lead.stage != rules.PAUSED and lead.due_at is None:
            if lead.clock_left is not None:
                left = max(timedelta(seconds=lead.clock_left), rules.LEAST_AFTER_PAUSE)
                lead.due_at, lead.clock_left = calendar.add_time(now, left), None
            else:
                lead.due_at = rules.due_at(
                    kind=lead.kind, stage=lead.stage, since=now, calendar=calendar, urgent=lead.urgent
                )
        rows = update(Task).where(Task.lead_id == lead.id, Task.done_by == STOPPED)
        db.session.execute(
            rows.values(done_at=None, done_by=None).execution_options(synchronize_session="fetch")
        )
    db.session.flush()


def settle(contact: Contact, *, was_suspended: bool) -> None:
    """Suspend or resume the work on a person who got leads of another record, or gave leads to one."""
    db.session.flush()
    if is_suspended(contact):
        suspend(contact.id)
    elif was_suspended:
        resume(contact.id)


def _open_leads(contact_id: int) -> list[Lead]:
    rows = select(Lead).where(Lead.contact_id == contact_id, Lead.closed_at.is_(None)).order_by(Lead.id)
    return list(db.session.scalars(rows.with_for_update(of=Lead)).all())


def late_alert_key(lead_id: int) -> str:
    """Return the alert key of an overdue lead."""
    return f"lead-late:{lead_id}"
