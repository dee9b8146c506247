"""Numbers of the report pages, read from the roll-ups: one bounded statement each."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

from sqlalchemy import Row, select, text

from crm.core import clock, current
from crm.core.db import db
from crm.core.read_replica import reading
from crm.leads.models import Lead
from crm.reports import rules
from crm.reports.rules import Period

SHOWN = 50  # rows of a table that is broken down; the rest is in the CSV file
CSV_ROWS = 5_000
CHOICES = 300  # practices or people in a select


@dataclass(frozen=True, kw_only=True)
class LeadFilter:
    """Which leads a report counts. An empty text and a number of None mean all; owner 0 means nobody's."""

    kind: str
    period: Period
    source: str = ""
    practice: int | None = None
    owner: int | None = None
    language: str = ""

    def sql(self) -> str:
        parts = ["day between :first and :last", "kind = :kind"]
        parts += [f"{name} = :{name}" for name in ("source", "language") if getattr(self, name)]
        if self.practice is not None:
            parts.append("practice_id = :practice")
        if self.owner is not None:
            parts.append("coalesce(owner_id, 0) = :owner")
        return " and ".join(parts)

    def given(self) -> dict[str, Any]:
        return {
            "first": self.period.first, "last": self.period.last, "kind": self.kind, "source": self.source,
            "practice": self.practice, "owner": self.owner, "language": self.language,
        }  # fmt: skip


GROUPS: Mapping[str, str] = {
    "source": "source", "campaign": "campaign", "practice": "coalesce(practice_id, 0)", "owner": "coalesce(owner_id, 0)",
    "language": "language", "state": "coalesce(state, '')", "month": "to_char(day, 'YYYY-MM')",
}  # fmt: skip
"""What leads are broken down by -> its expression."""


def _rows(sql: str, given: Mapping[str, Any]) -> Sequence[Row[Any]]:
    with reading() as connection:
        return connection.execute(text(sql), dict(given)).all()


Counts = Mapping[tuple[date, int], int]
"""How many leads came in on each day, by the furthest step they took."""


def counts(wanted: LeadFilter) -> Counts:
    """Return how many leads came in on each day, by their furthest step, for `steps_of` and `per_day`."""
    found = _rows(
        f"select day, step, count(*) as leads from report_lead where {wanted.sql()} group by day, step",
        wanted.given(),
    )
    return {(row.day, row.step): row.leads for row in found}


def steps(wanted: LeadFilter) -> list[int]:
    """Return how many leads took each step, the first step first."""
    return steps_of(counts(wanted), kind=wanted.kind)


def steps_of(found: Counts, *, kind: str) -> list[int]:
    """Return how many of the counted leads took each step."""
    furthest = Counter[int]()
    for (_, step), leads in found.items():
        furthest[step] += leads
    return at_least(furthest, kind=kind)


def per_day(found: Counts, *, step: int = 0) -> Counter[date]:
    """Return how many of the counted leads came in on each day, or of these, how many took a step later."""
    days = Counter[date]()
    for (day, furthest), leads in found.items():
        if furthest >= step:
            days[day] += leads
    return days


def at_least(furthest: Mapping[int, int], *, kind: str) -> list[int]:
    """Return how many came to each step or further, from how many came to each as their furthest."""
    return [
        sum(count for step, count in furthest.items() if step >= place)
        for place in range(len(rules.STEPS[kind]))
    ]


@dataclass(frozen=True, kw_only=True)
class Part:
    """The leads of one source, practice, owner...: how many took each step, and the median days to a booking."""

    key: Any
    steps: list[int]
    days_to_booked: float | None


def parts(wanted: LeadFilter, *, by: str) -> list[Part]:
    """Return the leads broken down, the largest part first. Raises KeyError for an unknown name."""
    counts = ", ".join(
        f"count(*) filter (where step >= {place}) as s{place}"
        for place in range(len(rules.STEPS[wanted.kind]))
    )
    found = _rows(
        f"""
        select {GROUPS[by]} as key, {counts},
            percentile_cont(0.5) within group (order by hours_to_booked) / 24 as days
        from report_lead where {wanted.sql()} group by 1 order by count(*) desc, 1 limit :limit
        """,
        {**wanted.given(), "limit": CSV_ROWS},
    )
    return [Part(key=row.key, steps=list(row[1:-1]), days_to_booked=row.days) for row in found]


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """The leads of one month of arrival; of these, how many booked and attended within each of `rules.WITHIN` days."""

    month: date
    leads: int
    booked: list[int]
    attended: list[int]
    ever_booked: int
    ever_attended: int


def cohorts(wanted: LeadFilter) -> list[Cohort]:
    """Return the months of a period, the oldest first."""
    counts = [
        f"count(*) filter (where hours_to_{what} < {days * 24}) as {what}_{days}"
        for what in ("booked", "attended")
        for days in rules.WITHIN
    ]
    found = _rows(
        f"""
        select date_trunc('month', day)::date as month, count(*) as leads, {", ".join(counts)},
            count(*) filter (where step >= :booked) as ever_booked, count(*) filter (where step >= :attended) as ever_attended
        from report_lead where {wanted.sql()} group by 1 order by 1
        """,
        {**wanted.given(), "booked": rules.BOOKED[wanted.kind], "attended": rules.ATTENDED[wanted.kind]},
    )
    width = len(rules.WITHIN)
    return [
        Cohort(
            month=row.month, leads=row.leads, booked=list(row[2 : 2 + width]), attended=list(row[2 + width : 2 + 2 * width]),
            ever_booked=row.ever_booked, ever_attended=row.ever_attended,
        )
        for row in found
    ]  # fmt: skip


def medians(wanted: LeadFilter) -> dict[str, float | None]:
    """Return the median days to a booking (`booked`) and to the visit (`attended`); None where there was none.

    The database counts hours and sorts no lead: a quarter of the time of its `percentile_cont` for a year.
    """
    found = {}
    for what in ("booked", "attended"):
        hours = f"hours_to_{what}"
        rows = _rows(
            f"""
            select {hours} as hours, count(*) as leads from report_lead
            where {wanted.sql()} and {hours} is not null group by 1
            """,
            wanted.given(),
        )
        middle = rules.median({row.hours: row.leads for row in rows})
        found[what] = None if middle is None else middle / 24
    return found


def summed(per_day: Mapping[date, int], buckets: Iterable[Period]) -> list[int]:
    """Return the sums of buckets of days."""
    return [sum(count for day, count in per_day.items() if one.first <= day <= one.last) for one in buckets]


@dataclass(frozen=True, kw_only=True)
class Stop:
    """Where leads stopped: the furthest step; how many are open, idle, or closed, and the most common reasons."""

    step: int
    open: int
    idle: int
    closed: int
    reasons: list[tuple[str, int]]


def stops(wanted: LeadFilter, *, idle_since: datetime) -> list[Stop]:
    """Return for each step but the last where leads ended or wait."""
    found = _rows(
        f"""
        select step, reason, closed, count(*) as leads, count(*) filter (where stage_at < :idle) as idle
        from report_lead where {wanted.sql()} group by step, reason, closed
        """,
        {**wanted.given(), "idle": idle_since},
    )
    return [
        _stop(step, [row for row in found if row.step == step])
        for step in range(len(rules.STEPS[wanted.kind]) - 1)
    ]


def _stop(step: int, here: Sequence[Row[Any]]) -> Stop:
    closed, waits = [row for row in here if row.closed], [row for row in here if not row.closed]
    reasons = Counter[str]()
    for row in closed:
        reasons[row.reason or ""] += row.leads
    del reasons[""]
    return Stop(
        step=step,
        open=sum(row.leads for row in waits),
        idle=sum(row.idle for row in waits),
        closed=sum(row.leads for row in closed),
        reasons=reasons.most_common(3),
    )


WHO = 100
STATUSES = {
    "": "true", "open": "not closed", "closed": "closed", "idle": "not closed and stage_at < :idle", "late": "late",
    "untouched": "minutes_to_touch is null and not closed",
}  # fmt: skip


def lead_ids(
    wanted: LeadFilter,
    *,
    step: int,
    only: int | None,
    status: str,
    idle_since: datetime,
    after: tuple[date, int] | None,
) -> Sequence[Row[Any]]:
    """Return (day, lead id) of the leads behind a number, newest first."""
    furthest = "and step = :only" if only is not None else ""
    later = "and (day, lead_id) < (:after_day, :after_id)" if after else ""
    return _rows(
        f"""
        select day, lead_id from report_lead
        where {wanted.sql()} and step >= :step {furthest} and {STATUSES[status]} {later}
        order by day desc, lead_id desc limit :limit
        """,
        {
            **wanted.given(), "step": step, "only": only, "idle": idle_since, "limit": WHO + 1,
            "after_day": after and after[0], "after_id": after and after[1],
        },
    )  # fmt: skip


def load_leads(ids: Iterable[int]) -> dict[int, Lead]:
    """Return leads by id."""
    return {lead.id: lead for lead in db.session.scalars(select(Lead).where(Lead.id.in_(list(ids))))}


_TIMED = "source = any(:on_their_own)"


@dataclass(frozen=True, kw_only=True)
class Answers:
    """How soon staff first acted on leads that came in by themselves."""

    key: Any
    leads: int
    touched: int
    late: int
    waiting: int
    minutes: float | None  # median
    attempts: float | None


_ANSWERS = """
    count(*) as leads, count(minutes_to_touch) as touched, count(*) filter (where late) as late,
    count(*) filter (where minutes_to_touch is null and not closed) as waiting,
    percentile_cont(0.5) within group (order by minutes_to_touch) as minutes, avg(attempts)::float as attempts
"""


def answers(wanted: LeadFilter, *, by: str = "") -> list[Answers]:
    """Return how soon staff acted: in all, or by "owner", "source" or "week"."""
    key = {"": "0", "owner": GROUPS["owner"], "source": "source", "day": "day"}[by]
    found = _rows(
        f"select {key} as key, {_ANSWERS} from report_lead where {wanted.sql()} and {_TIMED} group by 1 order by 2 desc, 1",
        {**wanted.given(), "on_their_own": list(rules.ON_THEIR_OWN)},
    )
    return [Answers(**row._mapping) for row in found]


def touch_over_time(wanted: LeadFilter, buckets: Sequence[Period]) -> list[float | None]:
    """Return the median minutes to the first touch of each bucket."""
    found = _rows(
        f"""
        select b.place, percentile_cont(0.5) within group (order by minutes_to_touch) as minutes
        from unnest(cast(:firsts as date[]), cast(:lasts as date[])) with ordinality b(since, until, place)
        join report_lead on day between b.since and b.until
        where {wanted.sql()} and {_TIMED} group by b.place
        """,
        {
            **wanted.given(), "on_their_own": list(rules.ON_THEIR_OWN),
            "firsts": [one.first for one in buckets], "lasts": [one.last for one in buckets],
        },
    )  # fmt: skip
    places = {row.place: row.minutes for row in found}
    return [places.get(place + 1) for place in range(len(buckets))]


def by_hour(wanted: LeadFilter, *, late: bool = False) -> list[list[int]]:
    """Return how many leads came in, or were answered late, at each hour (columns) of each weekday from Monday."""
    found = _rows(
        f"""
        select weekday, hour, count(*) as leads from report_lead
        where {wanted.sql()} and {_TIMED} {"and late" if late else ""} group by weekday, hour
        """,
        {**wanted.given(), "on_their_own": list(rules.ON_THEIR_OWN)},
    )
    places = {(row.weekday, row.hour): row.leads for row in found}
    return [[places.get((weekday, hour), 0) for hour in range(24)] for weekday in range(1, 8)]


EMAIL_COUNTS = ("sent", "delivered", "bounced", "refused", "complained", "opted_out", "left_out")


def emails(period: Period) -> Sequence[Row[Any]]:
    """Return the counts of each step, broadcast and transactional email, with names, most sent first within its kind."""
    sums = ", ".join(f"sum({name})::bigint as {name}" for name in EMAIL_COUNTS)
    return _rows(
        f"""
        select e.*, s.title as sequence, c.name as campaign, i.title as purpose,
            (select v.subject from content_version v where v.item_id = e.item_id
             order by (v.language = 'en') desc, v.number desc limit 1) as subject
        from (select kind, sequence_id, step, campaign_id, item_id, {sums} from report_email
              where day between :first and :last
              group by kind, sequence_id, step, campaign_id, item_id) e
        left join sequence s on s.id = e.sequence_id left join campaign c on c.id = e.campaign_id
        left join content_item i on i.id = e.item_id
        order by array_position(array['sequence', 'campaign', 'transactional'], e.kind), s.title, e.step, e.sent desc
        limit :limit
        """,
        {"first": period.first, "last": period.last, "limit": CSV_ROWS},
    )


def emails_per_day(period: Period) -> Mapping[str, Counter[date]]:
    """Return counts of emails by name and day."""
    sums = ", ".join(f"sum({name})::bigint as {name}" for name in EMAIL_COUNTS)
    found = _rows(
        f"select day, {sums} from report_email where day between :first and :last group by day",
        {"first": period.first, "last": period.last},
    )
    return {name: Counter({row.day: getattr(row, name) for row in found}) for name in EMAIL_COUNTS}


def consents(period: Period) -> Sequence[Row[Any]]:
    """Return (action, wording, source, people), most people first."""
    return _rows(
        """
        select action, wording, source, sum(people)::bigint as people from report_consent
        where day between :first and :last
        group by action, wording, source order by people desc, wording, source
        """,
        {"first": period.first, "last": period.last},
    )


def consents_per_day(period: Period) -> Mapping[str, Counter[date]]:
    """Return action -> day -> people."""
    found = _rows(
        """
        select action, day, sum(people)::bigint as people from report_consent
        where day between :first and :last group by action, day
        """,
        {"first": period.first, "last": period.last},
    )
    counts = defaultdict[str, Counter[date]](Counter)
    for row in found:
        counts[row.action][row.day] = row.people
    return counts


def consultations(period: Period) -> Sequence[Row[Any]]:
    """Return (day, clinician_id, state, reminded, consultations) of a period."""
    return _rows(
        """
        select day, clinician_id, state, reminded, sum(consultations)::bigint as consultations from report_consultation
        where day between :first and :last group by day, clinician_id, state, reminded
        """,
        {"first": period.first, "last": period.last},
    )


def counted_at(report: str, period: Period) -> datetime | None:
    """Return when the day of a period that was counted longest ago was counted; None: nothing was."""
    found: datetime | None = _rows(
        "select min(counted_at) as at from report_day where report = :report and day between :first and :last",
        {"report": report, "first": period.first, "last": period.last},
    )[0].at
    return found


def names(table: str, ids: Iterable[int]) -> dict[int, str]:
    """Return id -> name of practices or staff members."""
    if table not in ("practice", "user"):
        raise KeyError(table)
    found = _rows(f'select id, name from "{table}" where id = any(:ids)', {"ids": list(ids)})
    return {row.id: row.name for row in found}


def choices(table: str) -> list[tuple[int, str]]:
    """Return (id, name) of practices or staff members for a select, by name. Raises KeyError."""
    which = {"practice": "merged_into_id is null", "user": "practice_id is null"}[table]
    found = _rows(
        f'select id, name from "{table}" where {which} order by lower(name), id limit :most',
        {"most": CHOICES},
    )
    return [(row.id, row.name) for row in found]


@dataclass(frozen=True, kw_only=True)
class Today:
    """What home pages count of the present day: from the facts, not from the roll-ups."""

    leads: int
    leads_yesterday: int
    visits: int
    visits_week: int
    triage: int
    reviews: int
    queued: int


def today_counts() -> Today:
    """Return the numbers of the present day: one statement, each part a bounded range of an index."""
    midnight = datetime.combine(clock.today(), time(), current.calendar().zone)
    row = db.session.execute(
        text("""
            select (select count(*) from lead where created_at >= :today) as leads,
                (select count(*) from lead where created_at >= :yesterday and created_at < :today) as leads_yesterday,
                (select count(*) from consultation where state = 'booked' and starts_at >= :today and starts_at < :tomorrow)
                    as visits,
                (select count(*) from consultation where state = 'booked' and starts_at >= :today and starts_at < :week)
                    as visits_week,
                (select count(*) from lead where kind = 'referral' and stage in ('received', 'in_review')
                    and closed_at is null) as triage,
                (select count(distinct item_id) from content_version where state = 'in_review') as reviews,
                (select coalesce(sum(size), 0) from batch where state = 'ready') as queued
        """),
        {
            "today": midnight, "yesterday": midnight - timedelta(days=1), "tomorrow": midnight + timedelta(days=1),
            "week": midnight + timedelta(days=7),
        },
    ).one()  # fmt: skip
    return Today(**{name: int(value) for name, value in row._mapping.items()})


def arrivals(period: Period) -> Counter[date]:
    """Return how many leads of any kind came in on each day."""
    found = _rows(
        "select day, count(*) as leads from report_lead where day between :first and :last group by day",
        {"first": period.first, "last": period.last},
    )
    return Counter({row.day: row.leads for row in found})


def first_steps() -> Mapping[str, bool]:
    """Return which steps of setting up are done."""
    row = db.session.execute(
        text("""
            select (select count(*) > 1 from "user" where practice_id is null) as staff,
                exists (select from content_version where state = 'approved') as content,
                exists (select from sequence where state = 'live') as sequence,
                exists (select from practice) as practice, exists (select from lead) as lead
        """)
    ).one()
    return dict(row._mapping)
