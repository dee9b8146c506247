"""Keeping the roll-ups: every day is counted from the facts, whole, in one transaction, again and again.

Nothing is added up as it happens. So a crash, a missed job or an edit of old data cannot leave a wrong number for
longer than the next count, and no page of the desk waits for a report.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy import text

from crm.core import clock, current
from crm.core.db import Base, db, execute_raw, text_array
from crm.leads.contact_attempts import REACHED
from crm.reports import rules
from crm.reports.models import ReportConsent, ReportConsultation, ReportEmail, ReportLead
from crm.reports.rules import Period

# A move that was undone takes one arrival at its stage away; so nested undos come out right in any order.
_LEADS = """
    with leads as materialized (
        select * from lead where created_at >= :start and created_at < :end and stage <> all(:left_out::text[])
    ), steps as (
        select * from unnest(:kinds::text[], :stages::text[], :steps::int[], :booked::int[], :attended::int[])
            as s(kind, stage, step, booked, attended)
    ), visits as (
        select v.lead_id, v.stage, min(v.at) as at from (
            select m.lead_id, m.now as stage, 1 as arrivals, m.at from stage_move m join leads l on l.id = m.lead_id
            where m.reason is distinct from 'undone'
            union all
            select m.lead_id, m.was, -1, null from stage_move m join leads l on l.id = m.lead_id where m.reason = 'undone'
            union all
            select id, stage, 1, stage_at from leads) v
        group by v.lead_id, v.stage having sum(v.arrivals) > 0
    ), by_stage as (
        select v.lead_id, max(s.step) as step, min(v.at) filter (where s.step >= s.booked) as booked_at,
            min(v.at) filter (where s.step >= s.attended) as attended_at
        from visits v join leads l on l.id = v.lead_id join steps s on s.kind = l.kind and s.stage = v.stage
        group by v.lead_id
    ), by_visit as (
        select c.lead_id, min(c.created_at) as booked_at, min(c.starts_at) filter (where c.state = 'attended') as attended_at
        from consultation c join leads l on l.id = c.lead_id group by c.lead_id
    ), reached as (
        select c.lead_id from lead_call c join leads l on l.id = c.lead_id where c.outcome = any(:reached::text[])
        group by c.lead_id
    ), late as (
        select b.lead_id from lead_breach b join leads l on l.id = b.lead_id where b.stage = any(:waits::text[])
        group by b.lead_id
    ), found as (
        select l.*, coalesce(r.practice_id, poster.id) as practice_id, r.outcome_sent_at, greatest(coalesce(s.step, 0),
                case when l.kind = 'contact_request' and c.lead_id is not null then 1 else 0 end,
                case when v.attended_at is not null then case l.kind when 'referral' then 3 else 4 end
                    when v.lead_id is not null then case l.kind when 'referral' then 2 else 3 end else 0 end) as step,
            least(s.booked_at, v.booked_at) as booked_at, least(s.attended_at, v.attended_at) as attended_at,
            late.lead_id is not null as late, l.created_at at time zone :zone as local
        from leads l
        left join by_stage s on s.lead_id = l.id left join by_visit v on v.lead_id = l.id
        left join reached c on c.lead_id = l.id left join late on late.lead_id = l.id
        left join referral r on r.lead_id = l.id
        left join practice poster on poster.id =
            case when l.first_touch->>'practice' ~ '^[0-9]{1,18}$' then cast(l.first_touch->>'practice' as bigint) end
    )
    select f.id as lead_id, f.local::date as day, extract(hour from f.local)::smallint as hour,
        extract(isodow from f.local)::smallint as weekday, f.kind, f.source,
        concat_ws(' / ', nullif(f.first_touch->>'utm_source', ''), nullif(f.first_touch->>'utm_campaign', '')) as campaign,
        f.practice_id, f.owner_id, c.language, c.state,
        case when f.kind = 'referral' and f.step = 3 and f.outcome_sent_at is not null then 4 else f.step end::smallint as step,
        f.stage, f.reason, f.closed_at is not null as closed, f.stage_at, f.attempts::int as attempts,
        case when f.first_human_touch_at is not null  -- `greatest` skips null
            then greatest(0, floor(extract(epoch from f.first_human_touch_at - f.created_at) / 60))::int end as minutes_to_touch,
        f.late,
        case when f.booked_at is not null
            then greatest(0, floor(extract(epoch from f.booked_at - f.created_at) / 3600))::int end as hours_to_booked,
        case when f.attended_at is not null
            then greatest(0, floor(extract(epoch from f.attended_at - f.created_at) / 3600))::int end as hours_to_attended
    from found f join contact c on c.id = f.contact_id
"""
_EMAILS = """
    select (b.created_at at time zone :zone)::date as day, b.kind, coalesce(b.sequence_id, 0) as sequence_id,
        coalesce(m.step, 0) as step, coalesce(b.campaign_id, 0) as campaign_id, v.item_id, b.language,
        count(*) filter (where s.state = any(:sent::text[])) as sent,
        count(*) filter (where s.state in ('delivered', 'unsubscribed', 'complained')) as delivered,
        count(*) filter (where s.state = 'bounced') as bounced,
        count(*) filter (where s.state in ('blocked', 'dropped')) as refused,
        count(*) filter (where s.state = 'complained') as complained,
        count(*) filter (where s.state = 'unsubscribed' or o.message_id is not null) as opted_out,
        count(*) filter (where s.state in ('skipped', 'failed', 'blocked_policy', 'cancelled')) as left_out
    from batch b join message m on m.batch_id = b.id join content_version v on v.id = m.content_version_id
    cross join lateral (select coalesce(m.state, b.state) as state) s
    left join (
        select distinct message_id from consent_record where action = 'withdrawn' and message_id is not null) o
        on o.message_id = m.id
    where b.created_at >= :start and b.created_at < :end
    group by 1, 2, 3, 4, 5, 6, 7
"""
_CONSENTS = """
    select (asked_at at time zone :zone)::date as day, a.action, wording, kind as source, language, count(*) as people
    from confirmation cross join (values ('asked'), ('confirmed')) a(action)
    where asked_at >= :start and asked_at < :end and (a.action = 'asked' or confirmed_at is not null)
    group by 1, 2, 3, 4, 5
    union all
    select (at at time zone :zone)::date, 'withdrawn', '', source, language, count(distinct contact_id)
    from consent_record
    where action = 'withdrawn' and source not in ('merge', 'unmerge') and at >= :start and at < :end
    group by 1, 2, 3, 4, 5
"""
_CONSULTATIONS = """
    select (c.starts_at at time zone :zone)::date as day, l.kind, coalesce(c.clinician_id, 0) as clinician_id, c.state,
        exists (select from consultation_reminder r where r.consultation_id = c.id and r.emailed) as reminded,
        count(*) as consultations
    from consultation c join lead l on l.id = c.lead_id
    where c.starts_at >= :start and c.starts_at < :end group by 1, 2, 3, 4, 5
"""
SENT = (
    "accepted", "processed", "deferred", "delivered", "blocked", "dropped", "bounced", "unsubscribed", "complained",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Report:
    """One roll-up: its table, the select that counts it, and the select of the oldest fact."""

    table: type[Base]
    count: str
    oldest: str


REPORTS: Mapping[str, Report] = {
    "leads": Report(table=ReportLead, count=_LEADS, oldest="select min(created_at) from lead"),
    "emails": Report(table=ReportEmail, count=_EMAILS, oldest="select min(created_at) from batch"),
    "consents": Report(
        table=ReportConsent,
        count=_CONSENTS,
        oldest="select least((select min(asked_at) from confirmation), (select min(at) from consent_record))",
    ),
    "consultations": Report(
        table=ReportConsultation, count=_CONSULTATIONS, oldest="select min(starts_at) from consultation"
    ),
}


def due_slices(report: str) -> list[Period]:
    """Return the days of a report that are to be counted now, as periods, the newest first."""
    zone, now, today = current.calendar().zone, clock.now(), clock.today()
    oldest = db.session.scalar(text(REPORTS[report].oldest))
    if oldest is None:
        return []
    counted: dict[date, datetime] = {
        row.day: row.counted_at
        for row in db.session.execute(
            text("select day, counted_at from report_day where report = :report"),
            {"report": report},
        )
    }
    first = min(oldest.astimezone(zone).date(), today)
    days = (today - timedelta(days=back) for back in range((today - first).days + 1))
    return rules.slices(
        day
        for day in days
        if day not in counted or counted[day] <= rules.recount_before(day, today=today, now=now)
    )


def recount(report: str, period: Period) -> None:
    """Count the days of a period from the facts, replacing what was counted. One transaction; others wait."""
    zone = current.calendar().zone
    execute_raw("select pg_advisory_xact_lock(hashtext(:name))", {"name": f"reports.{report}"})
    given = {
        "zone": str(zone),
        "start": _midnight(period.first),
        "end": _midnight(period.last + timedelta(days=1)),
        "first": period.first,
        "last": period.last,
        **_constants(),
    }
    execute_raw(_replace_sql(REPORTS[report]), given)
    execute_raw(
        """
        insert into report_day (report, day, counted_at)
        select :report, day::date, :now from generate_series(:first::date, :last::date, '1 day') day
        on conflict (report, day) do update set counted_at = excluded.counted_at
        """,
        {"report": report, "now": clock.now(), "first": period.first, "last": period.last},
    )


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), current.calendar().zone).astimezone(UTC)


def _constants() -> dict[str, Any]:
    table = [(kind, stage, step) for kind, of in rules.STEP_OF_STAGE.items() for stage, step in of.items()]
    return {
        "kinds": text_array([kind for kind, _, _ in table]),
        "stages": text_array([stage for _, stage, _ in table]),
        "steps": [step for _, _, step in table],
        "booked": [rules.BOOKED[kind] for kind, _, _ in table],
        "attended": [rules.ATTENDED[kind] for kind, _, _ in table],
        "left_out": text_array(rules.LEFT_OUT),
        "reached": text_array(sorted(REACHED)),
        "waits": text_array(rules.WAITS_FOR_US),
        "sent": text_array(SENT),
    }


def _replace_sql(report: Report) -> str:
    """Return the statement that makes the rows of a period equal to what is counted, and writes only what differs."""
    table = report.table.__table__
    columns = list(table.columns)
    keys = [column.name for column in columns if column.primary_key]
    others = [column.name for column in columns if not column.primary_key]
    name = table.description
    same = " and ".join(f"f.{key} = r.{key}" for key in keys)
    return f"""
        with fresh as materialized ({report.count}), gone as (
            delete from {name} r where r.day between :first and :last and not exists (select from fresh f where {same}))
        insert into {name} as r ({", ".join(keys + others)})
        select {", ".join(keys + others)} from fresh
        on conflict ({", ".join(keys)}) do update set {", ".join(f"{one} = excluded.{one}" for one in others)}
        where ({", ".join(f"r.{one}" for one in others)}) is distinct from ({", ".join(f"excluded.{one}" for one in others)})
    """
