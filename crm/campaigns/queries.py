"""Reading campaigns: the audience of a draft, the progress of a launch, and who was missed."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from redis.exceptions import RedisError
from sqlalchemy import TextClause, or_, select, text

from crm.campaigns import rules
from crm.campaigns.models import Campaign
from crm.consent.queries import REFUSAL_CASE, REFUSAL_JOINS, REFUSAL_JOINS_AT_ONCE
from crm.contacts.models import Contact
from crm.content import service as content
from crm.content.models import ContentItem
from crm.core import clock, queue
from crm.core.db import db
from crm.core.errors import NotFound
from crm.core.paging import Page, decode, encode, keyset
from crm.messages import queries as messages
from crm.messages.limits import frequency
from crm.messages.models import Batch, BreakerReset
from crm.messages.rules import FREQUENCY_CAP, FREQUENCY_SPAN, BatchState
from crm.segments import queries as segments
from crm.segments.rules import AnyOf
from crm.segments.segment_sql import compile_rule

PREFLIGHT_SECONDS = 60  # for which the count of a large audience is kept
_EVERYONE = "select contact_id as id from consent_state where topic = :topic and granted"
_TAGGED = "select distinct contact_id as id from contact_tag where tag = any(:tags)"
# The people whom `audience` takes for a broadcast to the rest.
_MISSED = """
    select m.contact_id as id from message m join batch b on b.id = m.batch_id
    where m.campaign_id = :resend_of
        and (m.state in ('skipped', 'failed') or (m.state is null and b.state in ('failed', 'cancelled')))
    union select unnest(b.contact_ids) from batch b
    where b.campaign_id = :resend_of and b.state in ('failed', 'cancelled')
"""
_NO_TAG = "not exists (select 1 from contact_tag t where t.contact_id = c.id and t.tag = any(:tags))"
_EXCLUDED = "exists (select 1 from contact_tag t where t.contact_id = c.id and t.tag = any(:exclude_tags))"
# The very version that this person would get, sent before by any way: the claim asks the same.
_HAD = f"""
    exists (select 1 from message h join batch hb on hb.id = h.batch_id
        where h.contact_id = c.id
            and h.content_version_id = (cast(:versions as bigint[]))[array_position(cast(:languages as text[]), c.language)]
            and {frequency.may_have_reached("h", "hb")})
"""
_PREFLIGHT = f"""
    select reason, count(*) as people, count(*) filter (where had) as had from (
        select coalesce(refusal, case when had and not :repeat_allowed then 'had_already' end) as reason,
            had and refusal is null as had
        from (select {_HAD} as had, case {{no_tag}} when {_EXCLUDED} {{excluded}} then 'excluded'
            else coalesce({REFUSAL_CASE}, case
            when c.language <> all(:languages) then 'no_translation'
            when {frequency.is_capped("c.id")} then 'frequency_cap' end) end as refusal
        from ({{people}}) p join contact c on c.id = p.id {{joins}} {{inside}} offset 0) each_one
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
    had: int = 0  # had this very version; skipped unless the campaign may repeat it


@dataclass(frozen=True, kw_only=True)
class Counted:
    """A preflight, and when it was counted."""

    preflight: Preflight
    at: datetime


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


@dataclass(frozen=True, kw_only=True)
class SegmentFilter:
    """The segments of a campaign as SQL about a contact `c`; both texts are empty without segments."""

    inside: str  # in one of its segments
    excluded: str  # in one of those it excludes
    values: Mapping[str, Any]

    @property
    def inside_and_not_excluded(self) -> str:
        """Return what to add to a WHERE."""
        inside = f"and {self.inside}" if self.inside else ""
        return inside + (f" and not {self.excluded}" if self.excluded else "")


def segment_filter(campaign: Campaign, *, now: datetime) -> SegmentFilter:
    """Compile the rules that a campaign was drafted with. People are asked about at `now`."""
    wanted, unwanted = (
        campaign.audience.get("segments") or [],
        campaign.audience.get("exclude_segments") or [],
    )
    if not wanted and not unwanted:
        return SegmentFilter(inside="", excluded="", values={})
    known = {
        number: segments.rule_of(rule) for number, rule in segments.rules_of([*wanted, *unwanted]).items()
    }
    parts = [
        compile_rule(AnyOf(tuple(known[number] for number in numbers)), now=now, prefix=prefix)
        for numbers, prefix in ((wanted, "inside_"), (unwanted, "excluded_"))
    ]
    return SegmentFilter(
        inside=parts[0].sql if wanted else "",
        excluded=parts[1].sql if unwanted else "",
        values=parts[0].values | parts[1].values,
    )


def segment_names(campaign: Campaign) -> tuple[list[str], list[str]]:
    """Return the names of the segments that a campaign is for, and of those it excludes."""
    wanted, unwanted = (
        campaign.audience.get("segments") or [],
        campaign.audience.get("exclude_segments") or [],
    )
    known = segments.rules_of([*wanted, *unwanted])
    return [known[one].segment.name for one in wanted], [known[one].segment.name for one in unwanted]


def _preflight_statement(campaign: Campaign, chosen: SegmentFilter) -> TextClause:
    tags = campaign.audience.get("tags")
    if campaign.resend_of_id is not None:
        people, joins = _MISSED, REFUSAL_JOINS
        no_tag = f"when {_NO_TAG} then 'no_tag'" if tags else ""
    else:
        people, joins = (_TAGGED, REFUSAL_JOINS) if tags else (_EVERYONE, REFUSAL_JOINS_AT_ONCE)
        no_tag = ""
    inside = f"where {chosen.inside}" if chosen.inside else ""
    excluded = f"or {chosen.excluded}" if chosen.excluded else ""
    return text(
        _PREFLIGHT.format(people=people, joins=joins, no_tag=no_tag, inside=inside, excluded=excluded)
    )


def preflight(campaign: Campaign) -> Preflight:
    """Evaluate the whole audience, in one statement."""
    now = clock.now()
    tags = campaign.audience.get("tags")
    versions = {
        language: version
        for (_, language), version in content.newest_approved([item_key(campaign)], now=now).items()
    }
    chosen = segment_filter(campaign, now=now)
    rows = db.session.execute(
        _preflight_statement(campaign, chosen),
        {
            **chosen.values,
            "resend_of": campaign.resend_of_id,
            "repeat_allowed": campaign.repeat_allowed,
            "versions": list(versions.values()),
            "topic": campaign.topic,
            "transactional": False,
            "now": now,
            "tags": tags,
            "exclude_tags": campaign.audience.get("exclude_tags") or [],
            "languages": list(versions),
            "week": now - FREQUENCY_SPAN,
            "cap": FREQUENCY_CAP,
        },
    )
    found = {row.reason: row for row in rows}
    counts = {reason: int(row.people) for reason, row in found.items()}
    return Preflight(
        people=counts.pop(None, 0),
        skipped=dict(sorted(counts.items())),
        had=sum(int(row.had) for row in found.values()),
    )


def recent_preflight(campaign: Campaign, *, again: bool = False) -> Counted:
    """Return a preflight of the last minute where the audience is large, else a new one; always a new one if `again`."""
    key = f"preflight:{campaign.id}"
    if not again and (kept := _kept(key)) is not None:
        return kept
    counted = Counted(preflight=preflight(campaign), at=clock.now())
    if counted.preflight.people + sum(counted.preflight.skipped.values()) > rules.ASK_ABOVE:
        kept_as = asdict(counted.preflight) | {"at": counted.at.isoformat()}
        with suppress(RedisError):  # then each view counts
            queue.redis().set(key, json.dumps(kept_as), ex=PREFLIGHT_SECONDS)
    return counted


def _kept(key: str) -> Counted | None:
    try:
        found = queue.redis().get(key)
    except RedisError:
        return None
    if found is None:
        return None
    fields = json.loads(found)
    at = datetime.fromisoformat(fields.pop("at"))
    return Counted(preflight=Preflight(**fields), at=at)


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
    """Return how many batches the provider refused for good since a person last resumed it, up to `FAILURES_TO_PAUSE`."""
    rows = select(Batch.id).outerjoin(BreakerReset, BreakerReset.scope == f"campaign:{campaign_id}")
    rows = rows.where(
        or_(BreakerReset.at.is_(None), Batch.state_at > BreakerReset.at),
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
