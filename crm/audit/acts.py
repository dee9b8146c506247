"""Undo of staff acts: rows that an act changed, its reactions included, are restored from their images.

Histories (audit log, timeline, stage moves) are never changed; an undo adds to them. Email that was sent cannot be
recalled.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, select, text
from sqlalchemy.exc import IntegrityError

from crm.audit import service as audit
from crm.audit.models import ActChange, StaffAct
from crm.core import clock
from crm.core.db import as_json, db, execute_raw
from crm.core.errors import Conflict, NotFound, Refusal

UNDO_WITHIN = timedelta(hours=1)
KEPT_FOR = timedelta(days=1)  # after that; images of rows may hold personal data
PURGED = 100  # old acts removed with each new one
VERSIONED = frozenset(
    {"lead", "contact", "practice", "task"}
)  # forms made before the undo must not fit after it
IN_THE_WAY = "This cannot be undone: {} was changed in the meantime. Change it by hand."
NAMES = {
    "lead": "the lead", "referral": "the referral", "task": "a task", "lead_call": "the call", "lead_breach": "a deadline",
    "contact": "the person", "contact_tag": "a tag", "contact_phone": "a phone number", "consultation": "a consultation",
    "alert": "an alert", "enrolment": "a sequence", "message": "an email", "consent_state": "the consent",
    "activity": "the timeline", "practice": "the practice", "clinician": "a clinician", "portal_person": "a portal user",
    "practice_note": "a note", "practice_task": "a task", "referral_upload": "an upload", "document": "a file",
    "api_key": "an API key", "user": "an account",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Undone:
    """What an undo restored, newest change first."""

    kind: str
    changes: Sequence[ActChange]


@contextmanager
def begin(kind: str, *, lead_id: int | None = None, within: timedelta = UNDO_WITHIN) -> Iterator[StaffAct]:
    """Keep what the block changes, so that `undo` can restore it. One act at a time."""
    db.session.flush()
    now = clock.now()
    old = select(StaffAct.id).where(StaffAct.undo_until < now - KEPT_FOR).limit(PURGED)
    db.session.execute(delete(StaffAct).where(StaffAct.id.in_(old.scalar_subquery())))
    act = StaffAct(kind=kind, lead_id=lead_id, actor=audit.current().actor, at=now, undo_until=now + within)
    db.session.add(act)
    db.session.flush()
    _set("crm.act", str(act.id))
    try:
        yield act
    except Refusal:  # the caller may go on in this transaction; any other error rolls it back
        _set("crm.act", "")
        raise
    db.session.flush()
    _set("crm.act", "")


def _set(name: str, value: str) -> None:
    db.session.execute(text("select set_config(:name, :value, true)"), {"name": name, "value": value})


def undo(
    act_id: int, *, lead_id: int | None = None, kinds: Collection[str] | None = None, by_anyone: bool = False
) -> Undone:
    """Restore every row that an act (of these kinds, if any are named) changed.

    Raises NotFound, also for the act of another person unless `by_anyone`; and Conflict when it is too late, a second
    time, or if one of its values was changed since.
    """
    act = _undoable(act_id, lead_id=lead_id, by_anyone=by_anyone, kinds=kinds)
    changes = db.session.scalars(
        select(ActChange).where(ActChange.act_id == act.id).order_by(ActChange.id.desc())
    ).all()
    _set("crm.undo", str(act.id))
    restored = [change for change in changes if _restore(change)]
    _set("crm.undo", "")
    act.undone_at = clock.now()
    db.session.flush()
    db.session.expire_all()
    audit.record("act.undo", object_type="act", object_id=act_id, detail={"kind": act.kind})
    return Undone(kind=act.kind, changes=restored)


def _undoable(
    act_id: int, *, lead_id: int | None, by_anyone: bool, kinds: Collection[str] | None
) -> StaffAct:
    """Return an act, locked, if it can be undone. Raises NotFound, Conflict."""
    db.session.flush()
    act = db.session.get(StaffAct, act_id, with_for_update=True, populate_existing=True)
    allowed = act is not None and act.lead_id == lead_id and (kinds is None or act.kind in kinds)
    if act is None or not allowed or not (by_anyone or act.actor == audit.current().actor):
        raise NotFound("Action not found.")
    if act.undone_at is not None:
        raise Conflict("This was already undone.")
    if clock.now() > act.undo_until:
        raise Conflict("This can no longer be undone: too much time has passed.")
    return act


def created(act_id: int, *, table: str) -> list[int]:
    """Return the ids of the rows of a table that an act inserted."""
    rows = select(ActChange.row_key["id"].as_integer()).where(
        ActChange.act_id == act_id, ActChange.table_name == table, ActChange.before.is_(None)
    )
    return list(db.session.scalars(rows))


def concerns(act_id: int, *, table: str, row_id: int) -> bool:
    """Return whether an act changed this row."""
    change = select(ActChange.id).where(
        ActChange.act_id == act_id,
        ActChange.table_name == table,
        ActChange.row_key["id"].as_integer() == row_id,
    )
    return db.session.scalar(change.limit(1)) is not None


def _restore(change: ActChange) -> bool:
    """Restore one row; False for what stays as it is: an email whose batch was sent, consent that was decided since."""
    table = change.table_name
    if table == "message" and not _batch_waits(change):
        return False
    given = {
        "row_key": as_json(change.row_key),
        "before": as_json(change.before),
        "after": as_json(change.after),
    }
    try:
        with db.session.begin_nested():
            done = execute_raw(_statement(change), given).rowcount
    except IntegrityError as error:
        raise Conflict(IN_THE_WAY.format(NAMES[table])) from error
    if done != 1 and table != "consent_state":
        raise Conflict(IN_THE_WAY.format(NAMES[table]))
    return done == 1


def _batch_waits(change: ActChange) -> bool:
    # a skipped email whose batch was sent stays skipped: without a state of its own it would count as sent
    found = text("""
        select b.id from batch b join message m on m.batch_id = b.id
        where m.id = :id and b.state in ('ready', 'held', 'failed') for update of b
    """)
    return db.session.execute(found, {"id": change.row_key["id"]}).first() is not None


def _statement(change: ActChange) -> str:
    """Return the statement that takes one change back, if the row still holds what the act left.

    Table and column names come from the trigger, never from a request.
    """
    table = f'"{change.table_name}"'  # one is called "user"
    keys = " and ".join(f'r."{key}" = k."{key}"' for key in sorted(change.row_key))
    same = f"{keys} and to_jsonb(r) @> (:after)::jsonb"
    if change.after is None:
        columns = ", ".join(f'"{name}"' for name in sorted(change.before or {}))
        return f"insert into {table} ({columns}) select {columns} from jsonb_populate_record(null::{table}, :before)"
    if change.before is None:
        return f"delete from {table} r using jsonb_populate_record(null::{table}, :row_key) k where {same}"
    values = [f'"{name}" = b."{name}"' for name in sorted(change.before)]
    values += ["version = r.version + 1"] if change.table_name in VERSIONED else []
    return (
        f"update {table} r set {', '.join(values)} from jsonb_populate_record(null::{table}, :row_key) k, "
        f"jsonb_populate_record(null::{table}, :before) b where {same}"
    )
