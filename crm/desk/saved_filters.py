"""Filters of the list of leads, kept under a name: one person's own, or everybody's."""

from collections.abc import Mapping, Sequence

from sqlalchemy import or_, select

from crm.audit import service as audit
from crm.core import clock
from crm.core.db import db
from crm.core.errors import Conflict, Invalid, NotFound
from crm.desk.models import SavedFilter

NAME_LIMIT = 60  # characters
MOST = 30  # of one person
KEPT = ("kind", "stage", "owner", "state", "source")  # never what was searched for: it may be a name


def save(*, user_id: int, name: str, shared: bool, filters: Mapping[str, str]) -> SavedFilter:
    """Keep filters under a name; the same name again replaces what it stood for. Raises Invalid, Conflict."""
    name = " ".join(name.split())
    kept = {field: filters[field] for field in KEPT if filters.get(field)}
    wrong = {}
    if not 0 < len(name) <= NAME_LIMIT or not name.isprintable():
        wrong["name"] = [f"Give these filters a name of up to {NAME_LIMIT} characters."]
    if not kept:
        wrong["filters"] = ["Choose at least one filter first. Words that were searched for are not saved."]
    if wrong:
        raise Invalid(wrong)
    mine = db.session.scalars(select(SavedFilter).where(SavedFilter.user_id == user_id)).all()
    found = next((one for one in mine if one.name == name), None)
    if found is None:
        if len(mine) >= MOST:
            raise Conflict(f"You have {MOST} saved filters. Remove one first.")
        found = SavedFilter(user_id=user_id, name=name, created_at=clock.now())
        db.session.add(found)
    found.shared, found.filters = shared, kept
    db.session.flush()
    detail = {"filters": kept, "shared": shared}
    audit.record("filter.save", object_type="saved_filter", object_id=found.id, detail=detail)
    return found


def of(user_id: int) -> Sequence[SavedFilter]:
    """Return a person's own filters, and those that others share, by name."""
    rows = select(SavedFilter).where(or_(SavedFilter.user_id == user_id, SavedFilter.shared))
    return db.session.scalars(rows.order_by(SavedFilter.name, SavedFilter.id).limit(MOST * 2)).all()


def remove(*, filter_id: int, user_id: int) -> None:
    """Remove one of a person's own filters. Raises NotFound."""
    found = db.session.get(SavedFilter, filter_id)
    if found is None or found.user_id != user_id:
        raise NotFound("There is no such filter of yours.")
    db.session.delete(found)
    audit.record("filter.remove", object_type="saved_filter", object_id=filter_id)
