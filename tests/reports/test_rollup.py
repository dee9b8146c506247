"""Roll-ups: equal to a slow honest count over random facts, after changes, crashes and deletions."""

import random
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import delete, select, text, update

from crm.content.models import ContentVersion
from crm.core.db import db, transaction
from crm.leads.models import Lead
from crm.reports import rollup
from crm.reports.rules import Period
from jobs import reports as jobs
from tests.reports import facts, recount
from tests.support import factories

NOW = datetime(2026, 2, 20, 20, tzinfo=UTC)
HONEST = {
    "leads": recount.leads,
    "emails": recount.emails,
    "consents": recount.consents,
    "consultations": recount.consultations,
}


@pytest.fixture
def clock_in_february(clock):
    clock.move_to(NOW)
    return clock


@pytest.fixture
def version(edge):
    factories.shipped()
    return db.session.scalar(select(ContentVersion.id).limit(1))


def counted(report):
    table = rollup.REPORTS[report].table.__table__
    return [dict(row._mapping) for row in db.session.execute(select(table))]


def in_order(rows):
    return sorted((sorted(row.items()) for row in rows), key=str)


def assert_equal_to_a_recount():
    db.session.flush()
    for report, honest in HONEST.items():
        ours, theirs = in_order(counted(report)), in_order(honest())
        differing = [
            (set(one) - set(other), set(other) - set(one))
            for one, other in zip(ours, theirs, strict=True)
            if one != other
        ]
        assert differing == [], report


@pytest.mark.parametrize("seed", range(4))
def test_equals_a_slow_honest_count(database, clock_in_february, version, seed):
    dice = random.Random(seed)
    facts.add_leads(dice, 25)
    messages = facts.add_emails(dice, 15, version_id=version)
    facts.add_consents(dice, 15, messages=messages)
    jobs.count()
    assert_equal_to_a_recount()


def test_repairs_what_changed_and_what_was_lost(database, clock_in_february, version):
    dice = random.Random(99)
    facts.add_leads(dice, 10)
    facts.add_consents(dice, 5, messages=facts.add_emails(dice, 5, version_id=version))
    jobs.count()
    for report in rollup.REPORTS:  # a crash, or a hand, left the roll-up wrong
        name = rollup.REPORTS[report].table.__tablename__
        db.session.execute(text(f"delete from {name} where ctid in (select ctid from {name} limit 3)"))
    db.session.execute(text("update report_lead set step = 0"))
    db.session.execute(text("update report_email set sent = sent + 1"))
    db.session.execute(update(Lead).values(source="phone"))
    gone = db.session.scalars(select(Lead).limit(1)).one()
    db.session.execute(update(Lead).where(Lead.id == gone.id).values(stage="spam"))
    db.session.expire_all()
    clock_in_february.shift(timedelta(days=4))
    jobs.count()
    assert_equal_to_a_recount()


def test_writes_nothing_where_nothing_changed(database, clock_in_february, version):
    facts.add_leads(random.Random(1), 10)
    jobs.count()
    where = text("select max(xmin::text::bigint), count(*) from report_lead")
    before = db.session.execute(where).one()
    clock_in_february.shift(600)
    jobs.count()
    assert db.session.execute(where).one() == before


def test_recent_days_are_counted_on_every_run_and_old_ones_in_turn(database, clock_in_february, version):
    facts.add_leads(random.Random(2), 10)
    jobs.count()
    clock_in_february.shift(300)
    today = date(2026, 2, 20)
    [only] = [period for period in rollup.due_slices("leads") if period.days < 31]
    recent = rollup.due_slices("leads")
    assert (min(period.first for period in recent), recent[0].last) == (today - timedelta(days=35), today)
    assert only.days + 31 == 36
    clock_in_february.shift(timedelta(hours=7))
    assert min(period.first for period in rollup.due_slices("leads")) < today - timedelta(days=35)


def test_an_empty_clinic_has_nothing_to_count(database, edge):
    assert [rollup.due_slices(report) for report in rollup.REPORTS] == [[]] * len(rollup.REPORTS)


def test_a_deleted_lead_leaves_the_roll_up(database, clock_in_february, edge):
    lead = Lead(
        reference="X-1", contact_id=factories.contact().id, kind="contact_request", stage="new", source="form",
        created_at=NOW, stage_at=NOW, attempts=0, urgent=False, demo=False,
    )  # fmt: skip
    db.session.add(lead)
    db.session.flush()
    rollup.recount("leads", Period(first=date(2026, 2, 20), last=date(2026, 2, 20)))
    assert [row["step"] for row in counted("leads")] == [0]
    db.session.execute(delete(Lead))
    assert counted("leads") == []


def test_the_day_is_the_clinics(database, clock_in_february, edge):
    late = datetime(2026, 2, 20, 7, 30, tzinfo=UTC)  # 23:30 of the day before in Los Angeles
    db.session.add(
        Lead(
            reference="X-2", contact_id=factories.contact().id, kind="contact_request", stage="new", source="form",
            created_at=late, stage_at=late, attempts=0, urgent=False, demo=False,
        )
    )  # fmt: skip
    db.session.flush()
    with transaction():
        jobs.count()
    [row] = counted("leads")
    assert (row["day"], row["hour"], row["weekday"]) == (date(2026, 2, 19), 23, 4)
