"""Retention periods that the clinic sets: count what is over its time, and delete it in slices.

Without a period nothing of that kind is deleted. People under a legal hold, people who were cared for and people who
agreed to be emailed are left out; evidence of consent and opt-outs stays (`crm.privacy.service`).
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from sqlalchemy import TextClause, delete, select, text
from sqlalchemy.dialects.postgresql import insert

from crm.audit import service as audit
from crm.contacts.models import STAFF_ADDRESS
from crm.core import clock
from crm.core.db import db, transaction
from crm.core.errors import Conflict, Invalid
from crm.privacy import rules, service
from crm.privacy.models import RetentionPeriod

PEOPLE_SLICE = 50  # people in one transaction
SLICE = 500  # rows in one transaction
MOST_COUNTED = 100_000

_CARED_FOR = ", ".join(f"'{stage}'" for stage in sorted(rules.CARE_STAGES))
_NOT_HELD = """not exists (
    select 1 from legal_hold h join contact held on held.id = h.contact_id
    where h.lifted_at is null and coalesce(held.merged_into_id, held.id) = {contact})"""
_PERSON = f"""
    select c.id from contact c
    where c.id > :after and c.erased_at is null and c.merged_into_id is null and c.created_at < :before
        and (c.touched_at is null or c.touched_at < :before)
        and not exists (select 1 from consent_state s where s.contact_id = c.id and s.granted)
        and not exists (select 1 from portal_person p where p.contact_id = c.id)
        and not exists (select 1 from contact_tag t where t.contact_id = c.id and t.tag = '{STAFF_ADDRESS}')
        and not exists (
            select 1 from lead o left join stage_move m on m.lead_id = o.id
            where o.contact_id = c.id and (
                o.kind <> 'contact_request' or o.stage in ({_CARED_FOR}) or m.now in ({_CARED_FOR})))
        and {_NOT_HELD.format(contact="c.id")} and {{more}}
    order by c.id limit :limit
"""
_HAS_LEAD = "exists (select 1 from lead l where l.contact_id = c.id)"
_NO_OTHER_LEAD = (
    "not exists (select 1 from lead l where l.contact_id = c.id and not coalesce({leads}, false))"
)


def _people_with(leads: str) -> TextClause:
    return text(_PERSON.format(more=f"{_HAS_LEAD} and {_NO_OTHER_LEAD.format(leads=leads)}"))


_CLOSED_LEAD = f"""l.closed_at < :before and exists (
    select 1 from contact c where c.id = l.contact_id and {_NOT_HELD.format(contact="coalesce(c.merged_into_id, c.id)")})"""

PEOPLE: Mapping[str, TextClause] = {
    "unconfirmed": _people_with(
        "l.stage = 'unconfirmed' and l.stage_at < :before and l.first_human_touch_at is null"
    ),
    "closed": _people_with("l.closed_at < :before"),
    "no_lead": text(
        _PERSON.format(more=f"not {_HAS_LEAD} and (c.edited_at is null or c.edited_at < :before)")
    ),
}
"""Kind -> the people whose period is over, after an id, in order of ids."""

ROWS: Mapping[str, tuple[tuple[TextClause, TextClause], ...]] = {
    "messages": (
        (
            text(f"""select p.id from portal_message p join lead l on l.id = p.lead_id
                where p.id > :after and p.at < :before and {_CLOSED_LEAD} order by p.id limit :limit"""),
            text("delete from portal_message where id = any(:ids)"),
        ),
        (
            text(f"""select m.id from message m join contact o on o.id = m.contact_id
                where m.id > :after and m.created_at < :before and m.params <> '{{}}'::jsonb
                    and {_NOT_HELD.format(contact="coalesce(o.merged_into_id, o.id)")}
                order by m.id limit :limit"""),
            text("update message set params = '{}'::jsonb where id = any(:ids)"),
        ),
    ),
    "files": (
        (
            text(f"""select a.id from referral_attachment a join lead l on l.id = a.lead_id
                where a.id > :after and a.at < :before and {_CLOSED_LEAD} order by a.id limit :limit"""),
            text("delete from referral_attachment where id = any(:ids)"),
        ),
        (
            text(f"""select a.id from document a join lead l on l.id = a.lead_id
                where a.id > :after and a.at < :before and {_CLOSED_LEAD} order by a.id limit :limit"""),
            text("delete from document where id = any(:ids)"),
        ),
    ),
}
"""Kind -> (which rows, after an id, in order of ids; what is done with them)."""


def current() -> dict[str, int]:
    """Return the periods that are set: kind -> days."""
    return {row.kind: row.days for row in db.session.scalars(select(RetentionPeriod))}


def due(days: Mapping[str, int | None]) -> dict[str, int]:
    """Return how many people or rows of each kind these periods would delete now; at most MOST_COUNTED of each."""
    now = clock.now()
    return {kind: _count(kind, now - timedelta(days=period)) for kind, period in days.items() if period}


def _count(kind: str, before: datetime) -> int:
    found = [PEOPLE[kind]] if kind in PEOPLE else [which for which, _ in ROWS[kind]]
    given = {"before": before, "after": 0, "limit": MOST_COUNTED}
    counts = (text(f"select count(*) from ({which.text}) found") for which in found)
    return sum(int(db.session.scalar(count, given) or 0) for count in counts)


def set_all(days: Mapping[str, int | None], *, seen: int) -> None:
    """Set the period of every kind. `seen` is the number of records that the person saw would be deleted.

    Raises Invalid for a period that is too short, and Conflict when another number is due by now.
    """
    wrong = {kind: message for kind, period in days.items() if (message := _wrong(kind, period))}
    if wrong:
        raise Invalid(wrong)
    if sum(due(days).values()) > seen:
        raise Conflict(
            "More records would be deleted than you were shown. Look at the numbers, then save again."
        )
    before, now, actor = current(), clock.now(), audit.current().actor
    for kind, period in days.items():
        if period is None:
            db.session.execute(delete(RetentionPeriod).where(RetentionPeriod.kind == kind))
            continue
        values = {"days": period, "set_at": now, "set_by": actor}
        row = insert(RetentionPeriod).values(kind=kind, **values)
        db.session.execute(row.on_conflict_do_update(index_elements=["kind"], set_=values))
    db.session.expire_all()
    audit.record("retention.set", detail={"before": before, "after": current()})


def _wrong(kind: str, period: int | None) -> list[str] | None:
    if kind not in rules.PERIODS:
        return ["Period not found."]
    try:
        rules.read_days(kind, "" if period is None else str(period))
    except ValueError as error:
        return [str(error)]
    return None


def run() -> dict[str, int]:
    """Delete what is over its time, each slice in a transaction of its own; return the numbers by kind."""
    with transaction():
        periods = current()
    done = {}
    for kind, days in periods.items():
        before = clock.now() - timedelta(days=days)
        if kind in PEOPLE:
            total = _each_slice(PEOPLE[kind], before, PEOPLE_SLICE, _erase_all)
        else:
            total = sum(_each_slice(which, before, SLICE, _doing(act)) for which, act in ROWS[kind])
        if total:
            with transaction():
                audit.record("retention.delete", detail={"kind": kind, "days": days, "number": total})
        done[kind] = total
    return done


def _each_slice(which: TextClause, before: datetime, limit: int, act: Callable[[list[int]], int]) -> int:
    total, after = 0, 0
    while True:
        with transaction():
            ids = list(db.session.scalars(which, {"before": before, "after": after, "limit": limit}))
            total += act(ids) if ids else 0
        if len(ids) < limit:
            return total
        after = ids[-1]


def _erase_all(ids: list[int]) -> int:
    return sum(_erased(contact_id) for contact_id in ids)


def _erased(contact_id: int) -> bool:
    try:
        service.erase(contact_id=contact_id, reason="retention")
    except Conflict:  # erased meanwhile, put on hold, or a merged record had care
        return False
    return True


def _doing(act: TextClause) -> Callable[[list[int]], int]:
    def run_on(ids: list[int]) -> int:
        return int(db.session.execute(act, {"ids": ids}).rowcount)  # type: ignore[attr-defined]

    return run_on
