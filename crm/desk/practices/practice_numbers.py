"""What a practice referred and how far it went; the list of practices. Bounded statements."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select, text

from crm.core import clock, paging
from crm.core.db import db
from crm.core.paging import Page
from crm.leads.models import Lead, Referral
from crm.referrers.models import Clinician, PortalPerson, Practice

COUNTED = 2_000  # newest referrals that the numbers of one practice are counted from
PAGE = 50
YEAR = timedelta(days=365)

# Stages of a referral as it moved on; a referral that was accepted once counts as accepted, whatever became of it.
_NUMBERS = text("""
    select count(*) as total, count(*) filter (where m.accepted) as accepted,
        count(*) filter (where m.scheduled_at is not null) as scheduled, count(*) filter (where m.attended) as attended,
        count(*) filter (where l.created_at > :year) as this_year, max(l.created_at) as newest,
        percentile_cont(0.5) within group (order by extract(epoch from m.scheduled_at - l.created_at) / 86400)
            filter (where m.scheduled_at is not null) as median_days
    from (select lead_id from referral where practice_id = :practice order by lead_id desc limit :counted) r
    join lead l on l.id = r.lead_id
    cross join lateral (
        select coalesce(bool_or(s.now in ('accepted', 'contacting', 'scheduled', 'seen')), false) as accepted,
            min(s.at) filter (where s.now = 'scheduled') as scheduled_at, coalesce(bool_or(s.now = 'seen'), false) as attended
        from stage_move s where s.lead_id = l.id) m
    where l.stage not in ('duplicate', 'entered_in_error')
""")
# The portal is above this feature in the import order, so its tables are read here by name. Texts stay on their page.
_MESSAGES = text("""
    select l.reference, m.at, m.from_clinic
    from (select lead_id from referral where practice_id = :practice order by lead_id desc limit :counted) r
    join lead l on l.id = r.lead_id
    cross join lateral (
        select at, from_clinic from portal_message p where p.lead_id = r.lead_id order by p.id desc limit 1) m
    order by m.at desc limit :shown
""")
_LAST_CONTACT = text("""
    select max(at) from (
        select max(at) as at from practice_note where practice_id = :practice
        union all select max(last_seen_at) from portal_person where practice_id = :practice
        union all select cast(:message_at as timestamptz)) contact
""")
MESSAGES = 5


@dataclass(frozen=True, kw_only=True)
class ScorePart:
    """One reason for points."""

    why: str
    points: int


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """How many referrals came, and how far they went. `capped`: only the newest were counted."""

    total: int
    accepted: int
    scheduled: int
    attended: int
    this_year: int
    median_days: float | None
    newest: datetime | None
    last_contact: datetime | None

    @property
    def capped(self) -> bool:
        return self.total >= COUNTED

    def share(self, count: int) -> int:
        """Return a count in percent of all."""
        return round(100 * count / self.total) if self.total else 0

    def score(self) -> list[ScorePart]:
        """Return the parts of the score, at most 100 points together: volume, conversion, speed."""
        if not self.total:
            return []
        parts = [
            ScorePart(why=f"{self.this_year} referrals in a year", points=min(30, self.this_year * 3)),
            ScorePart(
                why=f"{self.share(self.accepted)} % accepted", points=round(0.2 * self.share(self.accepted))
            ),
            ScorePart(
                why=f"{self.share(self.attended)} % attended", points=round(0.3 * self.share(self.attended))
            ),
        ]
        if self.median_days is not None:
            days = round(self.median_days)
            speed = max(0, 20 - days)
            parts.append(ScorePart(why=f"{days} days to an appointment (median)", points=speed))
        return parts


def numbers_of(practice_id: int) -> Numbers:
    """Return the numbers of one practice: three bounded statements."""
    given = {"practice": practice_id, "counted": COUNTED, "year": clock.now() - YEAR}
    row = db.session.execute(_NUMBERS, given).one()
    newest = messages_of(practice_id)
    message_at = newest[0].at if newest else None
    last = db.session.scalar(_LAST_CONTACT, {"practice": practice_id, "message_at": message_at})
    days = float(row.median_days) if row.median_days is not None else None
    return Numbers(
        total=row.total, accepted=row.accepted, scheduled=row.scheduled, attended=row.attended,
        this_year=row.this_year, median_days=days, newest=row.newest, last_contact=last,
    )  # fmt: skip


def messages_of(practice_id: int) -> Sequence[Any]:
    """Return the newest message of each referral that has any, newest first: reference, at, from_clinic."""
    given = {"practice": practice_id, "counted": COUNTED, "shown": MESSAGES}
    return db.session.execute(_MESSAGES, given).all()


def referrals_of(practice_id: int, *, cursor: str | None = None) -> Page[Lead]:
    """Return the referrals of a practice, newest first."""
    rows = select(Lead).join(Referral, Referral.lead_id == Lead.id).where(Referral.practice_id == practice_id)
    if cursor:
        rows = rows.where(Referral.lead_id < paging.decode(cursor, (int,))[0])
    found = db.session.scalars(rows.order_by(Referral.lead_id.desc()).limit(PAGE + 1)).all()
    shown = found[:PAGE]
    return Page(rows=shown, next=paging.encode(shown[-1].id) if len(found) > PAGE else None)


def clinicians_of(practice_id: int) -> Sequence[Any]:
    """Return the clinicians of a practice by name, each with the number of their referrals up to a bound."""
    theirs = select(Referral.lead_id).where(Referral.clinician_id == Clinician.id).limit(COUNTED)
    counted = select(func.count()).select_from(theirs.correlate(Clinician).subquery()).scalar_subquery()
    rows = select(Clinician, counted.label("referrals")).where(Clinician.practice_id == practice_id)
    return db.session.execute(rows.order_by(Clinician.name, Clinician.id).limit(200)).all()


def find_practices(q: str, *, cursor: str | None = None) -> Page[Practice]:
    """Return practices, newest first; with words: those whose name, clinicians or portal users have all of them."""
    rows = select(Practice).where(Practice.merged_into_id.is_(None))
    if q:
        rows = rows.where(_named(q))
    if cursor:
        rows = rows.where(Practice.id < paging.decode(cursor, (int,))[0])
    found = db.session.scalars(rows.order_by(Practice.id.desc()).limit(PAGE + 1)).all()
    shown = found[:PAGE]
    return Page(rows=shown, next=paging.encode(shown[-1].id) if len(found) > PAGE else None)


def _named(q: str) -> Any:
    words = func.string_to_array(func.fold_name(q.lower()), " ")
    word = func.unnest(words).table_valued("word").render_derived()

    def has_all(name: Any) -> Any:
        folded = func.concat(" ", func.fold_name(func.lower(name)))
        return ~select(word.c.word).where(func.strpos(folded, func.concat(" ", word.c.word)) == 0).exists()

    by_clinician = select(Clinician.practice_id).where(has_all(Clinician.name))
    by_person = select(PortalPerson.practice_id).where(has_all(PortalPerson.name))
    npi = "".join(q.split())
    by_npi = select(Clinician.practice_id).where(Clinician.npi == npi)
    parts = [has_all(Practice.name), Practice.id.in_(by_clinician), Practice.id.in_(by_person)]
    found = parts[0] | parts[1] | parts[2]
    return found | Practice.id.in_(by_npi) if npi.isdecimal() else found
