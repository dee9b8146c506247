"""Batches and messages for the console: what needs a decision, and what was sent lately."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Row, select, text

from crm.contacts.models import Contact
from crm.content import service as content
from crm.content.models import ContentItem, ContentVersion
from crm.core import clock
from crm.core.db import db
from crm.core.errors import NotFound
from crm.core.paging import Page, keyset
from crm.leads.models import Lead
from crm.messages.models import Batch, Message, StreamStop
from crm.messages.rules import UNCERTAIN_GRACE, BatchState

STATES = tuple(BatchState)
UNCLEAR_SPAN = timedelta(days=7)  # for which the page Mail lists events that were not understood


def _batches() -> Any:
    return (
        select(Batch, ContentVersion.subject, ContentItem.title)
        .join(ContentVersion, ContentVersion.id == Batch.content_version_id)
        .join(ContentItem, ContentItem.id == ContentVersion.item_id)
    )


def batches(*, state: str = "", cursor: str | None = None, limit: int = 50) -> Page[Any]:
    """Return batches, newest first: rows of (Batch, subject, title of the content)."""
    rows = _batches()
    if state in STATES:
        rows = rows.where(Batch.state == state)
    return keyset(rows, by=(Batch.id,), cursor=cursor, limit=limit, kinds=(int,))


def undecided(*, limit: int = 200) -> Sequence[Row[Any]]:
    """Return batches that need a decision: failed, or unconfirmed for longer than events need to settle them."""
    doubt = (Batch.state == BatchState.UNCERTAIN) & (Batch.state_at < clock.now() - UNCERTAIN_GRACE)
    rows = _batches().where(
        Batch.state.in_((BatchState.FAILED, BatchState.UNCERTAIN)), (Batch.state == BatchState.FAILED) | doubt
    )
    found: Sequence[Row[Any]] = db.session.execute(rows.order_by(Batch.id.desc()).limit(limit)).all()
    return found


def get(batch_id: int) -> Row[Any]:
    """Return (Batch, subject, title). Raises NotFound."""
    found: Row[Any] | None = db.session.execute(_batches().where(Batch.id == batch_id)).first()
    if found is None:
        raise NotFound("Batch not found.")
    return found


def messages(batch_id: int, *, cursor: str | None = None, limit: int = 50) -> Page[Any]:
    """Return a batch's messages, newest first: rows of (Message, Contact, a lead's reference)."""
    newest = (
        select(Lead.reference).where(Lead.contact_id == Message.contact_id).order_by(Lead.id.desc()).limit(1)
    )
    rows = select(Message, Contact, newest.scalar_subquery().label("reference"))
    rows = rows.join(Contact, Contact.id == Message.contact_id).where(Message.batch_id == batch_id)
    return keyset(rows, by=(Message.id,), cursor=cursor, limit=limit, kinds=(int,))


def subjects(keys: Sequence[str]) -> dict[str, str]:
    """Return key -> subject of emails by their newest approved version, the English one where there is one."""
    versions = content.newest_approved(keys, now=clock.now())
    rows = select(ContentVersion.id, ContentVersion.subject).where(ContentVersion.id.in_(versions.values()))
    texts = {row.id: row.subject for row in db.session.execute(rows)}
    chosen: dict[str, int] = {}
    for (key, language), version_id in sorted(versions.items()):
        if language == "en" or key not in chosen:
            chosen[key] = version_id
    return {key: texts[chosen[key]] for key in keys if key in chosen}


_DAY = text("""
    select coalesce(sum(size) filter (where state = 'accepted'), 0) as sent,
        coalesce(sum(size) filter (where state in ('ready', 'sending')), 0) as waiting,
        coalesce(sum(size) filter (where state = 'held'), 0) as held,
        coalesce(sum(size) filter (where state = 'failed'), 0) as failed,
        coalesce(sum(size) filter (where state = 'uncertain'), 0) as uncertain
    from batch where state in ('ready', 'sending', 'held', 'failed', 'uncertain')
        or (state = 'accepted' and id > (select coalesce(max(id), 0) - 20000 from batch) and state_at > :since)
""")


def last_day() -> Row[Any]:
    """Return how many emails were sent in the last 24 hours, and how many are queued, on hold, failed or unconfirmed."""
    return db.session.execute(_DAY, {"since": clock.now() - timedelta(days=1)}).one()


_UNCLEAR = text("""
    select u.key as code, sum(u.value::bigint)::bigint as number
    from webhook_receipt r, jsonb_each_text(r.unclear) u
    where r.unclear is not null and r.received_at > :since group by u.key order by number desc, code
""")


def unclear_events() -> Mapping[str, int]:
    """Return what was not understood of the provider's events in UNCLEAR_SPAN: a code -> how often."""
    found = db.session.execute(_UNCLEAR, {"since": clock.now() - UNCLEAR_SPAN})
    return {row.code: row.number for row in found}


def posts_set_aside() -> int:
    """Return how many posts of provider events failed several times and wait for staff."""
    open_alerts = text("select count(*) from alert where closed_at is null and key like 'events-failed:%'")
    return int(db.session.execute(open_alerts).scalar_one())


def stopped_streams() -> Sequence[StreamStop]:
    """Return the streams that a circuit breaker stopped."""
    return db.session.scalars(select(StreamStop).order_by(StreamStop.stream)).all()
