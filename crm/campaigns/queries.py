"""Reading campaigns: the audience of a draft, the progress of a launch, and who was missed."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select, text

from crm.campaigns import rules
from crm.campaigns.models import Campaign
from crm.consent.queries import REFUSAL_CASE, REFUSAL_JOINS
from crm.contacts.models import Contact
from crm.content import service as content
from crm.content.models import ContentItem
from crm.core import clock
from crm.core.db import db
from crm.core.errors import NotFound
from crm.core.paging import Page, decode, encode, keyset
from crm.messages import queries as messages
from crm.messages.models import Batch
from crm.messages.rules import FREQUENCY_CAP, FREQUENCY_SPAN, BatchState

_EVERYONE = "select contact_id as id from consent_state where topic = :topic and granted"
_TAGGED = "select distinct contact_id as id from contact_tag where tag = any(:tags)"
_EXCLUDED = "exists (select 1 from contact_tag t where t.contact_id = c.id and t.tag = any(:exclude_tags))"
# The same facts as REFUSAL_JOINS finds, for all contacts at once: for a whole audience, reading the tables once is twice
# as fast as looking each person up.
_ALL_AT_ONCE = """
    left join consent_state cs on cs.contact_id = c.id and cs.topic = cast(:topic as text)
    left join (
        select s.address_index, bool_or(s.scope = 'all') as everything, bool_or(s.scope = 'marketing') as marketing
        from suppression s where s.lifted_at is null group by s.address_index
    ) stops on stops.address_index = c.email_index
"""
_PREFLIGHT = f"""
    select reason, count(*) from (
        select case when {_EXCLUDED} then 'excluded' else coalesce({REFUSAL_CASE}, case
            when c.language <> all(:languages) then 'no_translation'
            when (select count(*) from (select 1 from message r
                    where r.contact_id = c.id and r.created_at > :week and r.state is distinct from 'skipped'
                        and (r.enrolment_id is not null or r.campaign_id is not null)
                    limit :cap) recent) >= :cap then 'frequency_cap' end) end as reason
        from ({{people}}) p join contact c on c.id = p.id {{joins}}
    ) asked group by reason
"""
_SIZES = text(
    "select state, sum(size) as size, sum(left_out) as left_out from batch where campaign_id = :id group by state"
)

# People who have a message row, and people of batches that never got as far as writing theirs.
_NOT_SENT = text("""
    select contact_id, state, reason from (
        (select m.contact_id, coalesce(m.state, b.state) as state, coalesce(m.reason, b.error) as reason
        from message m join batch b on b.id = m.batch_id
        where m.campaign_id = :id and m.contact_id > :after
            and (m.state in ('skipped', 'failed', 'blocked', 'dropped', 'bounced')
                or (m.state is null and b.state in ('failed', 'cancelled', 'uncertain')))
        order by m.contact_id limit :limit)
        union all
        (select u.contact_id, b.state, b.error from batch b cross join lateral unnest(b.contact_ids) u(contact_id)
        where b.campaign_id = :id and b.state in ('failed', 'cancelled') and u.contact_id > :after
        order by u.contact_id limit :limit)
    ) missed order by contact_id limit :limit
""")


@dataclass(frozen=True, kw_only=True)
class Preflight:
    """How many people a campaign would reach if it were launched now, and how many it would skip, by reason."""

    people: int
    skipped: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Missed:
    """One person who did not get it. `state` is the message's or batch's, `reason` a code or capped text."""

    contact_id: int
    state: str
    reason: str | None


def get(campaign_id: int) -> Campaign:
    """Return a campaign. Raises NotFound."""
    found = db.session.get(Campaign, campaign_id, populate_existing=True)
    if found is None:
        raise NotFound("Broadcast not found.")
    return found


def every(*, cursor: str | None = None, limit: int = 50) -> Page[Campaign]:
    """Return campaigns, newest first."""
    return keyset(select(Campaign), by=[Campaign.id], cursor=cursor, limit=limit, kinds=[int])


def items() -> list[tuple[str, str]]:
    """Return (key, subject) of the emails with an approved version that may be sent in a broadcast."""
    keys = db.session.scalars(
        select(ContentItem.key).where(ContentItem.kind == "email").order_by(ContentItem.key)
    )
    return list(messages.subjects(keys.all()).items())


def item_key(campaign: Campaign) -> str:
    """Return the key of what a campaign sends."""
    return db.session.scalars(select(ContentItem.key).where(ContentItem.id == campaign.item_id)).one()


def item(campaign: Campaign) -> ContentItem:
    """Return what a campaign sends."""
    return db.session.get_one(ContentItem, campaign.item_id)


def subject(campaign: Campaign) -> str:
    """Return the subject of what a campaign sends; its title while no version is approved."""
    sent = item(campaign)
    return messages.subjects([sent.key]).get(sent.key, sent.title)


def preflight(campaign: Campaign) -> Preflight:
    """Evaluate the whole audience, in one statement."""
    now = clock.now()
    tags = campaign.audience.get("tags")
    languages = [language for _, language in content.newest_approved([item_key(campaign)], now=now)]
    rows = db.session.execute(
        text(
            _PREFLIGHT.format(
                people=_TAGGED if tags else _EVERYONE, joins=REFUSAL_JOINS if tags else _ALL_AT_ONCE
            )
        ),
        {
            "topic": campaign.topic,
            "transactional": False,
            "now": now,
            "tags": tags,
            "exclude_tags": campaign.audience.get("exclude_tags") or [],
            "languages": languages,
            "week": now - FREQUENCY_SPAN,
            "cap": FREQUENCY_CAP,
        },
    )
    counts = {reason: int(count) for reason, count in rows}
    return Preflight(people=counts.pop(None, 0), skipped=dict(sorted(counts.items())))


def progress(campaign: Campaign) -> rules.Progress:
    """Add up the batches, a thousandth of the rows of the messages."""
    sizes = db.session.execute(_SIZES, {"id": campaign.id})
    return rules.progress(
        people=campaign.people,
        batches=[(BatchState(row.state), int(row.size), int(row.left_out)) for row in sizes],
    )


def not_sent(campaign_id: int, *, cursor: str | None = None, limit: int = 100) -> Page[Missed]:
    """Return who did not get it, and why, by contact id. People who still wait are not included."""
    (after,) = decode(cursor, [int]) if cursor else (0,)
    found = db.session.execute(_NOT_SENT, {"id": campaign_id, "after": after, "limit": limit + 1}).all()
    rows = [Missed(contact_id=one.contact_id, state=one.state, reason=one.reason) for one in found[:limit]]
    return Page(rows=rows, next=encode(rows[-1].contact_id) if len(found) > limit else None)


def refused_batches(campaign_id: int) -> int:
    """Return how many batches the provider refused for good, up to `FAILURES_TO_PAUSE`."""
    rows = select(Batch.id).where(
        Batch.campaign_id == campaign_id,
        Batch.state == BatchState.FAILED,
        Batch.provider_id.is_(None),
        Batch.attempts > 0,
    )
    return len(db.session.scalars(rows.limit(rules.FAILURES_TO_PAUSE)).all())


def names_of(contact_ids: Sequence[int]) -> dict[int, str]:
    """Return id -> name of people on a page."""
    rows = select(Contact.id, Contact.first_name, Contact.last_name).where(Contact.id.in_(contact_ids))
    return {row.id: f"{row.first_name} {row.last_name}".strip() for row in db.session.execute(rows)}
