"""The Response, Email and Consent pages: their numbers, their empty states, their files; the replica."""

import io
import random
import zipfile
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import InternalError

from crm.consultations.models import Consultation, ConsultationReminder
from crm.content.models import ContentVersion
from crm.core import read_replica
from crm.core.db import db, transaction
from crm.leads.models import Breach, StageMove
from jobs import reports as jobs
from tests.conftest import NOW
from tests.reports import facts
from tests.reports.test_console import add_lead, reader  # noqa: F401 - a fixture
from tests.support import factories

PAGES = ("response", "email", "consent", "consultations", "cohorts")


@pytest.mark.parametrize("page", PAGES)
def test_an_empty_clinic_sees_the_first_step(reader, page):  # noqa: F811
    shown = reader.get(f"/console/reports/{page}").text
    assert 'class="empty"' in shown
    assert "btn-primary" in shown


@pytest.mark.parametrize("page", PAGES)
def test_pages_and_files_of_a_busy_clinic(reader, page):  # noqa: F811
    dice = random.Random(5)
    with transaction():
        factories.shipped()
        version_id = db.session.scalar(select(ContentVersion.id).limit(1))
        facts.add_leads(dice, 40)
        facts.add_consents(dice, 20, messages=facts.add_emails(dice, 20, version_id=version_id))
    jobs.count()
    for query in ("period=90", "period=365&kind=referral"):
        shown = reader.get(f"/console/reports/{page}?{query}")
        assert shown.status_code == 200
        assert "<svg" in shown.text or page == "cohorts"
        assert reader.get(f"/console/reports/{page}?{query}&format=csv").text.count("\n") > 1
        sheet = reader.get(f"/console/reports/{page}?{query}&format=xlsx")
        assert zipfile.is_zipfile(io.BytesIO(sheet.data))


def test_reminders_are_compared_once_there_are_enough(reader):  # noqa: F811
    at = NOW - timedelta(days=1)
    for number in range(60):
        lead = add_lead("contacted")
        with transaction():
            visit = Consultation(
                lead_id=lead.id, starts_at=at, minutes=30, state_at=at, created_at=at, actor="staff:1",
                state="no_show" if number % 10 == 0 or number == 31 else "attended",
            )  # fmt: skip
            db.session.add(visit)
            db.session.flush()
            if number < 30:
                reminder = ConsultationReminder(
                    consultation_id=visit.id, kind="two_days", at=at, emailed=True
                )
                db.session.add(reminder)
        if number == 58:
            jobs.count()
            assert reader.get("/console/reports/consultations").text.count("not enough data") == 1
    jobs.count()
    page = reader.get("/console/reports/consultations").text
    assert "not enough data" not in page
    assert "10%" in page  # three of thirty
    assert "13%" in page  # four of thirty


def test_response_counts_what_came_in_by_itself(reader):  # noqa: F811
    at = NOW - timedelta(days=1)
    add_lead("contacted", first_human_touch_at=at + timedelta(minutes=30))
    late = add_lead("contacted", first_human_touch_at=at + timedelta(hours=2))
    add_lead("contacted", source="phone", first_human_touch_at=at)
    add_lead("new")
    with transaction():
        db.session.add(Breach(lead_id=late.id, stage="new", due_at=at, at=at))
    jobs.count()
    page = reader.get("/console/reports/response").text
    assert "75 min" in page
    assert "2 of 3 answered" in page
    assert "67%" in page
    assert late.reference in reader.get("/console/reports/leads?status=late").text


def test_months_of_arrival_are_compared_after_the_same_time(reader):  # noqa: F811
    for days in (200, 200, 200, 10):
        lead = add_lead("qualified", days=days)
        if days == 10 or lead.id % 3 == 0:
            booked = lead.created_at + timedelta(days=days // 10)
            with transaction():
                db.session.add(
                    StageMove(
                        lead_id=lead.id, was="qualified", now="consult_scheduled", actor="staff:1", at=booked
                    )
                )
    jobs.count()
    shown = reader.get("/console/reports/cohorts?format=csv").text.splitlines()
    header, old, new = (row.lstrip("\ufeff").split(",") for row in shown)
    assert old[1:7] == ["3", "0", "33", "33", "33", "33"]  # booked within 7, 30, 60, 90 days, so far
    assert new[1:7] == ["1", "", "", "", "", "100"]
    assert len(header) == len(old)
    page = reader.get("/console/reports/cohorts").text
    assert page.count("Too early") > 4
    assert "There are not two months yet" in page
    few = reader.get("/console/reports/cohorts?language=en&format=csv").text
    assert "&lt;5" in few or "<5" in few


def test_a_replica_is_read_and_never_written(database, clock):
    url = database.settings.database_url
    settings = replace(database.settings, reports_database_url=url)
    engine = read_replica._engine_of(settings)
    read_replica._ENGINE.set(engine)
    try:
        with read_replica.reading() as connection:
            assert connection is not db.session.connection()
            assert connection.execute(text("select count(*) from report_lead")).scalar() == 0
            with pytest.raises(InternalError, match="read-only"):
                connection.execute(text("insert into report_day values ('x', now(), now())"))
    finally:
        read_replica._ENGINE.set(None)
        engine.dispose()
