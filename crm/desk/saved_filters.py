"""Saved filters of a list, private or shared with all staff."""

from collections.abc import Mapping, Sequence

from sqlalchemy import or_, select

from crm.audit import service as audit
from crm.core import clock
from crm.core.db import db
from crm.core.errors import Conflict, Invalid, NotFound
from crm.desk.models import SavedFilter

NAME_LIMIT = 60  # characters
MOST = 30  # of one person
KEPT = {  # of each list; never search words: they may be a name
    "leads": ("kind", "stage", "owner", "state", "source"),
    "contacts": ("consent", "tag", "language", "state", "source", "leads", "added_from", "added_to", "sort"),
}


def save_filter(
    *, user_id: int, name: str, shared: bool, filters: Mapping[str, str], of: str = "leads"
) -> SavedFilter:
    """Save filters under a name, replacing a filter of the same name. Raises Invalid, and Conflict at the limit."""
    name = " ".join(name.split())
    kept = {field: filters[field] for field in KEPT[of] if filters.get(field)}
    _check(name=name, kept=kept)
    found = _find_or_add(user_id=user_id, name=name, of=of)
    found.shared, found.filters = shared, kept
    db.session.flush()
    detail = {"list": of, "filters": kept, "shared": shared}
    audit.record("filter.save", object_type="saved_filter", object_id=found.id, detail=detail)
    return found


def _check(*, name: str, kept: Mapping[str, str]) -> None:
    wrong = {}
    if not 0 < len(name) <= NAME_LIMIT or not name.isprintable():
        wrong["name"] = [f"Enter a name of up to {NAME_LIMIT} characters."]
    if not kept:
        wrong["filters"] = ["Choose at least one filter first. Search words are not saved."]
    if wrong:
        raise Invalid(wrong)


def _find_or_add(*, user_id: int, name: str, of: str) -> SavedFilter:
    mine = db.session.scalars(
        select(SavedFilter).where(SavedFilter.user_id == user_id, SavedFilter.list == of)
    ).all()
    for one in mine:
        if one.name == name:
            return one
    if len(mine) >= MOST:
        raise Conflict(f"You have {MOST} saved filters. Remove one first.")
    added = SavedFilter(user_id=user_id, list=of, name=name, created_at=clock.now())
    db.session.add(added)
    return added


def filters_of(user_id: int, *, of: str = "leads") -> Sequence[SavedFilter]:
    """Return the user's own filters of a list and the shared ones, by name."""
    rows = select(SavedFilter).where(
        SavedFilter.list == of, or_(SavedFilter.user_id == user_id, SavedFilter.shared)
    )
    return db.session.scalars(rows.order_by(SavedFilter.name, SavedFilter.id).limit(MOST * 2)).all()


def remove_filter(*, filter_id: int, user_id: int) -> None:
    """Remove one of the user's own filters. Raises NotFound."""
    found = db.session.get(SavedFilter, filter_id)
    if found is None or found.user_id != user_id:
        raise NotFound("Filter not found.")
    db.session.delete(found)
    audit.record("filter.remove", object_type="saved_filter", object_id=filter_id)
