"""Alerts about members of staff and API keys that see far more records than work needs: pages, lists, searches, API.

Whatever shows records writes their ids to the audit log, so counting there misses no way of looking.
"""

from datetime import timedelta

from sqlalchemy import text

from crm.core import clock
from crm.core.db import db
from crm.staff import alerts, service

WITHIN = timedelta(minutes=5)
MOST_OPENED = 200  # records opened one by one
MOST_SHOWN = 2_000  # records in lists, searches and answers of the API
REMIND = timedelta(hours=12)

_SEEN = text("""
    select actor,
        sum(case when object_id is not null then 1 else 0 end) as opened,
        sum(coalesce(jsonb_array_length(detail -> 'ids'), 0) + coalesce(jsonb_array_length(detail -> 'contacts'), 0)
            + coalesce(jsonb_array_length(detail -> 'contact_ids'), 0)) as shown
    from audit_entry
    where id > (select coalesce(max(id), 0) from audit_entry) - 100000 and at > :since
        and (actor like 'staff:%' or actor like 'key:%')
        and (action like '%.view' or action like '%.print' or action like '%list' or action like '%.search'
            or action in ('lead.inbox', 'lead.board', 'contact.compare', 'contact.look_alikes', 'campaign.not_sent'))
    group by actor
""")


def check() -> int:
    """Raise an alert for each actor above a limit; return how many are."""
    many = 0
    for row in db.session.execute(_SEEN, {"since": clock.now() - WITHIN}).all():
        if row.opened <= MOST_OPENED and row.shown <= MOST_SHOWN:
            continue
        many += 1
        alerts.raise_alert(
            key=f"views:{row.actor}",
            level="danger",
            text=f"{_name(row.actor)} saw {max(row.opened, row.shown):,} records in five minutes, far more than work needs.",
            link=f"/console/audit?actor={row.actor}",
            remind_after=REMIND,
        )
    return many


def _name(actor: str) -> str:
    return service.names_of([actor]).get(
        actor, "An API key" if actor.startswith("key:") else "A member of staff"
    )
