"""Steps of setting up a clinic, each done or open, with the page on which it is done."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import exists, func, select, text

from crm.audit.models import AuditEntry
from crm.clinic import service as clinic
from crm.core.config import Settings
from crm.core.db import db
from crm.privacy.models import RetentionPeriod
from crm.staff.models import Role, User
from crm.tracking.models import Receipt

FIXES = {  # code of a finding -> page on which it is fixed
    "clinic": "/console/clinic",
    "key": "/console/clinic",
    "review": "/console/content",
    "content": "/console/content",
    "promises": "/console/clinic",
    "stopped": "/console/mail",
    "breaker": "/console/mail",
    "copy": "/console/mail",
    "uncertain": "/console/mail#undecided",
    "failed": "/console/mail#undecided",
    "blocked": "/console/mail",
    "events-unclear": "/console/mail",
}


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step. `href`: where it is done."""

    text: str
    done: bool
    href: str


def steps(settings: Settings) -> Iterator[Step]:
    """Return the steps in the order in which a new clinic takes them."""
    yield Step(text="Fill in the facts of the clinic", done=_facts(settings), href="/console/clinic")
    yield Step(
        text="Approve the emails of the service", done=_no_open_service_email(), href="/console/content"
    )
    yield Step(text="Send yourself a test email", done=_acted("content.tried"), href="/console/clinic#test")
    yield Step(text="Invite a second administrator", done=_administrators() > 1, href="/console/staff#invite")
    yield Step(text="Start a sequence", done=_live_sequence(), href="/console/sequences")
    yield Step(
        text="Decide how long records are kept",
        done=db.session.scalar(select(exists(select(RetentionPeriod)))) or _acted("retention.set"),
        href="/console/retention",
    )


def last_post() -> datetime | None:
    """Return when the mail provider last posted events with a valid signature."""
    return db.session.scalar(select(func.max(Receipt.received_at)))


def _facts(settings: Settings) -> bool:
    return not settings.clinic_gaps and (not settings.production or not clinic.leftovers(settings))


def _no_open_service_email() -> bool:
    missing = text("""
        select 1 from content_item i where i.kind = 'transactional' and not exists (
            select 1 from content_version v where v.item_id = i.id and v.state = 'approved') limit 1""")
    some = text("select 1 from content_item where kind = 'transactional' limit 1")
    return db.session.scalar(some) is not None and db.session.scalar(missing) is None


def _acted(action: str) -> bool:
    return bool(db.session.scalar(select(exists().where(AuditEntry.action == action))))


def _administrators() -> int:
    count = select(func.count(User.id)).where(User.active, User.roles.any(Role.name == "admin"))
    return db.session.scalar(count) or 0


def _live_sequence() -> bool:
    return db.session.scalar(text("select 1 from sequence where state = 'live' limit 1")) is not None
