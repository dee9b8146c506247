"""The audience snapshot of a campaign, stored in slices: one slice, one statement, one transaction, and sending begins.

A slice takes the people after `frozen_to` and those whose batch was not full the last time, sorts them by language and
by when the day begins in their time zone, and writes full batches; the remaining people wait in `tail` for the next
slice. The last slice writes them all. Batches and `frozen_to` are committed together, so a crash repeats or loses nobody.
"""

from datetime import timedelta
from functools import lru_cache
from typing import Any, NamedTuple, assert_never

from sqlalchemy import TextClause, func, select, text

from crm.audit import service as audit
from crm.campaigns import queries, rules
from crm.campaigns.models import Campaign
from crm.campaigns.rules import CampaignState
from crm.content import service as content
from crm.content.models import ContentItem, ContentVersion
from crm.core import clock, queue
from crm.core.db import after_commit, db, rows_as
from crm.core.failpoints import failpoint
from crm.messages import service as messages
from crm.messages import transports
from crm.messages.engine import pipeline
from crm.messages.limits import quiet_hours
from crm.messages.rules import BatchState

FIRST_SLICE = 4_000  # people: enough for two workers to begin with
SLICE = 32_000  # what a slice sorts and keeps fits into PostgreSQL's default working memory
GROWTH = 8  # each slice is so much larger than the one before

# People who opted in by the launch, in the order of their ids. Everything else is checked at the claim.
_CONSENTING = """
    select cs.contact_id as id from consent_state cs {with_contact}
    where cs.topic = :topic and cs.granted and cs.contact_id > :low and cs.contact_id <= :high and cs.at <= :launched
        {tagged} {untagged} {unsent} {in_segments}
    order by cs.contact_id limit :limit
"""
_TAGGED = "and exists (select 1 from contact_tag t where t.contact_id = cs.contact_id and t.tag = any(:tags))"
_UNTAGGED = "and not exists (select 1 from contact_tag t where t.contact_id = cs.contact_id and t.tag = any(:exclude_tags))"
_WITH_CONTACT = "join contact c on c.id = cs.contact_id"
_UNSENT = """
    and (exists (select 1 from message m join batch b on b.id = m.batch_id
            where m.campaign_id = :resend_of and m.contact_id = cs.contact_id
                and (m.state in ('skipped', 'failed') or (m.state is null and b.state in ('failed', 'cancelled'))))
        or cs.contact_id in (select unnest(b.contact_ids) from batch b
            where b.campaign_id = :resend_of and b.state in ('failed', 'cancelled')))
"""

_SLICE = """
    with fresh as materialized ({people}),
    placed as materialized (
        select c.id, v.number, c.time_zone
        from (select id from fresh union all select unnest(tail) from campaign where id = :campaign) p
        join contact c on c.id = p.id
        left join unnest(cast(:languages as text[])) with ordinality v(language, number) on v.language = c.language
    ), met as materialized (
        select distinct number, time_zone from placed
    ), zones as (
        select time_zone, opens, dense_rank() over (order by opens) as dawn
        from (select time_zone, {opens} as opens from (select distinct time_zone from met) z) o
    ), dawns as (
        select number, dawn, opens, array_agg(time_zone) as zones from met join zones using (time_zone)
        group by number, dawn, opens
    ), numbered as (
        select p.id, p.number, z.dawn, (row_number() over (partition by p.number, z.dawn order by p.id) - 1) / :size as part
        from placed p join zones z using (time_zone)
    ), parts as (
        select number, dawn, count(*) as size, array_agg(id) as ids from numbered group by number, dawn, part
    ), asked as (
        select count(*) as people, coalesce(max(id), :high) as last, count(*) < :limit as done from fresh
    ), batches as (
        insert into batch (kind, stream, transport, content_version_id, language, topic, campaign_id, contact_ids,
            time_zones, size, state, error, created_at, not_before, too_late_at, state_at)
        select 'campaign', :stream, :transport, coalesce(version.id, :any_version), coalesce(version.language, '-'),
            :topic, :campaign, ids, zones, size, case when version.id is null then 'cancelled' else :state end,
            case when version.id is null then 'no_translation' else cast(:error as text) end, :now,
            coalesce(opens, :now), :too_late, :now
        from asked, parts
        join dawns on dawns.dawn = parts.dawn and dawns.number is not distinct from parts.number
        left join unnest(cast(:languages as text[]), cast(:versions as bigint[])) with ordinality
            version(language, id, number) on version.number = parts.number
        where size = :size or asked.done
        returning state, not_before
    ), moved as (
        update campaign set people = campaign.people + asked.people, frozen_to = asked.last, slices = slices + 1,
            tail = coalesce((select array_agg(one) from parts, unnest(parts.ids) one
                             where parts.size < :size and not asked.done), '{{}}'),
            frozen_at = case when asked.done then cast(:now as timestamptz) end,
            state = case when asked.done and state = 'freezing' then 'sending' else state end,
            version = version + 1
        from asked where campaign.id = :campaign
    )
    select (select count(*) from batches where state = 'ready' and not_before <= :now) as ready, people, done from asked
"""


class Slice(NamedTuple):
    """The result of one slice."""

    ready: int  # batches that may be sent now
    people: int
    done: bool  # the audience is complete


@lru_cache(maxsize=16)
def _statement(*, tags: bool, exclude_tags: bool, resend: bool, in_segments: str) -> TextClause:
    people = _CONSENTING.format(
        with_contact=_WITH_CONTACT if in_segments else "",
        in_segments=in_segments,
        tagged=_TAGGED if tags else "",
        untagged=_UNTAGGED if exclude_tags else "",
        unsent=_UNSENT if resend else "",
    )
    return text(_SLICE.format(people=people, opens=quiet_hours.opens("time_zone")))


def freeze_slice(campaign_id: int, *, first: int = FIRST_SLICE, largest: int = SLICE) -> bool:
    """Store the next slice and queue its delivery; return whether there are more."""
    campaign = db.session.scalar(select(Campaign).where(Campaign.id == campaign_id).with_for_update())
    if campaign is None or campaign.launched_at is None or campaign.frozen_at is not None:
        return False
    number = campaign.slices + 1
    segments = queries.segment_filter(campaign, now=campaign.launched_at)
    statement = _statement(
        in_segments=segments.inside_and_not_excluded,
        tags=bool(campaign.audience.get("tags")),
        exclude_tags=bool(campaign.audience.get("exclude_tags")),
        resend=campaign.resend_of_id is not None,
    )
    limit = min(first * GROWTH**campaign.slices, largest)
    given = _audience(campaign) | _batches(campaign) | {**segments.values, "limit": limit}
    (stored,) = rows_as(Slice, db.session.execute(statement, given))
    db.session.expire(campaign)
    if given["error"] and stored.people:  # the transport went away after the launch
        messages.alert_blocked_policy()
    if stored.ready:
        requests = pipeline.lane_requests(stored.ready, key=f"c{campaign_id}-{number}")
        after_commit(lambda: queue.push(requests))
    audit.record(
        "campaign.frozen",
        object_type="campaign",
        object_id=campaign_id,
        detail={"slice": number, "people": stored.people},
    )
    failpoint("frozen")
    return not stored.done


def _audience(campaign: Campaign) -> dict[str, Any]:
    """Return the parameters that select people."""
    return {
        "campaign": campaign.id,
        "topic": campaign.topic,
        "tags": campaign.audience.get("tags"),
        "exclude_tags": campaign.audience.get("exclude_tags"),
        "resend_of": campaign.resend_of_id,
        "low": campaign.frozen_to or 0,
        "high": campaign.frozen_max,
        "launched": campaign.launched_at,
    }


def _batches(campaign: Campaign) -> dict[str, Any]:
    """Return the parameters that the batches of this campaign share."""
    stream, versions = rules.stream_of(campaign.topic), _versions(campaign)
    planned = campaign.launch_at or campaign.launched_at
    transport = transports.route(stream)
    return {
        "size": transports.batch_size(transport or "sendgrid"),
        "languages": list(versions),
        "versions": list(versions.values()),
        "any_version": _any_version(campaign),
        "stream": stream.name,
        "transport": transport or "none",
        "state": _batch_state(campaign.state) if transport else BatchState.FAILED,
        "error": None if transport else "blocked_policy",
        "now": clock.now(),
        "too_late": planned + timedelta(hours=campaign.late_after_hours) if planned else None,
    }


def _batch_state(state: CampaignState) -> BatchState:
    """Return the state of batches that are written while the campaign is in `state`."""
    match state:
        case CampaignState.PAUSED:
            return BatchState.HELD
        case CampaignState.CANCELLED:
            return BatchState.CANCELLED
        case CampaignState.FREEZING | CampaignState.SENDING | CampaignState.FINISHED:
            return BatchState.READY
        case CampaignState.DRAFT | CampaignState.SCHEDULED:
            raise ValueError(f"A campaign that is {state} has no batches.")
        case _:
            assert_never(state)


def _any_version(campaign: Campaign) -> int:
    """Return a placeholder version for recipients whose language has no approved version; these batches are never sent."""
    newest = select(func.max(ContentVersion.id)).where(ContentVersion.item_id == campaign.item_id)
    return db.session.scalars(newest).one() or 0


def _versions(campaign: Campaign) -> dict[str, int]:
    """Return language -> newest approved version, by id: the same in every slice unless one is approved meanwhile."""
    key = db.session.scalars(select(ContentItem.key).where(ContentItem.id == campaign.item_id)).one()
    return dict(
        sorted(
            (language, found)
            for (_, language), found in content.newest_approved([key], now=clock.now()).items()
        )
    )
