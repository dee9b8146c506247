"""Editing practices and clinicians; merging practices; notes, visits and tasks."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm.exc import StaleDataError

from crm.audit import service as audit
from crm.contacts.rules import InvalidValue, clean_text
from crm.core import clock, current
from crm.core.db import db
from crm.core.errors import Conflict, Invalid, NotFound
from crm.referrers import service
from crm.referrers.models import Clinician, Practice, PracticeNote, PracticeTask

NOTE_LIMIT, TITLE_LIMIT = 4000, 120  # characters
SHOWN = 50
NOTE_KINDS = {"note": "Note", "call": "Call", "visit": "Visit"}
CHANGED = "This practice was changed in the meantime. Review it and try again."


def get(practice_id: int) -> Practice:
    """Return a practice, or the one it was merged into. Raises NotFound."""
    found = db.session.get(Practice, practice_id)
    for _ in range(20):
        if found is None or found.merged_into_id is None:
            break
        found = db.session.get(Practice, found.merged_into_id)
    if found is None:
        raise NotFound("Practice not found.")
    return found


def add(*, values: Mapping[str, Any], demo: bool = False) -> Practice:
    """Add a practice with clean values. It is approved: staff know it."""
    practice = Practice(**values, created_at=clock.now(), approved_at=clock.now(), demo=demo)
    db.session.add(practice)
    db.session.flush()
    audit.record("practice.create", object_type="practice", object_id=practice.id)
    return practice


def edit(*, practice_id: int, version: int, values: Mapping[str, Any]) -> list[str]:
    """Set clean values of a practice that is still at `version`; return the fields that changed. Raises Conflict."""
    practice = _locked(practice_id, version)
    changed = [name for name, value in values.items() if getattr(practice, name) != value]
    for name in changed:
        setattr(practice, name, values[name])
    if changed:
        db.session.flush()
        detail = {"fields": changed}
        audit.record("practice.edit", object_type="practice", object_id=practice.id, detail=detail)
    return changed


def _locked(practice_id: int, version: int) -> Practice:
    try:
        found = db.session.get(Practice, practice_id, with_for_update=True, populate_existing=True)
    except StaleDataError as error:
        raise Conflict(CHANGED) from error
    if found is None:
        raise NotFound("Practice not found.")
    if found.version != version or found.merged_into_id is not None:
        raise Conflict(CHANGED)
    return found


def add_clinician(*, practice_id: int, name: str, npi: str) -> Clinician:
    """Add a clinician to a practice. Raises Conflict if the NPI is known, here or at another practice."""
    known = service.by_npi(npi)
    if known is not None:
        raise Conflict(f"This NPI belongs to {known.name}, {known.practice.name}.")
    clinician = Clinician(practice_id=practice_id, name=name, npi=npi, created_at=clock.now())
    db.session.add(clinician)
    db.session.flush()
    audit.record("clinician.create", object_type="clinician", object_id=clinician.id)
    return clinician


def edit_clinician(*, clinician_id: int, name: str, npi: str) -> None:
    """Correct the name or the NPI of a clinician. Raises NotFound, Conflict."""
    clinician = service.clinician(clinician_id)
    known = service.by_npi(npi)
    if known is not None and known.id != clinician_id:
        raise Conflict(f"This NPI belongs to {known.name}, {known.practice.name}.")
    clinician.name, clinician.npi = name, npi
    db.session.flush()
    audit.record("clinician.edit", object_type="clinician", object_id=clinician_id)


# Referrals and uploads are above this feature in the import order, so their tables are written here by name.
_MOVE = tuple(
    text(f'update "{table}" set practice_id = :kept where practice_id = :gone')
    for table in (
        "clinician",
        "portal_person",
        "referral",
        "referral_upload",
        "practice_note",
        "practice_task",
        "api_key",
        "user",
    )
)


def merge(*, kept_id: int, gone_id: int) -> Practice:
    """Move clinicians, portal users, referrals, notes and tasks of a practice to another one; fill its empty fields.

    Raises Invalid, NotFound, and Conflict if both have a referral with one number of the practice's own.
    """
    if kept_id == gone_id:
        raise Invalid({"gone": ["Choose a different practice."]})
    rows = select(Practice).where(Practice.id.in_((kept_id, gone_id))).order_by(Practice.id)
    found = {one.id: one for one in db.session.scalars(rows.with_for_update())}
    if len(found) != 2 or any(one.merged_into_id is not None for one in found.values()):
        raise NotFound("Practice not found.")
    kept, gone = found[kept_id], found[gone_id]
    try:
        with db.session.begin_nested():
            for statement in _MOVE:
                db.session.execute(statement, {"kept": kept_id, "gone": gone_id})
    except IntegrityError as error:
        raise Conflict("Both practices sent a referral under the same number of theirs.") from error
    for name in ("phone", "fax", "email", "address", "city", "state", "approved_at"):
        if getattr(kept, name) is None:
            setattr(kept, name, getattr(gone, name))
    gone.merged_into_id = kept_id
    db.session.flush()
    db.session.expire_all()
    detail = {"kept_id": kept_id, "gone_id": gone_id}
    audit.record("practice.merge", object_type="practice", object_id=kept_id, detail=detail)
    return kept


def look_alikes(practice: Practice, *, limit: int = 5) -> Sequence[Practice]:
    """Return other practices with the same phone or fax number, or the same name."""
    numbers = [number for number in (practice.phone, practice.fax) if number]
    same = text("fold_name(lower(practice.name)) = fold_name(lower(:name))").bindparams(name=practice.name)
    alike = same if not numbers else Practice.phone.in_(numbers) | Practice.fax.in_(numbers) | same
    rows = select(Practice).where(alike, Practice.id != practice.id, Practice.merged_into_id.is_(None))
    return db.session.scalars(rows.order_by(Practice.id).limit(limit)).all()


def add_note(*, practice_id: int, kind: str, text: str, at: datetime | None = None) -> PracticeNote:
    """Note what was said or seen at a practice; `at` is the day of a visit. Stored encrypted. Raises Invalid."""
    words = _typed("text", text, limit=NOTE_LIMIT, lines=True)
    if kind not in NOTE_KINDS:
        raise Invalid({"kind": ["Choose a type."]})
    if not words:
        raise Invalid({"text": [f"Write a note of up to {NOTE_LIMIT:,} characters."]})
    if at is not None and at > clock.now() + timedelta(days=1):
        raise Invalid({"day": ["Enter a day that is not in the future."]})
    actor = audit.current().actor
    note = PracticeNote(practice_id=practice_id, at=at or clock.now(), actor=actor, kind=kind, text=words)
    db.session.add(note)
    db.session.flush()
    audit.record("practice.note", object_type="practice", object_id=practice_id, detail={"kind": kind})
    return note


def _typed(field: str, text: str, *, limit: int, lines: bool) -> str:
    try:
        return clean_text(text, limit=limit, lines=lines)
    except InvalidValue as error:
        raise Invalid({field: [str(error)]}) from error


def notes_of(practice_id: int) -> Sequence[PracticeNote]:
    """Return the notes, calls and visits of a practice, newest first."""
    rows = select(PracticeNote).where(PracticeNote.practice_id == practice_id)
    newest = rows.order_by(PracticeNote.at.desc(), PracticeNote.id.desc())
    return db.session.scalars(newest.limit(SHOWN)).all()


def add_task(*, practice_id: int, title: str, due_at: datetime, owner_id: int | None) -> PracticeTask:
    """Add a task about a practice. Raises Invalid."""
    words = _typed("title", title, limit=TITLE_LIMIT, lines=False)
    if not words:
        raise Invalid({"title": ["Enter a title of up to 120 characters."]})
    if not clock.now() < due_at < clock.now() + timedelta(days=366):
        raise Invalid({"due_at": ["Choose a time within the next year."]})
    due = current.calendar().next_open(due_at)
    task = PracticeTask(
        practice_id=practice_id, title=words, owner_id=owner_id, due_at=due, created_at=clock.now()
    )
    db.session.add(task)
    db.session.flush()
    audit.record("practice.task", object_type="practice", object_id=practice_id, detail={"task_id": task.id})
    return task


def finish_task(*, practice_id: int, task_id: int) -> None:
    """Mark a task about a practice as done. Raises NotFound, Conflict."""
    task = db.session.get(PracticeTask, task_id, with_for_update={"of": PracticeTask})
    if task is None or task.practice_id != practice_id:
        raise NotFound("Task not found.")
    if task.done_at is not None:
        raise Conflict("This task is already done.")
    task.done_at, task.done_by = clock.now(), audit.current().actor
    db.session.flush()
    detail = {"task_id": task_id}
    audit.record("practice.task_done", object_type="practice", object_id=practice_id, detail=detail)


def tasks_of(practice_id: int) -> Sequence[PracticeTask]:
    """Return the tasks of a practice, open ones first."""
    rows = select(PracticeTask).where(PracticeTask.practice_id == practice_id)
    ordered = rows.order_by(PracticeTask.done_at.is_not(None), PracticeTask.due_at, PracticeTask.id)
    return db.session.scalars(ordered.limit(SHOWN)).all()
