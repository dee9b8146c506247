"""Bulk runs: planned without changing anything, run in slices, undone within an hour."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import func, insert, select
from sqlalchemy.orm import selectinload

from crm.audit import service as audit
from crm.consultations import service as consultations
from crm.core import clock
from crm.core.db import db, transaction
from crm.core.errors import Conflict, Invalid, NotFound, Refusal
from crm.core.queue import enqueue
from crm.desk.bulk.actions import ACTIONS, CHANGED, load_facts, parse_arguments, perform
from crm.desk.models import BulkItem, BulkRun, ItemState, RunState
from crm.leads.models import Lead

MOST = 2_000  # leads in one run
SLICE = 100  # leads in one transaction; up to this many run within the request
UNDO_WITHIN = timedelta(hours=1)
STALLED = timedelta(minutes=2)  # a run without progress for this long is continued
TOO_MANY = f"That is more than {MOST:,} leads. Narrow the filters and run it in parts."

_UNFINISHED = (RunState.RUNNING, RunState.UNDOING)


@dataclass(frozen=True, kw_only=True)
class SkippedLeads:
    """The number of leads skipped for one reason, and the reference of one of them."""

    why: str
    count: int
    example: str


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Status of a run: number of leads by state, and why leads were skipped."""

    counts: Mapping[ItemState, int]
    left: Sequence[SkippedLeads]

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def waiting(self) -> int:
        return self.counts.get(ItemState.WAITING, 0)

    @property
    def done(self) -> int:
        return self.counts.get(ItemState.DONE, 0)


def plan_run(*, act: str, form: Mapping[str, str], lead_ids: Sequence[int], user_id: int) -> BulkRun:
    """Plan an action on these leads; it changes none of them. Raises Invalid."""
    if act not in ACTIONS:
        raise Invalid({"act": ["Choose an action."]})
    given = parse_arguments(act, form)
    if not lead_ids:
        raise Invalid({"pick": ["Select at least one lead."]})
    if len(lead_ids) > MOST:
        raise Invalid({"pick": [TOO_MANY]})
    now = clock.now()
    run = BulkRun(user_id=user_id, act=act, given=given, state=RunState.PLANNED, created_at=now, beat_at=now)
    db.session.add(run)
    db.session.flush()
    leads = _leads(sorted(set(lead_ids)))
    known = load_facts(leads, act=act, given=given)
    rows = [_planned(run, lead, ACTIONS[act].why_not(lead, given, known)) for lead in leads]
    if not rows:
        raise Invalid({"pick": ["These leads no longer exist."]})
    db.session.execute(insert(BulkItem), rows)
    audit.record("lead.bulk_plan", object_type="bulk", object_id=run.id, detail={"act": act, "of": len(rows)})
    return run


def _planned(run: BulkRun, lead: Lead, why_not: str | None) -> dict[str, Any]:
    state = ItemState.WAITING if why_not is None else ItemState.REFUSED
    return {"run_id": run.id, "lead_id": lead.id, "version": lead.version, "state": state, "why": why_not}


def _leads(ids: Sequence[int], *, lock: bool = False) -> Sequence[Lead]:
    rows = select(Lead).where(Lead.id.in_(ids)).order_by(Lead.id).options(selectinload(Lead.referral))
    if lock:
        rows = rows.with_for_update(of=Lead).execution_options(populate_existing=True)
    return db.session.scalars(rows).all()


def get_run(*, run_id: int, user_id: int, lock: bool = False) -> BulkRun:
    """Return a run of this user. Raises NotFound."""
    run = db.session.get(BulkRun, run_id, with_for_update=lock or None, populate_existing=lock)
    if run is None or run.user_id != user_id:
        raise NotFound("Action not found.")
    return run


def summary(run_id: int) -> Summary:
    """Return the status of a run, in two statements."""
    states = select(BulkItem.state, func.count()).where(BulkItem.run_id == run_id).group_by(BulkItem.state)
    counts = {row[0]: int(row[1]) for row in db.session.execute(states)}
    reasons = (
        select(BulkItem.why, func.count().label("times"), func.min(Lead.reference).label("example"))
        .join(Lead, Lead.id == BulkItem.lead_id)
        .where(BulkItem.run_id == run_id, BulkItem.state.in_((ItemState.REFUSED, ItemState.KEPT)))
        .group_by(BulkItem.why)
        .order_by(func.count().desc(), BulkItem.why)
    )
    left = [
        SkippedLeads(why=row.why, count=row.times, example=row.example) for row in db.session.execute(reasons)
    ]
    return Summary(counts=counts, left=left)


def start_run(*, run_id: int, user_id: int) -> BulkRun:
    """Run the plan: the first slice now, the rest in a job. Raises NotFound, and Conflict if it already ran."""
    run = get_run(run_id=run_id, user_id=user_id, lock=True)
    if run.state is not RunState.PLANNED:
        raise Conflict("This action already ran.")
    return _begin(run, RunState.RUNNING)


def undo_run(*, run_id: int, user_id: int) -> BulkRun:
    """Undo a run for the leads not changed since. Raises NotFound, and Conflict after an hour."""
    run = get_run(run_id=run_id, user_id=user_id, lock=True)
    if not is_undoable(run):
        raise Conflict("This action can no longer be undone.")
    return _begin(run, RunState.UNDOING)


def is_undoable(run: BulkRun) -> bool:
    """Return whether a run can still be undone."""
    return run.state is RunState.DONE and run.done_at is not None and clock.now() < run.done_at + UNDO_WITHIN


def _begin(run: BulkRun, state: RunState) -> BulkRun:
    run.state, run.beat_at = state, clock.now()
    db.session.flush()
    if _step(run):
        enqueue("leads.bulk", run.id, key=state)
    audit.record(
        "lead.bulk_undo" if state is RunState.UNDOING else "lead.bulk_do",
        object_type="bulk",
        object_id=run.id,
    )
    return run


def continue_run(run_id: int) -> None:
    """Continue a run where it stopped, one slice per transaction."""
    more = True
    while more:
        with transaction():
            run = db.session.get(BulkRun, run_id, with_for_update=True, populate_existing=True)
            if run is None or run.state not in _UNFINISHED:
                return
            with audit.acting(f"staff:{run.user_id}"):
                more = _step(run)


def stalled_runs() -> Sequence[int]:
    """Return the unfinished runs without progress for two minutes."""
    old = BulkRun.beat_at < clock.now() - STALLED
    return db.session.scalars(select(BulkRun.id).where(BulkRun.state.in_(_UNFINISHED), old)).all()


def _step(run: BulkRun) -> bool:
    """Process one slice; return whether more remain."""
    undoing = run.state is RunState.UNDOING
    wanted = (
        select(BulkItem)
        .where(
            BulkItem.run_id == run.id, BulkItem.state == (ItemState.DONE if undoing else ItemState.WAITING)
        )
        .order_by(BulkItem.lead_id)
        .limit(SLICE + 1)
    )
    items = db.session.scalars(wanted).all()
    more, items = len(items) > SLICE, items[:SLICE]
    leads = {lead.id: lead for lead in _leads([item.lead_id for item in items], lock=True)}
    known = load_facts(list(leads.values()), act=run.act, given=run.given)
    for item in items:
        if undoing:
            _undo_one(item, leads[item.lead_id])
        else:
            _do_one(
                run,
                item,
                leads[item.lead_id],
                ACTIONS[run.act].why_not(leads[item.lead_id], run.given, known),
            )
    run.beat_at = clock.now()
    if not more:
        run.state = RunState.UNDONE if undoing else RunState.DONE
        run.done_at = run.done_at or clock.now()
    db.session.flush()
    return more


def _do_one(run: BulkRun, item: BulkItem, lead: Lead, why_not: str | None) -> None:
    if lead.version != item.version:
        why_not = CHANGED
    if why_not is None:
        try:
            item.before = {"act_id": perform(run.act, lead, run.given)}
        except Refusal as error:  # raised before any change
            why_not = error.message
    item.state, item.why = (ItemState.DONE, None) if why_not is None else (ItemState.REFUSED, why_not)


def _undo_one(item: BulkItem, lead: Lead) -> None:
    try:
        consultations.undo_act((item.before or {}).get("act_id", 0), lead_id=lead.id)
        item.state = ItemState.UNDONE
    except Refusal as error:
        item.state, item.why = ItemState.KEPT, error.message
