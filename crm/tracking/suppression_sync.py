"""Suppression sync: our suppressions and the provider's lists are compared once a day, both ways.

An address that is suppressed only there is suppressed here too: an event about it was lost. An address that opted in
again after it unsubscribed is removed there. Of ours, only full suppressions are copied there, and only of addresses
that the provider has sent to: its one list blocks all mail, also the transactional mail of a person who only opted out
of educational emails. Every step may be repeated: a run that crashed starts again.
"""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import func, select, text, update

from crm.audit import service as audit
from crm.consent import suppressions
from crm.consent.suppressions import NewSuppression
from crm.contacts.addresses import address_index
from crm.core import clock
from crm.core.db import db
from crm.mailer.sendgrid_lists import LACKS_SCOPE, REFUSED, Entry
from crm.staff import alerts
from crm.tracking import rules
from crm.tracking.models import Reconciliation

EVERY = timedelta(hours=22)  # a little less than a day, so that the hour does not drift
DEAD = timedelta(hours=1)  # a run that started before this and has not ended has crashed
OVERLAP = timedelta(days=2)  # compared again each time: the provider's clock and lists may lag
UNDER_WAY = timedelta(hours=1)  # an event about a younger entry may still come
MOST_PUSHED = 10_000

_STOPS = text("""
    select address_index, bool_or(lifted_at is null and scope = 'all') as everything,
        bool_or(lifted_at is null and scope = 'marketing') as marketing, max(lifted_at) as lifted_at
    from suppression where address_index = any(:indexes) group by address_index
""")
_PUSH = text("""
    select distinct c.email from suppression s join contact c on c.email_index = s.address_index
    where s.scope = 'all' and s.lifted_at is null and s.source <> 'provider' and c.email is not null
        and (cast(:since as timestamptz) is null or s.at > :since)
        and exists (select 1 from message m join batch b on b.id = m.batch_id
            where m.contact_id = c.id and b.transport = 'sendgrid' and b.state = 'accepted')
    order by c.email limit :limit
""")


def begin() -> Reconciliation | None:
    """Begin a run and return it; None while the last one is recent enough, or another is running."""
    now = clock.now()
    db.session.execute(text("lock table reconciliation in share row exclusive mode"))
    newest = db.session.scalar(select(Reconciliation).order_by(Reconciliation.id.desc()).limit(1))
    if newest is not None:
        age = now - newest.started_at
        if age < (EVERY if newest.finished_at is not None and newest.error is None else DEAD):
            return None
    well = Reconciliation.finished_at.is_not(None) & Reconciliation.error.is_(None)
    last = db.session.scalar(select(func.max(Reconciliation.started_at)).where(well))
    run = Reconciliation(started_at=now, since=last - OVERLAP if last else None, seen={})
    db.session.add(run)
    db.session.flush()
    return run


def apply(run_id: int, name: str, entries: Sequence[Entry]) -> list[str]:
    """Suppress here the addresses suppressed there; return the addresses to remove there.

    Three statements and one event per reason, however long the page is.
    """
    now = clock.now()
    old = {address_index(one.email): one for one in entries if one.created <= now - UNDER_WAY}
    known = {bytes(row.address_index): row for row in db.session.execute(_STOPS, {"indexes": list(old)})}
    stops, back = [], []
    for index, one in old.items():
        row = known.get(index)
        verdict = rules.drift(
            name,
            created=one.created,
            everything=row is not None and row.everything,
            marketing=row is not None and row.marketing,
            lifted_at=row.lifted_at if row else None,
        )
        if verdict == "came_back":
            back.append(one.email)
        elif verdict == "stop":
            reason, scope = rules.LISTED[name]
            stops.append(NewSuppression(address_index=index, scope=scope, reason=reason, source="provider"))
    added = suppressions.suppress_many(stops)
    _count(run_id, name, seen=len(entries), added=added, lifted=len(back))
    return back


def to_push(run_id: int) -> list[str]:
    """Return the fully suppressed addresses that the provider may not know yet."""
    since = db.session.scalar(select(Reconciliation.since).where(Reconciliation.id == run_id))
    found = list(db.session.scalars(_PUSH, {"since": since, "limit": MOST_PUSHED}))
    db.session.execute(update(Reconciliation).where(Reconciliation.id == run_id).values(pushed=len(found)))
    return found


def finish(run_id: int, *, error: str | None = None) -> None:
    """End a run, with an alert when the lists differed or could not be read."""
    run = db.session.get_one(Reconciliation, run_id, populate_existing=True)
    run.finished_at, run.error = clock.now(), error
    audit.record(
        "suppressions.compared",
        object_type="reconciliation",
        object_id=run_id,
        detail={"added": run.added, "pushed": run.pushed, "lifted": run.lifted, "error": error},
    )
    if error is None:
        alerts.close("suppression-lists")
    elif error in (REFUSED, LACKS_SCOPE):
        alerts.raise_alert(
            key="suppression-lists",
            level="warning",
            text="The mail provider's suppression lists cannot be compared with ours: "
            "add the permission “Suppressions” to the API key.",
            link="/console/settings",
        )
    if run.added and run.since is not None:  # the first time, everything that is there is new to us
        alerts.raise_alert(
            key="suppression-drift",
            level="warning",
            text=f"{run.added:,} addresses were suppressed at the mail provider but not here. They are suppressed now. "
            "Events may be getting lost: check the Event Webhook.",
            link="/console/mail",
        )


def _count(run_id: int, name: str, *, seen: int, added: int, lifted: int) -> None:
    db.session.execute(
        text("""
            update reconciliation set added = added + :added, lifted = lifted + :lifted,
                seen = jsonb_set(coalesce(seen, '{}'), array[cast(:name as text)],
                    to_jsonb(coalesce((seen ->> :name)::bigint, 0) + :seen))
            where id = :id
        """),
        {"id": run_id, "name": name, "seen": seen, "added": added, "lifted": lifted},
    )
